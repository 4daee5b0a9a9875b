//! TLS records behind a real handshake, of any kind and content, cut anywhere and sometimes spoiled: no panic, and nothing
//! is delivered behind an error, a close or a spoiled record.
#![no_main]

#[path = "../../../dataplane/tests/mesh/pki.rs"]
#[allow(dead_code)]
mod pki;

use dataplane::tls::{Identity, Session};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

const KINDS: [u8; 8] = [0, 20, 21, 22, 22, 23, 23, 24];

fuzz_target!(|bytes: &[u8]| {
    thread_local!(static ENDS: [Arc<Identity>; 2] = pki::identities(["caller", "callee"]));
    let (mut sender, mut receiver) = ENDS.with(shake);
    let (mut rest, mut over) = (bytes, false);
    while let Some((&[how, size], more)) = rest.split_first_chunk() {
        let (content, more) = more.split_at(usize::from(size).min(more.len()));
        rest = more;
        let mut record = Vec::new();
        sender.seal_any(KINDS[usize::from(how & 7)], content, &mut record);
        let at = usize::from(how >> 3) * 31 % record.len();
        if how & 0x80 != 0 {
            record[at] ^= 1;
            over = true;
        }
        let (first, second) = record.split_at_mut(at);
        for piece in [first, second] {
            let mut delivered = 0;
            let done = receiver.open(piece, &mut Vec::new(), |plain| delivered += plain.len());
            assert!(delivered == 0 || !over, "delivered behind an error");
            over |= done.is_err() || receiver.is_closed();
        }
    }
});

/// A client and a server, the handshake done.
fn shake([caller, callee]: &[Arc<Identity>; 2]) -> (Session, Session) {
    let mut client = Session::client(caller, callee.id(), ([127, 0, 0, 1], 1).into()).unwrap();
    let mut server = Session::server(callee).unwrap();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    client.open(&mut [], &mut to_server, |_| ()).unwrap();
    for _ in 0..2 {
        server.open(&mut std::mem::take(&mut to_server), &mut to_client, |_| ()).unwrap();
        client.open(&mut std::mem::take(&mut to_client), &mut to_server, |_| ()).unwrap();
    }
    assert!(client.is_ready() && server.is_ready());
    (client, server)
}

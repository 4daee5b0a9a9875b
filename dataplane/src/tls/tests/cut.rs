//! The transport may cut and join bytes anywhere.

use super::pki::Authority;
use super::rustls_peer;
use super::{Pair, id};
use crate::tls::{Identity, Session};
use proto::rng::Rng;

/// Bytes under way to `session`, delivered in pieces of random size.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
}

impl Wire {
    /// Delivers a piece; its size is biased towards very short ones.
    fn deliver(&mut self, rng: &mut Rng, to: &mut Session, out: &mut Vec<u8>, plain: &mut Vec<u8>) {
        let most = [1, 2, 6, 100, 17_000, 60_000][usize::try_from(rng.below(6)).unwrap()];
        let size = usize::try_from(rng.below(most) + 1).unwrap().min(self.bytes.len());
        let mut piece: Vec<u8> = self.bytes.drain(..size).collect();
        to.open(&mut piece, out, |p| plain.extend_from_slice(p)).unwrap();
    }
}

/// One conversation: handshake, then messages both ways at random, all cut at random.
fn conversation(seed: u64, identities: (&Identity, &Identity)) {
    let mut rng = Rng::new(seed);
    let mut pair = Pair::new(identities.0, identities.1, "b");
    let (mut to_server, mut to_client) = (Wire::default(), Wire::default());
    let (mut sent, mut got) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    pair.client.open(&mut [], &mut to_server.bytes, |_| ()).unwrap();
    let mut messages = 12;
    while messages > 0 || !to_server.bytes.is_empty() || !to_client.bytes.is_empty() {
        if messages > 0 && rng.below(8) == 0 && pair.client.is_ready() && pair.server.is_ready() {
            messages -= 1;
            let data: Vec<u8> = (0..rng.below(40_000)).map(|_| rng.draw().to_le_bytes()[0]).collect();
            if rng.below(2) == 0 {
                pair.client.seal(&data, &mut to_server.bytes).unwrap();
                sent.0.extend_from_slice(&data);
            } else {
                pair.server.seal(&data, &mut to_client.bytes).unwrap();
                sent.1.extend_from_slice(&data);
            }
        }
        to_server.deliver(&mut rng, &mut pair.server, &mut to_client.bytes, &mut got.0);
        to_client.deliver(&mut rng, &mut pair.client, &mut to_server.bytes, &mut got.1);
    }
    assert!(sent == got, "seed {seed}");
    assert!(pair.client.holds_nothing() && pair.server.holds_nothing(), "seed {seed}");
}

#[test]
fn cuts_anywhere_change_nothing() {
    let ca = Authority::new();
    let (a, b) = (Identity::new(&ca.app("a")).unwrap(), Identity::new(&ca.app("b")).unwrap());
    for seed in 0..24 {
        conversation(seed, (&a, &b));
    }
}

#[test]
fn single_bytes_and_handshake_messages_in_pieces_are_enough() {
    let ca = Authority::new();
    let a = Identity::new(&ca.app("a")).unwrap();
    for piece in [1, 3, 64, 1000] {
        let server = rustls_peer::server_with(&ca.app("b"), |c| c.max_fragment_size = Some(50));
        let mut client = Session::client(&a, &id("b"), super::ADDRESS).unwrap();
        rustls_peer::shake_in_pieces(&mut server.into(), &mut client, piece);
        assert!(client.is_ready() && client.holds_nothing());
        let client = rustls_peer::client_with(&ca.app("b"), "a", |c| c.max_fragment_size = Some(50));
        let mut server = Session::server(&a).unwrap();
        rustls_peer::shake_in_pieces(&mut client.into(), &mut server, piece);
        assert!(server.is_ready() && server.holds_nothing());
    }
}

#[test]
fn several_records_in_one_chunk_arrive_in_order() {
    let ca = Authority::new();
    let (a, b) = (Identity::new(&ca.app("a")).unwrap(), Identity::new(&ca.app("b")).unwrap());
    let mut pair = Pair::new(&a, &b, "b");
    pair.shake();
    let mut bytes = Vec::new();
    for i in 0..50_u8 {
        pair.client.seal(&[i; 3], &mut bytes).unwrap();
    }
    let mut plain = Vec::new();
    pair.server.open(&mut bytes, &mut Vec::new(), |p| plain.extend_from_slice(p)).unwrap();
    assert_eq!(plain, (0..50_u8).flat_map(|i| [i; 3]).collect::<Vec<_>>());
}

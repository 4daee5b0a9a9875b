//! Records one by one: the RFC's traces, every rule that a peer can break, every limit. Whole conversations with rustls
//! and OpenSSL are in `tls::tests`.

use super::*;
use crate::tls::tests::pki::Authority;
use crate::tls::tests::{Pair, open, seal};
use crate::tls::{Identity, Session, TlsError};
use proto::rng::Rng;
use std::sync::Arc;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn keys(key: &str, iv: &str) -> Keys {
    let key = UnboundKey::new(&aead::AES_128_GCM, &bytes(key)).unwrap();
    Keys { key: LessSafeKey::new(key), iv: bytes(iv).try_into().unwrap(), number: 0 }
}

/// Two ends whose handshake is done.
fn pair() -> Pair {
    thread_local!(static ENDS: (Arc<Identity>, Arc<Identity>) = {
        let ca = Authority::new();
        (Identity::new(&ca.app("a")).unwrap(), Identity::new(&ca.app("b")).unwrap())
    });
    let (a, b) = ENDS.with(Clone::clone);
    let mut pair = Pair::new(&a, &b, "b");
    assert_eq!(pair.shake(), (None, None));
    assert!(pair.client.traffic().is_some() && pair.server.traffic().is_some(), "both took over");
    pair
}

/// A record of any kind and content from `session`.
fn record(session: &mut Session, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    session.traffic().unwrap().tx.seal(kind, content, &mut out).unwrap();
    out
}

/// What `session` makes of bytes: error, plaintext, what it sends.
fn feed(session: &mut Session, mut bytes: Vec<u8>) -> (Option<TlsError>, Vec<u8>, Vec<u8>) {
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    let error = session.open(&mut bytes, &mut out, |p| plain.extend_from_slice(p)).err();
    (error, plain, out)
}

/// The server refuses what `make` sends it: nothing is delivered, the client learns `alert`, and that is the end.
fn refused(alert: &str, make: impl FnOnce(&mut Session) -> Vec<u8>) {
    let mut pair = pair();
    let bytes = make(&mut pair.client);
    let (error, plain, out) = feed(&mut pair.server, bytes);
    assert!(error.is_some(), "{alert}");
    assert_eq!(plain, b"", "{alert}");
    assert_eq!(feed(&mut pair.client, out).0, Some(TlsError::Alert(alert.into())), "{error:?}");
    let more = seal_anyway(&mut pair.client);
    assert_eq!(feed(&mut pair.server, more), (Some(TlsError::Closed), vec![], vec![]), "{alert}");
    assert_eq!(pair.server.seal(b"x", &mut Vec::new()), Err(TlsError::Closed));
}

fn seal_anyway(session: &mut Session) -> Vec<u8> {
    record(session, content::DATA, b"more")
}

#[test]
fn the_traces_of_rfc_8448_are_met() {
    let mut client = keys("17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9");
    let data: Vec<u8> = (0..50).collect();
    let mut sealed = Vec::new();
    client.seal(content::DATA, &data, &mut sealed).unwrap();
    let trace = bytes(
        "17030300 43a23f70 54b62c94 d0affafe 8228ba55 cbefacea 42f914aa 66bcab3f 2b9819a8 a5b46b39 5bd54a9a 20441e2b
         62974e1f 5a6292a2 977014bd 1e3deae6 3aeebb21 694915e4",
    );
    assert_eq!(sealed, trace);
    let mut alert = Vec::new();
    client.seal(content::ALERT, &[1, 0], &mut alert).unwrap();
    assert_eq!(alert, bytes("1703030013 c987276065 5666b74d 7ff1153e fd6db6d0 b0e3"));
    let mut peer = keys("17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9");
    for (record, kind, content) in
        [(&mut sealed, content::DATA, &data[..]), (&mut alert, content::ALERT, &[1, 0])]
    {
        let (header, rest) = record.split_first_chunk_mut::<HEADER>().unwrap();
        assert_eq!(peer.open(*header, rest).unwrap(), (kind, content));
    }
    // the server's first record under these keys is a ticket
    let mut server = keys("9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984");
    server.number = 1;
    let mut sealed = Vec::new();
    server.seal(content::DATA, &data, &mut sealed).unwrap();
    let trace = bytes(
        "17030300 432e937e 11ef4ac7 40e538ad 36005fc4 a46932fc 3225d05f 82aa1b36 e30efaf9 7d90e6df fc602dcb 501a59a8
         fcc49c4b f2e5f0a2 1c0047c2 abf33254 0dd032e1 67c2955d",
    );
    assert_eq!(sealed, trace);
}

#[test]
fn padding_is_taken_off_and_zeros_of_the_content_stay() {
    let mut pair = pair();
    for content in [&b"x"[..], b"", b"x\0\0", b"\0"] {
        for padding in [0, 1, 300] {
            let inner = [content, &[content::DATA], &vec![0; padding]].concat();
            let bytes = record(&mut pair.client, 0, &inner);
            assert_eq!(open(&mut pair.server, bytes), content);
            let bytes = seal(&mut pair.client, b"y");
            assert_eq!(open(&mut pair.server, bytes), b"y");
        }
    }
}

#[test]
fn the_largest_record_passes_with_padding_that_fills_it() {
    let mut pair = pair();
    let data = vec![7; MOST_PLAIN];
    let bytes = record(&mut pair.client, content::DATA, &data);
    assert_eq!(open(&mut pair.server, bytes), data);
    let inner = [&data[1..], &[content::DATA]].concat();
    let bytes = record(&mut pair.client, 0, &inner);
    assert_eq!(open(&mut pair.server, bytes), &data[1..]);
}

#[test]
fn too_large_a_record_is_refused_by_its_header_alone() {
    refused("record overflow", |_| vec![23, 3, 3, 0x41, 0x01]);
    refused("record overflow", |_| vec![23, 3, 3, 0xff, 0xff, 1, 2, 3]);
    refused("record overflow", |client| record(client, content::DATA, &[1; MOST_PLAIN + 1]));
    let padded = [&[1; MOST_PLAIN][..], &[content::DATA, 0]].concat();
    refused("record overflow", |client| record(client, 0, &padded));
}

#[test]
fn what_does_not_authenticate_is_refused_and_not_shown() {
    let whole = seal(&mut pair().client, b"secret").len();
    for at in 0..whole {
        let alert = match at {
            0 => "unexpected message", // no protected record
            3 => "record overflow",    // its length
            _ => "bad record mac",
        };
        // a shorter record than announced would be waited for
        let change = if at == 4 { 0x01 } else { 0x80 };
        if at == 4 && whole % 2 == 1 {
            continue;
        }
        refused(alert, |client| {
            let mut bytes = seal(client, b"secret");
            bytes[at] ^= change;
            if at == 4 {
                bytes.push(0);
            }
            bytes
        });
    }
    refused("bad record mac", |_| vec![23, 3, 3, 0, 0]);
    refused("bad record mac", |_| vec![23, 3, 3, 0, 5, 1, 2, 3, 4, 5]);
    refused("bad record mac", |_| [&[23, 3, 3, 0, 16][..], &[0; 16]].concat());
}

#[test]
fn records_that_are_repeated_swapped_or_lost_are_refused() {
    refused("bad record mac", |client| {
        let _lost = seal(client, b"one");
        seal(client, b"two")
    });
    refused("bad record mac", |client| {
        let (one, two) = (seal(client, b"one"), seal(client, b"two"));
        [two, one].concat()
    });
    let mut pair = pair();
    let bytes = seal(&mut pair.client, b"one");
    let (error, plain, out) = feed(&mut pair.server, [&bytes[..], &bytes].concat());
    assert!(error.is_some());
    assert_eq!(plain, b"one", "the first was good");
    assert_eq!(feed(&mut pair.client, out).0, Some(TlsError::Alert("bad record mac".into())));
}

#[test]
fn a_record_of_a_wrong_kind_is_refused() {
    for kind in [20, 21, 22, 24, 0, 255] {
        refused("unexpected message", |_| vec![kind, 3, 3, 0, 1, 1]);
    }
    for (kind, content) in [(0, &b""[..]), (0, &[0; 40]), (20, &[1]), (24, b"x"), (99, b""), (22, b"")] {
        refused("unexpected message", |client| record(client, kind, content));
    }
}

#[test]
fn a_handshake_message_that_may_not_come_is_refused() {
    let update = [message::KEY_UPDATE, 0, 0, 1, 0];
    let cases: [(&str, Vec<u8>); 8] = [
        ("illegal parameter", vec![message::KEY_UPDATE, 0, 0, 1, 2]),
        ("decode error", vec![message::KEY_UPDATE, 0, 0, 0]),
        ("decode error", vec![message::KEY_UPDATE, 0, 0, 2, 0, 0]),
        ("decode error", vec![message::NEW_SESSION_TICKET, 1, 0, 0]),
        ("unexpected message", [update, update].concat()),
        ("unexpected message", [&update[..], &[4]].concat()),
        ("unexpected message", vec![1, 0, 0, 0]),
        ("unexpected message", vec![message::NEW_SESSION_TICKET, 0, 0, 1, 0]), // a client issues none
    ];
    for (alert, content) in cases {
        refused(alert, |client| record(client, content::HANDSHAKE, &content));
    }
    refused("unexpected message", |client| {
        let part = record(client, content::HANDSHAKE, &update[..3]);
        [part, record(client, content::DATA, b"in between")].concat()
    });
}

#[test]
fn alerts_end_the_session_whatever_their_level() {
    for level in [1, 2] {
        let mut pair = pair();
        let bytes = record(&mut pair.client, content::ALERT, &[level, 40]);
        let (error, _, out) = feed(&mut pair.server, bytes);
        assert_eq!(error, Some(TlsError::Alert("handshake failure".into())));
        assert_eq!(out, b"", "an alert is not answered");
    }
    refused("decode error", |client| record(client, content::ALERT, &[2]));
    refused("decode error", |client| record(client, content::ALERT, &[1, 0, 1]));
    let mut pair = pair();
    let bytes = record(&mut pair.client, content::ALERT, &[1, 90]); // user_canceled
    assert_eq!(feed(&mut pair.server, bytes).0, None);
    assert!(!pair.server.is_closed());
}

#[test]
fn close_notify_is_said_once_and_what_follows_it_is_ignored() {
    let mut pair = pair();
    let mut bytes = seal(&mut pair.client, b"last");
    pair.client.close_notify(&mut bytes);
    let whole = bytes.len();
    pair.client.close_notify(&mut bytes);
    assert_eq!(bytes.len(), whole);
    assert_eq!(pair.client.seal(b"more", &mut bytes), Err(TlsError::Closed));
    bytes.extend_from_slice(b"nonsense that is no record");
    assert_eq!(feed(&mut pair.server, bytes), (None, b"last".to_vec(), vec![]));
    assert!(pair.server.is_closed() && !pair.client.is_closed());
    let bytes = seal(&mut pair.server, b"the other direction goes on");
    assert_eq!(open(&mut pair.client, bytes), b"the other direction goes on");
}

#[test]
fn an_end_without_close_notify_is_a_cut() {
    let mut pair = pair();
    let bytes = seal(&mut pair.client, b"half");
    assert_eq!(feed(&mut pair.server, bytes[..bytes.len() - 1].to_vec()), (None, vec![], vec![]));
    assert!(!pair.server.is_closed());
}

#[test]
fn records_without_data_are_bounded() {
    let update = [message::KEY_UPDATE, 0, 0, 1, 0];
    for (kind, content) in [(content::DATA, &b""[..]), (content::ALERT, &[1, 90])] {
        refused("unexpected message", |client| {
            (0..=MOST_IDLE).flat_map(|_| record(client, kind, content)).collect()
        });
    }
    let mut pair = pair();
    for _ in 0..3 {
        for _ in 0..MOST_IDLE {
            let bytes = record(&mut pair.client, content::DATA, b"");
            assert_eq!(feed(&mut pair.server, bytes), (None, vec![], vec![]));
        }
        let bytes = seal(&mut pair.client, b"x");
        assert_eq!(open(&mut pair.server, bytes), b"x");
    }
    for _ in 0..MOST_IDLE {
        let bytes = updated(&mut pair.client, 0);
        assert_eq!(feed(&mut pair.server, bytes).0, None);
    }
    let bytes = record(&mut pair.client, content::HANDSHAKE, &update);
    assert!(feed(&mut pair.server, bytes).0.is_some());
}

/// A KeyUpdate from `session`, which from then on uses its next keys.
fn updated(session: &mut Session, wish: u8) -> Vec<u8> {
    let bytes = record(session, content::HANDSHAKE, &[message::KEY_UPDATE, 0, 0, 1, wish]);
    let traffic = session.traffic().unwrap();
    traffic.tx = traffic.secrets.next_tx().unwrap();
    bytes
}

#[test]
fn an_update_is_answered_before_the_next_data_and_several_by_one() {
    let mut pair = pair();
    let bytes =
        [updated(&mut pair.client, 1), updated(&mut pair.client, 0), updated(&mut pair.client, 1)].concat();
    assert_eq!(feed(&mut pair.server, bytes), (None, vec![], vec![]), "answered with the next data");
    let bytes = seal(&mut pair.server, b"x");
    assert_eq!(bytes.len(), 2 * (HEADER + ADDED) + 5 + 1, "one KeyUpdate and the data");
    assert_eq!(open(&mut pair.client, bytes), b"x");
    let bytes = seal(&mut pair.server, b"y");
    assert_eq!(bytes.len(), HEADER + ADDED + 1);
    assert_eq!(open(&mut pair.client, bytes), b"y");
    assert!(!pair.client.traffic().unwrap().owes_update, "an answer wishes for none");
    let bytes = seal(&mut pair.client, b"z");
    assert_eq!(open(&mut pair.server, bytes), b"z");
}

#[test]
fn an_update_may_be_cut_over_records() {
    let mut pair = pair();
    let mut bytes = record(&mut pair.client, content::HANDSHAKE, &[message::KEY_UPDATE]);
    bytes.extend(record(&mut pair.client, content::HANDSHAKE, &[0, 0, 1]));
    bytes.extend(record(&mut pair.client, content::HANDSHAKE, &[0]));
    let traffic = pair.client.traffic().unwrap();
    traffic.tx = traffic.secrets.next_tx().unwrap();
    bytes.extend(seal(&mut pair.client, b"x"));
    assert_eq!(open(&mut pair.server, bytes), b"x");
}

#[test]
fn keys_are_changed_before_their_limit() {
    let mut pair = pair();
    pair.client.traffic().unwrap().records_a_key = 3;
    let mut plain = Vec::new();
    for i in 0..20_u8 {
        let bytes = seal(&mut pair.client, &[i]);
        assert!(pair.client.traffic().unwrap().tx.number <= 3);
        plain.extend(open(&mut pair.server, bytes));
    }
    assert_eq!(plain, (0..20).collect::<Vec<u8>>());
    let bytes = seal(&mut pair.client, &[1; 10 * MOST_PLAIN]);
    assert_eq!(open(&mut pair.server, bytes), [1; 10 * MOST_PLAIN]);
}

#[test]
fn no_number_comes_twice() {
    let mut keys = keys("17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9");
    keys.number = u64::MAX;
    let mut out = b"before".to_vec();
    for _ in 0..2 {
        assert!(keys.seal(content::DATA, b"x", &mut out).is_err());
    }
    assert_eq!(out, b"before");
}

#[test]
fn tickets_are_ignored_even_if_they_are_cut_over_records() {
    let mut pair = pair();
    let ticket = [&[message::NEW_SESSION_TICKET, 0, 0, 200][..], &[9; 200]].concat();
    let mut bytes = record(&mut pair.server, content::HANDSHAKE, &[&ticket[..], &ticket[..100]].concat());
    bytes.extend(record(&mut pair.server, content::HANDSHAKE, &ticket[100..]));
    bytes.extend(seal(&mut pair.server, b"data"));
    assert_eq!(feed(&mut pair.client, bytes), (None, b"data".to_vec(), vec![]));
}

/// Contents that no peer would send, cut anywhere.
#[test]
fn random_contents_never_panic_and_nothing_is_delivered_behind_an_error() {
    const KINDS: [u8; 8] = [0, 21, 22, 22, 23, 23, 23, 77];
    const BYTES: [u8; 8] = [0, 0, 1, 4, 24, 23, 90, 200];
    let mut rng = Rng::new(3);
    let mut draw = move |below: usize| usize::try_from(rng.below(below as u64)).unwrap();
    for _ in 0..300 {
        let (mut pair, mut over) = (pair(), false);
        for _ in 0..40 {
            let content: Vec<u8> = (0..draw(9)).map(|_| BYTES[draw(8)]).collect();
            let mut bytes = record(&mut pair.client, KINDS[draw(8)], &content);
            let cut = draw(bytes.len());
            let (first, second) = bytes.split_at_mut(cut);
            for piece in [first, second] {
                let mut plain = 0;
                let done = pair.server.open(piece, &mut Vec::new(), |p| plain += p.len());
                assert!(!over || plain == 0);
                over |= done.is_err() || pair.server.is_closed();
            }
        }
    }
}

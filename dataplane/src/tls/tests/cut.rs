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

/// One conversation in which a byte on the way to either end is changed, dropped or doubled.
fn disturbed(seed: u64, identities: (&Identity, &Identity)) {
    let mut rng = Rng::new(seed);
    let mut pair = Pair::new(identities.0, identities.1, "b");
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    let (mut failed, mut rounds) = (false, 0);
    let mut disturbance = rng.below(9);
    pair.client.open(&mut [], &mut to_server, |_| ()).unwrap();
    while !failed && rounds < 12 {
        rounds += 1;
        for to_first in [true, false] {
            let (session, wire) = if to_first {
                (&mut pair.server, &mut to_server)
            } else {
                (&mut pair.client, &mut to_client)
            };
            let mut bytes = std::mem::take(wire);
            if disturbance == 0 && !bytes.is_empty() {
                disturb(&mut bytes, &mut rng);
            }
            disturbance = disturbance.wrapping_sub(1);
            let out = if to_first { &mut to_client } else { &mut to_server };
            let piece = 1 + usize::try_from(rng.below(3000)).unwrap();
            for piece in bytes.chunks_mut(piece) {
                let plain = |p: &[u8]| {
                    if to_first {
                        got.extend_from_slice(p)
                    }
                };
                failed |= session.open(piece, out, plain).is_err();
            }
        }
        if pair.client.is_ready() {
            let data = vec![rounds; usize::try_from(rng.below(20_000)).unwrap()];
            if pair.client.seal(&data, &mut to_server).is_ok() {
                sent.extend_from_slice(&data);
            }
        }
    }
    assert!(sent.starts_with(&got), "seed {seed}: something else arrived than was sent");
}

fn disturb(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
    match rng.below(3) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => drop(bytes.remove(at)),
        _ => bytes.insert(at, rng.draw().to_le_bytes()[0]),
    }
}

#[test]
fn a_disturbed_byte_never_delivers_what_was_not_sent_and_never_panics() {
    let ca = Authority::new();
    let (a, b) = (Identity::new(&ca.app("a")).unwrap(), Identity::new(&ca.app("b")).unwrap());
    for seed in 0..400 {
        disturbed(seed, (&a, &b));
    }
}

#[test]
fn random_bytes_never_panic() {
    let ca = Authority::new();
    let a = Identity::new(&ca.app("a")).unwrap();
    let mut rng = Rng::new(5);
    for _ in 0..400 {
        let mut server = Session::server(&a).unwrap();
        let mut bytes: Vec<u8> = (0..rng.below(300)).map(|_| rng.draw().to_le_bytes()[0]).collect();
        let head = [22, 3, 1, 0, rng.draw().to_le_bytes()[0]];
        bytes.splice(..bytes.len().min(5), head);
        let mut out = Vec::new();
        for piece in bytes.chunks_mut(7) {
            if server.open(piece, &mut out, |_| panic!("plaintext")).is_err() {
                break;
            }
        }
    }
}

//! Conversations with disturbed bytes: no panic, bounded memory, and the cut of the bytes changes nothing.
//! `tests/fuzz/fuzz_targets/http2_connection.rs` looks deeper.

use super::wire::*;
use crate::http2::frame::{PREFACE, flag, kind};
use crate::http2::{Code, Connection, Event, Limits};
use crate::rng::Rng;

/// A piece of a conversation that a server could see.
fn piece(rng: &mut Rng) -> Vec<u8> {
    let id = 2 * rng.below(6) as u32 + 1;
    match rng.below(12) {
        0..3 => headers(id, rng.below(3) == 0, &REQUEST),
        3..6 => data(id, rng.below(4) == 0, &vec![7; rng.below(300) as usize]),
        6 => headers(id, true, &[("a", "b")]),
        7 => window_update(id * rng.below(2) as u32, rng.below(1 << 20) as u32),
        8 => settings(&[(rng.below(8) as u16, rng.below(100_000) as u32)]),
        9 => reset(id, Code(rng.below(20) as u32)),
        10 => frame(kind::PING, rng.below(2) as u8, 0, &[1; 8]),
        _ => frame(kind::HEADERS, flag::PADDED | flag::PRIORITY, id, &[0, 0, 0, 0, 9, 1, 0x82]),
    }
}

fn disturbed(rng: &mut Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..1 + rng.below(20)).flat_map(|_| piece(rng)).collect();
    for _ in 0..rng.below(4) {
        let at = rng.below(bytes.len() as u64) as usize;
        match rng.below(3) {
            0 => bytes[at] = rng.draw() as u8,
            1 => bytes[at] ^= 1 << rng.below(8),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

/// Everything a server says to these pieces when nobody acts on them, and whether it gave up.
fn passive<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
    let mut conn = Connection::server(Limits::default(), START);
    conn.receive(PREFACE, START).unwrap();
    conn.receive(&settings(&[]), START).unwrap();
    let failed = { pieces }.any(|piece| conn.receive(piece, START).is_err());
    (std::mem::take(conn.write()), failed)
}

#[test]
fn the_cut_of_the_bytes_changes_nothing() {
    let mut rng = Rng::new(41);
    for _ in 0..3000 {
        let bytes = disturbed(&mut rng);
        let whole = passive([&bytes[..]].into_iter());
        let step = 1 + rng.below(30) as usize;
        assert_eq!(whole, passive(bytes.chunks(step)), "steps of {step}: {bytes:?}");
    }
}

#[test]
fn an_owner_who_acts_on_disturbed_conversations_meets_no_panic() {
    let mut rng = Rng::new(43);
    for _ in 0..3000 {
        let mut end = End::server();
        let mut held = vec![];
        for part in disturbed(&mut rng).chunks(1 + rng.below(200) as usize) {
            if end.conn.receive(part, end.now).is_err() {
                break;
            }
            while let Some(event) = end.conn.poll() {
                if let Event::Opened(slot) = event {
                    held.push(slot);
                }
            }
            if let Some(&slot) = held.get(rng.below(7) as usize) {
                match rng.below(5) {
                    0 => end.conn.take(slot, rng.below(200) as usize),
                    1 => end.conn.headers(slot, rng.below(2) == 0, None, &[]),
                    2 => end.conn.data(slot, rng.below(3) == 0, |out| out.extend_from_slice(&[1; 900])),
                    3 => end.conn.wait_for(slot, rng.below(1 << 18) as usize),
                    _ => {
                        end.conn.release(slot);
                        held.retain(|other| *other != slot);
                    }
                }
            }
            assert!(end.conn.write().len() < 1 << 16);
            end.conn.write().clear();
        }
        end.conn.closed();
        held.into_iter().for_each(|slot| end.conn.release(slot));
        assert_eq!(end.conn.open_streams(), 0);
    }
}

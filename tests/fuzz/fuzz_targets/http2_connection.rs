//! A whole HTTP/2 connection in either role: no panic, bounded memory, and the cut of the bytes changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::http2::{BlockId, Code, Connection, Event, Limits, Slot};
use proto::time::Tick;

const NOW: Tick = Tick::from_micros(1_000_000_000);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];

fn limits() -> Limits {
    Limits { concurrent_streams: 20, stream_window: 2000, stream_window_grown: 5000, ..Limits::default() }
}

/// An end that has settled, unless the input is to begin at the very beginning; a client with streams open.
fn end(server: bool, settled: bool) -> (Connection, BlockId) {
    let mut conn = if server { Connection::server(limits(), NOW) } else { Connection::client(limits(), NOW) };
    let block = match server {
        true => conn.register(&[(":status", "200")]),
        false => conn.register(&[(":method", "POST"), (":scheme", "http"), (":path", "/a")]),
    };
    if settled {
        if server {
            conn.receive(PREFACE, NOW).unwrap();
        }
        conn.receive(SETTINGS, NOW).unwrap();
        conn.receive(ACK, NOW).unwrap();
        if !server {
            for _ in 0..4 {
                let slot = conn.start(block, None, &[]).unwrap();
                conn.data(slot, false, |out| out.extend_from_slice(&[7; 3000]));
            }
        }
    }
    (conn, block)
}

/// Everything an end says about these bytes when nobody acts on them.
fn passive(server: bool, settled: bool, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let (mut conn, _) = end(server, settled);
    let failed = pieces.iter().any(|piece| conn.receive(piece, NOW).is_err());
    (std::mem::take(conn.write()), failed)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let (server, settled) = (choice & 1 == 0, choice & 2 == 0);
    let step = 1 + usize::from(choice >> 2);
    let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
    assert_eq!(
        passive(server, settled, &[bytes]),
        passive(server, settled, &pieces),
        "the cut changed something"
    );
    active(server, settled, &pieces);
});

/// The same bytes with an owner who takes, answers, resets and releases.
fn active(server: bool, settled: bool, pieces: &[&[u8]]) {
    let (mut conn, block) = end(server, settled);
    let mut held: Vec<Slot> = Vec::new();
    let mut now = NOW;
    for (i, piece) in pieces.iter().enumerate() {
        now = now + std::time::Duration::from_millis(i as u64 % 400);
        if conn.receive(piece, now).is_err() {
            break;
        }
        while let Some(event) = conn.poll() {
            if let Event::Opened(slot) | Event::Progress(slot) = event
                && !held.contains(&slot)
            {
                held.push(slot);
            }
        }
        assert!(conn.open_streams() <= 20 && held.len() <= 44);
        if let Some(&slot) = held.get(i % 7) {
            act(&mut conn, block, slot, i);
            if i % 5 == 4 {
                conn.release(slot);
                held.retain(|other| *other != slot);
            }
        }
        if i % 3 == 0 {
            conn.write().clear();
        }
        let _ = conn.tick(now);
        assert!(conn.write().len() < 1 << 20);
    }
    conn.closed();
    held.into_iter().for_each(|slot| conn.release(slot));
    assert_eq!(conn.open_streams(), 0);
}

fn act(conn: &mut Connection, block: BlockId, slot: Slot, i: usize) {
    match i % 6 {
        0 => conn.take(slot, i),
        1 => conn.wait_for(slot, 10 * i),
        2 if conn.role() == proto::http2::Role::Server && i % 12 == 2 => {
            conn.headers(slot, false, Some(block), &[])
        }
        3 => conn.data(slot, i % 9 == 0, |out| out.extend_from_slice(&[1; 500])),
        4 if i % 10 == 4 => conn.reset(slot, Code::CANCEL),
        _ => drop(conn.has_room(slot)),
    }
}

//! `HTTP2-Settings` of an upgrade: base64 that comes back, and settings that a connection takes or refuses as a whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::grpc::base64::{self, Padding};
use proto::http2::{Connection, Limits};
use proto::time::Tick;

fuzz_target!(|text: &[u8]| {
    let now = Tick::from_micros(1_000_000_000);
    if let Some(payload) = base64::decode(text) {
        for padding in [Padding::Padded, Padding::Bare] {
            let mut again = Vec::new();
            base64::encode(&mut again, &payload, padding);
            assert_eq!(base64::decode(&again).as_ref(), Some(&payload));
        }
        settled(&payload, now);
    }
    settled(text, now);
});

fn settled(payload: &[u8], now: Tick) {
    let Ok((mut conn, slot)) = Connection::upgraded(Limits::default(), now, payload) else { return };
    assert_eq!(payload.len() % 6, 0);
    assert_eq!(conn.open_streams(), 1);
    let block = conn.register(&[(":status", "200")]);
    conn.headers(slot, false, Some(block), &[]);
    conn.data(slot, true, |out| out.extend_from_slice(&[7; 100_000]));
    assert!(conn.write().len() < 1 << 20);
    conn.release(slot);
    let _ = conn.tick(now);
}

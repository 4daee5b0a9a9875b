//! Heads between HTTP/2 and HTTP/1: what a peer's fields become is one head that ends where it ends, and a head that was
//! parsed becomes fields that say nothing about the connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::http1::head::{Head, Limits as HeadLimits, Request, Response, Slots};
use proto::http2::{Connection, Event, Limits, http1};
use proto::time::Tick;

const NOW: Tick = Tick::from_micros(1_000_000_000);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const LARGE: HeadLimits = HeadLimits { max_head: 1 << 24 };
/// Names that mean something to either version.
const NAMES: [&[u8]; 16] = [
    b":method", b":path", b":scheme", b":authority", b":status", b"host", b"content-length", b"transfer-encoding",
    b"connection", b"te", b"cookie", b"upgrade", b"expect", b"set-cookie", b"x-a", b"trailer",
];

/// A literal without indexing.
fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0);
    for text in [name, value] {
        let text = &text[..text.len().min(126)];
        block.push(text.len() as u8);
        block.extend_from_slice(text);
    }
}

/// Each part of the input is a field: a name of the list or one of its own, and a value.
fn block(begin: &[(&[u8], &[u8])], bytes: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    begin.iter().for_each(|(name, value)| literal(&mut block, name, value));
    for part in bytes.split(|byte| *byte == 0xff).take(40) {
        match part.split_first() {
            Some((&choice, value)) if choice < 16 => literal(&mut block, NAMES[usize::from(choice)], value),
            _ => {
                let at = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
                literal(&mut block, &part[..at], part.get(at + 1..).unwrap_or_default());
            }
        }
    }
    block
}

fn frame(flags: u8, stream: u8, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u32).to_be_bytes();
    [&length[1..], &[1, flags, 0, 0, 0, stream], block].concat()
}

fn request(complete: bool, own: bool, bytes: &[u8]) {
    let begin: &[(&[u8], &[u8])] =
        if own { &[] } else { &[(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a?b")] };
    let mut conn = Connection::server(Limits::default(), NOW);
    let headers = frame(4 | u8::from(complete), 1, &block(begin, bytes));
    for part in [PREFACE, SETTINGS, &headers] {
        if conn.receive(part, NOW).is_err() {
            return;
        }
    }
    while let Some(event) = conn.poll() {
        let Event::Opened(slot) = event else { continue };
        let mut head = Vec::new();
        if http1::request(conn.head(slot), conn.is_complete(slot), &mut head).is_ok() {
            one_request(&head, conn.is_complete(slot));
        }
    }
}

fn one_request(head: &[u8], complete: bool) {
    let mut slots = Slots::new();
    match Request::parse(head, &mut slots, &LARGE) {
        Ok(Head::Complete(seen)) => {
            use proto::http1::framing::Framing;
            assert_eq!(seen.len, head.len(), "{}", String::from_utf8_lossy(head));
            let framing = seen.framing();
            assert!(complete || framing != Framing::None, "a body must not look like the next request");
            assert!(!complete || framing != Framing::Chunked, "nothing follows");
            assert_eq!(seen.headers.named("host").count(), 1);
        }
        Ok(Head::Partial) => panic!("no end: {}", String::from_utf8_lossy(head)),
        Err(_) => {} // refused on the way in: harmless
    }
}

fn response(complete: bool, bytes: &[u8]) {
    let mut conn = Connection::client(Limits::default(), NOW);
    let asked = conn.register(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    let headers = frame(4 | u8::from(complete), 1, &block(&[(b":status", b"200")], bytes));
    if conn.receive(SETTINGS, NOW).is_err() {
        return;
    }
    let Ok(slot) = conn.start(asked, None, &[]) else { return };
    if conn.receive(&headers, NOW).is_err() || conn.failure(slot).is_some() || conn.status(slot) == 0 {
        return;
    }
    let mut head = Vec::new();
    http1::response(conn.status(slot), conn.head(slot), complete, &mut head);
    let mut slots = Slots::new();
    match Response::parse(&head, &mut slots, &LARGE) {
        Ok(Head::Complete(seen)) => assert_eq!(seen.len, head.len()),
        Ok(Head::Partial) => panic!("no end: {}", String::from_utf8_lossy(&head)),
        Err(_) => {}
    }
}

/// A head that was parsed, as fields.
fn fields(bytes: &[u8]) {
    let mut slots = Slots::new();
    let Ok(Head::Complete(seen)) = Request::parse(bytes, &mut slots, &LARGE) else { return };
    let mut head = bytes[..seen.len].to_vec();
    let lines = http1::Lines::new(&mut head);
    for field in lines.request("http") {
        let pseudo = field.name.starts_with(b":");
        assert!(pseudo || !field.name.is_empty());
        assert!(!field.name.iter().any(u8::is_ascii_uppercase));
        assert!(!field.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        let about: [&[u8]; 6] =
            [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te"];
        assert!(!about.contains(&field.name));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    match choice % 4 {
        0 => fields(bytes),
        1 => response(choice & 4 == 0, bytes),
        _ => request(choice & 4 == 0, choice & 8 == 0, bytes),
    }
});

//! Attacks by those who say too much: floods of frames, header lists and heads at their limits. Each limit is counted and
//! named in the log; see [`crate::house`] for what other clients may feel of it.

use crate::h2;
use crate::house::{Again, House, MIB, connect, counted_and_said};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

/// Says `make(0)`, `make(1)`, … until the peer has enough of it; the code with which it ended the connection.
fn flood(to: SocketAddr, first: &[u8], most: u32, make: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    let mut stream = connect(to);
    stream.write_all(h2::HELLO).unwrap();
    stream.write_all(first).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let heard = thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), [0; 16 << 10]);
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            all.extend_from_slice(&buffer[..n]);
            if h2::goaway(&all).is_some() {
                break;
            }
        }
        all
    });
    for n in 0..most {
        if stream.write_all(&make(n)).is_err() || heard.is_finished() {
            break;
        }
    }
    h2::goaway(&heard.join().unwrap())
}

type Make = Box<dyn Fn(u32) -> Vec<u8>>;

/// A name, its limit, what comes before, and what comes again and again.
fn floods() -> Vec<(&'static str, &'static str, Vec<u8>, Make)> {
    let open = h2::headers(1, &h2::call_head());
    let half = h2::frame(1, 0, 1, &h2::call_head());
    let part = h2::literal("x", &[b'y'; 100]);
    let large = h2::literal("x", &[b'y'; 16_000]);
    let empty = part.clone();
    vec![
        (
            "rapid reset",
            "resets_per_second",
            Vec::new(),
            Box::new(|n| {
                [h2::headers(2 * n + 1, &h2::call_head()), h2::frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()
            }),
        ),
        ("CONTINUATION flood", "continuations", half.clone(), Box::new(move |_| h2::frame(9, 0, 1, &part))),
        ("large CONTINUATIONs", "header_block", half.clone(), Box::new(move |_| h2::frame(9, 0, 1, &large))),
        ("empty DATA", "empty_frames_per_second", open.clone(), Box::new(|_| h2::frame(0, 0, 1, &[]))),
        ("SETTINGS", "settings_per_second", Vec::new(), Box::new(|_| h2::frame(4, 0, 0, &[]))),
        ("PING", "pings_per_second", Vec::new(), Box::new(|_| h2::frame(6, 0, 0, &[0; 8]))),
        (
            "PRIORITY",
            "ignored_frames_per_second",
            open,
            Box::new(move |_| {
                let _ = &empty;
                h2::frame(2, 0, 1, &[0, 0, 0, 0, 1])
            }),
        ),
    ]
}

#[test]
fn floods_of_frames_end_their_connection_and_are_counted_and_said() {
    let house = House::open();
    let at = house.callee.mesh;
    house.calmly_under(16 * MIB, || {
        Again::and_again(move || {
            for (what, _, first, make) in floods() {
                assert_eq!(flood(at, &first, 100_000, make), Some(h2::CALM), "{what}");
            }
        })
    });
    for (_, limit, ..) in floods() {
        counted_and_said(&house.callee, limit);
    }
}

/// Two hundred fields are let through, one more is answered 431; so are more bytes than the list may have.
#[test]
fn header_lists_at_the_limit_pass_and_beyond_it_are_refused_and_counted() {
    let house = House::open();
    let list = move |fields: usize, bytes: usize| {
        let more = (0..fields).flat_map(|n| h2::literal(&format!("x-{n}"), &vec![b'v'; bytes]));
        h2::call_head().into_iter().chain(more).collect::<Vec<u8>>()
    };
    let at = house.callee.mesh;
    let send = move |block: &[u8]| {
        let mut stream = connect(at);
        let mut parts = block.chunks(16_384);
        let mut bytes = [h2::HELLO, &h2::frame(1, 0, 1, parts.next().unwrap())].concat();
        parts.for_each(|part| bytes.extend(h2::frame(9, 0, 1, part)));
        bytes.extend(h2::frame(9, 4, 1, &[]));
        bytes.extend(h2::frame(0, 1, 1, &[]));
        stream.write_all(&bytes).unwrap();
        answered(&mut stream)
    };
    house.calmly_under(16 * MIB, || {
        Again::and_again(move || assert!(!contains(&send(&list(190, 200)), b"431"), "within the limits"))
    });
    assert_eq!(house.callee.reached("header_list"), 0);
    for block in [list(300, 1), list(150, 420)] {
        assert!(contains(&send(&block), b"431"), "beyond the limits");
    }
    counted_and_said(&house.callee, "header_list");
}

/// The frames up to the end of the first answer.
fn answered(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 16 << 10]);
    while !contains(&all, b"grpc-status") {
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => all.extend_from_slice(&buffer[..n]),
            _ => break,
        }
    }
    all
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[test]
fn heads_beyond_the_limit_are_refused_and_counted() {
    let house = House::open();
    let head = format!(
        "GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(80 << 10)
    );
    let (to, head) = (house.caller.http, std::sync::Arc::new(head));
    house.calmly_under(16 * MIB, || {
        let head = std::sync::Arc::clone(&head);
        Again::and_again(move || {
            let mut stream = connect(to);
            let _ = stream.write_all(head.as_bytes()); // it may be refused before its end
            let mut line = [0; 12];
            stream.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"HTTP/1.1 431");
        })
    });
    counted_and_said(&house.caller, "request_head");
}

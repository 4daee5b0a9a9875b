//! Attacks by those who say or take too little: heads and bodies at a trickle, answers that nobody reads, connections
//! that do nothing. See [`crate::house`] for what other clients may feel of it.

use crate::house::{Again, House, KIB, MIB, connect, counted_and_said};
use crate::raw::PATIENCE;
use rig::load::connect_narrow;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Connections that say `begin`, and then a byte of `slow` now and then.
fn drips(to: SocketAddr, count: usize, begin: &str, slow: &'static [u8]) -> Again {
    let mut open: Vec<TcpStream> = (0..count).map(|_| connect(to)).collect();
    open.iter_mut().for_each(|stream| stream.write_all(begin.as_bytes()).unwrap());
    let mut bytes = slow.iter().cycle();
    Again::every(Duration::from_millis(200), move || {
        let byte = bytes.next().copied().unwrap_or(b'x');
        open.retain_mut(|stream| stream.write_all(&[byte]).is_ok());
    })
}

#[test]
fn slow_heads_end_in_time_and_are_counted_and_said() {
    let house = House::open();
    let begin = "GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nX: ";
    house.calmly_under(16 * MIB, || drips(house.caller.http, 200, begin, b"slow"));
    let _drips = drips(house.caller.http, 20, begin, b"slow");
    counted_and_said(&house.caller, "head_time");
}

#[test]
fn slow_bodies_keep_nobody_else_waiting() {
    let house = House::open();
    let head = "POST /v1.0/invoke/callee/method/sum HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    house.calmly_under(16 * MIB + 300 * 64 * KIB, || drips(house.caller.http, 300, head, b"slow"));
}

/// What clients that do not read may cost each side, for each call: its window, what its socket did not take yet, a piece
/// on the way, and what it consists of (in a debug build); and once the growth of windows and receive buffers.
fn of_readers(count: u64) -> u64 {
    32 * MIB + count * (64 * KIB + 64 * KIB + 16 * KIB + 64 * KIB)
}

/// Connections that ask for so many bytes, and whose answers have begun.
fn asking(to: SocketAddr, count: usize, bytes: u64) -> Vec<TcpStream> {
    let head = format!("GET /v1.0/invoke/callee/method/bytes/{bytes} HTTP/1.1\r\nHost: a\r\n\r\n");
    let ask = |_| {
        let mut stream = connect_narrow(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let mut all: Vec<TcpStream> = (0..count).map(ask).collect();
    for stream in &mut all {
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"HTTP/1.1 200");
    }
    all
}

#[test]
fn clients_that_never_read_are_kept_within_the_limits() {
    let house = House::open();
    house.calmly_under(of_readers(100), || asking(house.caller.http, 100, 64 * MIB));
}

/// Clients that ask for so many bytes and take 20 KiB a second of them.
fn trickle(to: SocketAddr, count: usize, bytes: u64) -> Again {
    let mut open = asking(to, count, bytes);
    open.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    let mut buffer = [0; 1024];
    Again::every(Duration::from_millis(50), move || {
        open.retain_mut(|stream| match stream.read(&mut buffer) {
            Ok(n) => n > 0,
            Err(e) => e.kind() == ErrorKind::WouldBlock,
        });
    })
}

#[test]
fn hundreds_of_readers_of_a_gigabyte_at_a_trickle_are_kept_within_the_limits() {
    let house = House::open();
    house.calmly_under(of_readers(300), || trickle(house.caller.http, 300, 1 << 30));
}

#[test]
#[ignore = "the 1,000 readers that the requirement names"]
fn a_thousand_readers_of_a_gigabyte_at_a_trickle_are_kept_within_the_limits() {
    let mut house = House::open();
    house.onset = 800;
    house.calmly_under(of_readers(1_000), || trickle(house.caller.http, 1_000, 1 << 30));
}

#[test]
fn idle_connections_cost_little_and_keep_nobody_waiting() {
    idle(1_000);
}

#[test]
#[ignore = "the 10,000 connections that the requirement names"]
fn ten_thousand_idle_connections_cost_little_and_keep_nobody_waiting() {
    idle(10_000);
}

/// Connections that carried one request.
fn idle(count: usize) {
    let house = House::open();
    house.calmly_under(8 * MIB + count as u64 * 24 * KIB, || {
        let used = |_| {
            let mut stream = connect(house.caller.http);
            stream.write_all(b"GET /v1.0/healthz/outbound HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut line = [0; 12];
            stream.read_exact(&mut line).unwrap();
            stream
        };
        (0..count).map(used).collect::<Vec<_>>()
    });
}

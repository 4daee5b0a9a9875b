//! Attacks on memory and time: other clients are served meanwhile, memory stays within a budget that follows from the
//! limits, and each limit is counted and named in the log.

use crate::h2;
use crate::raw::PATIENCE;
use rig::echo::Echo;
use rig::ground::{Ground, Member, resident};
use rig::load::{Load, connect_narrow};
use rig::machine::Account;
use rig::wait;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Calls a second of the other clients.
const RATE: u32 = 200;
/// Rounds without and with the attack, where their times are judged.
const ROUNDS: usize = 5;
/// How long a round takes at least.
const ROUND: Duration = Duration::from_millis(1500);

/// One attack at a time: the machine may be small.
static TURN: Mutex<()> = Mutex::new(());

struct House {
    caller: Member,
    callee: Member,
    load: Load,
    _app: Echo,
    _ground: Ground,
    _turn: MutexGuard<'static, ()>,
}

impl House {
    fn open() -> House {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let ground = Ground::new(rig::outrigger!());
        let app = Echo::start("one");
        let more = ["--no-mtls", "--max-body-size", "2Gi"];
        let callee = ground.start("callee", Some(app.port()), &more);
        ground.await_registered("callee", 1);
        let caller = ground.start("caller", None, &more);
        let load = Load::start(caller.http, "callee", 4, RATE);
        load.await_more(200);
        House { caller, callee, load, _app: app, _ground: ground, _turn: turn }
    }

    fn memory(&self) -> [u64; 2] {
        [&self.caller, &self.callee].map(|member| resident(member.data_plane()))
    }

    /// The 99th percentile of the other clients' calls in the time of one round.
    fn p99(&self) -> Duration {
        self.load.latencies();
        thread::sleep(ROUND); // a round
        let all = self.load.latencies();
        all.get(all.len() * 99 / 100).copied().unwrap_or(PATIENCE)
    }

    /// One round without and one with the attack: other clients' calls are all answered, and memory grows by no more
    /// than `budget` bytes.
    fn under<T>(&self, budget: u64, attack: impl FnMut() -> T) {
        self.rounds(1, budget, attack);
    }

    /// Rounds without and with the attack in turn; what the attack leaves running ends with each of its rounds.
    fn rounds<T>(&self, rounds: usize, budget: u64, mut attack: impl FnMut() -> T) -> [Duration; 2] {
        let before = self.memory();
        let (mut quiet, mut loud, mut most) = (Vec::new(), Vec::new(), before);
        for _ in 0..rounds {
            quiet.push(self.p99());
            let running = attack();
            loud.push(self.p99());
            most = std::array::from_fn(|i| most[i].max(self.memory()[i]));
            drop(running);
        }
        let tally = self.load.tally();
        assert!(tally.is_clean(), "other clients: {tally:?}");
        let grown: [u64; 2] = std::array::from_fn(|i| most[i].saturating_sub(before[i]));
        let [quiet, loud] = [quiet, loud].map(median);
        println!(
            "memory of caller and callee grew by {:?} KiB of {} KiB",
            grown.map(|n| n / KIB),
            budget / KIB
        );
        println!("p99 of other clients {quiet:?} without and {loud:?} with the attack");
        assert!(grown.iter().all(|grown| *grown <= budget), "grown by {grown:?}, budget {budget}");
        [quiet, loud]
    }

    /// As [`House::under`], and other clients wait at most twice as long.
    fn calmly_under<T>(&self, budget: u64, attack: impl FnMut() -> T) {
        let machine = Account::now();
        let [quiet, loud] = self.rounds(ROUNDS, budget, attack);
        let bound = machine.stretched(quiet * 2);
        assert!(loud <= bound, "p99 {quiet:?} without, {loud:?} with the attack");
    }
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}

/// The limit was counted, and a line names it.
fn counted_and_said(member: &Member, limit: &str) {
    wait::until(PATIENCE, &format!("{limit} counted"), || member.reached(limit) > 0);
    let line = format!("limit {limit} reached");
    wait::until(PATIENCE, &format!("a line with {line}"), || member.sidecar.output().contains(&line));
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

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
    house.under(16 * MIB, || {
        for (what, _, first, make) in floods() {
            assert_eq!(flood(at, &first, 100_000, make), Some(h2::CALM), "{what}");
        }
    });
    for (_, limit, ..) in floods() {
        counted_and_said(&house.callee, limit);
    }
}

/// Two hundred fields are let through, one more is answered 431; so are more bytes than the list may have.
#[test]
fn header_lists_at_the_limit_pass_and_beyond_it_are_refused_and_counted() {
    let house = House::open();
    let list = |fields: usize, bytes: usize| {
        let more = (0..fields).flat_map(|n| h2::literal(&format!("x-{n}"), &vec![b'v'; bytes]));
        h2::call_head().into_iter().chain(more).collect::<Vec<u8>>()
    };
    let send = |block: &[u8]| {
        let mut stream = connect(house.callee.mesh);
        let mut parts = block.chunks(16_384);
        let mut bytes = [h2::HELLO, &h2::frame(1, 0, 1, parts.next().unwrap())].concat();
        parts.for_each(|part| bytes.extend(h2::frame(9, 0, 1, part)));
        bytes.extend(h2::frame(9, 4, 1, &[]));
        bytes.extend(h2::frame(0, 1, 1, &[]));
        stream.write_all(&bytes).unwrap();
        answered(&mut stream)
    };
    house.under(16 * MIB, || {
        for _ in 0..20 {
            assert!(!contains(&send(&list(190, 200)), b"431"), "within the limits");
        }
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

/// Connections that say a byte of `slow` now and then, until this is dropped.
struct Drips {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drips {
    fn start(to: SocketAddr, count: usize, begin: &str, slow: &'static [u8]) -> Drips {
        let mut open: Vec<TcpStream> = (0..count).map(|_| connect(to)).collect();
        open.iter_mut().for_each(|stream| stream.write_all(begin.as_bytes()).unwrap());
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for byte in slow.iter().cycle() {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                open.retain_mut(|stream| stream.write_all(&[*byte]).is_ok());
                thread::sleep(Duration::from_millis(200)); // that is the attack
            }
        });
        Drips { stop, thread: Some(thread) }
    }
}

impl Drop for Drips {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn slow_heads_end_in_time_and_are_counted_and_said() {
    let house = House::open();
    let to = house.caller.http;
    let drips = Drips::start(to, 200, "GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nX: ", b"slow");
    house.under(16 * MIB, || ());
    counted_and_said(&house.caller, "head_time");
    drop(drips);
}

#[test]
fn slow_bodies_keep_nobody_else_waiting() {
    let house = House::open();
    let head = "POST /v1.0/invoke/callee/method/sum HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    house.under(24 * MIB, || Drips::start(house.caller.http, 100, head, b"slow"));
}

#[test]
fn heads_beyond_the_limit_are_refused_and_counted() {
    let house = House::open();
    let head = format!(
        "GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(80 << 10)
    );
    house.under(16 * MIB, || {
        for _ in 0..20 {
            let mut stream = connect(house.caller.http);
            let _ = stream.write_all(head.as_bytes()); // it may be refused before its end
            let mut line = [0; 12];
            stream.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"HTTP/1.1 431");
        }
    });
    counted_and_said(&house.caller, "request_head");
}

/// Connections that ask for so many bytes and read nothing.
fn deaf(to: SocketAddr, count: usize, bytes: u64) -> Vec<TcpStream> {
    let head = format!("GET /v1.0/invoke/callee/method/bytes/{bytes} HTTP/1.1\r\nHost: a\r\n\r\n");
    let ask = |_| {
        let mut stream = connect_narrow(to).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    (0..count).map(ask).collect()
}

/// What clients that do not read may cost each side: the growth of windows, and for each call what a stream may keep unsent,
/// its window, and what it consists of (in a debug build).
fn of_readers(count: u64) -> u64 {
    16 * MIB + count * (64 * KIB + 128 * KIB + 64 * KIB)
}

#[test]
fn clients_that_never_read_are_kept_within_the_limits() {
    let house = House::open();
    house.under(of_readers(50), || deaf(house.caller.http, 50, 64 * MIB));
}

#[test]
fn idle_connections_cost_little_and_keep_nobody_waiting() {
    idle(1_000, |house, budget| {
        house.under(budget, || many_idle(house, 1_000));
    });
}

#[test]
#[ignore = "the 10,000 connections that the requirement names, and what other clients feel of it"]
fn ten_thousand_idle_connections_cost_little_and_keep_nobody_waiting() {
    idle(10_000, |house, budget| house.calmly_under(budget, || many_idle(house, 10_000)));
}

fn idle(count: u64, play: impl Fn(&House, u64)) {
    let house = House::open();
    play(&house, 8 * MIB + count * 24 * KIB);
}

/// Connections that carried one request.
fn many_idle(house: &House, count: usize) -> Vec<TcpStream> {
    let used = |_| {
        let mut stream = connect(house.caller.http);
        stream.write_all(b"GET /v1.0/healthz/outbound HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).unwrap();
        stream
    };
    (0..count).map(used).collect()
}

#[test]
fn readers_at_a_trickle_are_kept_within_the_limits() {
    let house = House::open();
    house.under(of_readers(50), || Trickle::start(house.caller.http, 50, 64 * MIB));
}

#[test]
#[ignore = "fails: unread answers fill the kernel's memory for TCP (README), and the callee grows beyond the budget"]
fn a_thousand_readers_of_a_gigabyte_at_a_trickle_are_kept_within_the_limits() {
    let house = House::open();
    house.calmly_under(of_readers(1_000), || Trickle::start(house.caller.http, 1_000, 1 << 30));
}

/// Readers that take a little now and then, until this is dropped.
struct Trickle {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Trickle {
    fn start(to: SocketAddr, count: usize, bytes: u64) -> Trickle {
        let mut open = deaf(to, count, bytes);
        open.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 1024];
            while !seen.load(Ordering::Relaxed) {
                open.retain_mut(|stream| match stream.read(&mut buffer) {
                    Ok(n) => n > 0,
                    Err(e) => e.kind() == ErrorKind::WouldBlock,
                });
                thread::sleep(Duration::from_millis(50)); // that is the attack
            }
        });
        Trickle { stop, thread: Some(thread) }
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

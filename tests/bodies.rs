//! Bodies much larger than the memory that a sidecar may take for them.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::echo::{Echo, read_body, read_head};
use rig::ground::{Ground, Member, resident};
use rig::http1::body::Framing;
use rig::pattern::{self, Check};
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// What passes in a run that nobody waits for.
const LARGE: u64 = 256 * MIB;
/// What the requirement names.
const HUGE: u64 = 10 << 30;
/// Most memory above the idle value.
const ROOM: u64 = 8 * MIB;
/// Longest wait for bytes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One transfer at a time: the machine may be small.
static TURN: Mutex<()> = Mutex::new(());

struct House {
    caller: Member,
    callee: Member,
    _app: Echo,
    _ground: Ground,
    _turn: MutexGuard<'static, ()>,
}

impl House {
    fn open() -> House {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let ground = Ground::new(rig::outrigger!());
        let app = Echo::start("one");
        let more = ["--max-body-size", "16Gi"];
        let callee = ground.start("callee", Some(app.port()), &more);
        ground.await_registered("callee", 1);
        let caller = ground.start("caller", None, &more);
        let house = House { caller, callee, _app: app, _ground: ground, _turn: turn };
        // What is mapped and allocated once, whatever the size, counts as idle.
        house.up(MIB);
        house.down(MIB, Duration::ZERO);
        house
    }

    fn connect(&self, head: String) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.caller.http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        BufReader::with_capacity(64 << 10, stream)
    }

    /// A request's body of so many bytes, compared by the app.
    fn up(&self, length: u64) {
        let mut stream = self.connect(format!(
            "POST /v1.0/invoke/callee/method/sum HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        ));
        pattern::send(stream.get_mut(), length).unwrap();
        let head = read_head(&mut stream).unwrap().unwrap();
        let mut verdict = Vec::new();
        let framing = Framing::of_response(&head, b"POST", 200);
        read_body(&mut stream, framing, |part| verdict.extend_from_slice(part)).unwrap();
        assert_eq!(String::from_utf8_lossy(&verdict), format!("{length} bytes"), "{head:?}");
    }

    /// An answer's body of so many bytes; after the first quarter the client reads nothing for a while.
    fn down(&self, length: u64, pause: Duration) {
        let mut stream = self
            .connect(format!("GET /v1.0/invoke/callee/method/bytes/{length} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = read_head(&mut stream).unwrap().unwrap();
        assert_eq!(head.word(1), b"200", "{head:?}");
        let (mut check, mut paused) = (Check::default(), false);
        read_body(&mut stream, Framing::of_response(&head, b"GET", 200), |part| {
            check.take(part);
            if check.length() > length / 4 && !std::mem::replace(&mut paused, true) {
                thread::sleep(pause); // the reader that stops is what this is about
            }
        })
        .unwrap();
        assert_eq!(check.verdict(), format!("{length} bytes"));
    }
}

/// Watches the memory of both data planes.
struct Watch {
    idle: [u64; 2],
    stop: Arc<AtomicBool>,
    thread: JoinHandle<[u64; 2]>,
}

impl Watch {
    fn begin(house: &House) -> Watch {
        let ids = [house.caller.data_plane(), house.callee.data_plane()];
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut most = [0, 0];
            while !seen.load(Ordering::Relaxed) {
                for (most, id) in most.iter_mut().zip(ids) {
                    *most = resident(id).max(*most);
                }
                thread::sleep(Duration::from_millis(10)); // between two samples
            }
            most
        });
        Watch { idle: ids.map(resident), stop, thread }
    }

    /// Neither took more than the room it has.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let most = self.thread.join().unwrap();
        for (who, idle, most) in [("caller", self.idle[0], most[0]), ("callee", self.idle[1], most[1])] {
            println!("{who}: {} KiB idle, {} KiB at most", idle >> 10, most >> 10);
            assert!(idle > 0 && most <= idle + ROOM, "{who}: {idle} idle, {most} at most");
        }
    }
}

fn in_bounded_memory(transfer: impl FnOnce(&House)) {
    let house = House::open();
    let watch = Watch::begin(&house);
    let begun = Instant::now();
    transfer(&house);
    println!("took {:?}", begun.elapsed());
    watch.end();
}

#[test]
fn a_large_request_passes_in_bounded_memory() {
    in_bounded_memory(|house| house.up(LARGE));
}

#[test]
fn a_large_answer_passes_in_bounded_memory() {
    in_bounded_memory(|house| house.down(LARGE, Duration::ZERO));
}

#[test]
fn a_client_that_stops_reading_costs_no_memory_and_gets_the_rest_later() {
    in_bounded_memory(|house| house.down(LARGE / 2, Duration::from_secs(5)));
}

#[test]
#[ignore = "10 GB each way take minutes; the same as above at the size that the requirement names"]
fn ten_gigabytes_pass_each_way_in_bounded_memory() {
    in_bounded_memory(|house| {
        house.up(HUGE);
        house.down(HUGE, Duration::ZERO);
    });
}

#[test]
#[ignore = "a whole minute of silence; the same as above for the time that the requirement names"]
fn a_client_that_stops_reading_for_a_minute_costs_no_memory() {
    in_bounded_memory(|house| house.down(LARGE, Duration::from_secs(60)));
}

//! Two sidecars and an app under attack, and the other clients of theirs: what each side's memory grows by, and how long
//! the others wait meanwhile.

use crate::raw::PATIENCE;
use rig::echo::Echo;
use rig::ground::{Ground, Member, resident};
use rig::load::Load;
use rig::machine::Account;
use rig::wait;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
/// Calls a second of the other clients.
const RATE: u32 = 200;
/// Windows without and with the attack, in turn.
const ROUNDS: usize = 3;
/// How long a window takes.
const WINDOW: Duration = Duration::from_millis(1200);
/// What a busy machine's scheduler may add to any call, beyond the part of its time that others take; and in a debug
/// build, how long a turn of a shard may take that serves some hundred bodies.
const NOISE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 50 } else { 10 });

/// One attack at a time: the machine may be small.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) struct House {
    pub(crate) caller: Member,
    pub(crate) callee: Member,
    /// Calls of the others after an attack began, before they are judged: its onset moves what sockets and windows take.
    pub(crate) onset: u64,
    load: Load,
    _app: Echo,
    _ground: Ground,
    _turn: MutexGuard<'static, ()>,
}

impl House {
    pub(crate) fn open() -> House {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let ground = Ground::new(rig::outrigger!());
        let app = Echo::start("one");
        let more = ["--no-mtls", "--max-body-size", "2Gi"];
        let callee = ground.start("callee", Some(app.port()), &more);
        ground.await_registered("callee", 1);
        let caller = ground.start("caller", None, &more);
        let load = Load::start(caller.http, "callee", 4, RATE);
        load.await_more(200);
        House { caller, callee, onset: u64::from(RATE) / 2, load, _app: app, _ground: ground, _turn: turn }
    }

    fn memory(&self) -> [u64; 2] {
        [&self.caller, &self.callee].map(|member| resident(member.data_plane()))
    }

    /// The times of the other clients' calls within one window.
    fn window(&self) -> Vec<Duration> {
        self.load.latencies();
        thread::sleep(WINDOW); // what is measured
        self.load.latencies()
    }

    /// Windows without and with the attack in turn; what `attack` leaves running ends with its window. Other clients'
    /// calls are all answered, their 99th percentile is at most doubled, and memory grows by no more than `budget`
    /// bytes on either side.
    pub(crate) fn calmly_under<T>(&self, budget: u64, mut attack: impl FnMut() -> T) {
        let (machine, before) = (Account::now(), self.memory());
        let (mut quiet, mut loud, mut most) = (Vec::new(), Vec::new(), before);
        for _ in 0..ROUNDS {
            quiet.extend(self.window());
            let running = attack();
            self.load.await_more(self.onset);
            loud.extend(self.window());
            most = std::array::from_fn(|i| most[i].max(self.memory()[i]));
            drop(running);
            self.load.await_more(20); // what the attack leaves to be cleaned up is cleaned up
        }
        let tally = self.load.tally();
        assert!(tally.is_clean(), "other clients: {tally:?}");
        let grown: [u64; 2] = std::array::from_fn(|i| most[i].saturating_sub(before[i]));
        let [quiet, loud] = [quiet, loud].map(p99);
        let bound = machine.stretched(quiet * 2 + NOISE);
        let kib = grown.map(|n| n / KIB);
        println!("memory of caller and callee grew by {kib:?} KiB of {} KiB", budget / KIB);
        println!("p99 of other clients {quiet:?} without and {loud:?} with the attack; bound {bound:?}");
        assert!(grown.iter().all(|grown| *grown <= budget), "grown by {grown:?}, budget {budget}");
        assert!(loud <= bound, "p99 {quiet:?} without, {loud:?} with the attack");
    }
}

fn p99(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all.get(all.len() * 99 / 100).copied().unwrap_or(PATIENCE)
}

/// The limit was counted, and a line names it.
pub(crate) fn counted_and_said(member: &Member, limit: &str) {
    wait::until(PATIENCE, &format!("{limit} counted"), || member.reached(limit) > 0);
    let line = format!("limit {limit} reached");
    wait::until(PATIENCE, &format!("a line with {line}"), || member.sidecar.output().contains(&line));
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Something that is done in a thread of its own until this is dropped.
pub(crate) struct Again {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Again {
    /// Does `what` at least once, and again after a short rest: the attackers must not take the processors themselves.
    pub(crate) fn and_again(what: impl FnMut() + Send + 'static) -> Again {
        Again::every(Duration::from_millis(20), what)
    }

    /// Does `what` with this time in between.
    pub(crate) fn every(pause: Duration, mut what: impl FnMut() + Send + 'static) -> Again {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            loop {
                what();
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(pause); // that is the attack
            }
        });
        Again { stop, thread: Some(thread) }
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || !matches!(ended, Some(Err(_))), "the attack went wrong");
    }
}

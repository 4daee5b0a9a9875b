//! A steady load of calls through a sidecar to the [echo](crate::echo) app, every answer compared with its question.

use crate::echo::{read_body, read_head};
use crate::http1::body::Framing;
use crate::http1::{client, head};
use crate::wait;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the calls.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Calls answered with what was sent.
    pub good: u64,
    /// Of these, by the instance that answered.
    pub by: BTreeMap<String, u64>,
    /// Calls that got no whole answer: the connection was closed, reset or refused.
    pub broken: Vec<String>,
    /// Calls answered with another status than 200: status and body.
    pub refused: Vec<(u16, String)>,
    /// Calls answered 200 with something else than what was sent.
    pub wrong: Vec<String>,
    /// How long the load has been running.
    pub time: Duration,
}

impl Tally {
    /// Whether all calls were answered as they should.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty() && self.refused.is_empty() && self.wrong.is_empty()
    }

    /// Calls answered well a second.
    pub fn rate(&self) -> f64 {
        self.good as f64 / self.time.as_secs_f64().max(f64::EPSILON)
    }

    /// Calls that failed, whichever way.
    pub fn failed(&self) -> usize {
        self.broken.len() + self.refused.len() + self.wrong.len()
    }
}

struct Shared {
    stop: AtomicBool,
    good: AtomicU64,
    tally: Mutex<Tally>,
    mark: Mutex<Mark>,
    latencies: Mutex<Vec<Duration>>,
}

/// A moment, and when the first call that began after it was answered.
#[derive(Default)]
struct Mark {
    at: Option<Instant>,
    answered: Option<Instant>,
}

/// Calls that are overdue are made as soon as answers come, but no more than those of this time.
const MOST_OVERDUE: Duration = Duration::from_secs(1);

/// A running load; it ends on drop.
pub struct Load {
    begun: Instant,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Calls `app_id` over so many kept connections, together `rate` times a second by the clock: a call that is due while
    /// another one is out on its connection follows at once.
    pub fn start(to: SocketAddr, app_id: &str, connections: u32, rate: u32) -> Load {
        Load::over(To::One(to), app_id, connections, rate)
    }

    /// As [`Load::start`], with the connections spread over several sidecars as a balancer does it: none of those that
    /// said at the last look that they are not ready, and no further call on a connection to one of these.
    pub fn balanced(to: &Balancer, app_id: &str, connections: u32, rate: u32) -> Load {
        Load::over(To::Ready(to.clone()), app_id, connections, rate)
    }

    fn over(to: To, app_id: &str, connections: u32, rate: u32) -> Load {
        let shared = Shared {
            stop: AtomicBool::new(false),
            good: AtomicU64::new(0),
            tally: Mutex::default(),
            mark: Mutex::default(),
            latencies: Mutex::default(),
        };
        let shared = Arc::new(shared);
        let (pause, begun) = (Duration::from_secs(1) * connections / rate, Instant::now());
        let thread = |n: u32| {
            let to = to.clone();
            let mut caller = Caller { to, app_id: app_id.to_owned(), number: n, sent: 0, open: None };
            let (shared, first) = (Arc::clone(&shared), begun + pause * n / connections);
            thread::spawn(move || caller.run(&shared, first, pause))
        };
        let threads = (0..connections).map(thread).collect();
        Load { begun, shared, threads }
    }

    /// Good answers so far.
    pub fn good(&self) -> u64 {
        self.shared.good.load(Ordering::Relaxed)
    }

    /// Waits for so many more good answers; panics with what failed when they do not come in time.
    pub fn await_more(&self, count: u64) {
        let goal = self.good() + count;
        let came = wait::within(Duration::from_secs(60), || (self.good() >= goal).then_some(()));
        assert!(came.is_some(), "no {count} good answers: {:?}", self.tally());
    }

    /// The times of the good answers since this was asked last, the shortest first.
    pub fn latencies(&self) -> Vec<Duration> {
        let mut all = std::mem::take(&mut *lock(&self.shared.latencies));
        all.sort();
        all
    }

    /// From now on the first good answer to a call that begins from now on is looked for.
    pub fn mark(&self) {
        *self.lock_mark() = Mark { at: Some(Instant::now()), answered: None };
    }

    /// Waits for that answer: how long after the mark it came. Panics with what failed when none comes.
    pub fn await_answer_after_mark(&self) -> Duration {
        let came = wait::within(Duration::from_secs(60), || {
            let mark = self.lock_mark();
            Some(mark.answered? - mark.at?)
        });
        came.unwrap_or_else(|| panic!("no good answer after the mark: {:?}", self.tally()))
    }

    fn lock_mark(&self) -> MutexGuard<'_, Mark> {
        self.shared.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of the calls so far.
    pub fn tally(&self) -> Tally {
        let tally = self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Tally { good: self.good(), time: self.begun.elapsed(), ..tally.clone() }
    }

    /// Ends after the calls in flight.
    pub fn stop(mut self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("no caller panicked");
        }
        self.tally()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
enum To {
    One(SocketAddr),
    Ready(Balancer),
}

impl To {
    /// Where a call goes that stayed at `last` before.
    fn choose(&self, last: Option<SocketAddr>, number: u32) -> io::Result<SocketAddr> {
        match self {
            To::One(address) => Ok(*address),
            To::Ready(balancer) => balancer.choose(last, number),
        }
    }
}

/// Sidecars and which of them are ready, as their `/v1.0/healthz` says, looked at all the time until the last clone is
/// dropped.
#[derive(Clone)]
pub struct Balancer(Arc<Mutex<Vec<(SocketAddr, bool)>>>);

impl Balancer {
    /// Time between two looks.
    const LOOK: Duration = Duration::from_millis(20);

    /// Watches these.
    pub fn watch(all: &[SocketAddr]) -> Balancer {
        let shared = Arc::new(Mutex::new(all.iter().map(|to| (*to, true)).collect::<Vec<_>>()));
        let watched = Arc::downgrade(&shared);
        thread::spawn(move || {
            while let Some(shared) = watched.upgrade() {
                let all: Vec<SocketAddr> = lock(&shared).iter().map(|(to, _)| *to).collect();
                for to in all {
                    let ready = client::status(to, "/v1.0/healthz") == Some(204);
                    lock(&shared).iter_mut().filter(|place| place.0 == to).for_each(|place| place.1 = ready);
                }
                drop(shared);
                thread::sleep(Self::LOOK);
            }
        });
        Balancer(shared)
    }

    /// Another sidecar takes the place of one that is gone.
    pub fn replace(&self, gone: SocketAddr, by: SocketAddr) {
        lock(&self.0).iter_mut().filter(|place| place.0 == gone).for_each(|place| *place = (by, true));
    }

    fn choose(&self, last: Option<SocketAddr>, number: u32) -> io::Result<SocketAddr> {
        let all = lock(&self.0);
        let ready: Vec<SocketAddr> = all.iter().filter(|place| place.1).map(|place| place.0).collect();
        let stays = last.filter(|last| ready.contains(last));
        let fresh = || ready.get(number as usize % ready.len().max(1)).copied();
        stays.or_else(fresh).ok_or_else(|| io::Error::other("no sidecar is ready"))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Caller {
    to: To,
    app_id: String,
    number: u32,
    sent: u64,
    open: Option<(SocketAddr, BufReader<TcpStream>)>,
}

struct Answer {
    status: u16,
    instance: String,
    body: Vec<u8>,
}

impl Caller {
    fn run(&mut self, shared: &Shared, first: Instant, pause: Duration) {
        let mut due = first;
        while !shared.stop.load(Ordering::Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let begun = Instant::now();
            due = (due + pause).max(begun.checked_sub(MOST_OVERDUE).unwrap_or(begun));
            self.sent += 1;
            let question = format!("call {} of {}", self.sent, self.number);
            let answer = self.call(question.as_bytes());
            if answer.is_err() {
                self.open = None;
            }
            if note(shared, &question, answer) {
                lock(&shared.latencies).push(begun.elapsed());
                shared.answered(begun);
            }
        }
    }

    fn call(&mut self, question: &[u8]) -> io::Result<Answer> {
        let to = self.to.choose(self.open.as_ref().map(|open| open.0), self.number)?;
        let open = match self.open.take() {
            Some((at, open)) if at == to => open,
            _ => connect(to)?,
        };
        let (_, open) = self.open.insert((to, open));
        let head = format!(
            "POST /v1.0/invoke/{}/method/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            self.app_id,
            question.len()
        );
        open.get_mut().write_all(&[head.as_bytes(), question].concat())?;
        let Some(head) = read_head(open)? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let status = String::from_utf8_lossy(head.word(1)).parse().unwrap_or(0);
        let mut body = Vec::new();
        read_body(open, Framing::of_response(&head, b"POST", status), |part| body.extend_from_slice(part))?;
        let text = |name| String::from_utf8_lossy(head.value(name).unwrap_or_default()).into_owned();
        let instance = text("instance");
        if head::value(&head.headers, "connection").is_some_and(|v| v.eq_ignore_ascii_case(b"close")) {
            self.open = None;
        }
        Ok(Answer { status, instance, body })
    }
}

/// A connection whose receiving side takes little beyond what is read, so that a reader that stops is noticed soon.
///
/// # Errors
/// It cannot be made.
pub fn connect_narrow(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.set_recv_buffer_size(32 << 10)?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

fn connect(to: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

impl Shared {
    /// A call that began then was answered well now.
    fn answered(&self, begun: Instant) {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if mark.answered.is_none() && mark.at.is_some_and(|at| begun >= at) {
            mark.answered = Some(Instant::now());
        }
    }
}

/// Counts an answer; whether it was a good one.
fn note(shared: &Shared, question: &str, answer: io::Result<Answer>) -> bool {
    let mut tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
    match answer {
        Err(error) => tally.broken.push(error.to_string()),
        Ok(Answer { status: 200, body, instance }) if body == question.as_bytes() => {
            *tally.by.entry(instance).or_default() += 1;
            shared.good.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        Ok(Answer { status, body, .. }) => {
            let body = String::from_utf8_lossy(&body).into_owned();
            match status {
                200 => tally.wrong.push(format!("{question}: {body}")),
                _ => tally.refused.push((status, body)),
            }
        }
    }
    false
}

//! A steady load of calls through a sidecar to the [echo](crate::echo) app, every answer compared with its question.

use crate::echo::{read_body, read_head};
use crate::http1::body::Framing;
use crate::http1::head;
use crate::wait;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
}

impl Tally {
    /// Whether all calls were answered as they should.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty() && self.refused.is_empty() && self.wrong.is_empty()
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
}

/// A running load; it ends on drop.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Calls `app_id` over so many kept connections, together `rate` times a second or as often as answers come.
    pub fn start(to: SocketAddr, app_id: &str, connections: u32, rate: u32) -> Load {
        let shared =
            Shared { stop: AtomicBool::new(false), good: AtomicU64::new(0), tally: Mutex::default() };
        let shared = Arc::new(shared);
        let pause = Duration::from_secs(1) * connections / rate;
        let thread = |n: u32| {
            let mut caller = Caller { to, app_id: app_id.to_owned(), number: n, sent: 0, open: None };
            let shared = Arc::clone(&shared);
            thread::spawn(move || caller.run(&shared, pause))
        };
        let threads = (0..connections).map(thread).collect();
        Load { shared, threads }
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

    /// What became of the calls so far.
    pub fn tally(&self) -> Tally {
        let tally = self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Tally { good: self.good(), ..tally.clone() }
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

struct Caller {
    to: SocketAddr,
    app_id: String,
    number: u32,
    sent: u64,
    open: Option<BufReader<TcpStream>>,
}

struct Answer {
    status: u16,
    instance: String,
    body: Vec<u8>,
}

impl Caller {
    fn run(&mut self, shared: &Shared, pause: Duration) {
        while !shared.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            self.sent += 1;
            let question = format!("call {} of {}", self.sent, self.number);
            let answer = self.call(question.as_bytes());
            if answer.is_err() {
                self.open = None;
            }
            note(shared, &question, answer);
            thread::sleep(pause.saturating_sub(begun.elapsed()));
        }
    }

    fn call(&mut self, question: &[u8]) -> io::Result<Answer> {
        let open = match self.open.take() {
            Some(open) => open,
            None => connect(self.to)?,
        };
        let open = self.open.insert(open);
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

fn connect(to: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

fn note(shared: &Shared, question: &str, answer: io::Result<Answer>) {
    let mut tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
    match answer {
        Err(error) => tally.broken.push(error.to_string()),
        Ok(Answer { status: 200, body, instance }) if body == question.as_bytes() => {
            *tally.by.entry(instance).or_default() += 1;
            shared.good.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Answer { status, body, .. }) => {
            let body = String::from_utf8_lossy(&body).into_owned();
            match status {
                200 => tally.wrong.push(format!("{question}: {body}")),
                _ => tally.refused.push((status, body)),
            }
        }
    }
}

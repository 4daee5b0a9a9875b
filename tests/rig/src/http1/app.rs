//! The scripted raw-byte app.

use super::body::{self, Body, Framing};
use super::head::Head;
use super::script::{End, Step};
use super::wire::{Arrived, Duplex, Wire};
use crate::wait;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// How long a request's body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// How long a held connection is held at most.
const HOLD_LIMIT: Duration = Duration::from_secs(30);
/// How long an idle connection is kept.
const IDLE_LIMIT: Duration = Duration::from_secs(600);

/// What the app does with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What to send.
    pub steps: Vec<Step>,
    /// Play as soon as the head is in, before the body.
    pub at_head: bool,
    /// Whether to read the body at all.
    pub read: bool,
}

impl Answer {
    /// These bytes after the request was read; the connection stays open.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Answer {
        Answer::steps(vec![Step::Bytes(bytes.as_ref().to_vec())])
    }

    /// These steps after the request was read.
    pub fn steps(steps: Vec<Step>) -> Answer {
        Answer { steps, at_head: false, read: true }
    }

    /// A status with a text.
    pub fn text(status: u16, text: &str) -> Answer {
        Answer::bytes(format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        ))
    }

    /// The recordings' default answer.
    fn hello(method: &[u8]) -> Answer {
        let body = if method == b"HEAD" { "" } else { "hello" };
        Answer::bytes(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n{body}"
        ))
    }
}

/// A request as it reached the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saw {
    /// Start line and header lines.
    pub head: Head,
    /// How the body was delimited.
    pub framing: Framing,
    /// The body as far as it was read.
    pub body: Body,
    /// Whether the app never read the body.
    pub unread: bool,
    /// Whether the sidecar closed or reset the connection before the app was done.
    pub left: bool,
    /// When the head was complete.
    pub at: Instant,
    /// When the app was done with it.
    pub done: Instant,
    /// Which connection, from 1.
    pub connection: usize,
    /// Whether the connection had carried a request before.
    pub reused: bool,
}

impl Saw {
    /// The method.
    pub fn method(&self) -> String {
        String::from_utf8_lossy(self.head.word(0)).into_owned()
    }

    /// The target.
    pub fn target(&self) -> String {
        String::from_utf8_lossy(self.head.word(1)).into_owned()
    }
}

/// Most requests that were in work at once. A request that ended while another began is not counted twice: the app
/// learns of a cancelled request a little later than the sidecar's slot is free.
pub fn peak(saw: &[Saw]) -> usize {
    const SLACK: Duration = Duration::from_millis(30);
    let in_work_at =
        |at: Instant| saw.iter().filter(|s| s.at <= at && (s.at == at || s.done > at + SLACK)).count();
    saw.iter().map(|s| in_work_at(s.at)).max().unwrap_or(0)
}

/// Certificate chain (DER) and key for an app that speaks TLS.
pub type Tls = Arc<rustls::ServerConfig>;

#[derive(Default)]
struct State {
    round: u64,
    script: Vec<Answer>,
    served: usize,
    saw: Vec<Option<Saw>>,
    in_work: usize,
    connections: usize,
    open: Vec<(usize, TcpStream, bool)>,
    health: Option<(String, u16)>,
    probes: Vec<Head>,
    stopped: bool,
}

/// A listening app. Each connection has a thread; all end with the app.
pub struct App {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl App {
    /// Starts an app on a free loopback port.
    pub fn start() -> App {
        App::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None)
    }

    /// Starts an app at this address; with `tls` it speaks TLS.
    pub fn start_at(address: SocketAddr, tls: Option<Tls>) -> App {
        let listener =
            TcpListener::bind(address).unwrap_or_else(|e| panic!("the app cannot bind {address}: {e}"));
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || accept(&listener, &shared, tls.as_ref()));
        App { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Scripts the next requests: answer n belongs to request n, the last one repeats. Forgets what was seen.
    pub fn script(&self, answers: Vec<Answer>) {
        let mut state = lock(&self.state);
        state.round += 1;
        state.script = answers;
        state.served = 0;
        state.saw.clear();
    }

    /// The requests seen since the last script, in order, once none is in work (or `limit` has passed).
    pub fn saw(&self, limit: Duration) -> Vec<Saw> {
        wait::within(limit, || (lock(&self.state).in_work == 0).then_some(()));
        lock(&self.state).saw.iter().flatten().cloned().collect()
    }

    /// How many requests arrived since the last script, finished or not.
    pub fn arrived(&self) -> usize {
        lock(&self.state).saw.len()
    }

    /// Answers requests for `path` with `status`, outside the script.
    pub fn answer_health(&self, path: &str, status: u16) {
        lock(&self.state).health = Some((path.to_owned(), status));
    }

    /// The health probes since the start.
    pub fn probes(&self) -> Vec<Head> {
        lock(&self.state).probes.clone()
    }

    /// Closes all idle connections and waits until the sidecar has seen it.
    pub fn drop_connections(&self) {
        let idle = |state: &State| state.open.iter().filter(|(.., busy)| !busy).count();
        for (_, stream, _) in lock(&self.state).open.iter().filter(|(.., busy)| !busy) {
            let _ = stream.shutdown(Shutdown::Write);
        }
        wait::within(Duration::from_secs(1), || (idle(&lock(&self.state)) == 0).then_some(()));
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        for (_, stream, _) in &state.open {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no thread of the app panicked")
}

fn accept(listener: &TcpListener, state: &Arc<Mutex<State>>, tls: Option<&Tls>) {
    for stream in listener.incoming() {
        if lock(state).stopped {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (state, tls) = (Arc::clone(state), tls.cloned());
        thread::spawn(move || match tls {
            None => serve(stream, &state),
            Some(config) => serve_tls(stream, config, &state),
        });
    }
}

fn serve_tls(stream: TcpStream, config: Tls, state: &Mutex<State>) {
    let session = rustls::ServerConnection::new(config).expect("a server session");
    serve(rustls::StreamOwned::new(session, stream), state);
}

fn serve(stream: impl Duplex + 'static, state: &Mutex<State>) {
    let Ok(handle) = stream.tcp().try_clone() else { return };
    let mut wire = Wire::new(stream);
    let number = {
        let mut state = lock(state);
        state.connections += 1;
        let number = state.connections;
        state.open.push((number, handle, false));
        number
    };
    let mut reused = false;
    while let Some(head) = next_head(&mut wire) {
        set_busy(state, number, true);
        let keep = request(&mut wire, state, head, number, reused);
        set_busy(state, number, false);
        reused = true;
        match keep {
            After::Keep => (),
            After::Close => break,
            After::Reset => {
                forget(state, number);
                return wire.reset();
            }
        }
    }
    forget(state, number);
}

fn set_busy(state: &Mutex<State>, number: usize, busy: bool) {
    lock(state).open.iter_mut().filter(|(n, ..)| *n == number).for_each(|c| c.2 = busy);
}

fn forget(state: &Mutex<State>, number: usize) {
    lock(state).open.retain(|(n, ..)| *n != number);
}

fn next_head(wire: &mut Wire) -> Option<Head> {
    let by = Instant::now() + IDLE_LIMIT;
    loop {
        if let Some((head, length)) = Head::parse(&wire.unread) {
            wire.take(length);
            return Some(head);
        }
        if wire.fill(by) != Arrived::Bytes {
            return None;
        }
    }
}

enum After {
    Keep,
    Close,
    Reset,
}

fn request(wire: &mut Wire, state: &Mutex<State>, head: Head, connection: usize, reused: bool) -> After {
    if let Some(status) = probed(state, &head) {
        let _ = wire.send(format!("HTTP/1.1 {status} Health\r\nContent-Length: 0\r\n\r\n").as_bytes());
        return After::Keep;
    }
    let framing = Framing::of_request(&head);
    let mut saw = Saw {
        framing,
        head,
        body: Body::default(),
        unread: false,
        left: false,
        at: Instant::now(),
        done: Instant::now(),
        connection,
        reused,
    };
    let (round, index, answer) = begin(state, &saw.head);
    let after = exchange(wire, &answer, &mut saw);
    saw.done = Instant::now();
    let mut state = lock(state);
    state.in_work -= 1;
    if state.round == round {
        state.saw[index] = Some(saw);
    }
    after
}

fn probed(state: &Mutex<State>, head: &Head) -> Option<u16> {
    let mut state = lock(state);
    let (path, status) = state.health.clone()?;
    if head.word(1) != path.as_bytes() {
        return None;
    }
    state.probes.push(head.clone());
    Some(status)
}

fn begin(state: &Mutex<State>, head: &Head) -> (u64, usize, Answer) {
    let mut state = lock(state);
    let index = state.served;
    state.served += 1;
    state.saw.push(None);
    state.in_work += 1;
    let scripted = state.script.get(index).or(state.script.last()).cloned();
    (state.round, index, scripted.unwrap_or_else(|| Answer::hello(head.word(0))))
}

fn exchange(wire: &mut Wire, answer: &Answer, saw: &mut Saw) -> After {
    if answer.at_head {
        let after = play(wire, &answer.steps, saw);
        if !matches!(after, After::Keep) {
            saw.unread = !answer.read;
            return after;
        }
    }
    saw.unread = !answer.read;
    if answer.read && !read_body(wire, saw) {
        return After::Close;
    }
    if answer.at_head { After::Keep } else { play(wire, &answer.steps, saw) }
}

/// Reads the body; `false` when the connection ended inside it.
fn read_body(wire: &mut Wire, saw: &mut Saw) -> bool {
    saw.body = body::read(wire, saw.framing, Instant::now() + BODY_LIMIT);
    saw.left |= saw.body.cut.is_some();
    saw.body.cut.is_none()
}

fn play(wire: &mut Wire, steps: &[Step], saw: &mut Saw) -> After {
    for step in steps {
        match step {
            Step::Bytes(bytes) => saw.left |= wire.send(bytes).is_err(),
            Step::Wait(time) => saw.left |= waits(wire, *time),
            Step::End(End::Hold) => saw.left |= wire.is_left_within(HOLD_LIMIT),
            Step::End(End::HalfClose) => wire.half_close(),
            Step::End(End::Reset) => return After::Reset,
            Step::AwaitInterim | Step::AwaitResponse => panic!("an app awaits nothing"),
            Step::End(End::Close) => (),
        }
    }
    if steps.iter().any(|s| matches!(s, Step::End(End::Close | End::Hold))) {
        After::Close
    } else {
        After::Keep
    }
}

/// Waits the whole time; `true` when the sidecar left meanwhile.
fn waits(wire: &Wire, time: Duration) -> bool {
    let until = Instant::now() + time;
    let left = wire.is_left_within(time);
    thread::sleep(until.saturating_duration_since(Instant::now()));
    left
}

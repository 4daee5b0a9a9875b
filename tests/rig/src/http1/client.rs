//! The raw-byte client.

use super::body::{self, Cut, Framing};
use super::head::{Head, Headers};
use super::script::{End, Step};
use super::wire::{Arrived, Wire};
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a kept connection is watched before it counts as kept.
pub const KEPT: Duration = Duration::from_millis(80);
/// How long a connection may stay open after `Connection: close` was announced.
const ANNOUNCED: Duration = Duration::from_secs(1);
/// How long an interim response is waited for.
const INTERIM: Duration = Duration::from_secs(2);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A client's answer, or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Got {
    /// 0 without an answer.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// `HTTP/1.1`, `HTTP/1.0`, …
    pub version: String,
    /// 1xx answers that came first.
    pub interim: Vec<(u16, Headers)>,
    /// Header lines.
    pub headers: Headers,
    /// The body, chunked coding removed.
    pub body: Vec<u8>,
    /// Sizes of its chunks.
    pub chunks: Vec<usize>,
    /// Behind a chunked body.
    pub trailers: Headers,
    /// What followed a 101, or bytes that are no answer.
    pub rest: Vec<u8>,
    /// How it ended, in the words of the recordings.
    pub end: String,
    /// From the start of sending to the end of the answer.
    pub elapsed: Duration,
}

impl Got {
    /// The first value of a header as text.
    pub fn header(&self, name: &str) -> Option<String> {
        super::head::value(&self.headers, name).map(|v| String::from_utf8_lossy(v).into_owned())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn nothing(end: &str) -> Got {
        Got { end: end.to_owned(), ..Got::default() }
    }
}

/// A request of a few words: what most tests need.
pub fn get(to: SocketAddr, target: &str) -> Got {
    request(to, "GET", target, &[], b"")
}

/// One request with exactly these header lines and `Host: localhost`; a body gets a `Content-Length`.
pub fn request(to: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
    Client::new(to).run(&[Step::Bytes(bytes_of(method, target, headers, body))], 1).pop().expect("one answer")
}

/// The status of one GET, `None` without an answer.
pub fn status(to: SocketAddr, target: &str) -> Option<u16> {
    let mut client = Client::new(to);
    client.patience = Duration::from_secs(2);
    client.watch = false;
    let got = client.run(&[Step::Bytes(bytes_of("GET", target, &[], b""))], 1).pop()?;
    (got.status != 0).then_some(got.status)
}

/// The bytes of a request.
pub fn bytes_of(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    headers.iter().for_each(|(name, value)| bytes.extend(format!("{name}: {value}\r\n").bytes()));
    if !body.is_empty() {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// A connection's script and patience.
#[derive(Clone, Debug)]
pub struct Client {
    to: SocketAddr,
    /// How long an answer may take.
    pub patience: Duration,
    /// Whether to find out if the connection stays open after the last answer.
    pub watch: bool,
}

impl Client {
    /// A client of this address with ten seconds of patience.
    pub fn new(to: SocketAddr) -> Client {
        Client { to, patience: Duration::from_secs(10), watch: true }
    }

    /// Plays the script on one new connection and reads `answers` answers.
    pub fn run(&self, steps: &[Step], answers: usize) -> Vec<Got> {
        let Ok(stream) = TcpStream::connect_timeout(&self.to, CONNECT) else {
            return vec![Got::nothing("connection refused")];
        };
        let methods = methods_in(steps);
        let mut play = Play {
            wire: Wire::new(stream),
            got: Vec::new(),
            interim: Vec::new(),
            methods,
            begun: Instant::now(),
        };
        match play.steps(steps, self.patience) {
            Some(End::Close) => vec![Got::nothing("the client left")],
            Some(End::Reset) => {
                play.wire.reset();
                vec![Got::nothing("the client left")]
            }
            _ => play.finish(answers, self),
        }
    }
}

/// The methods of the requests in a script, as far as they can be told: the first word of what follows a message.
fn methods_in(steps: &[Step]) -> VecDeque<Vec<u8>> {
    let mut fresh = true;
    let mut methods = VecDeque::new();
    for step in steps {
        match step {
            Step::Bytes(bytes) if fresh => {
                methods.push_back(bytes.split(|&b| b == b' ').next().unwrap_or_default().to_vec());
                fresh = false;
            }
            Step::AwaitResponse => fresh = true,
            _ => (),
        }
    }
    methods
}

struct Play {
    wire: Wire,
    got: Vec<Got>,
    interim: Vec<(u16, Headers)>,
    methods: VecDeque<Vec<u8>>,
    begun: Instant,
}

impl Play {
    /// Plays all steps; the end the script names, if any.
    fn steps(&mut self, steps: &[Step], patience: Duration) -> Option<End> {
        for step in steps {
            match step {
                // A refused write shows in what is read next.
                Step::Bytes(bytes) => drop(self.wire.send(bytes)),
                Step::Wait(time) => sleep(*time),
                Step::AwaitInterim => self.interim_head(Instant::now() + INTERIM),
                Step::AwaitResponse => self.next(Instant::now() + patience),
                Step::End(End::HalfClose) => self.wire.half_close(),
                Step::End(end) => return Some(*end),
            }
        }
        None
    }

    fn finish(mut self, answers: usize, client: &Client) -> Vec<Got> {
        let by = Instant::now() + client.patience;
        while self.got.len() < answers && self.got.last().is_none_or(|g| g.status != 0 && g.end.is_empty()) {
            self.next(by);
        }
        if self.got.len() > 1 && self.got.last().is_some_and(|g| g.status == 0 && g.end.ends_with("closed")) {
            self.got.pop();
            self.got.last_mut().expect("an answer before").end = "closed".to_owned();
        }
        if client.watch {
            self.watch();
        }
        self.got
    }

    /// Reads 1xx heads until something else is next.
    fn interim_head(&mut self, by: Instant) {
        let before = self.interim.len();
        while self.interim.len() == before {
            match self.front() {
                Some((head, length)) if is_interim(&head) => self.keep_interim(head, length),
                Some(_) => return,
                None if self.wire.fill(by) != Arrived::Bytes => return,
                None => (),
            }
        }
    }

    fn front(&self) -> Option<(Head, usize)> {
        Head::parse(&self.wire.unread)
    }

    fn keep_interim(&mut self, head: Head, length: usize) {
        self.wire.take(length);
        self.interim.push((status_of(&head), head.headers));
    }

    /// Reads the next answer.
    fn next(&mut self, by: Instant) {
        let got = match self.final_head(by) {
            Ok(head) => self.answer(head, by),
            Err(arrived) => self.no_answer(arrived),
        };
        self.got.push(Got { elapsed: self.begun.elapsed(), ..got });
    }

    fn final_head(&mut self, by: Instant) -> Result<Head, Arrived> {
        loop {
            match self.front() {
                Some((head, length)) if is_interim(&head) => self.keep_interim(head, length),
                Some((head, length)) if head.line.starts_with(b"HTTP/1.") => {
                    self.wire.take(length);
                    return Ok(head);
                }
                Some(_) => return Err(Arrived::Bytes),
                None => match self.wire.fill(by) {
                    Arrived::Bytes => (),
                    other => return Err(other),
                },
            }
        }
    }

    fn answer(&mut self, head: Head, by: Instant) -> Got {
        let status = status_of(&head);
        let method = self.methods.pop_front().unwrap_or_default();
        let framing = Framing::of_response(&head, &method, status);
        let body = body::read(&mut self.wire, framing, by);
        let end = match body.cut {
            None if framing == Framing::ToEnd => "closed",
            None => "",
            Some(Cut::Ended) => "truncated, closed",
            Some(Cut::Reset) => "truncated, reset",
            Some(Cut::Patience) => "truncated, still open",
            Some(Cut::Broken) => "truncated, broken chunk",
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Got {
            status,
            reason: text(head.line.splitn(3, |&b| b == b' ').nth(2).unwrap_or_default()),
            version: text(head.word(0)),
            interim: std::mem::take(&mut self.interim),
            headers: head.headers,
            body: body.bytes,
            chunks: body.chunks,
            trailers: body.trailers,
            end: end.to_owned(),
            ..Got::default()
        }
    }

    fn no_answer(&mut self, arrived: Arrived) -> Got {
        if !self.wire.unread.is_empty() {
            return Got { rest: self.wire.take(usize::MAX), ..Got::nothing("garbage") };
        }
        let how = match arrived {
            Arrived::End => "closed",
            Arrived::Reset => "reset",
            Arrived::Bytes | Arrived::Nothing => "still open",
        };
        Got { interim: std::mem::take(&mut self.interim), ..Got::nothing(&format!("no answer, {how}")) }
    }

    /// Finds out what becomes of the connection after the last complete answer.
    fn watch(&mut self) {
        let Some(last) = self.got.last_mut().filter(|g| g.end.is_empty()) else { return };
        let announced =
            super::head::value(&last.headers, "connection").is_some_and(|v| v.eq_ignore_ascii_case(b"close"));
        let by = Instant::now() + if announced { ANNOUNCED } else { KEPT };
        loop {
            match self.wire.fill(by) {
                Arrived::Bytes => (),
                Arrived::End | Arrived::Reset => last.end = "closed".to_owned(),
                Arrived::Nothing if announced => last.end = "close announced, still open".to_owned(),
                Arrived::Nothing => last.end = "keepalive".to_owned(),
            }
            if !last.end.is_empty() {
                last.rest = self.wire.take(usize::MAX);
                return;
            }
        }
    }
}

fn is_interim(head: &Head) -> bool {
    (100..200).contains(&status_of(head)) && status_of(head) != 101
}

fn status_of(head: &Head) -> u16 {
    std::str::from_utf8(head.word(1)).ok().and_then(|s| s.parse().ok()).unwrap_or(0)
}

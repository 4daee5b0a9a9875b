//! Raw bytes: an app that keeps what its sockets received, a client that does, and a reader that forgives nothing.

use rig::wait;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A message as the strictest reader takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The values of a field; `name` in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The target of a request, the status of a response.
    pub(crate) fn second(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// How a response without length ends depends on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response { closed: bool },
}

/// All whole messages, and what is behind them.
pub(crate) fn messages(bytes: &[u8], kind: Kind) -> Result<(Vec<Message>, &[u8]), String> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while let Some((message, behind)) = message(rest, kind)? {
        found.push(message);
        rest = behind;
    }
    Ok((found, rest))
}

/// What was read and what is behind it; `None` where the end has not come.
type Read<'b, T> = Result<Option<(T, &'b [u8])>, String>;

fn message(bytes: &[u8], kind: Kind) -> Read<'_, Message> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return match lines(bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default()) {
            Err(why) => Err(why),
            Ok(_) => Ok(None),
        };
    };
    let mut lines = lines(&bytes[..end])?.into_iter();
    let line = lines.next().unwrap_or_default();
    let words = line.split(' ').count();
    if line.contains('\t') || (kind == Kind::Request && words != 3) || words < 2 {
        return Err(format!("a first line {line:?}"));
    }
    let headers = lines.map(|line| field(&line)).collect::<Result<Vec<_>, _>>()?;
    let mut message = Message { line, headers, body: Vec::new() };
    let behind = &bytes[end + 4..];
    let length = framing(&message, kind)?;
    Ok(match length {
        Framing::Length(n) if behind.len() < n => None,
        Framing::Length(n) => {
            message.body = behind[..n].to_vec();
            Some((message, &behind[n..]))
        }
        Framing::ToEnd(closed) => closed.then(|| {
            message.body = behind.to_vec();
            (message, &[][..])
        }),
        Framing::Chunked => chunks(behind)?.map(|(body, rest)| {
            message.body = body;
            (message, rest)
        }),
    })
}

/// Lines that end in CR LF and hold no control character but a tab.
fn lines(bytes: &[u8]) -> Result<Vec<String>, String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    match lines.iter().find(|line| line.chars().any(|c| c.is_control() && c != '\t')) {
        Some(line) => Err(format!("a control character in {line:?}")),
        None => Ok(lines),
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && name.chars().all(token) => {
            Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
        }
        _ => Err(format!("a field line {line:?}")),
    }
}

enum Framing {
    Length(usize),
    ToEnd(bool),
    Chunked,
}

fn framing(message: &Message, kind: Kind) -> Result<Framing, String> {
    let (lengths, codings) = (message.all("content-length"), message.all("transfer-encoding"));
    let bodiless = matches!(message.second(), "204" | "304") || message.second().starts_with('1');
    match (lengths.as_slice(), codings.as_slice()) {
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => match kind {
            Kind::Response { .. } if bodiless => Ok(Framing::Length(0)),
            _ => length.parse().map(Framing::Length).map_err(|e| format!("a length {length:?}: {e}")),
        },
        ([], ["chunked"]) => Ok(Framing::Chunked),
        ([], []) => Ok(match kind {
            Kind::Response { closed } if !bodiless => Framing::ToEnd(closed),
            _ => Framing::Length(0),
        }),
        other => Err(format!("lengths and codings {other:?}")),
    }
}

fn chunks(bytes: &[u8]) -> Read<'_, Vec<u8>> {
    let (mut rest, mut body) = (bytes, Vec::new());
    loop {
        let Some(end) = find(rest, b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        if line.is_empty() || !line.bytes().all(|b| b.is_ascii_hexdigit()) || line.len() > 8 {
            return Err(format!("a chunk's first line {line:?}"));
        }
        let size = usize::from_str_radix(&line, 16).map_err(|e| e.to_string())?;
        rest = &rest[end + 2..];
        if size == 0 {
            let Some(trailers) = find(rest, b"\r\n") else { return Ok(None) };
            return if trailers == 0 { Ok(Some((body, &rest[2..]))) } else { Err("trailers".to_owned()) };
        }
        let Some(chunk) = rest.get(..size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk that does not end where it says".to_owned());
        }
        body.extend_from_slice(&chunk[..size]);
        rest = &rest[size + 2..];
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// What one connection of the app received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    pub(crate) closed: bool,
}

/// The bytes of an answer, and whether the app closes behind it.
#[derive(Clone, Debug)]
pub(crate) struct Answer(pub(crate) Vec<u8>, pub(crate) bool);

impl Default for Answer {
    fn default() -> Answer {
        Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), false)
    }
}

#[derive(Default)]
struct State {
    heard: Vec<Heard>,
    answer: Answer,
    streams: Vec<TcpStream>,
    stopped: bool,
}

/// An app that keeps every byte. It answers each whole request with the answer of the hour, and closes a connection on
/// which something else than strict HTTP/1.1 came.
pub(crate) struct RawApp {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl RawApp {
    pub(crate) fn start() -> RawApp {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let at = {
                    let mut state = lock(&shared);
                    if state.stopped {
                        return;
                    }
                    state.streams.extend(stream.try_clone());
                    state.heard.push(Heard::default());
                    state.heard.len() - 1
                };
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, at, &shared));
            }
        });
        RawApp { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub(crate) fn answers(&self, answer: Answer) {
        lock(&self.state).answer = answer;
    }

    /// What every connection received, once none is open in the middle of a request.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        let all = || lock(&self.state).heard.clone();
        wait::within(Duration::from_secs(5), || all().iter().all(is_at_rest).then_some(()));
        all()
    }

    /// Forgets what was heard; connections go on.
    pub(crate) fn forget(&self) {
        lock(&self.state).heard.iter_mut().for_each(|heard| heard.bytes.clear());
    }
}

fn is_at_rest(heard: &Heard) -> bool {
    heard.closed || messages(&heard.bytes, Kind::Request).is_ok_and(|(_, rest)| rest.is_empty())
}

impl Drop for RawApp {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        state.streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        drop(state);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, at: usize, shared: &Mutex<State>) {
    let (mut buffer, mut unread) = (vec![0; 64 << 10], Vec::new());
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        lock(shared).heard[at].bytes.extend_from_slice(&buffer[..n]);
        unread.extend_from_slice(&buffer[..n]);
        let Ok((whole, rest)) = messages(&unread, Kind::Request) else { break };
        unread = rest.to_vec();
        for _ in whole {
            let Answer(bytes, closes) = lock(shared).answer.clone();
            if stream.write_all(&bytes).is_err() || closes {
                let _ = stream.shutdown(Shutdown::Both);
                break;
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    lock(shared).heard[at].closed = true;
}

/// Sends bytes, finishes sending, and reads all that comes; whether the other end closed.
pub(crate) fn exchange(to: SocketAddr, bytes: &[u8], half_close: bool) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(bytes); // it may be refused before its end
    if half_close {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (all, true),
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return (all, false),
            Err(_) => return (all, true),
        }
        if !half_close && messages(&all, Kind::Response { closed: false }).is_ok_and(|(m, _)| !m.is_empty()) {
            return (all, false);
        }
    }
}

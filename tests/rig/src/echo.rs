//! An app that answers with what it got, so that a wrong answer shows.
//!
//! | target | answer |
//! |---|---|
//! | `/slow` | the request's body, once the app was told to let go |
//! | `/sum` | the length of the request's body, or where it differs from the [pattern](crate::pattern) |
//! | `/bytes/N` | N bytes of the pattern |
//! | any other | the request's body |

use crate::http1::Head;
use crate::http1::body::Framing;
use crate::pattern::{self, Check};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Longest time a slow call is held.
const HOLD_LIMIT: Duration = Duration::from_secs(60);
/// Largest body that is kept.
const LARGEST: usize = 4 << 20;

#[derive(Default)]
struct State {
    held: usize,
    open: bool,
    stopped: bool,
    streams: Vec<TcpStream>,
}

/// The app; each connection has a thread, all end with it. Its name stands in the header `instance` of each answer.
pub struct Echo {
    port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Echo {
    /// Starts it on a free loopback port.
    pub fn start(name: &str) -> Echo {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let (shared, name) = (Arc::clone(&state), name.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut state = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                if state.stopped {
                    return;
                }
                state.streams.extend(stream.try_clone());
                let (shared, name) = (Arc::clone(&shared), name.clone());
                thread::spawn(move || drop(serve(&stream, &name, &shared)));
            }
        });
        Echo { port, state }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many slow calls are held now.
    pub fn held(&self) -> usize {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).held
    }

    /// Lets slow calls go, from now on.
    pub fn let_go(&self) {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).open = true;
        self.state.1.notify_all();
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.let_go();
        let mut state = self.state.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.stopped = true;
        for stream in &state.streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(stream: &TcpStream, name: &str, state: &(Mutex<State>, Condvar)) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    while let Some(head) = read_head(&mut reader)? {
        let target = String::from_utf8_lossy(head.word(1)).into_owned();
        let framing = Framing::of_request(&head);
        if let Some(length) = target.strip_prefix("/bytes/").and_then(|n| n.parse().ok()) {
            read_body(&mut reader, framing, |_| ())?;
            answer_head(stream, name, length)?;
            pattern::send(&mut &*stream, length)?;
            continue;
        }
        if target == "/sum" {
            let mut check = Check::default();
            read_body(&mut reader, framing, |bytes| check.take(bytes))?;
            answer(stream, name, check.verdict().as_bytes())?;
            continue;
        }
        let mut body = Vec::new();
        read_body(&mut reader, framing, |bytes| {
            if body.len() + bytes.len() <= LARGEST {
                body.extend_from_slice(bytes);
            }
        })?;
        if target == "/slow" {
            hold(state);
        }
        answer(stream, name, &body)?;
    }
    Ok(())
}

fn hold((state, changed): &(Mutex<State>, Condvar)) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.held += 1;
    let waited = changed.wait_timeout_while(state, HOLD_LIMIT, |s| !s.open);
    waited.unwrap_or_else(PoisonError::into_inner).0.held -= 1;
}

fn answer_head(mut stream: &TcpStream, name: &str, length: u64) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nInstance: {name}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes())
}

fn answer(mut stream: &TcpStream, name: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nInstance: {name}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())
}

/// Reads a head; `None` at the end of the stream.
///
/// # Errors
/// The connection breaks, or ends inside the head.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut bytes)? == 0 {
            return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
    Ok(Head::parse(&bytes).map(|(head, _)| head))
}

/// Reads a body piece by piece.
///
/// # Errors
/// The connection breaks or ends before the body does, or the chunked coding is broken.
pub fn read_body(from: &mut impl BufRead, framing: Framing, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    match framing {
        Framing::None => Ok(()),
        Framing::Length(n) => exactly(from, n, &mut each),
        Framing::ToEnd => exactly(from, usize::MAX, &mut each),
        Framing::Chunked => loop {
            let line = line(from)?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            exactly(from, size, &mut each)?;
            if size > 0 {
                line_end(from)?;
            } else {
                while !self::line(from)?.is_empty() {}
                return Ok(());
            }
        },
    }
}

fn exactly(from: &mut impl BufRead, n: usize, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
    let mut left = n;
    while left > 0 {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            return if n == usize::MAX { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let taken = bytes.len().min(left);
        each(&bytes[..taken]);
        from.consume(taken);
        left -= taken;
    }
    Ok(())
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.take(64 << 10).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn line_end(from: &mut impl BufRead) -> io::Result<()> {
    if line(from)?.is_empty() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

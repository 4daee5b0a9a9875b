//! A byte stream with deadlines and an unread buffer.

use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// What reading brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// Bytes, in [`Wire::unread`].
    Bytes,
    /// The other side's FIN.
    End,
    /// The other side's RST (or another error).
    Reset,
    /// Nothing until the deadline.
    Nothing,
}

/// A stream over TCP.
pub trait Duplex: Read + Write + Send {
    /// The TCP connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Duplex for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Duplex for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

impl Duplex for rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

/// A connection with what was read from it and not yet used.
pub struct Wire {
    io: Box<dyn Duplex>,
    /// Read, not yet used.
    pub unread: Vec<u8>,
    ended: Option<Arrived>,
}

/// How long a write may block before it counts as failed.
const WRITE_LIMIT: Duration = Duration::from_secs(20);

impl Wire {
    /// Takes over a connection.
    pub fn new(io: impl Duplex + 'static) -> Wire {
        let _ = io.tcp().set_write_timeout(Some(WRITE_LIMIT));
        let _ = io.tcp().set_nodelay(true);
        Wire { io: Box::new(io), unread: Vec::new(), ended: None }
    }

    /// Reads once, waiting until `by`.
    pub fn fill(&mut self, by: Instant) -> Arrived {
        if let Some(ended) = self.ended {
            return ended;
        }
        let arrived = self.read_once(by);
        if matches!(arrived, Arrived::End | Arrived::Reset) {
            self.ended = Some(arrived);
        }
        arrived
    }

    fn read_once(&mut self, by: Instant) -> Arrived {
        let left = by.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        if self.io.tcp().set_read_timeout(Some(left)).is_err() {
            return Arrived::Reset;
        }
        let mut chunk = [0; 16 << 10];
        match self.io.read(&mut chunk) {
            Ok(0) => Arrived::End,
            Ok(n) => {
                self.unread.extend_from_slice(&chunk[..n]);
                Arrived::Bytes
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Arrived::Nothing,
            Err(e) if e.kind() == ErrorKind::Interrupted => Arrived::Nothing,
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Arrived::End,
            Err(_) => Arrived::Reset,
        }
    }

    /// Takes the first `n` unread bytes.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        let rest = self.unread.split_off(n.min(self.unread.len()));
        std::mem::replace(&mut self.unread, rest)
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes)?;
        self.io.flush()
    }

    /// FIN of the own direction.
    pub fn half_close(&self) {
        let _ = self.io.tcp().shutdown(Shutdown::Write);
    }

    /// RST.
    pub fn reset(self) {
        let _ = SockRef::from(self.io.tcp()).set_linger(Some(Duration::ZERO));
    }

    /// Waits `limit` for the other side to close or reset, without reading anything; `true` when it did.
    pub fn is_left_within(&self, limit: Duration) -> bool {
        let by = Instant::now() + limit;
        loop {
            let left = by.saturating_duration_since(Instant::now());
            let mut poll =
                libc::pollfd { fd: self.io.tcp().as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
            let milliseconds = left.as_micros().div_ceil(1000) as libc::c_int;
            // SAFETY: the pointer names one pollfd that lives across the call.
            match unsafe { libc::poll(&mut poll, 1, milliseconds) } {
                0 => return false,
                n if n > 0 => return true,
                _ if left.is_zero() => return false,
                _ => (),
            }
        }
    }

    /// A second handle of the TCP connection.
    pub fn handle(&self) -> Option<TcpStream> {
        self.io.tcp().try_clone().ok()
    }
}

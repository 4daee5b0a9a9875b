//! TLS under an HTTP/1 connection to a server: its two halves share one session.

use crate::rt::{self, RecvError, Segments, SendError, Stream, Tick};
use crate::tls::{Session, TlsError};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;

/// A finished handshake, shared by the halves of a connection.
#[derive(Clone)]
pub(crate) struct Sealed(Rc<RefCell<Shared>>);

struct Shared {
    session: Session,
    /// What TLS itself has to say; it goes out with the next bytes.
    unsent: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed")
    }
}

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum NoSession {
    /// Not in time.
    Deadline,
    /// The handshake failed.
    Tls(TlsError),
    /// The connection failed or was closed.
    Io(io::Error),
}

impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSession::Deadline => f.write_str("net/http: TLS handshake timeout"),
            NoSession::Tls(error) => error.fmt(f),
            NoSession::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => f.write_str("EOF"),
            NoSession::Io(error) => error.fmt(f),
        }
    }
}

/// Shakes hands on a fresh connection. Returns what the server said already.
pub(crate) async fn handshake(
    stream: &mut Stream,
    mut session: Session,
    by: Tick,
) -> Result<(Sealed, Vec<u8>), NoSession> {
    let (mut out, mut plain) = (Vec::new(), Vec::new());
    session.open(&mut [], &mut out, |_| {}).map_err(NoSession::Tls)?;
    while !session.is_ready() {
        stream.send(std::mem::take(&mut out)).await.map_err(|e| NoSession::Io(e.into()))?;
        let mut chunk = match stream.recv(by).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Err(NoSession::Io(io::ErrorKind::UnexpectedEof.into())),
            Err(RecvError::Deadline) => return Err(NoSession::Deadline),
            Err(RecvError::Io(error)) => return Err(NoSession::Io(error)),
        };
        let opened = session.open(&mut chunk, &mut out, |bytes| plain.extend_from_slice(bytes));
        if let Err(error) = opened {
            let _ = stream.send(out).await; // the alert; the connection is given up either way
            return Err(NoSession::Tls(error));
        }
    }
    Ok((Sealed(Rc::new(RefCell::new(Shared { session, unsent: out }))), plain))
}

impl Sealed {
    /// Opens what arrived; there may be nothing in it.
    pub(super) fn open(&self, chunk: &mut [u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(chunk.len());
        let Shared { session, unsent } = &mut *self.0.borrow_mut();
        session.open(chunk, unsent, |bytes| plain.extend_from_slice(bytes)).map_err(io::Error::other)?;
        Ok(plain)
    }

    /// Whether the server said that no more comes; an end without that was a cut.
    pub(super) fn is_closed(&self) -> bool {
        self.0.borrow().session.is_closed()
    }

    /// Seals what is to be sent, behind what TLS has to say.
    pub(super) fn seal(&self, segments: &Segments) -> Result<Vec<u8>, SendError> {
        let Shared { session, unsent } = &mut *self.0.borrow_mut();
        let mut out = if unsent.is_empty() { rt::turn_buffer() } else { std::mem::take(unsent) };
        for segment in segments.iter() {
            session.seal(segment, &mut out).map_err(|e| SendError::Io(io::Error::other(e)))?;
        }
        Ok(out)
    }
}

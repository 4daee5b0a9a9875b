//! One stream as an HTTP message each way: heads in the form of HTTP/1, body bytes, an end.

use super::link::{Inner, Link};
use crate::rt::{Segments, Tick};
use proto::http2::http1::{self, Lines, Unwritable};
use proto::http2::{Code, Failure, Literal, NotStarted, Slot};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Most bytes handed out at once.
const PIECE: usize = 16 << 10;

/// Why a stream does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamError {
    /// The other end provably did nothing for it: it may be repeated.
    Unprocessed,
    /// The other end reset it.
    Reset(Code),
    /// The connection ended, or the other end broke a rule.
    Lost(String),
    /// The deadline came.
    Deadline,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Unprocessed => f.write_str("stream error: REFUSED_STREAM"),
            StreamError::Reset(code) => write!(f, "stream error: {code}; received from peer"),
            StreamError::Lost(why) => f.write_str(why),
            StreamError::Deadline => f.write_str("timeout"),
        }
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> io::Error {
        let kind = match error {
            StreamError::Deadline => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ConnectionReset,
        };
        io::Error::new(kind, error.to_string())
    }
}

/// What both halves share. Dropping the last of them gives the stream back; an unfinished one is reset.
#[derive(Debug)]
struct Shared {
    link: Rc<Link>,
    /// The stream; at the client `None` before its request went out.
    slot: Cell<Option<Slot>>,
    refused: Cell<Option<NotStarted>>,
    /// The link promised a stream that was not started.
    reserved: Cell<bool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.unreserve();
        if let Some(slot) = self.slot.get() {
            let inner = &mut *self.link.inner();
            inner.waiters.take(slot);
            inner.conn.release(slot);
            self.link.touch(inner);
        }
    }
}

impl Shared {
    fn unreserve(&self) {
        if self.reserved.take() {
            self.link.reserved.set(self.link.reserved.get().saturating_sub(1));
        }
    }

    /// The stream, if it is there and has not failed.
    fn check(&self, inner: &Inner) -> Result<Option<Slot>, StreamError> {
        match (self.slot.get(), self.refused.get()) {
            (Some(slot), _) => match inner.conn.failure(slot) {
                None => Ok(Some(slot)),
                Some(failure) => Err(self.failed(inner, failure)),
            },
            (None, Some(NotStarted::TooLarge)) => {
                Err(StreamError::Lost("the request's header list is larger than the app accepts".into()))
            }
            (None, Some(_)) => Err(StreamError::Unprocessed),
            (None, None) => Ok(None),
        }
    }

    fn failed(&self, inner: &Inner, failure: Failure) -> StreamError {
        match failure {
            Failure::Unprocessed => StreamError::Unprocessed,
            Failure::Reset(code) => StreamError::Reset(code),
            Failure::Violated(violation) => StreamError::Lost(violation.to_string()),
            Failure::Lost => StreamError::Lost(match &inner.end {
                Some(end) => end.to_string(),
                None => "the connection ended".into(),
            }),
        }
    }

    /// Pending until something happens on the stream, or ready when `by` has come.
    fn pend<T>(
        &self,
        inner: &mut Inner,
        slot: Slot,
        by: Tick,
        cx: &Context<'_>,
    ) -> Poll<Result<T, StreamError>> {
        if by <= crate::rt::now() {
            return Poll::Ready(Err(StreamError::Deadline));
        }
        self.link.wait(inner, slot, by, cx);
        Poll::Pending
    }
}

/// The halves of a stream that the peer opened, of whose head nothing was taken.
pub(crate) fn opened(link: &Rc<Link>, slot: Slot) -> (Receiver, Sender) {
    halves(link, Some(slot), false)
}

/// The halves of a stream that is to be started on `link`, which has promised it a place.
pub(super) fn promised(link: &Rc<Link>) -> (Receiver, Sender) {
    link.reserved.set(link.reserved.get() + 1);
    halves(link, None, true)
}

fn halves(link: &Rc<Link>, slot: Option<Slot>, reserved: bool) -> (Receiver, Sender) {
    let shared = Rc::new(Shared {
        link: Rc::clone(link),
        slot: Cell::new(slot),
        refused: Cell::new(None),
        reserved: Cell::new(reserved),
    });
    (Receiver(Rc::clone(&shared)), Sender(shared))
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Receiver(Rc<Shared>);

impl Receiver {
    /// Server: appends the head of the request.
    ///
    /// # Errors
    /// A head that HTTP/1 cannot say.
    pub(crate) fn request(&self, head: &mut Vec<u8>) -> Result<(), Unwritable> {
        let Some(slot) = self.0.slot.get() else { return Ok(()) };
        let conn = &mut self.0.link.inner().conn;
        let bodiless = conn.is_complete(slot) && conn.received(slot).is_empty();
        http1::request(conn.head(slot), bodiless, head)
    }

    /// Client: waits for the head of the response and appends it.
    ///
    /// # Errors
    /// The stream failed, or `by` came.
    pub(crate) fn poll_response(
        &self,
        head: &mut Vec<u8>,
        by: Tick,
        cx: &Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        let inner = &mut *self.0.link.inner();
        let Some(slot) = self.0.check(inner)? else { return Poll::Pending };
        let status = inner.conn.status(slot);
        if status == 0 {
            return self.0.pend(inner, slot, by, cx);
        }
        let empty = inner.conn.is_complete(slot) && inner.conn.received(slot).is_empty();
        http1::response(status, inner.conn.head(slot), empty && !inner.conn.is_to_head(slot), head);
        Poll::Ready(Ok(()))
    }

    /// The next body bytes; `None` at the end.
    ///
    /// # Errors
    /// The stream failed, or `by` came.
    pub(crate) fn poll_recv(&self, by: Tick, cx: &Context<'_>) -> Poll<Result<Option<Vec<u8>>, StreamError>> {
        let inner = &mut *self.0.link.inner();
        let Some(slot) = self.0.slot.get() else { return Poll::Pending };
        let received = inner.conn.received(slot);
        if received.is_empty() {
            if inner.conn.is_complete(slot) {
                return Poll::Ready(Ok(None));
            }
            self.0.check(inner)?;
            inner.conn.wait_for(slot, 1);
            self.0.link.touch(inner);
            return self.0.pend(inner, slot, by, cx);
        }
        let piece = received.get(..PIECE).unwrap_or(received).to_vec();
        inner.conn.take(slot, piece.len());
        self.0.link.touch(inner);
        Poll::Ready(Ok(Some(piece)))
    }

    /// Whether [`Receiver::poll_recv`] has something.
    pub(crate) fn has_more(&self) -> bool {
        self.0.slot.get().is_some_and(|slot| {
            let conn = &self.0.link.inner().conn;
            !conn.received(slot).is_empty() || conn.is_complete(slot)
        })
    }

    /// Ready when the stream has failed: the other end gave up, or its connection ended.
    pub(crate) fn poll_failed(&self, cx: &Context<'_>) -> Poll<StreamError> {
        let inner = &mut *self.0.link.inner();
        match self.0.check(inner) {
            Ok(Some(slot)) => {
                self.0.link.wait(inner, slot, Tick::NEVER, cx);
                Poll::Pending
            }
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }
}

/// The sending half.
#[derive(Debug)]
pub(crate) struct Sender(Rc<Shared>);

impl Sender {
    /// Sends a whole head: at the server that of the response, at the client that of the request, which starts the
    /// stream. `end`: nothing follows.
    pub(crate) fn head(&mut self, mut head: Vec<u8>, end: bool) {
        let inner = &mut *self.0.link.inner();
        let lines = Lines::new(&mut head);
        match self.0.slot.get() {
            Some(slot) => {
                let status = lines.status().to_string();
                let mut fields = vec![Literal::new(":status", status.as_bytes())];
                fields.extend(lines.response());
                inner.conn.headers(slot, end, None, &fields);
            }
            None => {
                self.0.unreserve();
                match inner.conn.request(&lines.request("http"), end) {
                    Ok(slot) => self.0.slot.set(Some(slot)),
                    Err(why) => self.0.refused.set(Some(why)),
                }
            }
        }
        self.0.link.touch(inner);
    }

    /// Sends an informational response before the head.
    pub(crate) fn interim(&mut self, status: u16) {
        let Some(slot) = self.0.slot.get() else { return };
        let inner = &mut *self.0.link.inner();
        inner.conn.interim(slot, status);
        self.0.link.touch(inner);
    }

    /// Sends body bytes behind the head, and the end of the message behind them. Never waits; see
    /// [`Sender::poll_room`].
    pub(crate) fn data(&mut self, what: &Segments, end: bool) {
        let Some(slot) = self.0.slot.get() else { return };
        let inner = &mut *self.0.link.inner();
        inner.conn.data(slot, end, |out| what.iter().for_each(|piece| out.extend_from_slice(piece)));
        self.0.link.touch(inner);
    }

    /// Ready when few enough bytes of the stream are unsent: back-pressure.
    ///
    /// # Errors
    /// The stream failed. A client whose answer is complete has not.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), StreamError>> {
        let inner = &mut *self.0.link.inner();
        let Some(slot) = self.0.check(inner)? else { return Poll::Ready(Ok(())) };
        if inner.conn.has_room(slot) {
            return Poll::Ready(Ok(()));
        }
        self.0.pend(inner, slot, Tick::NEVER, cx)
    }

    /// Cuts the message off: the other end must see that it is not whole.
    pub(crate) fn abort(&mut self, code: Code) {
        let Some(slot) = self.0.slot.get() else { return };
        let inner = &mut *self.0.link.inner();
        inner.conn.reset(slot, code);
        self.0.link.touch(inner);
    }
}

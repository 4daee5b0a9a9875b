//! The mesh hop as the stories use it: one call, shared by the two relay directions of one task.

use crate::mesh::{Call, CallError, Message, Messages, Next};
use crate::rt::{self, Tick};
use proto::envelope::{Peer, payload};
use proto::grpc::status::Status;
use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Largest payload that a daprd sends, and is sent.
const DAPRD_CHUNK: usize = 2048;

/// One call. Both directions of its relay run in the same task and take turns with it.
#[derive(Debug)]
pub(super) struct Hop {
    call: RefCell<Call>,
    /// What the other end is.
    pub(super) peer: Peer,
}

impl Hop {
    pub(super) fn new(call: Call) -> Hop {
        let peer = if call.features().outrigger { Peer::Outrigger } else { Peer::Daprd };
        Hop { call: RefCell::new(call), peer }
    }

    pub(super) fn into_call(self) -> Call {
        self.call.into_inner()
    }

    /// The next message or the end of the call.
    pub(super) async fn next(&self) -> Result<Next, CallError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`Hop::next`] if it is there already.
    pub(super) async fn next_at_hand(&self) -> Option<Result<Next, CallError>> {
        poll_fn(|cx| match self.poll_next(cx) {
            Poll::Ready(next) => Poll::Ready(Some(next)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Result<Next, CallError>> {
        self.call.borrow_mut().poll_next(Tick::NEVER, cx)
    }

    /// Waits until the other end takes more: before anything is received that would have to be kept. `release` frees
    /// receive buffers when it has to wait.
    pub(super) async fn room(&self, mut release: impl FnMut()) -> Result<(), CallError> {
        poll_fn(|cx| {
            let room = self.call.borrow_mut().poll_writable(Tick::NEVER, cx);
            if room.is_pending() {
                release();
            }
            room
        })
        .await
    }

    /// Waits until the call fails: the other end has given up, or its connection broke.
    pub(super) async fn broken(&self) -> CallError {
        poll_fn(|cx| self.call.borrow_mut().poll_failed(cx)).await
    }

    /// Takes the message that [`Hop::next`] announced.
    pub(super) fn take<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.call.borrow_mut().take(f)
    }

    /// The message that [`Hop::next`] announced, as a value of its own: it is looked at across waits.
    pub(super) fn take_own(&self) -> OwnMessage {
        if let Some(message) = self.call.borrow_mut().take_first_large() {
            return OwnMessage::Large(message);
        }
        let mut copy = rt::turn_buffer();
        self.take(|message| copy.extend_from_slice(message));
        OwnMessage::Copied(copy)
    }

    /// The messages that [`Hop::next`] announced, where they are large; [`Hop::passed`] is due for each.
    pub(super) fn take_large(&self) -> Option<Messages> {
        self.call.borrow_mut().take_large()
    }

    /// A message of [`Hop::take_large`] has left.
    pub(super) fn passed(&self, message: &Message) {
        self.call.borrow_mut().passed(message.used());
    }

    /// Writes whole frames; `end` half-closes.
    pub(super) fn write(&self, end: bool, f: impl FnOnce(&mut Vec<u8>)) -> Result<(), CallError> {
        self.call.borrow_mut().write(end, f)
    }

    /// Writes body bytes as payload messages numbered from `*seq`.
    pub(super) fn write_body(&self, seq: &mut u64, data: &[u8], end: bool) -> Result<(), CallError> {
        if self.peer != Peer::Outrigger || data.is_empty() {
            return self.write(end, |out| self.frames(out, seq, data));
        }
        let mut rest = data;
        while !rest.is_empty() {
            let (chunk, more) = self.first_chunk(rest);
            let lead = |out: &mut Vec<u8>| payload::lead(out, *seq, chunk.len());
            self.call.borrow_mut().write_body(end && more.is_empty(), lead, chunk)?;
            (rest, *seq) = (more, *seq + 1);
        }
        Ok(())
    }

    /// Appends body bytes as payload messages numbered from `*seq`.
    pub(super) fn frames(&self, out: &mut Vec<u8>, seq: &mut u64, data: &[u8]) {
        for chunk in data.chunks(self.chunk()) {
            payload::frame(out, *seq, chunk);
            *seq += 1;
        }
    }

    /// How much of `data` the first message carries.
    pub(super) fn first_chunk<'d>(&self, data: &'d [u8]) -> (&'d [u8], &'d [u8]) {
        data.split_at_checked(self.chunk()).unwrap_or((data, &[]))
    }

    fn chunk(&self) -> usize {
        if self.peer == Peer::Outrigger { 64 << 10 } else { DAPRD_CHUNK }
    }
}

/// One message.
#[derive(Debug)]
pub(super) enum OwnMessage {
    /// In the memory it arrived in.
    Large(Message),
    /// In a buffer of the shard.
    Copied(Vec<u8>),
}

impl OwnMessage {
    /// What parts of it can be sent from without a copy.
    pub(super) fn large(&self) -> Option<&Message> {
        match self {
            OwnMessage::Large(message) => Some(message),
            OwnMessage::Copied(_) => None,
        }
    }

    /// Nobody looks at it any more.
    pub(super) fn give_back(self) {
        if let OwnMessage::Copied(bytes) = self {
            rt::give_back(bytes);
        }
    }
}

impl Deref for OwnMessage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            OwnMessage::Large(message) => message,
            OwnMessage::Copied(bytes) => bytes,
        }
    }
}

/// The gRPC status that a broken call stands for.
pub(super) fn status_of(error: &CallError) -> Status {
    Status { code: error.status(), message: error.to_string() }
}

/// Runs two directions until `main` is done. `aside` is polled along until it is done; its error ends both, unless `main`
/// is done in the same step. Both come pinned: a future that is moved into another is stored twice.
pub(super) async fn both<T, E>(
    mut main: Pin<&mut impl Future<Output = Result<T, E>>>,
    mut aside: Pin<&mut impl Future<Output = Result<(), E>>>,
    aside_done: &mut bool,
) -> Result<T, E> {
    poll_fn(|cx| {
        if let Poll::Ready(done) = main.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if !*aside_done && let Poll::Ready(done) = aside.as_mut().poll(cx) {
            *aside_done = true;
            if let Err(error) = done {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    })
    .await
}

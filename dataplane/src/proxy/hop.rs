//! The mesh hop as the stories use it: one call, shared by the two relay directions of one task.

use crate::mesh::{Call, CallError, Next};
use crate::rt::{self, Tick};
use proto::envelope::{Peer, payload};
use proto::grpc::status::Status;
use std::cell::RefCell;
use std::future::poll_fn;
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

    /// The message that [`Hop::next`] announced, copied: it is looked at across waits.
    pub(super) fn take_copy(&self) -> Vec<u8> {
        let mut copy = rt::turn_buffer();
        self.take(|message| copy.extend_from_slice(message));
        copy
    }

    /// Writes whole frames; `end` half-closes.
    pub(super) fn write(&self, end: bool, f: impl FnOnce(&mut Vec<u8>)) -> Result<(), CallError> {
        self.call.borrow_mut().write(end, f)
    }

    /// Writes body bytes as payload messages numbered from `*seq`.
    pub(super) fn write_body(&self, seq: &mut u64, data: &[u8], end: bool) -> Result<(), CallError> {
        self.write(end, |out| self.frames(out, seq, data))
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

/// The gRPC status that a broken call stands for.
pub(super) fn status_of(error: &CallError) -> Status {
    Status { code: error.status(), message: error.to_string() }
}

/// Runs two directions until `main` is done. `aside` is polled along until it is done; its error ends both. Both come
/// pinned: a future that is moved into another is stored twice.
pub(super) async fn both<T, E>(
    mut main: Pin<&mut impl Future<Output = Result<T, E>>>,
    mut aside: Pin<&mut impl Future<Output = Result<(), E>>>,
    aside_done: &mut bool,
) -> Result<T, E> {
    poll_fn(|cx| {
        if !*aside_done && let Poll::Ready(done) = aside.as_mut().poll(cx) {
            *aside_done = true;
            if let Err(error) = done {
                return Poll::Ready(Err(error));
            }
        }
        main.as_mut().poll(cx)
    })
    .await
}

//! Receiving: what arrives is queued in its slot and handed out one chunk at a time.

use super::{Life, Net, Rx, keep};
use crate::rt::RecvError;
use crate::rt::pool::Chunk;
use crate::rt::sys;
use crate::rt::tick::Tick;
use std::io;
use std::task::{Context, Poll};

/// Why a receive ended. It always may, without notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::rt) enum Ended {
    /// There was no buffer: not an error of the connection.
    Starved,
    /// We asked for it, or the kernel just stopped.
    Cancelled,
    Eof,
    Failed(i32),
}

impl Net {
    /// What arrived next, `None` at the end; waits until `by`.
    pub(in crate::rt) fn poll_recv(
        &mut self,
        at: u32,
        by: Tick,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, RecvError>> {
        let now = self.now;
        let slot = self.slots.at(at);
        if let Some(chunk) = slot.queue.pop() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        match slot.rx {
            _ if slot.life != Life::Open => return Poll::Ready(Err(aborted().into())),
            Rx::End => return Poll::Ready(Ok(None)),
            Rx::Failed(code) => return Poll::Ready(Err(io::Error::from_raw_os_error(code).into())),
            _ if by <= now => return Poll::Ready(Err(RecvError::Deadline)),
            _ => {}
        }
        keep(&mut slot.rx_waker, cx);
        let idle = slot.rx == Rx::Idle;
        self.set_deadline(at, by);
        if idle {
            self.arm_recv(at);
        }
        Poll::Pending
    }

    pub(super) fn arm_recv(&mut self, at: u32) {
        self.port.arm_recv(at, self.slots.at(at), self.pressed);
    }

    /// Nothing queued, no end, no error, nothing on its way out: fit to be used again.
    pub(in crate::rt) fn is_quiet(&mut self, at: u32) -> bool {
        let sending = self.slots.at(at).is_sending();
        let slot = self.slots.at(at);
        if sending || slot.life != Life::Open || slot.tx_error != 0 || !slot.queue.is_empty() {
            return false;
        }
        match slot.rx {
            Rx::Armed => !slot.ready.readable || !sys::has_something(slot.raw()),
            Rx::End | Rx::Failed(_) => false,
            // nobody watches the socket: look, and have it watched again
            Rx::Idle => {
                let quiet = !sys::has_something(slot.raw());
                self.arm_recv(at);
                quiet
            }
            Rx::Cancelling | Rx::Starved => !sys::has_something(slot.raw()),
        }
    }

    /// A chunk arrived; `more` says that the kernel goes on delivering.
    pub(in crate::rt) fn received(&mut self, at: u32, chunk: Chunk, more: bool) {
        let slot = self.slots.at(at);
        if !more && matches!(slot.rx, Rx::Armed | Rx::Cancelling) {
            slot.rx = Rx::Idle;
        }
        if slot.life != Life::Open || slot.reader_gone {
            drop(chunk);
            return self.progress(at);
        }
        slot.queue.push(chunk);
        self.wakers.extend(slot.rx_waker.take());
        if slot.rx == Rx::Armed && (self.pressed || slot.queue.len() >= usize::from(slot.limit)) {
            self.port.cancel_rx(at, slot);
        }
    }

    /// The receive is not armed any more.
    pub(in crate::rt) fn recv_ended(&mut self, at: u32, why: Ended) {
        let slot = self.slots.at(at);
        match why {
            // there is something to read first; the read after it asks again
            Ended::Starved if !slot.queue.is_empty() => slot.rx = Rx::Idle,
            Ended::Starved => {
                slot.rx = Rx::Starved;
                self.starved.push_back((at, slot.generation));
                self.counts.starved += 1;
                self.pool.set_starving(true);
            }
            Ended::Cancelled => slot.rx = Rx::Idle,
            Ended::Eof => slot.rx = Rx::End,
            Ended::Failed(code) => slot.rx = Rx::Failed(code),
        }
        if slot.life != Life::Open {
            return self.progress(at);
        }
        match slot.rx {
            Rx::End | Rx::Failed(_) => self.wakers.extend(slot.rx_waker.take()),
            Rx::Idle if slot.rx_waker.is_some() && slot.queue.is_empty() => self.arm_recv(at),
            _ => {}
        }
    }

    /// Arms starved receives again, at most as many as there are buffers, the longest waiting first. True if there is
    /// none: what goes out in this turn may bring some back; if it does not, the next turn borrows some.
    pub(super) fn feed_starved(&mut self) -> bool {
        let mut buffers = self.port.buffers_ready(self.pool);
        self.pressed = self.pool.is_pressed(self.pressed, self.port.buffers_lying());
        if self.starved.is_empty() {
            self.hungry = false;
            return false;
        }
        if buffers == 0 && self.hungry {
            self.pool.grow(self.starved.len().min(BORROWED_AT_ONCE));
            buffers = self.port.buffers_ready(self.pool);
        }
        let found = buffers > 0;
        while buffers > 0 {
            let Some((at, generation)) = self.starved.pop_front() else { break };
            let Some(slot) = self.slots.find(at, generation) else { continue };
            if slot.rx == Rx::Starved && slot.life == Life::Open && !slot.reader_gone {
                buffers -= 1;
                slot.rx = Rx::Idle;
                self.arm_recv(at);
            }
        }
        self.pool.set_starving(!self.starved.is_empty());
        !std::mem::replace(&mut self.hungry, !found) && !found
    }

    /// While buffers are short, ends the multishot receives that were armed before, some a turn: what a connection
    /// gets then is what its reader waits for, one chunk at a time.
    pub(super) fn sweep(&mut self) {
        if !self.pressed {
            return;
        }
        for _ in 0..SWEPT_AT_ONCE {
            let Some(at) = self.slots.next_of_all(&mut self.swept) else { return };
            let slot = self.slots.at(at);
            if slot.many && slot.rx == Rx::Armed {
                self.port.cancel_rx(at, slot);
            }
        }
    }
}

/// Slots looked at in one turn to end their multishot receives.
const SWEPT_AT_ONCE: usize = 256;
/// Buffers borrowed from the heap in one turn.
const BORROWED_AT_ONCE: usize = 32;

/// What a reader gets whose connection was closed or aborted through its writer.
pub(super) fn aborted() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

//! One socket's state. It lives here and never in a future, so that dropping a future cancels nothing by accident.
//!
//! ```text
//! receiving (Rx)                                  life (Life)
//!   Idle ──arm──▶ Armed ──full──▶ Cancelling        Vacant ──open──▶ Open ──drop──▶ Flushing ─┐
//!    ▲              │ ended            │                              ├──close──▶ Lingering ─┤
//!    └──────────────┴──────────────────┘                              └──abort───────────────▶ Ending ──▶ Vacant
//!   Armed ──no buffer──▶ Starved ──buffers back──▶ Armed              (Ending until the kernel holds nothing of it)
//!   Armed ──▶ End | Failed
//! ```

use crate::rt::address::RawAddress;
use crate::rt::pool::Chunk;
use crate::rt::segment::Segment;
use crate::rt::tick::Tick;
use crate::rt::wheel::TimerId;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::task::Waker;

/// Chunks a connection that is not read may hold before its receive is cancelled; `Stream::limit` lowers it.
pub(in crate::rt) const RECEIVE_QUEUE: u8 = 16;

/// How receiving (or accepting) stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::rt) enum Rx {
    /// Nothing asked of the kernel.
    Idle,
    /// The kernel delivers what arrives.
    Armed,
    /// The kernel was asked to stop delivering and has not said yet that it did.
    Cancelling,
    /// There was no buffer; waits for some to come back.
    Starved,
    /// The peer has sent everything.
    End,
    /// The connection failed with this error number.
    Failed(i32),
}

/// How far the socket is from its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::rt) enum Life {
    /// The slot is free.
    Vacant,
    /// In use.
    Open,
    /// Dropped: what was accepted for sending goes out, then the socket is closed.
    Flushing,
    /// Closed: the same, then FIN, then the peer's own end or the grace is awaited.
    Lingering,
    /// Nothing is wanted any more; closed as soon as the kernel holds no operation of it.
    Ending,
}

/// What the kernel is doing with what we send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::rt) enum Phase {
    /// It has nothing of ours.
    #[default]
    Idle,
    /// Submitted this turn; silence after the submitting call will mean "sent whole".
    Unconfirmed,
    /// The socket is full; the rest is under way or waits for room.
    Blocked,
}

/// The sending side while there is something to send or to wait for. Boxed and recycled.
pub(in crate::rt) struct Tx {
    /// Accepted and not yet given to the kernel.
    pub(in crate::rt) pending: Vec<Segment>,
    pub(in crate::rt) pending_bytes: usize,
    /// With the kernel; `sent` bytes of it have gone.
    pub(in crate::rt) flying: Vec<Segment>,
    pub(in crate::rt) sent: usize,
    /// Bytes given to the kernel in the send under way.
    pub(in crate::rt) wanted: usize,
    /// What the unconfirmed send completed with: then it did not send everything.
    pub(in crate::rt) failed: Option<i32>,
    pub(in crate::rt) phase: Phase,
    /// In the list of slots to submit.
    pub(in crate::rt) listed: bool,
    /// Waits for room or for everything to be sent.
    pub(in crate::rt) waker: Option<Waker>,
    /// What the kernel reads: it belongs to the slot until the completion.
    pub(in crate::rt) vectors: Vec<libc::iovec>,
    pub(in crate::rt) message: libc::msghdr,
}

impl Tx {
    pub(in crate::rt) fn new() -> Tx {
        Tx {
            pending: Vec::new(),
            pending_bytes: 0,
            flying: Vec::new(),
            sent: 0,
            wanted: 0,
            failed: None,
            phase: Phase::Idle,
            listed: false,
            waker: None,
            vectors: Vec::new(),
            message: crate::rt::sys::empty_message(),
        }
    }

    /// Is anything accepted that the kernel does not have?
    pub(in crate::rt) fn is_busy(&self) -> bool {
        !self.pending.is_empty() || !self.flying.is_empty()
    }
}

/// A connection being made.
pub(in crate::rt) struct Dial {
    /// Read by the kernel while it connects.
    pub(in crate::rt) address: RawAddress,
    /// Error number, zero for success, once known.
    pub(in crate::rt) result: Option<i32>,
    pub(in crate::rt) under_way: bool,
    pub(in crate::rt) waker: Option<Waker>,
}

/// A listening socket.
#[derive(Default)]
pub(in crate::rt) struct Listen {
    pub(in crate::rt) accepted: VecDeque<OwnedFd>,
    pub(in crate::rt) error: Option<i32>,
}

/// What a slot does besides receiving.
#[derive(Default)]
pub(in crate::rt) enum Work {
    #[default]
    None,
    Send(Box<Tx>),
    Connect(Box<Dial>),
    Listen(Box<Listen>),
}

/// Chunks that arrived and wait to be read: the first inline, because there is seldom a second.
#[derive(Default)]
pub(in crate::rt) struct Queue {
    first: Option<Chunk>,
    #[allow(clippy::box_collection)] // eight bytes instead of thirty-two in every idle connection
    rest: Option<Box<VecDeque<Chunk>>>,
}

impl Queue {
    pub(in crate::rt) fn push(&mut self, chunk: Chunk) {
        if self.first.is_none() {
            self.first = Some(chunk);
            return;
        }
        self.rest.get_or_insert_default().push_back(chunk);
    }

    pub(in crate::rt) fn pop(&mut self) -> Option<Chunk> {
        let first = self.first.take()?;
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() {
                self.rest = None;
            }
        }
        Some(first)
    }

    pub(in crate::rt) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    pub(in crate::rt) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(in crate::rt) fn clear(&mut self) {
        *self = Queue::default();
    }
}

/// One socket of the shard.
pub(in crate::rt) struct Slot {
    pub(in crate::rt) fd: Option<OwnedFd>,
    /// Counts the uses of this slot; 24 bits.
    pub(in crate::rt) generation: u32,
    pub(in crate::rt) rx: Rx,
    pub(in crate::rt) queue: Queue,
    /// Waits for something received or accepted.
    pub(in crate::rt) rx_waker: Option<Waker>,
    /// When the waiting receive gives up, or a closing socket's grace ends. Checked when the timer fires.
    pub(in crate::rt) deadline: Tick,
    /// The one wheel entry of this socket; due at the deadline or before it.
    pub(in crate::rt) timer: TimerId,
    pub(in crate::rt) work: Work,
    /// Why sending failed; zero while it has not.
    pub(in crate::rt) tx_error: i32,
    /// Operations the kernel holds. The descriptor is closed and the slot reused only at zero.
    pub(in crate::rt) in_kernel: u16,
    pub(in crate::rt) life: Life,
    pub(in crate::rt) limit: u8,
    /// Reader, writer, or listener values that name this slot.
    pub(in crate::rt) holders: u8,
    /// Nobody reads any more.
    pub(in crate::rt) reader_gone: bool,
    /// Armed for all that comes, not for the next chunk only (completion backend).
    pub(in crate::rt) many: bool,
    /// Unix domain: received one by one, because an end can get lost in a multishot receive there.
    pub(in crate::rt) unix: bool,
    pub(in crate::rt) fin: Fin,
    /// Readiness backend: what epoll last said.
    pub(in crate::rt) ready: Ready,
}

/// Whether our side of the stream has been ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::rt) enum Fin {
    #[default]
    None,
    /// To be sent after everything accepted.
    Wanted,
    Sent,
}

/// What the readiness backend remembers of a socket between edges.
#[derive(Clone, Copy, Default)]
pub(in crate::rt) struct Ready {
    pub(in crate::rt) readable: bool,
    pub(in crate::rt) hung_up: bool,
    pub(in crate::rt) listed: bool,
}

impl Slot {
    pub(in crate::rt) fn vacant() -> Slot {
        Slot {
            fd: None,
            generation: 0,
            rx: Rx::Idle,
            queue: Queue::default(),
            rx_waker: None,
            deadline: Tick::NEVER,
            timer: TimerId::NONE,
            work: Work::None,
            tx_error: 0,
            in_kernel: 0,
            life: Life::Vacant,
            limit: RECEIVE_QUEUE,
            holders: 0,
            reader_gone: false,
            many: false,
            unix: false,
            fin: Fin::None,
            ready: Ready::default(),
        }
    }

    /// The descriptor; -1 when it has been closed.
    pub(in crate::rt) fn raw(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, |fd| fd.as_raw_fd())
    }

    pub(in crate::rt) fn tx(&mut self) -> Option<&mut Tx> {
        match &mut self.work {
            Work::Send(tx) => Some(tx),
            _ => None,
        }
    }

    pub(in crate::rt) fn phase(&self) -> Phase {
        match &self.work {
            Work::Send(tx) => tx.phase,
            _ => Phase::Idle,
        }
    }

    /// Is anything accepted for sending that the kernel does not have?
    pub(in crate::rt) fn is_sending(&self) -> bool {
        matches!(&self.work, Work::Send(tx) if tx.is_busy())
    }

    /// Does the kernel hold an operation or unconfirmed memory of this slot?
    pub(in crate::rt) fn is_held(&self) -> bool {
        self.in_kernel > 0 || self.phase() == Phase::Unconfirmed
    }
}

/// The slot table: pages that never move, so that ten thousand connections do not double a vector.
#[derive(Default)]
pub(in crate::rt) struct Slots {
    pages: Vec<Box<[Slot]>>,
    vacant: Vec<u32>,
}

const PAGE: usize = 64;

// Slot numbers are made by `open` and name a place in a page for ever: pages are never removed.
#[allow(clippy::indexing_slicing)]
impl Slots {
    /// Puts a descriptor into a free slot and returns the slot's number.
    pub(in crate::rt) fn open(&mut self, fd: OwnedFd, holders: u8) -> u32 {
        let at = match self.vacant.pop() {
            Some(at) => at,
            None => self.grow(),
        };
        let slot = self.at(at);
        debug_assert!(slot.life == Life::Vacant && slot.in_kernel == 0, "only a slot at rest is reused");
        let generation = (slot.generation + 1) & 0xff_ffff;
        *slot = Slot { fd: Some(fd), generation, life: Life::Open, holders, ..Slot::vacant() };
        at
    }

    /// Frees a slot for its next use.
    pub(in crate::rt) fn vacate(&mut self, at: u32) {
        let slot = self.at(at);
        debug_assert!(
            slot.fd.is_none() && !slot.is_held(),
            "the kernel holds nothing of a slot that is freed"
        );
        *slot = Slot { generation: slot.generation, ..Slot::vacant() };
        self.vacant.push(at);
    }

    pub(in crate::rt) fn at(&mut self, at: u32) -> &mut Slot {
        &mut self.pages[at as usize / PAGE][at as usize % PAGE]
    }

    /// A slot by number and generation; `None` for what does not live any more.
    pub(in crate::rt) fn find(&mut self, at: u32, generation: u32) -> Option<&mut Slot> {
        let slot = self.pages.get_mut(at as usize / PAGE)?.get_mut(at as usize % PAGE)?;
        (slot.generation == generation && slot.life != Life::Vacant).then_some(slot)
    }

    /// Goes round all slots, one a call; `None` if there are none.
    pub(in crate::rt) fn next_of_all(&self, cursor: &mut u32) -> Option<u32> {
        let count = (self.pages.len() * PAGE) as u32;
        let at = cursor.checked_rem(count)?;
        *cursor = at + 1;
        Some(at)
    }

    /// Slots in use.
    pub(in crate::rt) fn used(&self) -> usize {
        self.pages.len() * PAGE - self.vacant.len()
    }

    /// Numbers of the slots in use.
    pub(in crate::rt) fn all_used(&self) -> Vec<u32> {
        let numbered = self.pages.iter().flat_map(|page| page.iter()).zip(0u32..);
        numbered.filter(|(slot, _)| slot.life != Life::Vacant).map(|(_, at)| at).collect()
    }

    fn grow(&mut self) -> u32 {
        let first = (self.pages.len() * PAGE) as u32;
        self.pages.push((0..PAGE).map(|_| Slot::vacant()).collect());
        self.vacant.extend((first + 1..first + PAGE as u32).rev());
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_a_slot_of_at_most_112_bytes() {
        assert!(size_of::<Slot>() <= 112, "{}", size_of::<Slot>());
    }
}

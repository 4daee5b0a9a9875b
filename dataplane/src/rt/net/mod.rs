//! The sockets of one shard: what they have received, what they still have to send, when they give up.
//!
//! Everything here is the same for both backends; [`Port`] is where they differ. Code of the seam calls in under one
//! borrow and leaves with it: nothing in here runs foreign code, wakers are collected and woken after the borrow ends
//! (waking may drop a task, and with it streams and chunks).

mod accept;
mod close;
mod completions;
mod epoll;
mod port;
mod receive;
mod send;
mod slot;

pub(super) use epoll::Epoll;
pub(super) use port::{Port, Submitted};
pub(super) use slot::{Dial, Fin, Life, Phase, Rx, Slot, Slots, Tx, Work};

use super::address::RawAddress;
use super::congestion::Congestion;
use super::handle::{Handle, ShardId};
use super::listener::Accepted;
use super::pool::Pool;
use super::tick::Tick;
use super::wheel::{TimerId, Wheel};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What a timer stands for.
pub(super) enum Due {
    /// A socket's deadline, by slot and generation.
    Slot(u32, u32),
    /// A task that sleeps.
    Wake(Waker),
}

/// All sockets and timers of a shard.
pub(super) struct Net {
    pub(super) port: Port,
    pub(super) slots: Slots,
    pub(super) pool: &'static Pool,
    pub(super) timers: Wheel<Due>,
    /// Read once a turn.
    pub(super) now: Tick,
    /// To be woken when the borrow ends.
    pub(super) wakers: Vec<Waker>,
    pub(super) spare_wakers: Vec<Waker>,
    /// Connections handed to this shard that nobody has taken yet.
    pub(super) adopted: VecDeque<Accepted>,
    pub(super) adopt_waker: Option<Waker>,
    pub(super) handle: Arc<Handle>,
    /// The bell rang since somebody last asked.
    pub(super) bell: bool,
    /// Connections whose hand-over by ring failed.
    pub(super) handed_back: Vec<(Accepted, ShardId)>,
    due: Vec<Due>,
    /// Slots with something accepted for sending since the last turn.
    unsent: Vec<u32>,
    /// Connections without a buffer, the one that waits longest first.
    starved: VecDeque<(u32, u32)>,
    /// They found none in the last turn either.
    hungry: bool,
    /// Buffers are short: one at a time.
    pressed: bool,
    /// The slot before which the last sweep stopped.
    swept: u32,
    spare_tx: SpareTx,
    pub(super) congestion: Congestion,
    pub(super) counts: Counts,
}

/// What a shard's sockets have done, for `status` and tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Times the shard looked at the kernel.
    pub turns: u64,
    /// Times a receive found no buffer.
    pub starved: u64,
    /// Sends that the socket took only in part at first.
    pub short_sends: u64,
    /// Sockets in use.
    pub sockets: usize,
    /// Buffers nobody holds (on the stack or with the kernel).
    pub buffers_free: usize,
    /// Buffers borrowed from the heap.
    pub buffers_extra: usize,
}

/// Boxes, because the kernel reads what is inside while they are in use.
#[allow(clippy::vec_box)]
type SpareTx = Vec<Box<Tx>>;

/// Sending boxes kept for reuse.
const SPARE_TX: usize = 512;

impl Net {
    pub(super) fn new(port: Port, pool: &'static Pool, handle: Arc<Handle>) -> Net {
        let now = Tick::read();
        Net {
            port,
            slots: Slots::default(),
            pool,
            timers: Wheel::new(now),
            now,
            wakers: Vec::new(),
            spare_wakers: Vec::new(),
            adopted: VecDeque::new(),
            adopt_waker: None,
            handle,
            bell: false,
            handed_back: Vec::new(),
            due: Vec::new(),
            unsent: Vec::new(),
            starved: VecDeque::new(),
            hungry: false,
            pressed: false,
            swept: 0,
            spare_tx: Vec::new(),
            congestion: Congestion::default(),
            counts: Counts::default(),
        }
    }

    /// Takes a connected stream socket in.
    pub(super) fn open_stream(&mut self, fd: OwnedFd, unix: bool) -> io::Result<u32> {
        let at = self.open(fd, 2)?;
        self.slots.at(at).unix = unix;
        self.arm_recv(at);
        Ok(at)
    }

    /// Takes a listening socket in.
    pub(super) fn open_listener(&mut self, fd: OwnedFd, unix: bool) -> io::Result<u32> {
        let at = self.open(fd, 1)?;
        let slot = self.slots.at(at);
        slot.unix = unix;
        slot.work = Work::Listen(Box::default());
        Ok(at)
    }

    /// Takes a fresh socket in and starts to connect it.
    pub(super) fn open_dial(&mut self, fd: OwnedFd, address: RawAddress) -> io::Result<u32> {
        let unix = address.family() == libc::AF_UNIX;
        let at = self.open(fd, 2)?;
        let slot = self.slots.at(at);
        slot.unix = unix;
        slot.work = Work::Connect(Box::new(Dial { address, result: None, under_way: false, waker: None }));
        self.port.connect(at, slot);
        Ok(at)
    }

    fn open(&mut self, fd: OwnedFd, holders: u8) -> io::Result<u32> {
        let at = self.slots.open(fd, holders);
        let attached = self.port.attach(at, self.slots.at(at));
        if attached.is_err() {
            let slot = self.slots.at(at);
            slot.life = Life::Ending;
            slot.fd = None;
            self.slots.vacate(at);
        }
        attached.map(|()| at)
    }

    /// Waits for a connect to end; on success the socket receives from here on.
    pub(super) fn poll_connect(&mut self, at: u32, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let slot = self.slots.at(at);
        let Work::Connect(dial) = &mut slot.work else { return Poll::Ready(Ok(())) };
        match dial.result {
            None => {
                keep(&mut dial.waker, cx);
                return Poll::Pending;
            }
            Some(0) => slot.work = Work::None,
            Some(code) => return Poll::Ready(Err(io::Error::from_raw_os_error(code))),
        }
        self.arm_recv(at);
        Poll::Ready(Ok(()))
    }

    /// A connect ended with this error number, zero for success.
    pub(super) fn connected(&mut self, at: u32, code: i32) {
        let slot = self.slots.at(at);
        let Work::Connect(dial) = &mut slot.work else { return };
        dial.under_way = false;
        dial.result = Some(code);
        self.wakers.extend(dial.waker.take());
        self.progress(at);
    }

    /// The next connection handed to this shard.
    pub(super) fn poll_adopted(&mut self, cx: &mut Context<'_>) -> Poll<Accepted> {
        if let Some(accepted) = self.adopted.pop_front() {
            self.handle.adoption_done();
            return Poll::Ready(accepted);
        }
        keep(&mut self.adopt_waker, cx);
        Poll::Pending
    }

    /// A connection was handed to this shard.
    pub(super) fn adopt(&mut self, accepted: Accepted) {
        self.adopted.push_back(accepted);
        self.wakers.extend(self.adopt_waker.take());
    }

    /// Hands a connection to another shard, which has a place reserved for it.
    pub(super) fn hand_over(&mut self, handle: &Handle, to: ShardId, accepted: Accepted) {
        match (&mut self.port, handle.ring.get()) {
            (Port::Ring(ring), Some(target)) => ring.hand_over(target.as_raw_fd(), to, accepted),
            _ => handle.hand_over(accepted),
        }
    }

    /// Keeps a task's waker until `when`.
    pub(super) fn sleep(&mut self, when: Tick, cx: &Context<'_>) -> TimerId {
        self.timers.insert(when, Due::Wake(cx.waker().clone()))
    }

    /// One look at the kernel: submits what is to be sent, waits for something to happen if `wait`, takes in what
    /// happened, fires timers. Errors end the shard.
    pub(super) fn turn(&mut self, wait: bool) -> io::Result<()> {
        self.counts.turns += 1;
        self.pool.collect_returned();
        let hungry = self.feed_starved();
        self.sweep();
        let unfinished = matches!(&self.port, Port::Ring(ring) if ring.has_unconfirmed());
        let urgent = self.submit_unsent() || unfinished || hungry;
        let timeout = if wait && !urgent { self.time_to_next_timer() } else { Some(Duration::ZERO) };
        match &mut self.port {
            Port::Epoll(_) => self.epoll_turn(timeout)?,
            Port::Ring(_) => self.ring_turn(timeout)?,
        }
        self.now = Tick::read();
        self.fire_timers();
        Ok(())
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            sockets: self.slots.used(),
            buffers_free: self.pool.free() + self.port.buffers_lying(),
            buffers_extra: self.pool.extra(),
            ..self.counts
        }
    }

    fn time_to_next_timer(&self) -> Option<Duration> {
        // read again: tasks may have run for a while since the turn began
        self.timers.next().map(|next| next - Tick::read())
    }

    fn fire_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.timers.advance(self.now, &mut due);
        for what in due.drain(..) {
            match what {
                Due::Wake(waker) => self.wakers.push(waker),
                Due::Slot(at, generation) => self.slot_due(at, generation),
            }
        }
        self.due = due;
    }

    fn slot_due(&mut self, at: u32, generation: u32) {
        let Some(slot) = self.slots.find(at, generation) else { return };
        slot.timer = TimerId::NONE;
        if slot.life != Life::Open {
            return self.closing_due(at);
        }
        if slot.rx_waker.is_none() {
            return;
        }
        let deadline = slot.deadline;
        if deadline <= self.now {
            self.wakers.extend(slot.rx_waker.take());
        } else {
            self.set_deadline(at, deadline);
        }
    }

    /// Stores a deadline. The wheel entry is only touched if it would fire too late: it is checked when it fires.
    fn set_deadline(&mut self, at: u32, by: Tick) {
        let slot = self.slots.at(at);
        slot.deadline = by;
        if by == Tick::NEVER || self.timers.due(slot.timer) <= by + Duration::from_millis(1) {
            return;
        }
        self.timers.cancel(slot.timer);
        slot.timer = self.timers.insert(by, Due::Slot(at, slot.generation));
    }

    /// The descriptor behind a slot; -1 once closed.
    pub(super) fn raw_fd(&mut self, at: u32) -> RawFd {
        self.slots.at(at).raw()
    }
}

/// Stores the waker of the task that polls now.
pub(super) fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *place = Some(cx.waker().clone()),
    }
}

/// Points `vectors` at the bytes of `segments` after the first `skip`, and returns how many bytes that is.
///
/// The result reads memory that `segments` own: it is used before they change.
pub(super) fn point(vectors: &mut Vec<libc::iovec>, segments: &[super::Segment], mut skip: usize) -> usize {
    vectors.clear();
    let mut total = 0;
    for segment in segments {
        let rest = segment.get(skip.min(segment.len())..).unwrap_or_default();
        skip -= segment.len() - rest.len();
        if rest.is_empty() {
            continue;
        }
        if vectors.len() == VECTORS || total >= AT_ONCE {
            break;
        }
        let length = rest.len().min(AT_ONCE - total);
        total += length;
        vectors.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: length });
    }
    total
}

/// Segments of one system call; more go out in the next.
const VECTORS: usize = 64;
/// Bytes of one system call, well below what the kernel's interfaces can say.
const AT_ONCE: usize = 1 << 30;

impl Drop for Net {
    fn drop(&mut self) {
        let held = |net: &mut Net, at| net.slots.at(at).is_held();
        if self.slots.all_used().into_iter().any(|at| held(self, at)) {
            // the shard ends by a panic or over time: the kernel may still read what these slots own
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

//! One completion ring a shard. It knows sockets by slot number and nothing of tasks.
//!
//! The ring is made, used and dropped on its shard's thread (single issuer); completions are delivered only inside its
//! own calls (deferred task run), so a turn's events come in batches and in order. Memory that an operation uses belongs
//! to the socket's slot until the completion; buffers and what the ring itself writes to are never unmapped.

mod buffers;
mod op;

pub(super) use buffers::{BufferRing, GROUP};
pub(super) use op::Op;

use super::handle::Handle;
use super::listener::Accepted;
use super::net::{Phase, Rx, Slot, Submitted, Tx, Work, point};
use super::pool::Pool;
use super::shards::Shards;
use super::{ShardId, sys};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// What the sends of a turn ask for: finish or fail inside the submitting call, whole or with the count.
pub(super) const SEND_NOW: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
/// What a blocked send asks for: go on as room comes, and say when everything is gone.
const SEND_ALL: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
/// `IORING_ENTER_GETEVENTS`: without it deferred completions are not delivered.
pub(super) const GETEVENTS: u32 = 1;
/// Times an overflowing completion queue is emptied in one turn.
const OVERFLOW_ROUNDS: usize = 64;

/// One completion: user data, result, flags.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) op: Op,
    pub(super) result: i32,
    pub(super) flags: u32,
}

impl Seen {
    /// The kernel goes on with this operation.
    pub(super) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The buffer that the kernel has let go of.
    pub(super) fn buffer(self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// A shard's ring.
pub(super) struct Ring {
    ring: IoUring,
    /// Entries that found no room in the submission queue, in order.
    backlog: VecDeque<squeue::Entry>,
    seen: Vec<Seen>,
    /// Slots whose send of this turn is unconfirmed.
    unconfirmed: Vec<u32>,
    pub(super) buffers: BufferRing,
    bell: RawFd,
    bell_count: *mut u64,
    bell_armed: bool,
}

/// A ring as the shards use it. Kernels before 6.1 do not know the flags and refuse.
pub(super) fn build(entries: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(entries * 4)
        .build(entries)
}

impl Ring {
    /// Makes the ring of the calling thread, which is the shard's.
    pub(super) fn new(shards: &Shards, handle: &Handle) -> io::Result<Ring> {
        let ring = build(shards.ring_entries)?;
        let buffers = BufferRing::register(&ring, shards.hot_buffers.min(shards.buffers))?;
        let _ = handle.ring.set(sys::duplicate(ring.as_raw_fd())?);
        Ok(Ring {
            ring,
            backlog: VecDeque::new(),
            seen: Vec::new(),
            unconfirmed: Vec::new(),
            buffers,
            bell: handle.bell(),
            bell_count: Box::into_raw(Box::default()), // never freed: the kernel may still write to it when the ring ends
            bell_armed: false,
        })
    }

    /// Queues an entry for the next call.
    ///
    /// What it points to belongs to a slot whose `in_kernel` counts it, or to an unconfirmed send, or is never freed.
    fn push(&mut self, entry: squeue::Entry) {
        if !self.backlog.is_empty() {
            return self.backlog.push_back(entry);
        }
        // SAFETY: see above; slots keep that memory until the completion.
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    /// Moves the backlog up.
    fn refill(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: as in `push`.
            if unsafe { queue.push(entry) }.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Has the kernel taken every entry?
    pub(super) fn is_flushed(&mut self) -> bool {
        self.backlog.is_empty() && self.ring.submission().is_empty()
    }

    /// Submits what is queued and waits for a completion, `timeout` at most; zero does not wait.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.arm_bell();
        self.refill();
        while !self.backlog.is_empty() {
            let before = self.backlog.len();
            self.submit()?;
            self.refill();
            if self.backlog.len() == before {
                return Ok(()); // the kernel is out of something; completions first, then again
            }
        }
        let result = match timeout {
            Some(Duration::ZERO) => return self.submit(),
            None => self.ring.submit_and_wait(1),
            Some(time) => {
                let time = Timespec::from(time);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        tolerate(result)
    }

    /// Submits without waiting, and has deferred completions delivered.
    fn submit(&mut self) -> io::Result<()> {
        let count = self.ring.submission().len() as u32;
        // SAFETY: no argument is passed; the entries' memory is kept as `push` says.
        tolerate(unsafe { self.ring.submitter().enter::<libc::sigset_t>(count, 0, GETEVENTS, None) })
    }

    /// Takes the completions that are there. The vector comes back with [`Ring::keep`].
    pub(super) fn take_seen(&mut self) -> io::Result<Vec<Seen>> {
        let mut seen = std::mem::take(&mut self.seen);
        for _ in 0..OVERFLOW_ROUNDS {
            let completions = self.ring.completion();
            seen.extend(completions.map(|c| Seen {
                op: Op::decode(c.user_data()),
                result: c.result(),
                flags: c.flags(),
            }));
            if !self.ring.submission().cq_overflow() {
                break;
            }
            // SAFETY: no argument is passed.
            tolerate(unsafe { self.ring.submitter().enter::<libc::sigset_t>(0, 0, GETEVENTS, None) })?;
        }
        Ok(seen)
    }

    /// Gives the vector of completions back for reuse.
    pub(super) fn keep(&mut self, seen: Vec<Seen>) {
        self.seen = seen;
    }

    /// Did the kernel not take everything in the last call? Then the next must not sleep.
    pub(super) fn has_unconfirmed(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// The slots whose sends of this turn are confirmed: every entry was consumed, and every completion was seen, so
    /// silence means that the kernel has sent the whole.
    pub(super) fn take_confirmed(&mut self) -> Vec<u32> {
        if self.unconfirmed.is_empty() || !self.is_flushed() || self.ring.submission().cq_overflow() {
            return Vec::new();
        }
        std::mem::take(&mut self.unconfirmed)
    }

    /// Gives the vector of confirmed slots back for reuse.
    pub(super) fn keep_confirmed(&mut self, confirmed: Vec<u32>) {
        if self.unconfirmed.is_empty() {
            self.unconfirmed = confirmed;
        }
    }

    /// The bell was read by the kernel.
    pub(super) fn bell_heard(&mut self) {
        self.bell_armed = false;
    }

    fn arm_bell(&mut self) {
        if !self.bell_armed {
            self.bell_armed = true;
            let read = opcode::Read::new(Fd(self.bell), self.bell_count.cast(), 8).build();
            self.push(read.user_data(Op::Bell.encode()));
        }
    }

    pub(super) fn arm_recv(&mut self, at: u32, slot: &mut Slot, one: bool) {
        slot.rx = Rx::Armed;
        slot.in_kernel += 1;
        let fd = Fd(slot.raw());
        // on some kernels a multishot receive loses the end of a Unix stream
        slot.many = !one && !slot.unix;
        let entry = if !slot.many {
            let receive = opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(GROUP).build();
            receive.flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(fd, GROUP).build()
        };
        self.push(entry.user_data(Op::Recv(at, slot.generation).encode()));
    }

    pub(super) fn arm_accept(&mut self, at: u32, slot: &mut Slot) {
        slot.rx = Rx::Armed;
        slot.in_kernel += 1;
        let entry = opcode::AcceptMulti::new(Fd(slot.raw())).flags(libc::SOCK_CLOEXEC).build();
        self.push(entry.user_data(Op::Accept(at, slot.generation).encode()));
    }

    /// Takes back the receive or the accept of a slot. Its completion still comes.
    pub(super) fn cancel_rx(&mut self, at: u32, slot: &mut Slot) {
        slot.rx = Rx::Cancelling;
        let op = match slot.work {
            Work::Listen(_) => Op::Accept(at, slot.generation),
            _ => Op::Recv(at, slot.generation),
        };
        self.cancel(op);
    }

    /// Takes back a blocked send or a connect. Its completion still comes.
    pub(super) fn cancel_work(&mut self, at: u32, slot: &Slot) {
        match slot.work {
            Work::Send(_) => self.cancel(Op::Send(at, slot.generation)),
            Work::Connect(_) => self.cancel(Op::Connect(at, slot.generation)),
            Work::None | Work::Listen(_) => {}
        }
    }

    fn cancel(&mut self, op: Op) {
        let entry = opcode::AsyncCancel::new(op.encode()).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry.user_data(Op::Ignore.encode()));
    }

    pub(super) fn connect(&mut self, at: u32, slot: &mut Slot) {
        let op = Op::Connect(at, slot.generation);
        let fd = Fd(slot.raw());
        let Work::Connect(dial) = &mut slot.work else { return };
        let (address, length) = dial.address.as_raw();
        dial.under_way = true;
        slot.in_kernel += 1;
        self.push(opcode::Connect::new(fd, address, length).build().user_data(op.encode()));
    }

    /// Submits what is flying as one message that is sent inside the submitting call or fails there.
    pub(super) fn send(&mut self, at: u32, slot: &mut Slot) -> Submitted {
        let op = Op::SendNow(at, slot.generation);
        let fd = Fd(slot.raw());
        let Some(tx) = slot.tx() else { return Submitted::Taken(0) };
        tx.failed = None;
        let entry = send_entry(fd, tx, SEND_NOW).flags(squeue::Flags::SKIP_SUCCESS);
        self.unconfirmed.push(at);
        self.push(entry.user_data(op.encode()));
        Submitted::Unconfirmed
    }

    /// Has the rest sent as room comes.
    pub(super) fn resume_send(&mut self, at: u32, slot: &mut Slot) {
        let op = Op::Send(at, slot.generation);
        let fd = Fd(slot.raw());
        let Some(tx) = slot.tx() else { return };
        debug_assert!(tx.phase == Phase::Blocked);
        let entry = send_entry(fd, tx, SEND_ALL);
        slot.in_kernel += 1;
        self.push(entry.user_data(op.encode()));
    }

    pub(super) fn close(&mut self, fd: OwnedFd) {
        let entry = opcode::Close::new(Fd(fd.into_raw_fd())).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry.user_data(Op::Ignore.encode()));
    }

    /// Sends a connection's number to another shard's ring. If that fails, a completion here brings it back.
    pub(super) fn hand_over(&mut self, ring: RawFd, to: ShardId, accepted: Accepted) {
        let (fd, unix) = accepted.into_parts();
        let fd = fd.into_raw_fd();
        let message = opcode::MsgRingData::new(Fd(ring), fd, Op::Adopt { unix }.encode(), None).build();
        let back = Op::HandOver { fd, unix, to };
        self.push(message.flags(squeue::Flags::SKIP_SUCCESS).user_data(back.encode()));
    }

    /// Puts free buffers down for the kernel, and says how many lie there.
    pub(super) fn buffers_ready(&mut self, pool: &Pool) -> usize {
        self.buffers.top_up(pool)
    }
}

/// Points the slot's vectors at what is left to send, and makes the operation that sends it.
fn send_entry(fd: Fd, tx: &mut Tx, flags: i32) -> squeue::Entry {
    tx.wanted = point(&mut tx.vectors, &tx.flying, tx.sent);
    if let [one] = tx.vectors.as_slice() {
        return opcode::Send::new(fd, one.iov_base.cast_const().cast(), one.iov_len as u32)
            .flags(flags)
            .build();
    }
    tx.message.msg_iov = tx.vectors.as_mut_ptr();
    tx.message.msg_iovlen = tx.vectors.len();
    opcode::SendMsg::new(fd, &raw const tx.message).flags(flags as u32).build()
}

/// Interrupted, timed out, or short of memory or room for the moment: all of them pass.
fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(e) => match e.raw_os_error() {
            Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(e),
        },
    }
}

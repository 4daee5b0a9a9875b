//! Sending: segments are accepted at once, go to the kernel at the end of the turn, all of a socket in one message, and
//! are confirmed by the call that submitted them. At most one unconfirmed send a socket.

use super::receive::aborted;
use super::{Fin, Life, Net, Phase, SPARE_TX, Slot, SpareTx, Submitted, Tx, Work, keep};
use crate::rt::segment::{Segment, Segments, move_out};
use crate::rt::{SendError, pool, spare, sys};
use std::io;
use std::task::{Context, Poll};

/// Bytes a connection accepts within a turn before `send` waits for the kernel to have taken them.
pub(in crate::rt) const SEND_MARK: usize = 64 * 1024;

impl Net {
    /// May more be sent without waiting? Neither blocked nor above the mark of one turn.
    pub(in crate::rt) fn can_send(&mut self, at: u32) -> bool {
        let slot = self.slots.at(at);
        slot.phase() != Phase::Blocked && slot.tx().is_none_or(|tx| tx.pending_bytes < SEND_MARK)
    }

    /// Accepts segments, whether or not more can be sent now.
    pub(in crate::rt) fn send_nowait(&mut self, at: u32, what: Segments) -> Result<(), SendError> {
        self.check_open(at)?;
        let bytes = what.total();
        if bytes == 0 {
            return Ok(());
        }
        let slot = self.slots.at(at);
        let tx = tx_of(slot, &mut self.spare_tx);
        tx.pending.extend(what);
        tx.pending_bytes += bytes;
        self.list(at);
        Ok(())
    }

    /// Waits until more can be sent; ready with the error if nothing can be sent any more.
    pub(in crate::rt) fn poll_can_send(
        &mut self,
        at: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        self.check_open(at)?;
        if self.can_send(at) {
            return Poll::Ready(Ok(()));
        }
        self.wait_for_tx(at, cx)
    }

    /// Waits until the kernel has everything.
    pub(in crate::rt) fn poll_sent(&mut self, at: u32, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let slot = self.slots.at(at);
        if slot.tx_error != 0 {
            return Poll::Ready(Err(io::Error::from_raw_os_error(slot.tx_error).into()));
        }
        if !slot.is_sending() {
            return Poll::Ready(Ok(()));
        }
        self.wait_for_tx(at, cx)
    }

    /// Ends our side of the stream after everything accepted so far.
    pub(in crate::rt) fn shutdown_write(&mut self, at: u32) {
        let slot = self.slots.at(at);
        if slot.fin == Fin::None && slot.life == Life::Open {
            slot.fin = Fin::Wanted;
            self.end_if_sent(at);
        }
    }

    /// Submits what was accepted since the last turn. True if somebody waits to hear of it, so that the shard must not
    /// sleep in the call that submits it: a task, an end to be sent, or connections for whom the sent chunks' buffers
    /// are the next ones free.
    pub(super) fn submit_unsent(&mut self) -> bool {
        let mut urgent = !self.unsent.is_empty() && !self.starved.is_empty();
        let mut list = std::mem::take(&mut self.unsent);
        for at in list.drain(..) {
            urgent |= self.submit_one(at);
        }
        if self.unsent.is_empty() {
            self.unsent = list;
        }
        urgent || !self.unsent.is_empty()
    }

    fn submit_one(&mut self, at: u32) -> bool {
        let slot = self.slots.at(at);
        let (fin, life) = (slot.fin, slot.life);
        let Some(tx) = slot.tx() else { return false };
        tx.listed = false;
        if tx.phase != Phase::Idle || tx.pending.is_empty() {
            self.put_tx(at);
            self.progress(at);
            return false;
        }
        debug_assert!(tx.flying.is_empty(), "one send a socket");
        std::mem::swap(&mut tx.pending, &mut tx.flying);
        tx.pending_bytes = 0;
        tx.sent = 0;
        let urgent =
            tx.waker.is_some() || fin == Fin::Wanted || life != Life::Open || pool::may_travel(&tx.flying);
        match self.port.send(at, slot) {
            Submitted::Unconfirmed => {
                if let Some(tx) = slot.tx() {
                    tx.phase = Phase::Unconfirmed;
                }
            }
            Submitted::Taken(bytes) => self.taken(at, bytes),
            Submitted::Failed(code) => self.send_failed(at, code),
        }
        urgent
    }

    /// The kernel took so many more bytes of what is flying, and now holds none of it.
    pub(in crate::rt) fn taken(&mut self, at: u32, bytes: usize) {
        let slot = self.slots.at(at);
        let Some(tx) = slot.tx() else { return };
        tx.phase = Phase::Idle;
        tx.sent += bytes;
        let total: usize = tx.flying.iter().map(|segment| segment.len()).sum();
        if tx.sent >= total {
            return self.send_done(at);
        }
        if slot.life == Life::Ending {
            return self.reap(at);
        }
        if let Some(tx) = slot.tx() {
            tx.phase = Phase::Blocked;
            move_out(&mut tx.flying);
            move_out(&mut tx.pending);
        }
        self.counts.short_sends += 1;
        self.port.resume_send(at, slot);
    }

    fn send_done(&mut self, at: u32) {
        let slot = self.slots.at(at);
        let Some(tx) = slot.tx() else { return };
        tx.phase = Phase::Idle;
        recycle(&mut tx.flying);
        self.wakers.extend(tx.waker.take());
        if !tx.pending.is_empty() {
            return self.list(at);
        }
        self.put_tx(at);
        self.end_if_sent(at);
        self.progress(at);
    }

    /// Sending failed for good.
    pub(in crate::rt) fn send_failed(&mut self, at: u32, code: i32) {
        let slot = self.slots.at(at);
        slot.tx_error = code;
        if let Some(tx) = slot.tx() {
            tx.phase = Phase::Idle;
            recycle(&mut tx.flying);
            recycle(&mut tx.pending);
            self.wakers.extend(tx.waker.take());
        }
        self.put_tx(at);
        self.progress(at);
    }

    /// Sends past the queue, where it is empty. If the kernel takes a part only, the connection has failed: nothing may
    /// follow half of what was said.
    pub(in crate::rt) fn interject(&mut self, at: u32, bytes: &'static [u8]) -> bool {
        if self.check_open(at).is_err() || self.slots.at(at).is_sending() {
            return false;
        }
        let sent = sys::send_bytes(self.slots.at(at).raw(), bytes);
        let whole = sent.as_ref().is_ok_and(|sent| *sent == bytes.len());
        if sent.is_ok() && !whole {
            self.send_failed(at, libc::EPIPE);
        }
        whole
    }

    fn end_if_sent(&mut self, at: u32) {
        let slot = self.slots.at(at);
        if slot.fin == Fin::Wanted && !slot.is_sending() {
            slot.fin = Fin::Sent;
            if let Err(error) = sys::shutdown_write(slot.raw()) {
                slot.tx_error = sys::code(&error);
            }
        }
    }

    fn check_open(&mut self, at: u32) -> Result<(), SendError> {
        let slot = self.slots.at(at);
        if slot.tx_error != 0 {
            return Err(io::Error::from_raw_os_error(slot.tx_error).into());
        }
        if slot.life != Life::Open {
            return Err(aborted().into());
        }
        if slot.fin != Fin::None {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        Ok(())
    }

    fn wait_for_tx(&mut self, at: u32, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let tx = tx_of(self.slots.at(at), &mut self.spare_tx);
        keep(&mut tx.waker, cx);
        Poll::Pending
    }

    fn list(&mut self, at: u32) {
        if let Some(tx) = self.slots.at(at).tx()
            && !tx.listed
        {
            tx.listed = true;
            self.unsent.push(at);
        }
    }

    /// Gives the box of a socket with nothing to send back for reuse.
    pub(super) fn put_tx(&mut self, at: u32) {
        let slot = self.slots.at(at);
        if slot.tx().is_none_or(|tx| tx.is_busy() || tx.listed || tx.phase != Phase::Idle) {
            return;
        }
        if let Work::Send(mut tx) = std::mem::take(&mut slot.work)
            && self.spare_tx.len() < SPARE_TX
        {
            tx.waker = None;
            tx.vectors.clear();
            self.spare_tx.push(tx);
        }
    }
}

fn tx_of<'a>(slot: &'a mut Slot, spare: &mut SpareTx) -> &'a mut Tx {
    if matches!(slot.work, Work::None) {
        slot.work = Work::Send(spare.pop().unwrap_or_else(|| Box::new(Tx::new())));
    }
    match &mut slot.work {
        Work::Send(tx) => tx,
        // streams are handed out when they are connected, and listeners never send
        Work::None | Work::Connect(_) | Work::Listen(_) => unreachable!("only a connected stream sends"),
    }
}

/// Drops sent segments; allocations made for a turn are kept for the next.
fn recycle(segments: &mut Vec<Segment>) {
    for segment in segments.drain(..) {
        if let Segment::Vec(bytes) = segment {
            spare::give_back(bytes);
        }
    }
    segments.shrink_to(16);
}

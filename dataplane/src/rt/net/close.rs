//! The end of a socket: flush, FIN, linger, reset, and the rule that a descriptor is closed and its slot reused only
//! when the kernel holds nothing of it.

use super::{Due, Fin, Life, Net, Phase, Rx, Work};
use crate::rt::sys;
use crate::rt::tick::Tick;
use std::time::Duration;

/// How long a dropped stream may take to send what it had accepted.
pub(in crate::rt) const DROP_GRACE: Duration = Duration::from_secs(5);

impl Net {
    /// Sends what was accepted, ends our side, waits for the peer's end for `grace` at most, and closes.
    pub(in crate::rt) fn close(&mut self, at: u32, grace: Duration) {
        if self.slots.at(at).life == Life::Open {
            self.begin_close(at, Life::Lingering, grace);
        }
    }

    /// Closes with a reset, at once.
    pub(in crate::rt) fn abort(&mut self, at: u32) {
        let slot = self.slots.at(at);
        if slot.life == Life::Vacant || slot.fd.is_none() {
            return;
        }
        let _ = sys::reset_on_close(slot.raw()); // not in the Unix domain: there the peer sees an end
        self.finish(at);
    }

    /// The reading half is gone.
    pub(in crate::rt) fn drop_reader(&mut self, at: u32) {
        let slot = self.slots.at(at);
        slot.reader_gone = true;
        slot.rx_waker = None;
        slot.queue.clear();
        if slot.life == Life::Open && slot.rx == Rx::Armed {
            self.port.cancel_rx(at, slot);
        }
        self.release(at);
    }

    /// One value that named the slot is gone; the last closes it.
    pub(in crate::rt) fn release(&mut self, at: u32) {
        let slot = self.slots.at(at);
        slot.holders -= 1;
        if slot.holders > 0 {
            return;
        }
        if slot.life == Life::Open {
            self.begin_close(at, Life::Flushing, DROP_GRACE);
        } else {
            self.reap(at);
        }
    }

    fn begin_close(&mut self, at: u32, life: Life, grace: Duration) {
        let slot = self.slots.at(at);
        slot.life = life;
        slot.queue.clear();
        self.wakers.extend(slot.rx_waker.take());
        let by = self.now + grace;
        self.set_deadline(at, by);
        self.progress(at);
    }

    /// Moves a closing socket on as far as it goes.
    pub(super) fn progress(&mut self, at: u32) {
        let slot = self.slots.at(at);
        match slot.life {
            Life::Vacant | Life::Open => {}
            Life::Ending => self.reap(at),
            _ if slot.is_sending() => {}
            Life::Flushing => self.finish(at),
            Life::Lingering => self.linger(at),
        }
    }

    fn linger(&mut self, at: u32) {
        let slot = self.slots.at(at);
        if slot.fin != Fin::Sent {
            slot.fin = Fin::Sent;
            let _ = sys::shutdown_write(slot.raw()); // already gone: then receiving says so
        }
        match slot.rx {
            Rx::End | Rx::Failed(_) | Rx::Starved => self.finish(at),
            Rx::Idle => self.arm_recv(at), // what still arrives is thrown away
            Rx::Armed | Rx::Cancelling => {}
        }
    }

    /// The grace of a closing socket is over.
    pub(super) fn closing_due(&mut self, at: u32) {
        let now = self.now;
        let slot = self.slots.at(at);
        if !matches!(slot.life, Life::Flushing | Life::Lingering) {
            return;
        }
        if slot.deadline > now {
            let by = slot.deadline;
            return self.set_deadline(at, by);
        }
        if slot.is_sending() {
            let _ = sys::reset_on_close(slot.raw()); // something is cut off: that must be visible
        }
        self.finish(at);
    }

    /// Nothing more is wanted of this socket: takes back what the kernel still does for it.
    pub(super) fn finish(&mut self, at: u32) {
        let slot = self.slots.at(at);
        slot.life = Life::Ending;
        self.timers.cancel(slot.timer);
        slot.queue.clear();
        self.wakers.extend(slot.rx_waker.take());
        if slot.rx == Rx::Armed {
            self.port.cancel_rx(at, slot);
        }
        match &mut slot.work {
            Work::Send(tx) => {
                tx.pending.clear();
                tx.pending_bytes = 0;
                self.wakers.extend(tx.waker.take());
                if tx.phase == Phase::Blocked {
                    self.port.cancel_work(at, slot);
                }
            }
            Work::Connect(dial) if dial.under_way => self.port.cancel_work(at, slot),
            _ => {}
        }
        self.reap(at);
    }

    /// Closes the descriptor and frees the slot, as far as the kernel and the holders have let go of it.
    pub(in crate::rt) fn reap(&mut self, at: u32) {
        let slot = self.slots.at(at);
        if slot.life != Life::Ending || slot.is_held() {
            return;
        }
        if let Some(fd) = slot.fd.take() {
            self.port.close(fd);
        }
        if let Some(tx) = slot.tx()
            && !tx.listed
        {
            tx.flying.clear();
            self.put_tx(at);
        }
        let slot = self.slots.at(at);
        if slot.tx().is_some() {
            return; // still in this turn's list of sends; comes back from there
        }
        slot.work = Work::None;
        if slot.holders == 0 {
            self.slots.vacate(at);
        }
    }

    /// The shard ends: what still has to be sent gets until `until`, everything else closes now.
    pub(in crate::rt) fn close_all(&mut self, until: Tick) {
        for at in self.slots.all_used() {
            let slot = self.slots.at(at);
            if slot.life == Life::Ending || !slot.is_sending() {
                self.finish(at);
            } else {
                slot.life = Life::Flushing;
                self.set_deadline(at, until);
            }
        }
        // ends the last wait in any case
        self.timers.insert(until + Duration::from_millis(1100), Due::Slot(u32::MAX, 0));
    }

    /// Is every descriptor closed, and does the kernel hold nothing?
    pub(in crate::rt) fn is_all_closed(&mut self) -> bool {
        self.port.is_flushed() && self.holds_nothing()
    }

    /// Is every descriptor closed, even if the kernel has not been told of the last ones?
    pub(in crate::rt) fn holds_nothing(&mut self) -> bool {
        let used = self.slots.all_used();
        used.into_iter().all(|at| self.slots.at(at).fd.is_none())
    }
}

//! The completion backend: what the ring's completions mean for the sockets.

use super::receive::Ended;
use super::{Net, Port};
use crate::rt::listener::Accepted;
use crate::rt::pool::Chunk;
use crate::rt::ring::{Op, Ring, Seen};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

impl Net {
    /// One call into the ring, and everything that came of it.
    pub(super) fn ring_turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Some(ring) = self.ring() else { return Ok(()) };
        ring.enter(timeout)?;
        let mut seen = ring.take_seen()?;
        for completion in seen.drain(..) {
            self.completed(completion);
        }
        let Some(ring) = self.ring() else { return Ok(()) };
        ring.keep(seen);
        let mut confirmed = ring.take_confirmed();
        for at in confirmed.drain(..) {
            self.confirm(at);
        }
        if let Some(ring) = self.ring() {
            ring.keep_confirmed(confirmed);
        }
        Ok(())
    }

    fn ring(&mut self) -> Option<&mut Ring> {
        match &mut self.port {
            Port::Ring(ring) => Some(ring),
            Port::Epoll(_) => None,
        }
    }

    fn completed(&mut self, seen: Seen) {
        let chunk = self.chunk_of(seen);
        match seen.op {
            Op::Ignore => {}
            Op::Bell => {
                self.bell = true;
                self.ring().into_iter().for_each(Ring::bell_heard);
            }
            Op::Adopt { unix } => self.adopt(Accepted::new(own(seen.result), unix)),
            Op::HandOver { fd, unix, to } => self.handed_back.push((Accepted::new(own(fd), unix), to)),
            Op::SendNow(at, generation) => {
                let tx = self.slots.find(at, generation).and_then(|slot| slot.tx());
                debug_assert!(tx.is_some(), "an unconfirmed send keeps its slot");
                tx.into_iter().for_each(|tx| tx.failed = Some(seen.result));
            }
            Op::Recv(at, generation) if self.settle(at, generation, seen) => {
                self.recv_completed(at, seen, chunk)
            }
            Op::Accept(at, generation) if self.settle(at, generation, seen) => {
                self.accept_completed(at, seen)
            }
            Op::Connect(at, generation) if self.settle(at, generation, seen) => {
                self.connected(at, -seen.result.min(0))
            }
            Op::Send(at, generation) if self.settle(at, generation, seen) => {
                self.send_completed(at, seen.result)
            }
            // a completion of a slot that is gone: `settle` has said so in debug builds
            Op::Recv(..) | Op::Connect(..) | Op::Send(..) => {}
            Op::Accept(..) => drop((seen.result >= 0).then(|| own(seen.result))),
        }
    }

    /// The buffer a completion names is ours again, whatever else it says.
    fn chunk_of(&mut self, seen: Seen) -> Option<Chunk> {
        let buffer = seen.buffer()?;
        self.ring().into_iter().for_each(|ring| ring.buffers.picked_up());
        Some(self.pool.chunk(buffer, usize::try_from(seen.result).unwrap_or(0)))
    }

    /// Counts an operation out that ends with this completion. False if its slot is gone, which cannot be: a slot is
    /// kept until the kernel holds nothing of it.
    fn settle(&mut self, at: u32, generation: u32, seen: Seen) -> bool {
        let slot = self.slots.find(at, generation);
        debug_assert!(slot.is_some(), "a slot is not reused while the kernel holds an operation of it");
        let Some(slot) = slot else { return false };
        debug_assert!(slot.in_kernel > 0, "only operations that were counted complete");
        if !seen.more() {
            slot.in_kernel -= 1;
        }
        true
    }

    fn recv_completed(&mut self, at: u32, seen: Seen, chunk: Option<Chunk>) {
        match (seen.result, chunk) {
            (1.., Some(chunk)) => self.received(at, chunk, seen.more()),
            (0, _) => self.recv_ended(at, Ended::Eof),
            (result, _) => match -result {
                libc::ENOBUFS => self.recv_ended(at, Ended::Starved),
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => self.recv_ended(at, Ended::Cancelled),
                code @ 1.. => self.recv_ended(at, Ended::Failed(code)),
                _ => self.recv_ended(at, Ended::Failed(libc::EIO)), // bytes without a buffer
            },
        }
    }

    fn accept_completed(&mut self, at: u32, seen: Seen) {
        match seen.result {
            fd @ 0.. => self.accepted(at, own(fd), seen.more()),
            code => self.accept_ended(at, -code),
        }
    }

    fn send_completed(&mut self, at: u32, result: i32) {
        match result {
            0 => self.send_failed(at, libc::EPIPE),
            taken @ 1.. => self.taken(at, taken as usize),
            again if again == -libc::EAGAIN || again == -libc::EINTR => self.taken(at, 0),
            failed => self.send_failed(at, -failed),
        }
    }

    /// The call that submitted a slot's send is over: no completion means that all of it was sent.
    fn confirm(&mut self, at: u32) {
        let Some(tx) = self.slots.at(at).tx() else { return };
        match tx.failed.take() {
            None => {
                let wanted = tx.wanted;
                self.taken(at, wanted);
            }
            Some(short @ 0..) => self.taken(at, short as usize),
            Some(again) if again == -libc::EAGAIN || again == -libc::EINTR => self.taken(at, 0),
            Some(failed) => self.send_failed(at, -failed),
        }
    }
}

fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made this descriptor for this completion (accept), or another shard, or this one, gave it away
    // with `into_raw_fd` for this message: in each case it has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

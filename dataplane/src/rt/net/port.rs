//! Where the two backends differ: who makes the system calls, and when.

use super::{Epoll, Rx, Slot};
use crate::rt::pool::Pool;
use crate::rt::ring::Ring;
use std::io;
use std::os::fd::OwnedFd;

/// How a submitted send stands right after it was submitted.
pub(in crate::rt) enum Submitted {
    /// Silence after the submitting call will mean "sent whole".
    Unconfirmed,
    /// So many bytes were taken; all, or the socket is full.
    Taken(usize),
    /// It failed with this error number.
    Failed(i32),
}

/// The kernel side of the sockets.
pub(in crate::rt) enum Port {
    Epoll(Epoll),
    Ring(Box<Ring>),
}

impl Port {
    pub(super) fn attach(&mut self, at: u32, slot: &mut Slot) -> io::Result<()> {
        match self {
            Port::Epoll(epoll) => epoll.attach(at, slot),
            Port::Ring(_) => Ok(()),
        }
    }

    /// Asks for what arrives, or only for the next of it. Leaves `slot.rx` armed.
    pub(super) fn arm_recv(&mut self, at: u32, slot: &mut Slot, one: bool) {
        match self {
            Port::Epoll(epoll) => epoll.arm(at, slot),
            Port::Ring(ring) => ring.arm_recv(at, slot, one),
        }
    }

    pub(super) fn arm_accept(&mut self, at: u32, slot: &mut Slot) {
        match self {
            Port::Epoll(epoll) => epoll.arm(at, slot),
            Port::Ring(ring) => ring.arm_accept(at, slot),
        }
    }

    /// Asks for nothing more to arrive or to be accepted. Leaves `slot.rx` cancelling or idle.
    pub(super) fn cancel_rx(&mut self, at: u32, slot: &mut Slot) {
        match self {
            Port::Epoll(_) => slot.rx = Rx::Idle,
            Port::Ring(ring) => ring.cancel_rx(at, slot),
        }
    }

    /// Starts to connect; the result is in the slot's dial, now or later.
    pub(super) fn connect(&mut self, at: u32, slot: &mut Slot) {
        match self {
            Port::Epoll(_) => Epoll::connect(slot),
            Port::Ring(ring) => ring.connect(at, slot),
        }
    }

    /// Gives what is flying to the kernel.
    pub(super) fn send(&mut self, at: u32, slot: &mut Slot) -> Submitted {
        match self {
            Port::Epoll(_) => Epoll::send(slot),
            Port::Ring(ring) => ring.send(at, slot),
        }
    }

    /// Has the rest of what is flying sent as room comes.
    pub(super) fn resume_send(&mut self, at: u32, slot: &mut Slot) {
        match self {
            Port::Epoll(_) => {} // tried again when epoll says writable
            Port::Ring(ring) => ring.resume_send(at, slot),
        }
    }

    /// Takes back a blocked send or a connect under way.
    pub(super) fn cancel_work(&mut self, at: u32, slot: &mut Slot) {
        match self {
            Port::Epoll(_) => Epoll::cancel_work(slot),
            Port::Ring(ring) => ring.cancel_work(at, slot),
        }
    }

    pub(super) fn close(&mut self, fd: OwnedFd) {
        match self {
            Port::Epoll(_) => drop(fd),
            Port::Ring(ring) => ring.close(fd),
        }
    }

    /// Buffers that a receive can get.
    pub(super) fn buffers_ready(&mut self, pool: &Pool) -> usize {
        match self {
            Port::Epoll(_) => pool.free(),
            Port::Ring(ring) => ring.buffers_ready(pool),
        }
    }

    /// Buffers put down for the kernel.
    pub(super) fn buffers_lying(&self) -> usize {
        match self {
            Port::Epoll(_) => 0,
            Port::Ring(ring) => ring.buffers.lying(),
        }
    }

    /// Has the kernel been given everything?
    pub(super) fn is_flushed(&mut self) -> bool {
        match self {
            Port::Epoll(_) => true,
            Port::Ring(ring) => ring.is_flushed(),
        }
    }
}

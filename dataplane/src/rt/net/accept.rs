//! Accepting: connections are queued in the listener's slot, bounded, until they are taken.

use super::{Life, Net, Rx, Work, keep};
use crate::rt::listener::Accepted;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

/// Accepted connections that wait to be taken before accepting pauses; the rest wait in the kernel's backlog.
pub(in crate::rt) const ACCEPT_QUEUE: usize = 64;

impl Net {
    /// The next connection, or the error that accepting met.
    pub(in crate::rt) fn poll_accept(&mut self, at: u32, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let slot = self.slots.at(at);
        let unix = slot.unix;
        let Work::Listen(listen) = &mut slot.work else { return Poll::Pending };
        if let Some(fd) = listen.accepted.pop_front() {
            return Poll::Ready(Ok(Accepted::new(fd, unix)));
        }
        if let Some(code) = listen.error.take() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(code)));
        }
        keep(&mut slot.rx_waker, cx);
        if slot.rx == Rx::Idle {
            self.port.arm_accept(at, slot);
        }
        Poll::Pending
    }

    /// A connection was accepted; `more` says that the kernel goes on accepting.
    pub(in crate::rt) fn accepted(&mut self, at: u32, fd: OwnedFd, more: bool) {
        let slot = self.slots.at(at);
        if !more && matches!(slot.rx, Rx::Armed | Rx::Cancelling) {
            slot.rx = Rx::Idle;
        }
        if slot.life != Life::Open {
            drop(fd);
            return self.progress(at);
        }
        self.wakers.extend(slot.rx_waker.take());
        let Work::Listen(listen) = &mut slot.work else { return };
        listen.accepted.push_back(fd);
        if slot.rx == Rx::Armed && listen.accepted.len() >= ACCEPT_QUEUE {
            self.port.cancel_rx(at, slot);
        }
    }

    /// Accepting ended with this error number.
    pub(in crate::rt) fn accept_ended(&mut self, at: u32, code: i32) {
        let slot = self.slots.at(at);
        slot.rx = Rx::Idle;
        if slot.life != Life::Open {
            return self.progress(at);
        }
        let waits = slot.rx_waker.is_some();
        if is_of_the_connection(code) {
            if waits {
                self.port.arm_accept(at, slot);
            }
            return;
        }
        if let Work::Listen(listen) = &mut slot.work {
            listen.error = Some(code);
        }
        self.wakers.extend(slot.rx_waker.take());
    }
}

/// Errors that concern one connection that went away before it was accepted (accept(2) lists them), or our own cancel.
fn is_of_the_connection(code: i32) -> bool {
    matches!(
        code,
        libc::ECANCELED
            | libc::ECONNABORTED
            | libc::EINTR
            | libc::EAGAIN
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::EPERM
    )
}

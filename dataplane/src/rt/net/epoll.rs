//! The readiness backend: epoll, edge-triggered, where io_uring is not to be had.
//!
//! It behaves like the ring: an armed socket delivers what arrives, a listener accepts by itself, sends of a turn go out
//! in one message a socket. What differs is who makes the system calls.

use super::receive::Ended;
use super::{Net, Phase, Port, Rx, Slot, Submitted, Work, point};
use crate::rt::sys;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Events taken from the kernel in one call.
const EVENTS: usize = 128;
/// Chunks read from one socket before the next has its turn.
const READS_IN_A_ROW: usize = 4;
/// Connections accepted in a row.
const ACCEPTS_IN_A_ROW: usize = 16;
/// The token of the shard's bell.
const BELL: u64 = u64::MAX;

const INTEREST: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
const READABLE: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const HUNG_UP: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const WRITABLE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;

/// One epoll instance and the sockets that have something and are armed.
pub(in crate::rt) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
    /// Armed sockets with something to take.
    ready: Vec<u32>,
}

impl Epoll {
    /// An instance that watches `bell`.
    pub(in crate::rt) fn new(bell: RawFd) -> io::Result<Epoll> {
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made this descriptor and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let epoll = Epoll { fd, events: Vec::with_capacity(EVENTS), ready: Vec::new() };
        epoll.add(bell, libc::EPOLLIN as u32, BELL)?;
        Ok(epoll)
    }

    fn add(&self, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: the event is a live variable; the kernel copies it.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Watches a socket as long as it is open.
    pub(super) fn attach(&self, at: u32, slot: &Slot) -> io::Result<()> {
        self.add(slot.raw(), INTEREST, u64::from(slot.generation) << 32 | u64::from(at))
    }

    /// Delivers from here on what the socket has, and what comes.
    pub(super) fn arm(&mut self, at: u32, slot: &mut Slot) {
        slot.rx = Rx::Armed;
        if slot.ready.readable {
            self.list(at, slot);
        }
    }

    fn list(&mut self, at: u32, slot: &mut Slot) {
        if !slot.ready.listed {
            slot.ready.listed = true;
            self.ready.push(at);
        }
    }

    /// Starts to connect a non-blocking socket.
    pub(super) fn connect(slot: &mut Slot) {
        let fd = slot.raw();
        let Work::Connect(dial) = &mut slot.work else { return };
        match sys::connect(fd, &dial.address) {
            Ok(()) => dial.result = Some(0),
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => dial.under_way = true,
            Err(e) => dial.result = Some(sys::code(&e)),
        }
    }

    /// Sends what the socket takes now.
    pub(super) fn send(slot: &mut Slot) -> Submitted {
        let fd = slot.raw();
        let Some(tx) = slot.tx() else { return Submitted::Taken(0) };
        let mut taken = 0;
        loop {
            let wanted = point(&mut tx.vectors, &tx.flying, tx.sent + taken);
            if wanted == 0 {
                return Submitted::Taken(taken);
            }
            tx.message.msg_iov = tx.vectors.as_mut_ptr();
            tx.message.msg_iovlen = tx.vectors.len();
            // SAFETY: the vectors were just pointed at segments that `tx` owns and nobody changes meanwhile.
            match unsafe { sys::send(fd, &tx.message) } {
                Ok(bytes) => {
                    taken += bytes;
                    if bytes < wanted {
                        return Submitted::Taken(taken);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Submitted::Taken(taken),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Submitted::Failed(sys::code(&e)),
            }
        }
    }

    /// Nothing of this backend is ever in the kernel's hands: forgetting is enough.
    pub(super) fn cancel_work(slot: &mut Slot) {
        match &mut slot.work {
            Work::Send(tx) => tx.phase = Phase::Idle,
            Work::Connect(dial) => dial.under_way = false,
            Work::None | Work::Listen(_) => {}
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let milliseconds = match timeout {
            _ if !self.ready.is_empty() => 0,
            None => -1,
            // rounded up: waking early would mean turning in circles until the tick comes
            Some(time) => time.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32,
        };
        self.events.clear();
        let (fd, room) = (self.fd.as_raw_fd(), self.events.as_mut_ptr());
        // SAFETY: the vector has room for `EVENTS` events.
        let count = unsafe { libc::epoll_wait(fd, room, EVENTS as i32, milliseconds) };
        match usize::try_from(count) {
            // SAFETY: the kernel has written `count` events, at most `EVENTS`.
            Ok(count) => unsafe { self.events.set_len(count) },
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Net {
    /// Waits for readiness and does what has become possible.
    pub(super) fn epoll_turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = {
            let Port::Epoll(epoll) = &mut self.port else { return Ok(()) };
            epoll.wait(timeout)?;
            std::mem::take(&mut epoll.events)
        };
        for event in events.drain(..) {
            match event.u64 {
                BELL => {
                    sys::drain_eventfd(self.handle.bell());
                    self.bell = true;
                }
                token => self.readiness(token as u32, (token >> 32) as u32, event.events),
            }
        }
        let Port::Epoll(epoll) = &mut self.port else { return Ok(()) };
        epoll.events = events;
        let mut ready = std::mem::take(&mut epoll.ready);
        for at in ready.drain(..) {
            self.take_from(at);
        }
        let Port::Epoll(epoll) = &mut self.port else { return Ok(()) };
        if epoll.ready.is_empty() {
            epoll.ready = ready;
        }
        Ok(())
    }

    fn readiness(&mut self, at: u32, generation: u32, events: u32) {
        let Port::Epoll(epoll) = &mut self.port else { return };
        let Some(slot) = self.slots.find(at, generation) else { return };
        slot.ready.readable |= events & READABLE != 0;
        slot.ready.hung_up |= events & HUNG_UP != 0;
        if slot.ready.readable && slot.rx == Rx::Armed {
            epoll.list(at, slot);
        }
        if events & WRITABLE == 0 {
            return;
        }
        match &mut slot.work {
            Work::Connect(dial) if dial.under_way => {
                let code = sys::pending_error(slot.raw());
                self.connected(at, code);
            }
            Work::Send(tx) if tx.phase == Phase::Blocked => match Epoll::send(slot) {
                Submitted::Taken(bytes) => self.taken(at, bytes),
                Submitted::Failed(code) => self.send_failed(at, code),
                Submitted::Unconfirmed => {}
            },
            _ => {}
        }
    }

    fn take_from(&mut self, at: u32) {
        let slot = self.slots.at(at);
        slot.ready.listed = false;
        if slot.rx != Rx::Armed || slot.fd.is_none() {
            return;
        }
        if matches!(slot.work, Work::Listen(_)) {
            self.accept_from(at);
        } else {
            self.receive_from(at);
        }
        let Port::Epoll(epoll) = &mut self.port else { return };
        let slot = self.slots.at(at);
        if slot.rx == Rx::Armed && slot.ready.readable && slot.fd.is_some() {
            epoll.list(at, slot);
        }
    }

    fn receive_from(&mut self, at: u32) {
        for _ in 0..READS_IN_A_ROW {
            let slot = self.slots.at(at);
            if slot.rx != Rx::Armed || !slot.ready.readable || slot.fd.is_none() {
                return;
            }
            let Some(buffer) = self.pool.take() else { return self.recv_ended(at, Ended::Starved) };
            let mut chunk = self.pool.chunk(buffer, self.pool.size());
            match sys::receive(slot.raw(), &mut chunk) {
                Ok(0) => return self.recv_ended(at, Ended::Eof),
                Ok(bytes) => {
                    // a short read has emptied the socket, unless its end is behind it or messages have borders
                    slot.ready.readable = bytes == chunk.len() || slot.ready.hung_up || slot.unix;
                    chunk.truncate(bytes);
                    self.received(at, chunk, true);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => slot.ready.readable = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.recv_ended(at, Ended::Failed(sys::code(&e))),
            }
        }
    }

    fn accept_from(&mut self, at: u32) {
        for _ in 0..ACCEPTS_IN_A_ROW {
            let slot = self.slots.at(at);
            if slot.rx != Rx::Armed || slot.fd.is_none() {
                return;
            }
            match sys::accept(slot.raw()) {
                Ok(fd) => self.accepted(at, fd, true),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    slot.ready.readable = false;
                    return;
                }
                Err(e) => return self.accept_ended(at, sys::code(&e)),
            }
        }
    }
}

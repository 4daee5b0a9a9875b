//! One connection: HTTP/2, TLS under it, the sending half of its socket, and who waits on it.

use super::deadline::Waiters;
use super::limits::LinkLimits;
use crate::rt::{self, SendError, Tick, TurnEnd, Writer};
use crate::tls::{PeerIdentity, Session, TlsError};
use proto::http2::{BlockId, Connection, OUTRIGGER_UPGRADE, OUTRIGGER_V1, Role, Slot, Violation};
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// What the peer announced beyond Dapr's protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It is an Outrigger: large chunks, full duplex, the real verb, header values that are not UTF-8.
    pub outrigger: bool,
    /// It takes calls that switch protocols.
    pub upgrades: bool,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// Either end left in peace: idle, drained, or closed by the peer with nothing open.
    Left,
    /// The peer closed it without a word.
    Closed,
    /// TLS refused the peer, or the peer us.
    Tls(TlsError),
    /// A rule of HTTP/2 or a limit was broken.
    Http2(Violation),
    /// The socket failed.
    Io(String),
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkEnd::Left => f.write_str("connection ended gracefully"),
            LinkEnd::Closed => f.write_str("connection closed by the peer"),
            LinkEnd::Tls(error) => error.fmt(f),
            LinkEnd::Http2(violation) => violation.fmt(f),
            LinkEnd::Io(error) => f.write_str(error),
        }
    }
}

/// The shard's clock in the terms of `proto`.
pub(crate) fn clock() -> proto::time::Tick {
    proto::time::Tick::from_micros(rt::now().as_micros())
}

/// What a connection consists of.
pub(crate) struct Inner {
    pub(crate) conn: Connection,
    pub(crate) tls: Option<Session>,
    /// `None` once the connection is closed.
    pub(crate) writer: Option<Writer>,
    pub(crate) waiters: Waiters,
    pub(crate) blocks: Blocks,
    /// Why it ended.
    pub(crate) end: Option<LinkEnd>,
    /// A hook is registered for the end of this turn.
    dirty: bool,
    /// Something waits until the socket takes more.
    pub(crate) blocked: bool,
}

/// A connection, shared by its driver and its calls.
pub(crate) struct Link {
    me: Weak<Link>,
    inner: RefCell<Inner>,
    pub(crate) limits: Rc<LinkLimits>,
    /// Once it is verified.
    peer: OnceCell<Rc<PeerIdentity>>,
    /// Calls that were promised a stream and have not started it.
    pub(crate) reserved: Cell<usize>,
    /// When the driver wakes by itself, and how to wake it earlier.
    alarm: Cell<Tick>,
    driver: RefCell<Option<Waker>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// Constant header blocks of a connection.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// Client: a request without its `:path`; server: the head of an answer.
    pub(crate) head: Option<BlockId>,
    /// Server: the trailers of an answer without error.
    pub(crate) ok: Option<BlockId>,
    /// Client: requests whose path is known. The first paths win; there are few.
    pub(crate) paths: Vec<(Box<str>, BlockId)>,
}

impl Link {
    pub(crate) fn new(
        conn: Connection,
        blocks: Blocks,
        tls: Option<Session>,
        writer: Writer,
        limits: Rc<LinkLimits>,
    ) -> Rc<Link> {
        let inner = Inner {
            conn,
            tls,
            writer: Some(writer),
            waiters: Waiters::new(),
            blocks,
            end: None,
            dirty: false,
            blocked: false,
        };
        Rc::new_cyclic(|me| Link {
            me: me.clone(),
            inner: RefCell::new(inner),
            limits,
            peer: OnceCell::new(),
            reserved: Cell::new(0),
            alarm: Cell::new(Tick::NEVER),
            driver: RefCell::new(None),
        })
    }

    /// The connection's parts. Never held across a wait, a wake or foreign code.
    pub(crate) fn inner(&self) -> RefMut<'_, Inner> {
        self.inner.borrow_mut()
    }

    /// Sends what was written at the end of this turn; has the driver report what became news by it.
    pub(crate) fn touch(&self, inner: &mut Inner) {
        if inner.conn.has_news() {
            self.wake_driver();
        }
        if inner.dirty || inner.blocked || !inner.conn.wants_write() {
            return;
        }
        if let Some(me) = self.me.upgrade() {
            inner.dirty = true;
            rt::at_turn_end(me);
        }
    }

    /// Notes that a call waits for its stream until `by`.
    pub(crate) fn wait(&self, inner: &mut Inner, slot: Slot, by: Tick, cx: &Context<'_>) {
        if inner.waiters.wait(slot, by, cx) && by < self.alarm.get() {
            self.wake_driver();
        }
    }

    fn wake_driver(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    /// Whether there is news, or the socket takes more again; and when the driver must act at the latest.
    pub(crate) fn poll_drive(&self, cx: &mut Context<'_>) -> (Poll<Result<(), SendError>>, Tick) {
        let inner = &mut *self.inner();
        match &mut *self.driver.borrow_mut() {
            Some(driver) if driver.will_wake(cx.waker()) => {}
            driver => *driver = Some(cx.waker().clone()),
        }
        let sendable = match &mut inner.writer {
            _ if inner.conn.has_news() => Poll::Ready(Ok(())),
            Some(writer) if inner.blocked => writer.poll_can_send(cx).map_ok(|()| inner.blocked = false),
            _ => Poll::Pending,
        };
        let due = Tick::from_micros(inner.conn.deadline().as_micros());
        let by = due.min(inner.waiters.earliest());
        self.alarm.set(by);
        (sendable, by)
    }

    pub(crate) fn features(&self) -> Features {
        let said = self.inner().conn.peer().outrigger;
        let outrigger = said & OUTRIGGER_V1 != 0;
        Features { outrigger, upgrades: outrigger && said & OUTRIGGER_UPGRADE != 0 }
    }

    /// The verified peer; `None` on a plaintext connection, and until the handshake is finished.
    pub(crate) fn peer(&self) -> Option<Rc<PeerIdentity>> {
        if self.peer.get().is_none()
            && let Some(peer) = self.inner().tls.as_ref().and_then(Session::peer)
        {
            let _ = self.peer.set(Rc::new(peer.clone()));
        }
        self.peer.get().cloned()
    }

    /// How many calls may start now.
    pub(crate) fn room(&self) -> usize {
        let inner = &mut *self.inner();
        let room = inner.conn.room().min(self.limits.streams.saturating_sub(inner.conn.open_streams()));
        let room = room.saturating_sub(self.reserved.get());
        if room == 0 {
            inner.conn.watch_room();
        }
        room
    }

    /// Whether calls may start on it, now or later.
    pub(crate) fn takes_calls(&self) -> bool {
        self.inner().conn.takes_streams()
    }

    /// Ends the connection in peace once its calls are done.
    pub(crate) fn shutdown(&self) {
        let inner = &mut *self.inner();
        inner.conn.shutdown(clock());
        self.touch(inner);
        self.wake_driver();
    }

    /// Why the connection ended, in words.
    pub(crate) fn end_of(&self, inner: &Inner) -> String {
        match &inner.end {
            Some(end) => format!("error reading from server: {end}"),
            None => "the connection is closing".into(),
        }
    }
}

impl TurnEnd for Link {
    fn turn_end(self: Rc<Self>) {
        let inner = &mut *self.inner();
        inner.dirty = false;
        inner.flush();
        if inner.blocked || inner.conn.has_news() {
            self.wake_driver();
        }
    }
}

impl Inner {
    /// Sends the turn's bytes as one buffer. What is left or cannot be sent yet makes the connection blocked: its
    /// driver waits until the socket takes more.
    pub(crate) fn flush(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        self.blocked = false;
        if self.tls.as_ref().is_some_and(|tls| !tls.is_ready()) || !self.conn.wants_write() {
            return;
        }
        if !writer.can_send() {
            self.blocked = true;
            return;
        }
        let out = self.conn.write();
        let mut buffer = rt::turn_buffer_for(out.len());
        match &mut self.tls {
            None => std::mem::swap(out, &mut buffer),
            Some(tls) => {
                let sealed = tls.seal(out, &mut buffer);
                out.clear();
                debug_assert!(sealed.is_ok(), "{sealed:?}");
            }
        }
        if buffer.is_empty() {
            return rt::give_back(buffer);
        }
        // A failed socket is reported by the reader.
        let _ = writer.send_nowait(buffer);
        self.blocked = self.conn.wants_write();
    }

    /// Bytes of TLS itself go out at once: records are numbered in the order in which they are made.
    pub(crate) fn send_raw(&mut self, bytes: Vec<u8>) {
        match &mut self.writer {
            Some(writer) if !bytes.is_empty() => {
                let _ = writer.send_nowait(bytes);
            }
            _ => rt::give_back(bytes),
        }
    }

    /// The block of a request to `path`, and the path itself if the block has none.
    pub(crate) fn request<'p>(&self, path: &'p str) -> (Option<BlockId>, Option<&'p [u8]>) {
        match self.blocks.paths.iter().find(|(known, _)| **known == *path) {
            Some((_, block)) => (Some(*block), None),
            None => (self.blocks.head, Some(path.as_bytes())),
        }
    }

    /// Whether this end starts the calls.
    pub(crate) fn is_client(&self) -> bool {
        self.conn.role() == Role::Client
    }
}

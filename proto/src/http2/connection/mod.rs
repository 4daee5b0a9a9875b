//! One HTTP/2 connection without a socket: bytes in, events and bytes out, time as an argument.
//!
//! ```text
//!   receive(bytes, now) ──▶ frames ──▶ streams ──▶ poll() ─▶ Event        start, headers, data, reset, take, release
//!   tick(now), deadline()                              write() ─▶ one buffer a turn ◀──────────┘
//! ```
//!
//! - `receive` takes bytes cut anywhere; its error is the end of the connection, the GOAWAY is in `write`.
//! - A [`Slot`] belongs to the caller from `start` or [`Event::Opened`] until `release`.
//! - DATA is appended to its stream's buffer; `take` gives it back to the peer's windows.
//! - Everything written goes into the turn's buffer; what the peer's windows do not allow waits in its stream.
//! - After warm-up no frame allocates.

mod control;
mod data;
mod headers;
mod life;
mod memory;
mod receive;
mod send;
mod turns;

pub use send::NotStarted;

use super::code::{Code, Fault, Violation};
use super::field::Fields;
use super::flow::{ReceiveWindow, SendWindow};
use super::frame::{self, PREFACE, kind};
use super::hpack::{BlockId, Decoder, Encoder};
use super::limits::{Limits, Rate};
use super::settings::{self, Settings};
use super::state::{Half, State};
use super::stream::{Failure, Slot, Streams};
use crate::time::Tick;
use life::Life;
use memory::{Gaps, Resets};
use receive::Input;
use std::collections::VecDeque;
use turns::Turns;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Starts streams.
    Client,
    /// Answers them.
    Server,
}

/// What [`Connection::poll`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer's first SETTINGS are here: streams may start.
    Ready,
    /// The peer opened a stream; its head is complete. The caller owns the slot now.
    Opened(Slot),
    /// Something changed on a stream: bytes the reader waits for, its end or failure, room to write.
    Progress(Slot),
    /// A stream may start again after [`Connection::room`] said none may.
    Room,
    /// The peer sent GOAWAY: no further streams; those that are open go on.
    Draining,
    /// A stream of the peer's was refused for a limit of this name ([`Limits`]), since this was said last.
    Refused(&'static str),
    /// The connection is at its end; send what `write` has, then close.
    Over,
}

/// Both directions of one HTTP/2 connection.
pub struct Connection {
    role: Role,
    limits: Limits,
    peer: Settings,
    life: Life,
    input: Input,
    decoder: Decoder,
    encoder: Encoder,
    streams: Streams,
    /// The next id of this end's streams; the highest id of the peer's.
    next_id: u32,
    last_id: u32,
    /// Streams of this end below this id were handed to the transport.
    written: u32,
    send: SendWindow,
    receive: ReceiveWindow,
    /// Size of a fresh stream's receive window: the default until our SETTINGS are acknowledged (§6.5.3).
    initial: u32,
    /// Growth of all receive windows, and the streams that wait for theirs.
    grown: u32,
    growing: VecDeque<Slot>,
    /// Bytes for the transport.
    out: Vec<u8>,
    /// Answers in `out`.
    replies: u32,
    /// Streams with bytes that their own window allows.
    sendable: Turns,
    /// Streams whose writers wait until the turn's buffer is emptied.
    crowd: Vec<Slot>,
    /// Streams with news, and news of the connection.
    events: VecDeque<Slot>,
    notices: u8,
    starved: bool,
    resets: Resets,
    gaps: Gaps,
    rates: Rates,
    /// Fields nobody wants.
    scratch: Fields,
}

/// News of the connection, a bit each, in the order in which `poll` reports them.
mod notice {
    pub(super) const READY: u8 = 1;
    pub(super) const ROOM: u8 = 2;
    pub(super) const DRAINING: u8 = 4;
    pub(super) const OVER: u8 = 8;
    pub(super) const HEADER_LIST: u8 = 16;
    pub(super) const STREAMS: u8 = 32;
}

/// Counters of what a peer may do only so often.
#[derive(Default)]
struct Rates {
    resets: Rate,
    errors: Rate,
    settings: Rate,
    pings: Rate,
    /// PINGs that HEADERS and DATA have paid for: grpc-go measures bandwidth with them.
    free_pings: u32,
    empty: Rate,
    ignored: Rate,
}

impl Connection {
    /// The connecting end. Its preface is in `write` at once.
    pub fn client(limits: Limits, now: Tick) -> Connection {
        Connection::new(Role::Client, limits, now)
    }

    /// The accepting end.
    pub fn server(limits: Limits, now: Tick) -> Connection {
        Connection::new(Role::Server, limits, now)
    }

    /// The accepting end of a connection that began as HTTP/1.1 and was upgraded (RFC 7540 §3.2): `settings` is the
    /// payload of `HTTP2-Settings`. The request that asked for it is the returned stream; its answer is due there.
    ///
    /// # Errors
    /// The settings break a rule.
    pub fn upgraded(limits: Limits, now: Tick, settings: &[u8]) -> Result<(Connection, Slot), Violation> {
        let mut conn = Connection::new(Role::Server, limits, now);
        conn.peer.apply(settings, false).map_err(violation)?;
        conn.encoder.peer_table(conn.peer.header_table_size);
        conn.last_id = 1;
        let slot = conn.streams.open(1, State::opened_there());
        let (initial, window) = (conn.initial, SendWindow::new(conn.peer.initial_window_size));
        let stream = &mut conn.streams[slot];
        let _ = stream.state.receive_headers(true); // a fresh half takes it
        (stream.receive, stream.normal, stream.send) = (ReceiveWindow::new(initial), initial, window);
        Ok((conn, slot))
    }

    fn new(role: Role, limits: Limits, now: Tick) -> Connection {
        let default = Settings::default().initial_window_size;
        let window = limits.connection_window.max(default);
        let mut out = Vec::new();
        if role == Role::Client {
            out.extend_from_slice(PREFACE);
        }
        settings::announce(&mut out, &limits, role == Role::Server);
        if window > default {
            frame::put(&mut out, kind::WINDOW_UPDATE, 0, 0, &(window - default).to_be_bytes());
        }
        Connection {
            role,
            limits,
            peer: Settings::default(),
            life: Life::new(now),
            input: Input::new(role),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            streams: Streams::default(),
            next_id: 1,
            last_id: 0,
            written: 1,
            send: SendWindow::new(default),
            receive: ReceiveWindow::new(window),
            initial: default,
            grown: 0,
            growing: VecDeque::new(),
            out,
            replies: 0,
            sendable: Turns::default(),
            crowd: Vec::new(),
            events: VecDeque::new(),
            notices: 0,
            starved: false,
            resets: Resets::default(),
            gaps: Gaps::default(),
            rates: Rates::default(),
            scratch: Fields::default(),
        }
    }

    /// Registers a block of constant fields, pseudo-header fields first (see [`Encoder`]).
    pub fn register(&mut self, fields: &[(&str, &str)]) -> BlockId {
        self.encoder.register(fields)
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The peer's settings; defaults until they came.
    pub fn peer(&self) -> &Settings {
        &self.peer
    }

    /// Whether the peer's SETTINGS came.
    pub fn peer_settled(&self) -> bool {
        self.life.settled
    }

    /// The next piece of news. Ask until there is none.
    pub fn poll(&mut self) -> Option<Event> {
        if let Some(event) = self.notice(notice::READY, Event::Ready) {
            return Some(event);
        }
        while let Some(slot) = self.events.pop_front() {
            let stream = &mut self.streams[slot];
            stream.queued = false;
            if stream.held {
                let opened = core::mem::take(&mut stream.fresh);
                return Some(if opened { Event::Opened(slot) } else { Event::Progress(slot) });
            }
        }
        self.notice(notice::ROOM, Event::Room)
            .or_else(|| self.notice(notice::DRAINING, Event::Draining))
            .or_else(|| self.notice(notice::HEADER_LIST, Event::Refused("header_list")))
            .or_else(|| self.notice(notice::STREAMS, Event::Refused("concurrent_streams")))
            .or_else(|| self.notice(notice::OVER, Event::Over))
    }

    /// Whether [`Connection::poll`] may have something. Not only `receive` makes news: `write` does, and `release`.
    pub fn has_news(&self) -> bool {
        self.notices != 0 || !self.events.is_empty()
    }

    fn notice(&mut self, bit: u8, event: Event) -> Option<Event> {
        let pending = self.notices & bit != 0;
        self.notices &= !bit;
        pending.then_some(event)
    }

    /// Puts a stream into the list of events, once.
    fn news(&mut self, slot: Slot) {
        let stream = &mut self.streams[slot];
        if !stream.queued {
            stream.queued = true;
            self.events.push_back(slot);
        }
    }

    /// The head of the received message.
    pub fn head(&self, slot: Slot) -> &Fields {
        &self.streams[slot].head
    }

    /// Moves the head of the received message out. [`Connection::put_head`] gives its memory back.
    pub fn take_head(&mut self, slot: Slot) -> Fields {
        core::mem::take(&mut self.streams[slot].head)
    }

    /// Gives the memory of a head back, for the next message.
    pub fn put_head(&mut self, slot: Slot, head: Fields) {
        self.streams[slot].head = head;
    }

    /// `:status` of the received response; 0 before its head came.
    pub fn status(&self, slot: Slot) -> u16 {
        self.streams[slot].status
    }

    /// Whether the stream's request, sent by this end, was HEAD.
    pub fn is_to_head(&self, slot: Slot) -> bool {
        self.streams[slot].to_head
    }

    /// The trailers of the received message; empty if none came.
    pub fn trailers(&self, slot: Slot) -> &Fields {
        &self.streams[slot].trailers
    }

    /// Whether the message was received to its end.
    pub fn is_complete(&self, slot: Slot) -> bool {
        let stream = &self.streams[slot];
        stream.state.receive_half() == Half::Closed && stream.failure.is_none()
    }

    /// Why the stream ended early.
    pub fn failure(&self, slot: Slot) -> Option<Failure> {
        self.streams[slot].failure
    }

    /// Whether this end may still write to the stream.
    pub fn is_writable(&self, slot: Slot) -> bool {
        let stream = &self.streams[slot];
        stream.state.send_half() != Half::Closed && !stream.pending_end && stream.tail.is_empty()
    }

    /// Bytes written to the stream that are not yet framed.
    pub fn unsent(&self, slot: Slot) -> usize {
        self.streams[slot].unsent()
    }

    /// Streams open on the wire.
    pub fn open_streams(&self) -> usize {
        self.streams.open_count()
    }
}

#[cfg(test)]
impl Connection {
    /// With nothing on its way and no stream left, every byte was given back and both ends agree on the window.
    pub(super) fn assert_settled_with(&self, peer: &Connection) {
        assert_eq!((self.streams.used(), self.streams.open_count(), self.grown), (0, 0, 0));
        assert!(self.sendable.is_empty() || self.sendable.iter().all(|s| !self.streams[*s].has_pending()));
        assert_eq!(self.receive.lent(), peer.send.available(), "both ends agree");
        self.receive.assert_whole();
    }
}

/// A limit of ours was exceeded on the connection.
fn excessive(limit: &'static str, what: &'static str) -> Fault {
    Fault::connection(Code::ENHANCE_YOUR_CALM, limit, what)
}

/// The connection's end as a violation.
fn violation(fault: Fault) -> Violation {
    match fault {
        Fault::Connection(v) | Fault::Stream(v) => v,
    }
}

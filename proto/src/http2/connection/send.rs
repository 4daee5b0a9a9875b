//! What this end sends: streams, header blocks, DATA within the peer's windows, resets, and the buffer of a turn.

use super::*;
use crate::http2::frame::{HEAD, MAX_FRAME, Shape};
use crate::http2::hpack::{Literal, OVERHEAD, encode};
use crate::http2::state::State;

/// A stream could not be started. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The peer has not sent its SETTINGS yet.
    Unsettled,
    /// As many streams are open as the peer allows; [`Event::Room`] will say when not.
    Full,
    /// The header list is larger than the peer accepts.
    TooLarge,
    /// The connection takes no more streams: either end said GOAWAY, it ended, or ids are used up.
    Draining,
}

impl Connection {
    /// How many streams may start now. After 0, [`Event::Room`] follows when that changes.
    pub fn room(&mut self) -> usize {
        if !self.takes_streams() || !self.life.settled {
            return 0;
        }
        let room = self.places();
        self.starved |= room == 0;
        room
    }

    /// What both ends' limits leave. An answer that is complete and not taken is no stream of the peer's any more, but its
    /// bytes are here.
    fn places(&self) -> usize {
        let theirs = (self.peer.max_concurrent_streams as usize).saturating_sub(self.streams.open_count());
        theirs.min((self.limits.concurrent_streams as usize).saturating_sub(self.streams.used()))
    }

    /// Asks for [`Event::Room`] when a stream ends, whatever [`Connection::room`] said.
    pub fn watch_room(&mut self) {
        self.starved = true;
    }

    /// Whether streams may start at all, now or later.
    pub fn takes_streams(&self) -> bool {
        self.role == Role::Client
            && self.life.ended.is_none()
            && !self.life.is_leaving()
            && self.life.peer_last.is_none()
            && self.next_id <= LAST_ID
    }

    /// Starts a stream with a registered block, `:path` if the block has none, and literals. It stays open for DATA.
    pub fn start(
        &mut self,
        block: BlockId,
        path: Option<&[u8]>,
        literals: &[Literal<'_>],
    ) -> Result<Slot, NotStarted> {
        let (slot, id) = self.new_stream(path.map_or(0, <[u8]>::len) + BLOCK_SIZE, literals, false)?;
        let at = frame::open(&mut self.out);
        self.encoder.begin(&mut self.out);
        if let Some(path) = path {
            encode::path(path, &mut self.out);
        }
        self.encoder.constant(block, &mut self.out);
        literals.iter().for_each(|l| encode::literal(*l, &mut self.out));
        frame::close(&mut self.out, at, self.peer.max_frame_size as usize, Shape::headers(false), id);
        Ok(slot)
    }

    /// Starts a stream with literals alone, pseudo-header fields first; `end`: there is no body.
    ///
    /// # Errors
    /// The stream was not started, and nothing was sent.
    pub fn request(&mut self, literals: &[Literal<'_>], end: bool) -> Result<Slot, NotStarted> {
        let (slot, id) = self.new_stream(0, literals, end)?;
        self.streams[slot].to_head = literals.iter().any(|l| l.name == b":method" && l.value == b"HEAD");
        let at = frame::open(&mut self.out);
        self.encoder.begin(&mut self.out);
        literals.iter().for_each(|l| encode::literal(*l, &mut self.out));
        frame::close(&mut self.out, at, self.peer.max_frame_size as usize, Shape::headers(end), id);
        Ok(slot)
    }

    /// The next stream of this end, whose fields are `size` bytes beyond `literals`.
    fn new_stream(
        &mut self,
        size: usize,
        literals: &[Literal<'_>],
        end: bool,
    ) -> Result<(Slot, u32), NotStarted> {
        if !self.takes_streams() {
            return Err(NotStarted::Draining);
        }
        if !self.life.settled {
            return Err(NotStarted::Unsettled);
        }
        if self.room() == 0 {
            return Err(NotStarted::Full);
        }
        let listed: usize = literals.iter().map(|l| l.name.len() + l.value.len() + OVERHEAD).sum();
        if size + listed > self.peer.max_header_list_size as usize {
            return Err(NotStarted::TooLarge);
        }
        let id = self.next_id;
        self.next_id += 2;
        let slot = self.streams.open(id, State::opened_here(end));
        let stream = &mut self.streams[slot];
        (stream.receive, stream.normal) = (ReceiveWindow::new(self.initial), self.initial);
        stream.send = SendWindow::new(self.peer.initial_window_size);
        Ok((slot, id))
    }

    /// Sends an informational response (§8.1): before the head, any number of times. Later nothing happens.
    pub fn interim(&mut self, slot: Slot, status: u16) {
        let stream = &self.streams[slot];
        if stream.state.send_half() != Half::Head {
            return;
        }
        let id = stream.id;
        let at = frame::open(&mut self.out);
        self.encoder.begin(&mut self.out);
        encode::status(status, &mut self.out);
        frame::close(&mut self.out, at, self.peer.max_frame_size as usize, Shape::headers(false), id);
    }

    /// Sends a header block on an open stream: a server's head, or the trailers with which the stream ends. Trailers
    /// wait for DATA that waits. On a stream that this end has ended, or that is reset, nothing happens, nor when the head
    /// was sent before.
    pub fn headers(&mut self, slot: Slot, end: bool, block: Option<BlockId>, literals: &[Literal<'_>]) {
        let again = !end && self.streams[slot].state.send_half() == Half::Body;
        if again || !self.is_writable(slot) {
            return;
        }
        let stream = &mut self.streams[slot];
        if stream.unsent() > 0 {
            if let Some(block) = block {
                self.encoder.literal(block, &mut stream.tail);
            }
            literals.iter().for_each(|l| encode::literal(*l, &mut stream.tail));
            stream.pending_end = stream.tail.is_empty();
            return;
        }
        let id = stream.id;
        stream.state.send_headers(end);
        let at = frame::open(&mut self.out);
        self.encoder.begin(&mut self.out);
        if let Some(block) = block {
            self.encoder.constant(block, &mut self.out);
        }
        literals.iter().for_each(|l| encode::literal(*l, &mut self.out));
        frame::close(&mut self.out, at, self.peer.max_frame_size as usize, Shape::headers(end), id);
        if end {
            self.closed_halves(slot);
        }
    }

    /// Sends what `fill` appends, and END_STREAM behind it if `end`. Written straight into the turn's buffer; what the
    /// windows do not allow waits in the stream. On a stream that this end has ended, or that is reset, nothing
    /// happens.
    pub fn data(&mut self, slot: Slot, end: bool, fill: impl FnOnce(&mut Vec<u8>)) {
        if !self.is_writable(slot) || self.streams[slot].state.send_half() == Half::Head {
            return;
        }
        let stream = &mut self.streams[slot];
        if stream.unsent() > 0 || self.out.len() >= self.limits.turn_bytes {
            fill(&mut stream.pending);
            stream.pending_end = end;
            return self.queue(slot);
        }
        let at = frame::open(&mut self.out);
        fill(&mut self.out);
        let written = self.out.len() - at - HEAD;
        let turn = (self.limits.turn_bytes + MOST_OVER).saturating_sub(at);
        let now = written.min(stream.send.available()).min(self.send.available()).min(turn);
        if now < written {
            let cut = at + HEAD + now;
            stream.pending.extend_from_slice(self.out.get(cut..).unwrap_or(&[]));
            stream.pending_end = end;
            self.out.truncate(cut);
        }
        self.close_data(slot, at, now, end && now == written);
        self.queue(slot);
    }

    /// [`Connection::data`] of what `lead` appends and `body` behind it, which is copied to its place in the frames at
    /// once.
    pub fn body(&mut self, slot: Slot, end: bool, lead: impl FnOnce(&mut Vec<u8>), body: &[u8]) {
        if !self.goes_out(slot, body.len() + MOST_LEAD) {
            return self.data(slot, end, |out| {
                lead(out);
                out.extend_from_slice(body);
            });
        }
        let at = frame::open(&mut self.out);
        lead(&mut self.out);
        let bytes = self.out.len() - at - HEAD + body.len();
        let id = self.streams[slot].id;
        frame::fill_data(&mut self.out, at, body, end, id);
        self.booked(slot, bytes, end);
    }

    /// Whether `bytes` on the stream would all be framed at once, nothing waiting before them.
    fn goes_out(&self, slot: Slot, bytes: usize) -> bool {
        let stream = &self.streams[slot];
        self.is_writable(slot)
            && stream.state.send_half() != Half::Head
            && stream.unsent() == 0
            && self.out.len() < self.limits.turn_bytes
            && bytes <= stream.send.available().min(self.send.available()).min(MOST_OVER)
    }

    /// Makes frames of the last `bytes` of the turn's buffer.
    fn close_data(&mut self, slot: Slot, at: usize, bytes: usize, end: bool) {
        if bytes == 0 && !end {
            self.out.truncate(at);
            return;
        }
        let id = self.streams[slot].id;
        frame::close_uneven(&mut self.out, at, (frame::data_room(at), DATA_FRAME), Shape::data(end), id);
        self.booked(slot, bytes, end);
    }

    /// Books `bytes` of payload that were framed.
    fn booked(&mut self, slot: Slot, bytes: usize, end: bool) {
        let stream = &mut self.streams[slot];
        stream.send.spend(bytes);
        self.send.spend(bytes);
        stream.state.send_data(end);
        self.rates.free_pings = (self.rates.free_pings + 1).min(data::FREE_PINGS);
        if end {
            self.closed_halves(slot);
        }
    }

    /// Puts a stream into the list of those that can send. What needs no window goes out at once.
    pub(super) fn queue(&mut self, slot: Slot) {
        let stream = &mut self.streams[slot];
        if !stream.has_pending() {
            return;
        }
        if stream.unsent() == 0 {
            return self.finish_pending(slot);
        }
        if !stream.sendable && stream.send.available() > 0 {
            stream.sendable = true;
            self.sendable.push(slot, stream.unsent());
        }
    }

    /// The end or the trailers behind the last pending byte.
    fn finish_pending(&mut self, slot: Slot) {
        let stream = &mut self.streams[slot];
        if core::mem::take(&mut stream.pending_end) {
            let at = frame::open(&mut self.out);
            return self.close_data(slot, at, 0, true);
        }
        let id = stream.id;
        stream.state.send_headers(true);
        let at = frame::open(&mut self.out);
        self.encoder.begin(&mut self.out);
        self.out.append(&mut stream.tail);
        frame::close(&mut self.out, at, self.peer.max_frame_size as usize, Shape::headers(true), id);
        self.closed_halves(slot);
    }

    /// Frames waiting bytes, a frame a stream in turn, as far as the connection's window and the turn's buffer allow.
    fn pump(&mut self) {
        while self.out.len() < self.limits.turn_bytes && self.send.available() > 0 {
            let Some(slot) = self.sendable.pop() else { return };
            let stream = &mut self.streams[slot];
            stream.sendable = false;
            let room = frame::data_room(self.out.len());
            let n = stream.unsent().min(room).min(stream.send.available()).min(self.send.available());
            if n == 0 {
                continue; // reset, or its window shrank; queued again when it can
            }
            let at = frame::open(&mut self.out);
            let start = stream.framed;
            self.out.extend_from_slice(stream.pending.get(start..start + n).unwrap_or(&[]));
            stream.advance(n);
            let end = stream.unsent() == 0 && core::mem::take(&mut stream.pending_end);
            if stream.wants_room && stream.has_room(self.limits.stream_unsent) {
                stream.wants_room = false;
                self.news(slot);
            }
            self.close_data(slot, at, n, end);
            self.queue(slot);
        }
    }

    /// The turn's bytes. The caller empties the buffer, by sending or encrypting what is in it: streams started until
    /// now count as sent.
    pub fn write(&mut self) -> &mut Vec<u8> {
        self.pump();
        self.admit_crowd();
        self.written = self.next_id;
        self.replies = 0;
        &mut self.out
    }

    /// Whether [`Connection::write`] has something, or will have once it is emptied.
    pub fn wants_write(&self) -> bool {
        !self.out.is_empty() || (!self.sendable.is_empty() && self.send.available() > 0)
    }

    /// Resets a stream and keeps the slot. Nothing happens if it is closed on the wire.
    pub fn reset(&mut self, slot: Slot, code: Code) {
        let stream = &self.streams[slot];
        if stream.state.is_closed() {
            return;
        }
        let id = stream.id;
        self.put_reset(id, code);
        self.resets.push(id);
        self.end(slot, Failure::Reset(code));
    }

    /// Gives the slot back. A stream that is not finished is reset: with NO_ERROR behind a complete answer (§8.1),
    /// else with CANCEL. An answer that waits for the peer's window is still sent.
    pub fn release(&mut self, slot: Slot) {
        let stream = &mut self.streams[slot];
        stream.held = false;
        stream.fresh = false;
        let answering = self.role == Role::Server && (stream.pending_end || !stream.tail.is_empty());
        self.take(slot, usize::MAX);
        self.returned(slot, usize::MAX);
        self.return_growth(slot);
        let stream = &mut self.streams[slot];
        if stream.state.is_closed() {
            self.streams.vacate(slot);
            return self.offer_room();
        }
        if answering {
            stream.linger = self.life.now + self.limits.linger;
            self.life.lingering = true;
            return;
        }
        let answered = self.role == Role::Server && stream.state.send_half() == Half::Closed;
        self.reset(slot, if answered { Code::NO_ERROR } else { Code::CANCEL });
    }

    /// The stream ended on the wire before its time, by either end or with the connection.
    pub(super) fn end(&mut self, slot: Slot, failure: Failure) {
        let stream = &mut self.streams[slot];
        if self.role == Role::Server || stream.state.receive_half() != Half::Closed {
            stream.failure.get_or_insert(failure); // a client that has the whole answer lost nothing
        }
        stream.state.reset();
        stream.drop_pending();
        if stream.fresh {
            stream.held = false; // nobody knows of it
        }
        self.news(slot);
        self.closed_halves(slot);
    }

    /// Forgets a stream both of whose halves are closed.
    pub(super) fn closed_halves(&mut self, slot: Slot) {
        if !self.streams[slot].state.is_closed() {
            return;
        }
        self.streams.forget(slot);
        if !self.streams[slot].held {
            self.take(slot, usize::MAX);
            self.return_growth(slot);
            self.streams.vacate(slot);
        }
        if self.streams.open_count() == 0 {
            self.life.idle_since = self.life.now;
        }
        self.offer_room();
        self.check_over();
    }

    /// Says that streams may start again, if somebody was told that none may.
    pub(super) fn offer_room(&mut self) {
        if self.starved && self.places() > 0 {
            self.starved = false;
            self.notices |= notice::ROOM;
        }
    }
}

/// The last id a client can use (§5.1.1).
const LAST_ID: u32 = 0x7fff_ffff;
/// By how much the last piece of a turn may exceed [`Limits::turn_bytes`]: it is not cut for a few bytes.
const MOST_OVER: usize = 32 << 10;
/// What [`Connection::body`] allows for a lead, which is a message's prefix.
const MOST_LEAD: usize = 64;
/// DATA frames are made so large that head and payload fill one TLS record.
const DATA_FRAME: usize = MAX_FRAME - HEAD;
/// What registered blocks are taken to add to a header list.
const BLOCK_SIZE: usize = 512;

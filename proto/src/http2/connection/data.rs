//! DATA, and the windows in which it comes (RFC 9113 §6.1, §6.9).

use super::*;
use crate::http2::frame::{Head, flag};
use crate::http2::stream::Stream;

impl Connection {
    pub(super) fn on_data(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream == 0 {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.1", "DATA on stream 0"));
        }
        let (size, end) = (payload.len() as u32, head.has(flag::END_STREAM));
        if !self.receive.receive(size) {
            return Err(Fault::connection(Code::FLOW_CONTROL_ERROR, "§6.9.1", "connection window exceeded"));
        }
        let body = frame::unpad(head, payload)?;
        if body.is_empty() && !end {
            self.count_empty()?;
        }
        self.rates.free_pings = (self.rates.free_pings + 1).min(FREE_PINGS);
        let Some(slot) = self.streams.find(head.stream) else {
            self.take_from_connection(size);
            return self.judge_absent(head.stream);
        };
        let stream = &mut self.streams[slot];
        if let Err(fault) = accept(stream, size, body.len(), end) {
            self.take_from_connection(size);
            return Err(fault);
        }
        if stream.held {
            stream.keep(body);
            if end || stream.received().len() >= stream.wanted {
                self.news(slot);
            }
            self.discard(slot, size - body.len() as u32);
        } else {
            self.discard(slot, size);
        }
        if end {
            self.closed_halves(slot);
        }
        Ok(())
    }

    pub(super) fn count_empty(&mut self) -> Result<(), Fault> {
        if self.rates.empty.admit(self.limits.empty_frames_per_second, self.life.now) {
            return Ok(());
        }
        Err(excessive("limit empty_frames_per_second", "too many empty frames"))
    }

    /// What was received on the stream and not taken.
    pub fn received(&self, slot: Slot) -> &[u8] {
        self.streams[slot].received()
    }

    /// Removes the first `bytes` received and gives them back to the peer's windows.
    pub fn take(&mut self, slot: Slot, bytes: usize) {
        let stream = &mut self.streams[slot];
        let bytes = bytes.min(stream.received().len());
        stream.consume(bytes);
        self.discard(slot, bytes as u32);
    }

    /// Lends out the stream's buffer, so that its bytes can be read while the connection is used for something else.
    /// Received are those from the returned index on. [`Connection::restore`] must follow before `receive`.
    pub fn lend(&mut self, slot: Slot) -> (Vec<u8>, usize) {
        let stream = &mut self.streams[slot];
        (core::mem::take(&mut stream.data), core::mem::take(&mut stream.taken))
    }

    /// Puts back what [`Connection::lend`] gave and takes `bytes` of it.
    pub fn restore(&mut self, slot: Slot, (mut buffer, taken): (Vec<u8>, usize), bytes: usize) {
        let stream = &mut self.streams[slot];
        buffer.extend_from_slice(&stream.data); // nothing, if the rule was kept
        (stream.data, stream.taken) = (buffer, taken);
        self.take(slot, bytes);
    }

    /// Moves the stream's buffer out with the first `bytes` received, which are those from the returned index on. `fresh`, an
    /// empty buffer, takes its place. The windows get the bytes back with [`Connection::returned`], at the latest when
    /// the slot is given back.
    pub fn detach(&mut self, slot: Slot, bytes: usize, mut fresh: Vec<u8>) -> (Vec<u8>, usize) {
        let stream = &mut self.streams[slot];
        let bytes = bytes.min(stream.received().len());
        fresh.extend_from_slice(stream.received().get(bytes..).unwrap_or_default());
        stream.away += bytes;
        (core::mem::replace(&mut stream.data, fresh), core::mem::take(&mut stream.taken))
    }

    /// The reader is done with so many of the bytes that were detached.
    pub fn returned(&mut self, slot: Slot, bytes: usize) {
        let stream = &mut self.streams[slot];
        let bytes = bytes.min(stream.away);
        stream.away -= bytes;
        self.discard(slot, bytes as u32);
    }

    /// Says that the reader needs `bytes` in the buffer before it can go on: fewer raise no event. The windows become
    /// large enough for them, at once or when other streams give back their growth.
    pub fn wait_for(&mut self, slot: Slot, bytes: usize) {
        let stream = &mut self.streams[slot];
        stream.wanted = bytes;
        let more = bytes.saturating_sub(stream.received().len());
        if more == 0 || stream.state.receive_half() == Half::Closed {
            return;
        }
        if self.receive.missing(more) > 0
            && let Some(increment) = self.receive.settle()
        {
            self.window_update(0, increment);
        }
        if self.streams[slot].receive.missing(more) > 0 {
            self.widen(slot, more);
        }
    }

    /// Makes a stream's window large enough for `more` bytes, or queues it until the growth is available.
    fn widen(&mut self, slot: Slot, more: usize) {
        let stream = &mut self.streams[slot];
        let mut increment = stream.receive.settle().unwrap_or(0);
        let missing = stream.receive.missing(more);
        if missing > 0 && self.grown + missing <= self.limits.window_growth {
            stream.receive.grow(missing);
            stream.grown += missing;
            self.grown += missing;
            increment += stream.receive.settle().unwrap_or(0);
        } else if missing > 0 && !stream.wants_window {
            stream.wants_window = true;
            self.growing.push_back(slot);
        }
        let id = stream.id;
        if increment > 0 {
            self.window_update(id, increment);
        }
    }

    /// Gives the growth that became available to those who wait for it, in their order.
    fn regrow(&mut self) {
        for _ in 0..self.growing.len() {
            let Some(slot) = self.growing.pop_front() else { return };
            self.streams[slot].wants_window = false;
            if self.streams[slot].held {
                self.wait_for(slot, self.streams[slot].wanted);
            }
        }
    }

    /// Books bytes that left the buffer, or never entered it.
    fn discard(&mut self, slot: Slot, bytes: u32) {
        if bytes == 0 {
            return;
        }
        self.take_from_connection(bytes);
        let stream = &mut self.streams[slot];
        if stream.state.receive_half() == Half::Closed {
            return;
        }
        stream.receive.take(bytes);
        let returned = stream.receive.shrink(stream.normal).min(stream.grown);
        stream.grown -= returned;
        self.grown -= returned;
        if let Some(increment) = stream.receive.due() {
            let id = stream.id;
            let increment = increment + self.reward(slot);
            self.window_update(id, increment);
        }
        if returned > 0 {
            self.regrow();
        }
    }

    /// A stream that has taken half of its window gets a larger one, as long as half of the growth is left for large
    /// messages.
    fn reward(&mut self, slot: Slot) -> u32 {
        let stream = &mut self.streams[slot];
        let more = self.limits.stream_window_grown.saturating_sub(stream.receive.target());
        if more == 0 || !stream.held || self.grown + more > self.limits.window_growth / 2 {
            return 0;
        }
        stream.normal += more;
        stream.grown += more;
        self.grown += more;
        stream.receive.grow(more);
        stream.receive.settle().unwrap_or(0)
    }

    pub(super) fn take_from_connection(&mut self, bytes: u32) {
        self.receive.take(bytes);
        if let Some(increment) = self.receive.due() {
            self.window_update(0, increment);
        }
    }

    fn window_update(&mut self, id: u32, increment: u32) {
        frame::put(&mut self.out, kind::WINDOW_UPDATE, 0, id, &increment.to_be_bytes());
    }

    /// The stream's growth returns to the connection.
    pub(super) fn return_growth(&mut self, slot: Slot) {
        let grown = core::mem::take(&mut self.streams[slot].grown);
        if grown > 0 {
            self.grown -= grown;
            self.regrow();
        }
    }
}

/// PINGs that may be saved up.
pub(super) const FREE_PINGS: u32 = 64;

/// Checks a DATA frame against its stream: window, state, announced length.
fn accept(stream: &mut Stream, size: u32, body: usize, end: bool) -> Result<(), Fault> {
    stream.state.receive_data(end)?;
    if !stream.receive.receive(size) {
        return Err(Fault::stream(Code::FLOW_CONTROL_ERROR, "§6.9.1", "stream window exceeded"));
    }
    stream.arrived += body as u64;
    check_length(stream, end)
}

/// The bytes of a message must be as many as `content-length` says (§8.1.1).
pub(super) fn check_length(stream: &Stream, end: bool) -> Result<(), Fault> {
    match stream.declared {
        Some(declared) if stream.arrived > declared || (end && stream.arrived != declared) => {
            Err(Fault::stream(Code::PROTOCOL_ERROR, "§8.1.1", "body differs from content-length"))
        }
        _ => Ok(()),
    }
}

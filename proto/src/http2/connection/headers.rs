//! HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10, §8): blocks collected, decoded, and given to their stream.

use super::receive::Block;
use super::*;
use crate::http2::frame::{Head, flag};
use crate::http2::hpack::{Literal, encode};
use crate::http2::message::{Facts, Gather, Part, TOO_LARGE};
use crate::http2::state::{Headers, State};
use crate::http2::stream::Stream;

impl Connection {
    pub(super) fn on_headers(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream == 0 {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.2", "HEADERS on stream 0"));
        }
        let mut fragment = frame::unpad(head, payload)?;
        let mut own_parent = false;
        if head.has(flag::PRIORITY) {
            let Some((priority, rest)) = fragment.split_at_checked(5) else {
                return Err(Fault::connection(
                    Code::FRAME_SIZE_ERROR,
                    "§6.2",
                    "HEADERS without its priority",
                ));
            };
            own_parent = frame::number(priority) & 0x7fff_ffff == head.stream;
            fragment = rest;
        }
        self.rates.free_pings = (self.rates.free_pings + 1).min(data::FREE_PINGS);
        let end = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.on_block(head.stream, end, own_parent, fragment);
        }
        let mut bytes = core::mem::take(&mut self.input.spare);
        bytes.clear();
        bytes.extend_from_slice(fragment);
        self.input.block = Some(Block { stream: head.stream, end, own_parent, continuations: 0, bytes });
        if fragment.is_empty() { self.count_empty() } else { Ok(()) }
    }

    pub(super) fn on_continuation(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        let Some(mut block) = self.input.block.take() else {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.10", "CONTINUATION without HEADERS"));
        };
        block.continuations += 1;
        if block.continuations > self.limits.continuations {
            return Err(excessive("limit continuations", "too many CONTINUATION frames"));
        }
        if block.bytes.len() + payload.len() > self.limits.header_block {
            return Err(excessive("limit header_block", "header block too large"));
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            let result = self.on_block(block.stream, block.end, block.own_parent, &block.bytes);
            self.input.spare = block.bytes;
            return result;
        }
        self.input.block = Some(block);
        if payload.is_empty() { self.count_empty() } else { Ok(()) }
    }

    /// A whole header block. It is decoded in any case: the compression state belongs to the connection (§4.3).
    fn on_block(&mut self, id: u32, end: bool, own_parent: bool, block: &[u8]) -> Result<(), Fault> {
        let result = match self.streams.find(id) {
            Some(slot) => self.block_for(slot, end, block),
            None if self.role == Role::Server && id % 2 == 1 && id > self.last_id => {
                self.open_there(id, end, block)
            }
            None => {
                self.discard_block(block)?;
                self.judge_absent(id)
            }
        };
        if own_parent && result.is_ok() {
            return Err(Fault::stream(Code::PROTOCOL_ERROR, "RFC 7540 §5.3.1", "stream depends on itself"));
        }
        result
    }

    fn discard_block(&mut self, block: &[u8]) -> Result<(), Fault> {
        self.decoder.decode(block, |_| ()).map_err(Fault::Connection)
    }

    /// Decodes a block into `fields`.
    fn gather(&mut self, part: Part, block: &[u8], fields: &mut Fields) -> Result<Facts, Fault> {
        let mut gather = Gather::new(part, fields, &self.limits);
        self.decoder.decode(block, |field| gather.field(&field)).map_err(Fault::Connection)?;
        gather.finish()
    }

    /// A block for an open stream: a response's head, or trailers.
    fn block_for(&mut self, slot: Slot, end: bool, block: &[u8]) -> Result<(), Fault> {
        let half = self.streams[slot].state.receive_half();
        if half == Half::Closed {
            self.discard_block(block)?;
            return self.streams[slot].state.receive_headers(end).map(|_| ());
        }
        let mut fields = core::mem::take(&mut self.scratch);
        let part = if half == Half::Head { Part::Response } else { Part::Trailers };
        let gathered = self.gather(part, block, &mut fields);
        let stream = &mut self.streams[slot];
        let result = gathered.and_then(|facts| {
            if part == Part::Response && facts.status < 200 {
                return interim(stream, end);
            }
            match stream.state.receive_headers(end)? {
                Headers::Head => {
                    let bodiless = stream.to_head || matches!(facts.status, 204 | 304);
                    (stream.status, stream.declared) = (facts.status, facts.length.filter(|_| !bodiless));
                    core::mem::swap(&mut stream.head, &mut fields);
                }
                Headers::Trailers => core::mem::swap(&mut stream.trailers, &mut fields),
            }
            data::check_length(stream, end)
        });
        self.scratch = fields;
        result?;
        if self.streams[slot].status != 0 || self.role == Role::Server {
            self.news(slot);
        }
        if end {
            self.closed_halves(slot);
        }
        Ok(())
    }

    /// The peer opens a stream.
    fn open_there(&mut self, id: u32, end: bool, block: &[u8]) -> Result<(), Fault> {
        if id - self.last_id > 2 {
            self.gaps.push(self.last_id + 2, id - 2);
        }
        self.last_id = id;
        if self.life.is_refused(id) {
            return self.discard_block(block);
        }
        let most = self.limits.concurrent_streams as usize;
        if self.streams.open_count() >= most || self.streams.used() >= 2 * most {
            self.discard_block(block)?;
            return self.refuse(id);
        }
        let mut fields = core::mem::take(&mut self.scratch);
        let gathered = self.gather(Part::Request, block, &mut fields).and_then(|facts| match facts.length {
            Some(1..) if end => {
                Err(Fault::stream(Code::PROTOCOL_ERROR, "§8.1.1", "content-length without a body"))
            }
            _ => Ok(facts),
        });
        let result = match gathered {
            Ok(facts) => {
                self.opened(id, end, facts, &mut fields);
                Ok(())
            }
            Err(Fault::Stream(violation)) if violation.section == TOO_LARGE => self.answer_too_large(id, end),
            Err(fault) => Err(fault),
        };
        self.scratch = fields;
        result
    }

    fn opened(&mut self, id: u32, end: bool, facts: Facts, fields: &mut Fields) {
        let slot = self.streams.open(id, State::opened_there());
        let (initial, window) = (self.initial, SendWindow::new(self.peer.initial_window_size));
        let stream = &mut self.streams[slot];
        // The receive half is fresh: neither can fail.
        let _ = stream.state.receive_headers(end);
        (stream.receive, stream.normal, stream.send) = (ReceiveWindow::new(initial), initial, window);
        stream.declared = facts.length;
        stream.fresh = true;
        core::mem::swap(&mut stream.head, fields);
        self.news(slot);
    }

    /// Beyond the concurrent streams: refused before anything was done (§5.1.2).
    fn refuse(&mut self, id: u32) -> Result<(), Fault> {
        if !self.rates.resets.admit(self.limits.resets_per_second, self.life.now) {
            return Err(excessive("limit resets_per_second", "too many refused streams"));
        }
        self.notices |= notice::STREAMS;
        self.put_reset(id, Code::REFUSED_STREAM);
        self.resets.push(id);
        self.check_replies()
    }

    /// A header list above the limits is answered, because it may have come in good faith (§10.5.1).
    fn answer_too_large(&mut self, id: u32, end: bool) -> Result<(), Fault> {
        self.notices |= notice::HEADER_LIST;
        self.count_stream_error()?;
        let at = frame::open(&mut self.out);
        self.encoder.begin(&mut self.out);
        encode::status(431, &mut self.out);
        for (name, value) in TOO_LARGE_ANSWER.into_iter().filter(|_| self.limits.grpc) {
            encode::literal(Literal::new(name, value.as_bytes()), &mut self.out);
        }
        let max = self.peer.max_frame_size as usize;
        frame::close(&mut self.out, at, max, frame::Shape::headers(true), id);
        if !end {
            self.put_reset(id, Code::NO_ERROR);
            self.resets.push(id);
        }
        self.check_replies()
    }
}

/// An informational response is swallowed (§8.1), a few of them before the final one.
fn interim(stream: &mut Stream, end: bool) -> Result<(), Fault> {
    if end {
        return Err(Fault::stream(Code::PROTOCOL_ERROR, "§8.1", "informational response with END_STREAM"));
    }
    stream.interims += 1;
    if stream.interims > MOST_INTERIM {
        return Err(Fault::stream(Code::ENHANCE_YOUR_CALM, "limit of 5", "too many informational responses"));
    }
    Ok(())
}

/// Informational responses that are swallowed before one final response, as in Go.
const MOST_INTERIM: u8 = 5;

const TOO_LARGE_ANSWER: [(&str, &str); 3] =
    [("content-type", "application/grpc"), ("grpc-status", "8"), ("grpc-message", "header list too large")];

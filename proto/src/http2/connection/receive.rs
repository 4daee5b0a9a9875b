//! Bytes to frames, and the order in which frames may come (RFC 9113 §3.4, §4, §6.10).

use super::*;
use crate::http2::frame::{HEAD, Head, MAX_FRAME, flag};

/// What is kept between two calls of `receive`.
pub(super) struct Input {
    /// Bytes of the client's preface that a server still expects.
    preface: &'static [u8],
    /// The beginning of a frame that came in pieces: never more than one frame.
    carry: Vec<u8>,
    /// The header block that is being collected; no other frame may come in between (§6.10).
    pub(super) block: Option<Block>,
    /// Memory for the next one.
    pub(super) spare: Vec<u8>,
}

/// A header block that has not ended.
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) end: bool,
    pub(super) own_parent: bool,
    pub(super) continuations: u32,
    pub(super) bytes: Vec<u8>,
}

impl Input {
    pub(super) fn new(role: Role) -> Input {
        let preface: &[u8] = if role == Role::Server { PREFACE } else { &[] };
        Input { preface, carry: Vec::new(), block: None, spare: Vec::new() }
    }
}

impl Connection {
    /// Takes what arrived, cut anywhere. An error ends the connection: `write` has the GOAWAY, streams have failed.
    pub fn receive(&mut self, bytes: &[u8], now: Tick) -> Result<(), Violation> {
        if let Some(ended) = self.life.ended {
            return ended.map_or(Ok(()), Err);
        }
        self.life.heard(now);
        self.frames(bytes).map_err(|fault| self.fail(violation(fault)))
    }

    fn frames(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut bytes = self.preface(bytes)?;
        if !self.input.carry.is_empty() {
            bytes = self.complete(bytes)?;
        }
        while let Some(head) = Head::parse(bytes) {
            self.check(&head)?;
            let Some((frame, rest)) = bytes.split_at_checked(HEAD + head.length) else { break };
            self.frame(&head, frame)?;
            bytes = rest;
        }
        self.input.carry.extend_from_slice(bytes);
        Ok(())
    }

    /// A server's first bytes must be the client's preface.
    fn preface<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        if self.input.preface.is_empty() {
            return Ok(bytes);
        }
        let n = self.input.preface.len().min(bytes.len());
        let ((got, rest), (expected, left)) = (bytes.split_at(n), self.input.preface.split_at(n));
        if got != expected {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§3.4", "no HTTP/2 preface"));
        }
        self.input.preface = left;
        Ok(rest)
    }

    /// Completes the frame that was cut, and processes it; returns what is behind it.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let mut carry = core::mem::take(&mut self.input.carry);
        let rest = fill(&mut carry, HEAD, bytes);
        let Some(head) = Head::parse(&carry) else {
            self.input.carry = carry;
            return Ok(rest);
        };
        self.check(&head)?;
        let rest = fill(&mut carry, HEAD + head.length, rest);
        if carry.len() == HEAD + head.length {
            self.frame(&head, &carry)?;
            carry.clear();
        }
        self.input.carry = carry;
        Ok(rest)
    }

    /// What can be said before the payload is there.
    fn check(&self, head: &Head) -> Result<(), Fault> {
        if head.length > MAX_FRAME {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "§4.2", "frame above 16384 bytes"));
        }
        if self
            .input
            .block
            .as_ref()
            .is_some_and(|b| head.kind != kind::CONTINUATION || head.stream != b.stream)
        {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.10", "frame within a header block"));
        }
        if !self.life.settled && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§3.4", "first frame is not SETTINGS"));
        }
        Ok(())
    }

    fn frame(&mut self, head: &Head, frame: &[u8]) -> Result<(), Fault> {
        let payload = frame.get(HEAD..).unwrap_or(&[]);
        let result = match head.kind {
            kind::DATA => self.on_data(head, payload),
            kind::HEADERS => self.on_headers(head, payload),
            kind::PRIORITY => self.on_priority(head, payload),
            kind::RST_STREAM => self.on_reset(head, payload),
            kind::SETTINGS => self.on_settings(head, payload),
            kind::PUSH_PROMISE => Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.6", "PUSH_PROMISE")),
            kind::PING => self.on_ping(head, payload),
            kind::GOAWAY => self.on_goaway(head, payload),
            kind::WINDOW_UPDATE => self.on_window_update(head, payload),
            kind::CONTINUATION => self.on_continuation(head, payload),
            _ => self.on_unknown(),
        };
        match result {
            Err(Fault::Stream(violation)) => self.stream_error(head.stream, violation),
            other => other,
        }
    }

    /// A frame for a stream that does not exist: what that means depends on where the stream went (§5.1).
    pub(super) fn judge_absent(&self, id: u32) -> Result<(), Fault> {
        if self.is_idle(id) || self.gaps.contain(id) {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§5.1", "frame on an idle stream"));
        }
        if self.resets.may_contain(id) || self.life.is_refused(id) {
            return Ok(());
        }
        Err(Fault::connection(Code::STREAM_CLOSED, "§5.1", "frame on a closed stream"))
    }

    /// Whether the stream was never opened: the peer's own ones ascend, this end has none that the peer numbers.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        let client_numbered = id % 2 == 1;
        !client_numbered || if self.role == Role::Client { id >= self.next_id } else { id > self.last_id }
    }
}

/// Moves bytes into `carry` until it has `length`; returns what is left.
fn fill<'a>(carry: &mut Vec<u8>, length: usize, bytes: &'a [u8]) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length.saturating_sub(carry.len()).min(bytes.len()));
    carry.extend_from_slice(taken);
    rest
}

//! Frames about streams and the connection themselves (RFC 9113 §6.3–§6.9).

use super::*;
use crate::http2::frame::{Head, flag};

impl Connection {
    /// PRIORITY is read and ignored (§5.3.2).
    pub(super) fn on_priority(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream == 0 {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.3", "PRIORITY on stream 0"));
        }
        self.on_unknown()?;
        if payload.len() != 5 {
            return Err(Fault::stream(Code::FRAME_SIZE_ERROR, "§6.3", "PRIORITY is not 5 bytes"));
        }
        if frame::number(payload) & 0x7fff_ffff == head.stream {
            return Err(Fault::stream(Code::PROTOCOL_ERROR, "RFC 7540 §5.3.1", "stream depends on itself"));
        }
        Ok(())
    }

    /// Frames of unknown types are ignored (§5.5), not without end.
    pub(super) fn on_unknown(&mut self) -> Result<(), Fault> {
        if self.rates.ignored.admit(self.limits.ignored_frames_per_second, self.life.now) {
            return Ok(());
        }
        Err(excessive("limit ignored_frames_per_second", "too many ignored frames"))
    }

    pub(super) fn on_reset(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream == 0 {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.4", "RST_STREAM on stream 0"));
        }
        if payload.len() != 4 {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "§6.4", "RST_STREAM is not 4 bytes"));
        }
        if !self.rates.resets.admit(self.limits.resets_per_second, self.life.now) {
            return Err(excessive("limit resets_per_second", "too many resets"));
        }
        let Some(slot) = self.streams.find(head.stream) else {
            if self.is_idle(head.stream) {
                return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.4", "RST_STREAM on an idle stream"));
            }
            return Ok(());
        };
        let code = Code(frame::number(payload));
        let unprocessed = code == Code::REFUSED_STREAM && self.role == Role::Client;
        self.end(slot, if unprocessed { Failure::Unprocessed } else { Failure::Reset(code) });
        Ok(())
    }

    pub(super) fn on_settings(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.5", "SETTINGS on a stream"));
        }
        if !self.rates.settings.admit(self.limits.settings_per_second, self.life.now) {
            return Err(excessive("limit settings_per_second", "too many SETTINGS"));
        }
        if head.has(flag::ACK) {
            return self.on_settings_ack(payload);
        }
        let before = self.peer;
        self.peer.apply(payload, self.role == Role::Client)?;
        self.encoder.peer_table(self.peer.header_table_size);
        self.rewindow(i64::from(self.peer.initial_window_size) - i64::from(before.initial_window_size))?;
        frame::put(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
        if !self.life.settled {
            self.life.settled = true;
            self.notices |= notice::READY;
        }
        self.offer_room();
        self.check_replies()
    }

    /// The peer's initial window changed: every open stream's window changes by as much (§6.9.2).
    fn rewindow(&mut self, by: i64) -> Result<(), Fault> {
        if by == 0 {
            return Ok(());
        }
        for slot in self.streams.each() {
            if !self.streams[slot].send.change(by) {
                return Err(Fault::connection(Code::FLOW_CONTROL_ERROR, "§6.9.2", "window above 2^31-1"));
            }
            self.queue(slot);
        }
        Ok(())
    }

    /// Our settings are in force: fresh streams have our window, open ones the difference (§6.5.3, §6.9.2).
    fn on_settings_ack(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if !payload.is_empty() {
            return Err(Fault::connection(
                Code::FRAME_SIZE_ERROR,
                "§6.5",
                "SETTINGS acknowledgement with a payload",
            ));
        }
        if core::mem::replace(&mut self.life.acknowledged, true) {
            return Ok(());
        }
        let by = i64::from(self.limits.stream_window) - i64::from(self.initial);
        self.initial = self.limits.stream_window;
        for slot in self.streams.each() {
            let stream = &mut self.streams[slot];
            stream.receive.rebase(by);
            stream.normal = stream.receive.target().min(self.initial);
        }
        Ok(())
    }

    pub(super) fn on_ping(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.7", "PING on a stream"));
        }
        if payload.len() != 8 {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "§6.7", "PING is not 8 bytes"));
        }
        if head.has(flag::ACK) {
            self.answered(payload);
            return Ok(());
        }
        if self.rates.free_pings > 0 {
            self.rates.free_pings -= 1;
        } else if !self.rates.pings.admit(self.limits.pings_per_second, self.life.now) {
            return Err(excessive("limit pings_per_second", "too many PINGs"));
        }
        frame::put(&mut self.out, kind::PING, flag::ACK, 0, payload);
        self.check_replies()
    }

    /// GOAWAY: streams above its last id were not and will not be processed (§6.8).
    pub(super) fn on_goaway(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.8", "GOAWAY on a stream"));
        }
        if payload.len() < 8 {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "§6.8", "GOAWAY below 8 bytes"));
        }
        let last = frame::number(payload) & 0x7fff_ffff;
        let last = self.life.peer_last.map_or(last, |before| before.min(last));
        self.life.peer_last = Some(last);
        self.notices |= notice::DRAINING;
        if self.role == Role::Client {
            for slot in self.streams.each() {
                if self.streams[slot].id > last && !self.streams[slot].state.is_closed() {
                    self.end(slot, Failure::Unprocessed);
                }
            }
        }
        self.check_over();
        Ok(())
    }

    pub(super) fn on_window_update(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if payload.len() != 4 {
            return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "§6.9", "WINDOW_UPDATE is not 4 bytes"));
        }
        let increment = frame::number(payload) & 0x7fff_ffff;
        if head.stream == 0 {
            if increment == 0 {
                return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.9", "increment of 0"));
            }
            if !self.send.change(i64::from(increment)) {
                return Err(Fault::connection(Code::FLOW_CONTROL_ERROR, "§6.9.1", "window above 2^31-1"));
            }
            return Ok(());
        }
        let Some(slot) = self.streams.find(head.stream) else {
            if self.is_idle(head.stream) {
                return Err(Fault::connection(
                    Code::PROTOCOL_ERROR,
                    "§5.1",
                    "WINDOW_UPDATE on an idle stream",
                ));
            }
            return Ok(());
        };
        if increment == 0 {
            return Err(Fault::stream(Code::PROTOCOL_ERROR, "§6.9", "increment of 0"));
        }
        if !self.streams[slot].send.change(i64::from(increment)) {
            return Err(Fault::stream(Code::FLOW_CONTROL_ERROR, "§6.9.1", "window above 2^31-1"));
        }
        self.queue(slot);
        Ok(())
    }

    /// The peer broke a rule on one stream: it is reset, and remembered as reset by us (§5.4.2).
    pub(super) fn stream_error(&mut self, id: u32, violation: Violation) -> Result<(), Fault> {
        self.count_stream_error()?;
        if self.is_idle(id) {
            return Err(Fault::Connection(violation)); // §6.4: an idle stream cannot be reset
        }
        self.put_reset(id, violation.code);
        self.resets.push(id);
        if let Some(slot) = self.streams.find(id) {
            self.end(slot, Failure::Violated(violation));
        }
        self.check_replies()
    }

    pub(super) fn count_stream_error(&mut self) -> Result<(), Fault> {
        if self.rates.errors.admit(self.limits.stream_errors_per_second, self.life.now) {
            return Ok(());
        }
        Err(excessive("limit stream_errors_per_second", "too many stream errors"))
    }

    pub(super) fn put_reset(&mut self, id: u32, code: Code) {
        frame::put(&mut self.out, kind::RST_STREAM, 0, id, &code.0.to_be_bytes());
    }

    /// Counts an answer to the peer; too many while it does not read are a flood.
    pub(super) fn check_replies(&mut self) -> Result<(), Fault> {
        self.replies += 1;
        if self.replies > self.limits.frames_queued {
            return Err(excessive("limit frames_queued", "too many frames to answer"));
        }
        Ok(())
    }
}

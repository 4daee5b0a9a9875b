//! Beginning and end of a connection: settling, keep-alive, idleness, GOAWAY in two steps, failure.
//!
//! ```text
//!   Staying ── shutdown (server) ──▶ Announced: GOAWAY(2^31-1), PING ── its answer, or `linger` ──▶ Leaving(last)
//!      └────── shutdown (client) ──────────────────────────────────────────────────────▶ │
//!                                                             no streams left ──▶ Event::Over
//! ```

use super::*;
use core::time::Duration;

/// How far this end is with going away (RFC 9113 §6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Staying,
    /// The peer was told then that the connection ends; streams it started before it knew are still accepted.
    Announced(Tick),
    /// No stream above this id is accepted.
    Leaving(u32),
}

/// A PING without an answer.
#[derive(Clone, Copy, Debug)]
struct Ping {
    sent: Tick,
}

/// What a connection knows about its own life.
#[derive(Debug)]
pub(super) struct Life {
    /// The moment of the last call that had one.
    pub(super) now: Tick,
    opened: Tick,
    /// Last bytes from the peer.
    heard: Tick,
    pub(super) idle_since: Tick,
    /// The peer's SETTINGS came; ours were acknowledged.
    pub(super) settled: bool,
    pub(super) acknowledged: bool,
    ping: Option<Ping>,
    ending: Ending,
    /// The last id of the peer's GOAWAY.
    pub(super) peer_last: Option<u32>,
    /// The connection is at its end, by a violation or by the transport's.
    pub(super) ended: Option<Option<Violation>>,
    /// Some stream waits for the peer's window without an owner.
    pub(super) lingering: bool,
    over: bool,
}

impl Life {
    pub(super) fn new(now: Tick) -> Life {
        Life {
            now,
            opened: now,
            heard: now,
            idle_since: now,
            settled: false,
            acknowledged: false,
            ping: None,
            ending: Ending::Staying,
            peer_last: None,
            ended: None,
            lingering: false,
            over: false,
        }
    }

    pub(super) fn heard(&mut self, now: Tick) {
        (self.now, self.heard) = (now, now);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.ending != Ending::Staying
    }

    /// Whether our GOAWAY said that the stream will not be processed.
    pub(super) fn is_refused(&self, id: u32) -> bool {
        matches!(self.ending, Ending::Leaving(last) if id > last)
    }
}

const KEEPALIVE: [u8; 8] = *b"keepaliv";
const DRAINING: [u8; 8] = *b"draining";
const EVERYTHING: u32 = 0x7fff_ffff;
/// How often lingering streams are looked at.
const LINGER_STEP: Duration = Duration::from_secs(5);

impl Connection {
    /// When [`Connection::tick`] must be called at the latest. Later bytes may move it further away.
    pub fn deadline(&self) -> Tick {
        let life = &self.life;
        if life.ended.is_some() || life.over {
            return Tick::NEVER;
        }
        let mut at = match life.ping {
            Some(ping) => ping.sent.max(life.heard) + self.limits.keepalive_timeout,
            None => life.heard + self.limits.keepalive,
        };
        if !life.settled || !life.acknowledged {
            at = at.min(life.opened + self.limits.settings_timeout);
        }
        if self.streams.open_count() == 0 && life.ending == Ending::Staying {
            at = at.min(life.idle_since + self.limits.idle);
        }
        if life.lingering {
            at = at.min(life.now + LINGER_STEP);
        }
        if let Ending::Announced(since) = life.ending {
            at = at.min(since + self.limits.linger);
        }
        at
    }

    /// Does what is due at `now`: keep-alive, time-outs, closing when idle. An error ends the connection.
    pub fn tick(&mut self, now: Tick) -> Result<(), Violation> {
        self.life.now = now;
        if self.life.ended.is_some() {
            return Ok(());
        }
        let due = |since: Tick, wait: Duration| now >= since + wait;
        if !(self.life.settled && self.life.acknowledged)
            && due(self.life.opened, self.limits.settings_timeout)
        {
            return Err(self.fail(SETTINGS_LATE));
        }
        match self.life.ping {
            Some(ping) if due(ping.sent.max(self.life.heard), self.limits.keepalive_timeout) => {
                return Err(self.fail(SILENT));
            }
            None if due(self.life.heard, self.limits.keepalive) => self.ping(KEEPALIVE),
            _ => {}
        }
        let idle = self.streams.open_count() == 0 && due(self.life.idle_since, self.limits.idle);
        if idle && self.life.ending == Ending::Staying {
            self.shutdown(now);
        }
        if matches!(self.life.ending, Ending::Announced(since) if due(since, self.limits.linger)) {
            self.leave();
        }
        if self.life.lingering {
            self.give_up_lingering(now);
        }
        Ok(())
    }

    fn give_up_lingering(&mut self, now: Tick) {
        self.life.lingering = false;
        for slot in self.streams.each() {
            let stream = &self.streams[slot];
            if stream.held || stream.state.is_closed() {
                continue;
            }
            if now >= stream.linger {
                self.reset(slot, Code::CANCEL);
            } else {
                self.life.lingering = true;
            }
        }
    }

    fn ping(&mut self, payload: [u8; 8]) {
        frame::put(&mut self.out, kind::PING, 0, 0, &payload);
        self.life.ping = Some(Ping { sent: self.life.now });
    }

    /// A PING came back. An answer to either kind shows that the peer lives.
    pub(super) fn answered(&mut self, payload: &[u8]) {
        if payload == KEEPALIVE || payload == DRAINING {
            self.life.ping = None;
        }
        if payload == DRAINING && matches!(self.life.ending, Ending::Announced(_)) {
            self.leave();
        }
    }

    /// Ends the connection gracefully: open streams go on, no new ones are accepted. [`Event::Over`] follows.
    pub fn shutdown(&mut self, now: Tick) {
        self.life.now = now;
        if self.life.ending != Ending::Staying || self.life.ended.is_some() {
            return;
        }
        if self.role == Role::Client {
            return self.leave();
        }
        self.life.ending = Ending::Announced(self.life.now);
        self.goaway(EVERYTHING, Code::NO_ERROR, "draining");
        self.ping(DRAINING);
    }

    /// The last id is said, and holds.
    fn leave(&mut self) {
        let last = if self.role == Role::Server { self.last_id } else { 0 };
        self.life.ending = Ending::Leaving(last);
        self.goaway(last, Code::NO_ERROR, "draining");
        self.check_over();
    }

    fn goaway(&mut self, last: u32, code: Code, debug: &str) {
        let payload = [&last.to_be_bytes()[..], &code.0.to_be_bytes(), debug.as_bytes()].concat();
        frame::put(&mut self.out, kind::GOAWAY, 0, 0, &payload);
    }

    /// Reports the end once no stream is left of a connection that either end is leaving.
    pub(super) fn check_over(&mut self) {
        let leaving = matches!(self.life.ending, Ending::Leaving(_)) || self.life.peer_last.is_some();
        if leaving && self.streams.open_count() == 0 && !self.life.over {
            self.life.over = true;
            self.notices |= notice::OVER;
        }
    }

    /// Ends the connection because of a violation: GOAWAY, then every stream fails.
    pub(super) fn fail(&mut self, violation: Violation) -> Violation {
        if self.life.ended.is_none() {
            let last = if self.role == Role::Server { self.last_id } else { 0 };
            self.goaway(last, violation.code, violation.what);
            self.life.ended = Some(Some(violation));
            self.end_all();
        }
        violation
    }

    /// The transport ended, or is about to be closed by this end: every stream that is not complete fails.
    pub fn closed(&mut self) {
        if self.life.ended.is_none() {
            self.life.ended = Some(None);
            self.end_all();
        }
    }

    fn end_all(&mut self) {
        for slot in self.streams.each() {
            let stream = &self.streams[slot];
            if !stream.state.is_closed() {
                let never_sent = self.role == Role::Client && stream.id >= self.written;
                self.end(slot, if never_sent { Failure::Unprocessed } else { Failure::Lost });
            }
        }
        self.life.over = true;
        self.notices |= notice::OVER;
    }

    /// Whether this end or the peer is leaving, or the connection is at its end.
    pub fn is_leaving(&self) -> bool {
        self.life.is_leaving() || self.life.peer_last.is_some() || self.life.ended.is_some()
    }

    /// Whether the connection is at its end: nothing is left to do but to send what `write` has and close.
    pub fn is_over(&self) -> bool {
        self.life.over
    }

    /// The violation that ended the connection.
    pub fn violation(&self) -> Option<Violation> {
        self.life.ended.flatten()
    }
}

const SETTINGS_LATE: Violation = Violation {
    code: Code::SETTINGS_TIMEOUT,
    section: "§6.5.3",
    what: "SETTINGS or their acknowledgement are late",
};
const SILENT: Violation = Violation {
    code: Code::NO_ERROR,
    section: "limit keepalive_timeout",
    what: "keep-alive PING was not answered",
};

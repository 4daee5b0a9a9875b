//! Control's end.
//!
//! ```text
//!                 Hello                  publish: full, then deltas      Ack: oldest waiting version is settled
//!  Waiting ────────────────▶ Following ─────────────────────────────▶    Nack: the next one is full
//!     │ anything else, or no common version                              Nack wants_full: full at once
//!     ▼
//!   error
//! ```
//!
//! Changes that come while answers are outstanding are told together: a delta is always the difference of what was last
//! sent to what is now.

use super::SessionError;
use crate::control::convert::{self, Reasons};
use crate::control::{
    Attached, Backend, Collect, FromControl, FromDataplane, Hello, Nack, PROTOCOL, Refusal, Report, Resolved,
    Snapshot as Message, from_control, from_dataplane,
};
use crate::snapshot::{AppRef, Route, Snapshot};
use core::time::Duration;
use prost::Message as _;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Most snapshots sent and not answered; further changes wait and are told together.
pub const MAX_UNANSWERED: usize = 4;
/// Size in bytes above which a snapshot is sent in several parts.
pub const MAX_PART: usize = 1 << 20;

/// The data plane at the other end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Version of its software.
    pub software: String,
    /// Its process id.
    pub pid: u32,
    /// Number of shards.
    pub shards: u32,
    /// How it does its I/O.
    pub backend: Backend,
    /// Why not io_uring, or empty.
    pub backend_reason: String,
    /// The version it has been serving since an earlier connection; 0 if none.
    pub serving: u64,
}

/// What a message from the data plane means.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The data plane introduced itself; it may be published to from now on.
    Greeted(Peer),
    /// A snapshot is in force there.
    Acked {
        /// Its version.
        version: u64,
    },
    /// A snapshot was refused there; the one before stays in force.
    Nacked {
        /// Its version.
        version: u64,
        /// Every reason.
        reasons: Vec<String>,
    },
    /// A name is wanted.
    Resolve(AppRef),
    /// An endpoint failed a call.
    Failed {
        /// The app that was called.
        target: AppRef,
        /// Where.
        endpoint: SocketAddr,
    },
    /// It ends.
    Draining {
        /// Within this time.
        grace: Duration,
    },
    /// Clients attached metadata to the sidecar.
    Attached(Attached),
    /// A part of a report.
    Report(Report),
    /// A message of a kind that is not known.
    Nothing,
}

#[derive(Debug)]
enum State {
    Waiting,
    Following(Following),
}

#[derive(Debug, Default)]
struct Following {
    /// What the data plane will have when everything sent is accepted; `None`: the next one is full.
    sent: Option<Arc<Snapshot>>,
    /// What waits for an answer, oldest first.
    unanswered: VecDeque<Sent>,
    /// Refused for what it holds: nothing up to this version is sent again.
    refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    version: u64,
    full: bool,
}

/// Control's end of one connection.
#[derive(Debug)]
pub struct Publisher {
    state: State,
}

impl Default for Publisher {
    fn default() -> Publisher {
        Publisher { state: State::Waiting }
    }
}

impl Publisher {
    /// A connection was accepted.
    pub fn new() -> Publisher {
        Publisher::default()
    }

    /// Takes a message.
    ///
    /// # Errors
    /// The data plane does not keep the protocol; the connection is to be closed, after a refusal.
    pub fn received(&mut self, message: FromDataplane) -> Result<Event, SessionError> {
        let Some(message) = message.message else { return Ok(Event::Nothing) };
        match &mut self.state {
            State::Waiting => match message {
                from_dataplane::Message::Hello(hello) => self.greeted(hello),
                _ => Err(SessionError::NotGreeted),
            },
            State::Following(following) => following.received(message),
        }
    }

    /// What to send so that the data plane gets `picture`. Nothing if it has it, if it refused it, before Hello, or
    /// while too many answers are outstanding.
    pub fn publish(&mut self, picture: &Arc<Snapshot>) -> Vec<FromControl> {
        match &mut self.state {
            State::Waiting => Vec::new(),
            State::Following(following) => following.publish(picture),
        }
    }

    /// Whether everything sent was answered.
    pub fn is_settled(&self) -> bool {
        matches!(&self.state, State::Following(following) if following.unanswered.is_empty())
    }

    fn greeted(&mut self, hello: Hello) -> Result<Event, SessionError> {
        if hello.protocol_min > PROTOCOL || hello.protocol_max == 0 {
            return Err(SessionError::Protocol { min: hello.protocol_min, max: hello.protocol_max });
        }
        self.state = State::Following(Following::default());
        let backend = hello.backend();
        Ok(Event::Greeted(Peer {
            software: hello.software,
            pid: hello.pid,
            shards: hello.shards,
            backend,
            backend_reason: hello.backend_reason,
            serving: hello.serving,
        }))
    }
}

impl Following {
    fn received(&mut self, message: from_dataplane::Message) -> Result<Event, SessionError> {
        match message {
            from_dataplane::Message::Hello(_) => Err(SessionError::GreetedTwice),
            from_dataplane::Message::Ack(ack) => {
                self.settle(ack.version)?;
                Ok(Event::Acked { version: ack.version })
            }
            from_dataplane::Message::Nack(nack) => self.nacked(nack),
            from_dataplane::Message::Resolve(resolve) => named("Resolve", resolve.app).map(Event::Resolve),
            from_dataplane::Message::Failed(failed) => {
                let endpoint = convert::parse_address(&failed.address)
                    .map_err(|reason| SessionError::Malformed(vec![format!("Failed: {reason}")]))?;
                named("Failed", failed.app).map(|target| Event::Failed { target, endpoint })
            }
            from_dataplane::Message::Draining(draining) => {
                Ok(Event::Draining { grace: Duration::from_millis(draining.grace_ms) })
            }
            from_dataplane::Message::Report(report) => Ok(Event::Report(report)),
            from_dataplane::Message::Attached(attached) => Ok(Event::Attached(attached)),
        }
    }

    /// Answers come in the order of what they answer.
    fn settle(&mut self, version: u64) -> Result<Sent, SessionError> {
        let settled = self.unanswered.pop_front_if(|oldest| oldest.version == version);
        settled.ok_or(SessionError::Unasked { version })
    }

    /// A full picture that was refused is not sent again; after a refused delta a full one follows, unless it is on its
    /// way already.
    fn nacked(&mut self, nack: Nack) -> Result<Event, SessionError> {
        let settled = self.settle(nack.version)?;
        if settled.full || !nack.wants_full {
            self.refused = self.refused.max(nack.version);
        }
        if !self.unanswered.iter().any(|sent| sent.full) {
            self.sent = None;
        }
        Ok(Event::Nacked { version: nack.version, reasons: nack.reasons })
    }

    fn publish(&mut self, picture: &Arc<Snapshot>) -> Vec<FromControl> {
        let known = self.sent.as_ref().is_some_and(|sent| sent.version >= picture.version);
        if known || picture.version <= self.refused || self.unanswered.len() >= MAX_UNANSWERED {
            return Vec::new();
        }
        let message = match &self.sent {
            Some(sent) => convert::delta(sent, picture),
            None => convert::full(picture),
        };
        self.unanswered.push_back(Sent { version: picture.version, full: self.sent.is_none() });
        self.sent = Some(Arc::clone(picture));
        parts(message).into_iter().map(|part| say(from_control::Message::Snapshot(Box::new(part)))).collect()
    }
}

/// Cuts a snapshot with very many routes into parts of bearable size.
fn parts(mut message: Message) -> Vec<Message> {
    if message.encoded_len() <= MAX_PART {
        return vec![message];
    }
    let (mut parts, mut size) = (Vec::new(), 0);
    let further = Message {
        protocol: message.protocol,
        version: message.version,
        base: message.base,
        ..Message::default()
    };
    for route in std::mem::take(&mut message.routes) {
        let length = route.encoded_len() + 5;
        if size + length > MAX_PART {
            message.more = true;
            parts.push(std::mem::replace(&mut message, further.clone()));
            size = 0;
        }
        size += length;
        message.routes.push(route);
    }
    parts.push(message);
    parts
}

fn named(place: &str, app: Option<crate::control::AppRef>) -> Result<AppRef, SessionError> {
    let mut reasons = Reasons::default();
    let app = convert::app_ref(place, app.as_ref(), &mut reasons);
    let app = reasons.or(app).map_err(SessionError::Malformed)?;
    app.ok_or_else(|| SessionError::Malformed(vec![format!("{place}: no name")]))
}

fn say(message: from_control::Message) -> FromControl {
    FromControl { message: Some(message) }
}

impl FromControl {
    /// What a name resolves to, outside the table.
    pub fn resolved(app: &AppRef, route: &Route) -> FromControl {
        let route = Some(convert::encode_route(app, route));
        say(from_control::Message::Resolved(Resolved { route }))
    }

    /// Asks for a report.
    pub fn collect(id: u64) -> FromControl {
        say(from_control::Message::Collect(Collect { id }))
    }

    /// What clients attached to the sidecar so far.
    pub fn attached(attached: Attached) -> FromControl {
        say(from_control::Message::Attached(attached))
    }

    /// Control does not work with this data plane.
    pub fn refusal(reason: impl core::fmt::Display) -> FromControl {
        say(from_control::Message::Refusal(Refusal { reasons: vec![reason.to_string()] }))
    }
}

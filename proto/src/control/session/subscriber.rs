//! The data plane's end.
//!
//! ```text
//!            connected               received Snapshot             accept
//!  Closed ─────────────▶ Following ──────────────────▶ Settling ──────────▶ Following
//!     ▲                     │  ▲                          │  refuse              │
//!     │    disconnected     │  └──────────────────────────┘ (old one stays)      │
//!     └─────────────────────┴────────────────────────────────────────────────────┘
//! ```
//!
//! A delta is taken only on top of what was last applied on the same connection. What is served survives connections.

use super::SessionError;
use crate::control::convert::{self, Reasons};
use crate::control::{
    Ack, Attached, Backend, CAPABILITIES, Draining, Failed, FromControl, FromDataplane, Hello, Nack,
    PROTOCOL, Report, Resolve, Snapshot as Message, from_control, from_dataplane,
};
use crate::snapshot::{AppRef, Route, Snapshot};
use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a data plane says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Version of the software.
    pub software: String,
    /// Process id.
    pub pid: u32,
    /// Number of shards.
    pub shards: u32,
    /// How it does its I/O.
    pub backend: Backend,
    /// Why not io_uring, or empty.
    pub backend_reason: String,
}

/// What a message from control means.
#[derive(Debug)]
pub enum Heard {
    /// A new picture, to be accepted or refused.
    Candidate(Candidate),
    /// A picture that is refused already; the answer is to be sent.
    Refused {
        /// The answer.
        answer: FromDataplane,
        /// Every reason.
        reasons: Vec<String>,
    },
    /// What a name resolves to, outside the table.
    Resolved {
        /// The name.
        target: AppRef,
        /// Its answer.
        route: Arc<Route>,
    },
    /// A report is wanted.
    Collect {
        /// To be repeated in the answer.
        id: u64,
    },
    /// What clients attached to the sidecar before this data plane began.
    Attached(Attached),
    /// Control closes the connection.
    Dismissed {
        /// Why.
        reasons: Vec<String>,
    },
    /// Nothing to do: a part of a snapshot, or a message of a kind that is not known.
    Nothing,
}

/// A picture that passed every check here. Consumed by [`Subscriber::accept`] or [`Subscriber::refuse`].
#[derive(Debug)]
#[must_use = "control waits for an answer"]
pub struct Candidate {
    snapshot: Arc<Snapshot>,
    routes: Vec<AppRef>,
}

impl Candidate {
    /// The picture.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The names whose routes came with it.
    pub fn routes(&self) -> &[AppRef] {
        &self.routes
    }
}

#[derive(Debug)]
enum State {
    Closed,
    /// Connected; `applied` is the version on top of which deltas are taken, 0 is none.
    Following {
        applied: u64,
        parts: Parts,
    },
    /// A candidate is out.
    Settling {
        applied: u64,
    },
}

/// A snapshot that has begun to come.
#[derive(Debug)]
enum Parts {
    None,
    Begun(Candidate),
    /// Its further parts are skipped; it is answered already.
    Refused {
        version: u64,
    },
}

/// The data plane's end of the channel, over all its connections.
#[derive(Debug)]
pub struct Subscriber {
    current: Arc<Snapshot>,
    state: State,
}

impl Default for Subscriber {
    fn default() -> Subscriber {
        Subscriber { current: Arc::default(), state: State::Closed }
    }
}

fn say(message: from_dataplane::Message) -> FromDataplane {
    FromDataplane { message: Some(message) }
}

impl Subscriber {
    /// Nothing is served yet.
    pub fn new() -> Subscriber {
        Subscriber::default()
    }

    /// The picture in force; version 0 before the first.
    pub fn current(&self) -> &Arc<Snapshot> {
        &self.current
    }

    /// A connection was made; the first thing to say on it.
    pub fn connected(&mut self, about: &About) -> FromDataplane {
        self.state = State::Following { applied: 0, parts: Parts::None };
        say(from_dataplane::Message::Hello(Hello {
            protocol_min: 1,
            protocol_max: PROTOCOL,
            software: about.software.clone(),
            pid: about.pid,
            shards: about.shards,
            backend: about.backend.into(),
            backend_reason: about.backend_reason.clone(),
            capabilities: CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
            serving: self.current.version,
        }))
    }

    /// The connection is gone. The picture stays.
    pub fn disconnected(&mut self) {
        self.state = State::Closed;
    }

    /// Takes a message.
    ///
    /// # Errors
    /// Control does not keep the protocol; the connection is to be closed.
    pub fn received(&mut self, message: FromControl) -> Result<Heard, SessionError> {
        match (&self.state, message.message) {
            (State::Closed, _) => Err(SessionError::NotGreeted),
            (_, Some(from_control::Message::Snapshot(message))) => self.snapshot(&message),
            (_, Some(from_control::Message::Resolved(message))) => {
                let mut reasons = Reasons::default();
                let resolved = message.route.as_ref().and_then(|route| convert::route(route, &mut reasons));
                reasons.expect(message.route.is_some(), "Resolved without a route");
                match reasons.or(resolved).map_err(SessionError::Malformed)? {
                    Some((target, route)) => Ok(Heard::Resolved { target, route: Arc::new(route) }),
                    None => Ok(Heard::Nothing),
                }
            }
            (_, Some(from_control::Message::Collect(collect))) => Ok(Heard::Collect { id: collect.id }),
            (_, Some(from_control::Message::Attached(attached))) => Ok(Heard::Attached(attached)),
            (_, Some(from_control::Message::Refusal(refusal))) => {
                Ok(Heard::Dismissed { reasons: refusal.reasons })
            }
            (_, None) => Ok(Heard::Nothing),
        }
    }

    /// Puts the candidate in force; the answer to send.
    pub fn accept(&mut self, candidate: Candidate) -> FromDataplane {
        let version = candidate.snapshot.version;
        self.current = candidate.snapshot;
        if let State::Settling { .. } = self.state {
            self.state = State::Following { applied: version, parts: Parts::None };
        }
        say(from_dataplane::Message::Ack(Ack { version }))
    }

    /// Keeps what is in force; the answer to send.
    pub fn refuse(&mut self, candidate: Candidate, reasons: Vec<String>) -> FromDataplane {
        if let State::Settling { applied } = self.state {
            self.state = State::Following { applied, parts: Parts::None };
        }
        nack(candidate.snapshot.version, reasons, false)
    }

    fn snapshot(&mut self, message: &Message) -> Result<Heard, SessionError> {
        let State::Following { applied, parts } = &mut self.state else {
            return Err(SessionError::Unsettled);
        };
        let applied = *applied;
        match std::mem::replace(parts, Parts::None) {
            Parts::Refused { version } if version == message.version => {
                if message.more {
                    *parts = Parts::Refused { version };
                }
                Ok(Heard::Nothing)
            }
            Parts::Begun(begun) if begun.snapshot.version == message.version => {
                let made = convert::apply_part(&begun.snapshot, &self.current, message);
                Ok(self.take(message, begun.routes, made, applied))
            }
            Parts::Begun(begun) => {
                let version = begun.snapshot.version;
                let reasons = vec![format!("snapshot {} began before {version} was whole", message.version)];
                Ok(self.turn_down(message, reasons, true))
            }
            Parts::None | Parts::Refused { .. } => Ok(self.first_part(message, applied)),
        }
    }

    fn first_part(&mut self, message: &Message, applied: u64) -> Heard {
        if message.base != 0 && message.base != applied {
            let held = if applied == 0 { "nothing".to_owned() } else { applied.to_string() };
            let reason = format!("a change to {}, but {held} was applied on this connection", message.base);
            return self.turn_down(message, vec![reason], true);
        }
        if message.version <= applied {
            let reason = format!("version {} does not follow {applied}", message.version);
            return self.turn_down(message, vec![reason], false);
        }
        let made = convert::apply(&self.current, message);
        self.take(message, Vec::new(), made, applied)
    }

    fn take(
        &mut self,
        message: &Message,
        mut routes: Vec<AppRef>,
        made: Result<Snapshot, Vec<String>>,
        applied: u64,
    ) -> Heard {
        let snapshot = match made {
            Ok(snapshot) => Arc::new(snapshot),
            Err(reasons) => return self.turn_down(message, reasons, false),
        };
        let named = message.routes.iter().filter_map(|route| route.app.as_ref());
        routes
            .extend(named.map(|app| AppRef { app_id: app.app_id.clone(), namespace: app.namespace.clone() }));
        let candidate = Candidate { snapshot, routes };
        if message.more {
            self.state = State::Following { applied, parts: Parts::Begun(candidate) };
            return Heard::Nothing;
        }
        self.state = State::Settling { applied };
        Heard::Candidate(candidate)
    }

    fn turn_down(&mut self, message: &Message, reasons: Vec<String>, wants_full: bool) -> Heard {
        if let State::Following { parts, .. } = &mut self.state
            && message.more
        {
            *parts = Parts::Refused { version: message.version };
        }
        Heard::Refused { answer: nack(message.version, reasons.clone(), wants_full), reasons }
    }
}

fn nack(version: u64, reasons: Vec<String>, wants_full: bool) -> FromDataplane {
    say(from_dataplane::Message::Nack(Nack { version, reasons, wants_full }))
}

/// A name is wanted.
pub(super) fn resolve(app: &AppRef) -> FromDataplane {
    say(from_dataplane::Message::Resolve(Resolve { app: Some(convert::encode_app_ref(app)) }))
}

impl FromDataplane {
    /// A name is wanted.
    pub fn resolve(app: &AppRef) -> FromDataplane {
        resolve(app)
    }

    /// An endpoint failed a call.
    pub fn failed(app: &AppRef, endpoint: SocketAddr) -> FromDataplane {
        let app = Some(convert::encode_app_ref(app));
        say(from_dataplane::Message::Failed(Failed { app, address: endpoint.to_string() }))
    }

    /// The data plane ends.
    pub fn draining(grace: Duration) -> FromDataplane {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        say(from_dataplane::Message::Draining(Draining { grace_ms }))
    }

    /// Clients attached metadata to the sidecar.
    pub fn attached(attached: Attached) -> FromDataplane {
        say(from_dataplane::Message::Attached(attached))
    }

    /// A part of a report.
    pub fn report(report: Report) -> FromDataplane {
        say(from_dataplane::Message::Report(report))
    }
}

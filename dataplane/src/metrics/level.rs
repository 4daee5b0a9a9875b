//! What goes up and down, and what happens beside requests.

use super::Metrics;
use std::rc::Rc;

/// What goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Requests that have begun and not ended.
    Calls,
    /// Those of them that came from other sidecars.
    InboundCalls,
    /// Connections of local clients.
    ClientConnections,
    /// Connections of other sidecars.
    PeerConnections,
    /// Connections to the local app, idle ones too.
    AppConnections,
    /// Connections to servers outside the mesh, idle ones too.
    ExternalConnections,
    /// Calls that switched protocols and go on.
    Upgraded,
    /// Calls that wait for a slot of the app.
    WaitingForApp,
    /// Bytes kept for retries.
    ReplayBytes,
}

impl Level {
    pub(super) const ALL: [Level; 9] = [
        Level::Calls,
        Level::InboundCalls,
        Level::ClientConnections,
        Level::PeerConnections,
        Level::AppConnections,
        Level::ExternalConnections,
        Level::Upgraded,
        Level::WaitingForApp,
        Level::ReplayBytes,
    ];

    pub(super) fn name(self) -> (&'static str, &'static str) {
        match self {
            Level::Calls => ("outrigger_calls_in_flight", "calls in flight"),
            Level::InboundCalls => ("outrigger_inbound_calls_in_flight", "inbound calls in flight"),
            Level::ClientConnections => ("outrigger_client_connections", "client connections"),
            Level::PeerConnections => ("outrigger_peer_connections", "peer connections"),
            Level::AppConnections => ("outrigger_app_connections", "app connections"),
            Level::ExternalConnections => {
                ("outrigger_external_connections", "connections to servers outside the mesh")
            }
            Level::Upgraded => ("outrigger_upgraded_connections", "connections that switched protocols"),
            Level::WaitingForApp => ("outrigger_calls_waiting_for_app", "calls waiting for the app"),
            Level::ReplayBytes => ("outrigger_replay_bytes", "bytes kept for retries"),
        }
    }
}

/// What happened outside of requests, each counted by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection was closed or a request refused for lack of room.
    Refused,
    /// A reused app connection turned out to be closed; the request went out once more.
    StaleAppConnection,
    /// A response was cut off and the client's connection aborted.
    Truncated,
    /// An app answered something that is not HTTP.
    BadAppAnswer,
}

impl Event {
    pub(super) fn name(self) -> &'static str {
        match self {
            Event::Refused => "refused",
            Event::StaleAppConnection => "stale_app_connection",
            Event::Truncated => "truncated",
            Event::BadAppAnswer => "bad_app_answer",
        }
    }
}

/// Keeps a level raised while it lives.
#[derive(Debug)]
pub struct Held {
    pub(super) metrics: Rc<Metrics>,
    pub(super) level: Level,
    pub(super) amount: u64,
}

impl Held {
    /// Raises the level by another `by`.
    pub fn add(&mut self, by: u64) {
        self.amount += by;
        self.metrics.raise(self.level, by);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.metrics.lower(self.level, self.amount);
    }
}

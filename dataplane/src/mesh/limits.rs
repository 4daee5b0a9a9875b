//! Limits and waits of the mesh hop.

use crate::http2::LinkLimits;
use proto::http2::Limits;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Limits of all connections of a mesh, in either role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshLimits {
    /// Limits of one connection's HTTP/2.
    pub http2: Limits,
    /// Bytes of one received gRPC message; larger ones end the call with ResourceExhausted. Default 4 MiB plus 64 KiB for
    /// the head, so that a body of the default limit passes in one message.
    pub max_message: usize,
    /// Connections to one peer and identity. Default 8.
    pub connections: usize,
    /// Calls at once on one connection to a peer that allows more. Default 1000, for which its window
    /// suffices ([`Limits::connection_window`]).
    pub calls: usize,
    /// Calls that wait for a connection to one peer; more fail at once. Default 4096.
    pub waiting: usize,
    /// How long a dial may take with TLS and SETTINGS, whoever waits for it. Default 10 s.
    pub dial: Duration,
    /// How long the last bytes of a connection may take. Default 1 s.
    pub close: Duration,
}

impl MeshLimits {
    /// What each of its connections keeps.
    pub(super) fn of_links(&self) -> Rc<LinkLimits> {
        Rc::new(LinkLimits {
            streams: self.calls,
            close: self.close,
            max_message: Cell::new(self.max_message),
        })
    }
}

impl Default for MeshLimits {
    fn default() -> MeshLimits {
        MeshLimits {
            http2: Limits::default(),
            max_message: (4 << 20) + (64 << 10),
            connections: 8,
            calls: 1000,
            waiting: 4096,
            dial: Duration::from_secs(10),
            close: Duration::from_secs(1),
        }
    }
}

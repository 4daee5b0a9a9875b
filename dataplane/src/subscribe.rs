//! The data plane's end of the local channel.

use crate::tls;
use proto::control::{Backend, Report};
use proto::snapshot::{AppRef, Route, Snapshot};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where control listens and what it is told about this data plane.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Path of control's Unix socket.
    pub socket: PathBuf,
    /// Number of shards.
    pub shards: usize,
    /// How the data plane does its I/O.
    pub backend: Backend,
    /// Why it is not the completion backend, in one line; empty otherwise.
    pub backend_reason: String,
}

/// Something new from control. Delivered on a thread of the subscription, one at a time, in order.
#[derive(Clone)]
pub enum Update {
    /// A new picture to serve.
    Snapshot {
        /// The picture.
        snapshot: Arc<Snapshot>,
        /// Made of the snapshot's identity material; the same one as long as that does not change.
        identity: Option<Arc<tls::Identity>>,
    },
    /// The answer to a `resolve`. A route that was found is in the snapshot
    /// delivered just before as well; "not found" never is, so that it is asked again by the next call.
    Resolved {
        /// The name that was asked for.
        target: AppRef,
        /// Its answer.
        route: Arc<Route>,
    },
}

/// Too many names are being asked for already; the call fails as overloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyNames;

/// The way to control. Cheap to clone; ends the subscription when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Subscription {}

/// Connects to control, now and whenever the connection is lost, and delivers what it pushes. `report` is asked for
/// the data plane's numbers on a thread of the subscription; it must not wait for a shard longer than it must.
pub fn start(
    _channel: Channel,
    _deliver: impl FnMut(Update) + Send + 'static,
    _report: impl FnMut() -> Report + Send + 'static,
) -> io::Result<Subscription> {
    Ok(Subscription {})
}

impl Subscription {
    /// Asks for a name that the snapshot does not hold. Answered by an `Update::Resolved`, at the latest after some
    /// seconds, control or not. Asking again before the answer came joins the first question: one answer for both.
    pub fn resolve(&self, _target: AppRef) -> Result<(), TooManyNames> {
        Ok(())
    }

    /// A call to `endpoint` failed: control may look again. A hint, dropped under pressure.
    pub fn failed(&self, _target: AppRef, _endpoint: SocketAddr) {}

    /// The data plane ends within `grace`: control withdraws the own name.
    pub fn draining(&self, _grace: Duration) {}
}

//! The data plane's end of the local channel (ARCHITECTURE.md, "The local channel"; `proto/schema/control.proto`).
//!
//! ```text
//!  shards ── resolve, failed, draining ──▶ outbox ──▶ thread control-out ──▶ ┐ Unix
//!  shards ◀──────── Update ─── deliver ◀── identity ◀── thread control-in ◀── ┘ socket
//! ```
//!
//! Two threads of their own, blocking: nothing here runs on a shard, and no shard waits for anything here longer than for a
//! lock around a queue. Without control the last snapshot stays in force, names that are asked for are kept and asked
//! again after a reconnect, or answered "not found" when their time is up.

mod link;
mod outbox;
mod outgoing;

#[cfg(test)]
mod tests;

use crate::rt::Sender;
use crate::tls;
use link::Link;
use outbox::Outbox;
use outgoing::Shared;
use proto::control::session::About;
use proto::control::{Attached, Backend, Report};
use proto::snapshot::{AppRef, Route, Snapshot};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use outbox::{ANSWER_WITHIN, MAX_ASKED, MAX_HINTS, MAX_NAME};

/// Stack of each of the two threads. Decoding and building an identity need a few KiB.
const STACK: usize = 256 << 10;

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

impl Channel {
    fn about(&self) -> About {
        About {
            software: format!("outrigger {}", env!("CARGO_PKG_VERSION")),
            pid: std::process::id(),
            shards: u32::try_from(self.shards).unwrap_or(u32::MAX),
            backend: self.backend,
            backend_reason: self.backend_reason.clone(),
        }
    }
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
    /// The answer to a `resolve`. A route that was found is in the snapshot delivered just before as well; "not found"
    /// never is, so that it is asked again by the next call.
    Resolved {
        /// The name that was asked for.
        target: AppRef,
        /// Its answer.
        route: Arc<Route>,
    },
    /// What clients attached to the sidecar before this process began.
    Attached(Arc<Attached>),
}

/// Too many names are being asked for already ([`MAX_ASKED`]); the call fails as overloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyNames;

/// The way to control. Cheap to clone; the subscription ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Subscription {
    open: Arc<Open>,
}

/// Closes when dropped.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Connects to control, now and whenever the connection is lost, and delivers what it pushes. `report` is asked for
/// the data plane's numbers on a thread of the subscription; the connection waits for it, the shards do not.
///
/// # Errors
/// No thread can be started. That control is not there is no error: it is tried again, with growing delay.
pub fn start(
    channel: Channel,
    deliver: impl FnMut(Update) + Send + 'static,
    report: impl FnMut() -> Report + Send + 'static,
) -> io::Result<Subscription> {
    let shared = Arc::new(Shared::new(Box::new(deliver)));
    let open = Arc::new(Open { shared: Arc::clone(&shared) });
    let link = Link::new(channel, Arc::clone(&shared), Box::new(report));
    let thread = |name: &str| thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    thread("control-in").spawn(move || link.run())?;
    thread("control-out").spawn(move || outgoing::run(&shared))?;
    Ok(Subscription { open })
}

impl Subscription {
    /// Asks for a name that the snapshot does not hold. Answered by an `Update::Resolved`, at the latest after
    /// [`ANSWER_WITHIN`], control or not. Asking again before the answer came joins the first question: one answer for
    /// both.
    ///
    /// # Errors
    /// [`MAX_ASKED`] names wait for an answer.
    pub fn resolve(&self, target: AppRef) -> Result<(), TooManyNames> {
        self.with(|outbox| outbox.ask(target, Instant::now()))
    }

    /// A call to `endpoint` failed: control may look again. A hint, dropped under pressure.
    pub fn failed(&self, target: AppRef, endpoint: SocketAddr) {
        self.with(|outbox| outbox.failed(target, endpoint));
    }

    /// The data plane ends within `grace`: control withdraws the own name. Told again after a reconnect.
    pub fn draining(&self, grace: Duration) {
        self.with(|outbox| outbox.draining(grace));
    }

    /// A client attached metadata. Told again after a reconnect; `told` is dropped once control has it, or is away.
    pub fn attached(&self, key: &str, value: &str, told: Sender<()>) {
        self.with(|outbox| outbox.attached(key, value, told));
    }

    /// Hints and report parts that were dropped under pressure so far.
    pub fn lost(&self) -> u64 {
        self.open.shared.lock().lost()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Outbox) -> T) -> T {
        self.open.shared.change(change)
    }
}

//! One shard at work: its inbox, and on the first shard the listeners and the life of the process.

use super::life::{self, Life};
use super::memory;
use super::workers::Workers;
use super::{NamesEverywhere, Told};
use crate::admin::{self, Scope};
use crate::config::{ListenAt, Listening, Role};
use crate::listen::{self, Place, Placed, Placement};
use crate::log::{self, RUNTIME};
use crate::mesh::{self, MeshLimits, Serving};
use crate::metrics::Level;
use crate::rt::{self, Address, Listener, Mailbox, Receiver, Sender};
use crate::shard::survive::Survive;
use crate::shard::{Common, Figures, Names, Shard, now};
use crate::subscribe::Update;
use proto::control::{AppRef as AppName, EndpointHealth, Peer};
use proto::snapshot::{AppRef, Limits};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// What comes to a shard from elsewhere.
pub(super) enum ToShard {
    /// From control.
    Update(Update),
    /// A question about the shard.
    Tell(mpsc::Sender<Told>),
    /// A question about its runtime.
    Figures(mpsc::Sender<Figures>),
    /// Connections are to end.
    Drain,
    /// The process ends now.
    End,
}

/// What a shard is made of.
pub(super) struct Seat {
    /// It accepts connections and minds the life of the process.
    pub(super) first: bool,
    pub(super) all: Vec<Sender<ToShard>>,
    pub(super) common: Arc<Common>,
    pub(super) names: Arc<dyn NamesEverywhere>,
    pub(super) draining: Arc<dyn Fn(Duration) + Send + Sync>,
    pub(super) trace_steps: bool,
    /// `--max-memory` in bytes; 0 is none.
    pub(super) max_memory: u64,
    pub(super) began: Instant,
    pub(super) listeners: Vec<Listening>,
    pub(super) failure: Arc<OnceLock<io::Error>>,
    /// Where connections come in.
    pub(super) placed: Receiver<Placed<Role>>,
    /// Where they can go, for the first shard.
    pub(super) placement: Placement<Role>,
}

/// How long a connection of a peer waits for the first snapshot; what peers allow for connecting.
const FIRST_SNAPSHOT_TIME: Duration = Duration::from_secs(5);

/// One shard's names: those of all.
struct Shared(Arc<dyn NamesEverywhere>);

impl Names for Shared {
    fn resolve(&self, app: &AppRef) -> bool {
        self.0.resolve(app)
    }

    fn failed(&self, app: &AppRef, endpoint: SocketAddr) {
        self.0.failed(app, endpoint);
    }

    fn attached(&self, key: &str, value: &str, told: Sender<()>) {
        self.0.attached(key, value, told);
    }
}

impl Seat {
    /// Serves until the process ends.
    pub(super) async fn take(self, mut inbox: Receiver<ToShard>) {
        let Seat {
            first,
            all,
            common,
            names,
            draining,
            trace_steps,
            max_memory,
            began,
            listeners,
            failure,
            placed,
            placement,
        } = self;
        let shard = Shard::new(common, Box::new(Shared(names)), trace_steps);
        let serving = Serving::new(MeshLimits::default());
        rt::spawn(connections(shard.clone(), serving.clone(), placed));
        rt::spawn(sweep(shard.clone()));
        if first {
            if let Err(error) = open(listeners, &placement) {
                let _ = failure.set(error);
                return rt::stop();
            }
            rt::spawn(memory::watch(shard.clone(), max_memory));
            rt::spawn(life::wait_for_app(shard.clone(), began));
            rt::spawn(Life { shard: shard.clone(), all, draining }.run());
        }
        while let Some(message) = inbox.recv().await {
            match message {
                ToShard::Update(update) => apply(&shard, &serving, update),
                ToShard::Tell(answer) => drop(answer.send(tell(&shard))), // who asked may have left
                ToShard::Figures(answer) => drop(answer.send(Figures::here())),
                ToShard::Drain => {
                    shard.drain();
                    serving.drain();
                }
                ToShard::End => break,
            }
        }
        shard.metrics.ending();
        shard.mesh.close();
    }
}

/// Binds or inherits the listening sockets and accepts on them.
fn open(listeners: Vec<Listening>, placement: &Placement<Role>) -> io::Result<()> {
    for listening in listeners {
        let listener = match &listening.at {
            ListenAt::Fd(fd) => Listener::inherit(*fd),
            ListenAt::Tcp(address) => Listener::bind(&Address::Tcp(*address)),
            ListenAt::Unix(path) => Listener::bind(&Address::Unix(path.clone())),
        };
        let listener = listener.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {listening}: {error}"))
        })?;
        if listening.role != Role::Internal {
            listener.be_thrifty()?;
        }
        let address = listener.local().map(|address| address.to_string()).unwrap_or_default();
        let line = match listening.role {
            Role::Http => format!("HTTP server is running on {address}"),
            Role::Internal => format!("Internal gRPC server is running on {address}"),
            Role::Public => format!("Public HTTP server is running on {address}"),
            Role::Profile => format!("Profiling server is running on {address}"),
        };
        log::debug(RUNTIME, line);
        rt::spawn(listen::accept(listener, placement.clone(), listening.role));
    }
    Ok(())
}

fn apply(shard: &Shard, serving: &Serving, update: Update) {
    match update {
        Update::Snapshot { snapshot, identity } => {
            let most = max_message(&snapshot.limits);
            serving.set_max_message(most);
            shard.mesh.set_max_message((most + ANSWER_HEAD).min(MOST_MESSAGE));
            shard.apply(snapshot, identity);
            shard.common.configured.store(true, Relaxed);
        }
        Update::Resolved { target, route } => shard.resolved(&target, &route),
        Update::Attached(_) => {} // no shard's own
    }
}

/// Largest message that any peer may send: what the windows of a connection can hold beside everything else.
const MOST_MESSAGE: usize = 8 << 20;

/// What the one message of an answer may hold beside its body.
const ANSWER_HEAD: usize = 64 << 10;

/// Largest message of a caller: `--max-body-size`, as at daprd (vector callee/http/post-too-big-message), but no less
/// than a head and a piece of a body need.
fn max_message(limits: &Limits) -> usize {
    let least = limits.max_head + (128 << 10);
    let wanted = limits.max_body.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(MOST_MESSAGE);
    wanted.max(least).min(MOST_MESSAGE)
}

/// Takes connections that were placed here.
async fn connections(shard: Rc<Shard>, serving: Serving, mut placed: Receiver<Placed<Role>>) {
    let workers = Workers::new(shard.clone());
    let alarmed = shard.clone();
    serving.on_limit(move |limit| alarmed.reached(limit, "a peer was refused"));
    while let Some(Placed { accepted, role, surplus, place }) = placed.recv().await {
        let Ok(stream) = accepted.here() else { continue };
        if surplus {
            shard.reached("connections", format_args!("{} are open", listen::MOST_CONNECTIONS));
        }
        let shard = shard.clone();
        // a task for each kind: a client's connection need not have room for a peer's
        match role {
            Role::Internal if surplus => stream.abort(),
            _ if surplus => start(place, admin::turn_away(stream)),
            Role::Internal => start(place, peer(shard, stream, serving.clone(), workers.clone())),
            Role::Http => start(place, admin::serve(shard, stream, Scope::Api)),
            Role::Public => start(place, admin::serve(shard, stream, Scope::Public)),
            Role::Profile => start(place, admin::serve(shard, stream, Scope::Profile)),
        }
    }
}

/// Starts a connection's task, which holds the connection's place.
fn start(place: Place, serves: impl Future<Output = ()> + 'static) {
    let serves = Survive::new(serves);
    rt::spawn(async move {
        let _place = place;
        serves.await;
    });
}

/// Serves the connection of another sidecar to its end.
async fn peer(shard: Rc<Shard>, stream: rt::Stream, serving: Serving, workers: Rc<Workers>) {
    let _open = shard.metrics.hold(Level::PeerConnections);
    let informed = shard.is_informed_by(rt::now() + FIRST_SNAPSHOT_TIME).await;
    let view = shard.view();
    let mtls = view.snapshot.workload.mtls;
    if !informed || (mtls && view.identity.is_none()) {
        return stream.abort(); // nobody may call before it is known who may
    }
    let identity = view.identity.clone().filter(|_| mtls);
    let end = mesh::serve(stream, identity, &serving, move |call| workers.serve(call)).await;
    log::debug(RUNTIME, format_args!("connection of a peer ended: {end}"));
    if let mesh::LinkEnd::Http2(violation) = &end {
        shard.broke(violation);
    }
}

/// Closes connections to the app and to external servers that nobody uses.
async fn sweep(shard: Rc<Shard>) {
    loop {
        rt::sleep_until(rt::now() + Duration::from_secs(10)).await;
        if let Some(app) = &shard.view().app {
            app.sweep(rt::now());
        }
        shard.external.sweep(rt::now());
    }
}

/// What this shard knows about its peers.
fn tell(shard: &Shard) -> Told {
    let peers = shard.mesh.peers().into_iter().map(|peer| Peer {
        address: peer.address.to_string(),
        spiffe_id: peer.expected.map(|id| id.to_string()).unwrap_or_default(),
        connections: u32::try_from(peer.connections).unwrap_or(u32::MAX),
        calls: u32::try_from(peer.calls).unwrap_or(u32::MAX),
        last_error: String::new(),
    });
    let mut told = Told { peers: peers.collect(), endpoints: Vec::new() };
    shard.targets().each(|_, target| {
        let app = AppName { app_id: target.app.app_id.clone(), namespace: target.app.namespace.clone() };
        told.endpoints.extend(target.health(now()).into_iter().map(|health| EndpointHealth {
            app: Some(app.clone()),
            address: health.address.to_string(),
            healthy: !health.ejected,
            reason: if health.ejected {
                format!("{} failures in a row", health.failures)
            } else {
                String::new()
            },
            ejected_for_ms: 0,
            calls: 0,
        }));
    });
    told
}

/// The mailboxes through which connections are placed.
pub(super) fn mailboxes(shards: usize) -> (Placement<Role>, Vec<Receiver<Placed<Role>>>) {
    let (to, from) = (0..shards).map(|_| Mailbox::with_limit(listen::MOST_CONNECTIONS)).unzip();
    (Placement::new(to), from)
}

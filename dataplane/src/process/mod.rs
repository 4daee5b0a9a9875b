//! One data plane process: start, wait, exit code.
//!
//! ```text
//!   preflight ─▶ subscription (own threads) ─▶ shards ─┬─ each: inbox (snapshots, connections, drain, questions)
//!                                                      └─ the first too: accept, wait for the app, signals and drain
//! ```

mod life;
mod memory;
mod questions;
mod seat;
#[cfg(test)]
mod tests;
mod workers;

use crate::config::{Config, Listening};
use crate::log::{self, RUNTIME};
use crate::rt::{self, Backend, Mailbox, Receiver, Sender, Shards};
use crate::shard::{Common, Figures, Names};
use crate::subscribe::{self, Channel, Subscription, Update};
use proto::control::report::APP_UNHEALTHY;
use proto::control::{Backend as BackendName, Count, EndpointHealth, Peer, Report, exit};
use proto::snapshot::AppRef;
use seat::{Seat, ToShard};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long the shards may take to answer a question about themselves.
const ANSWER_TIME: Duration = Duration::from_millis(200);

/// Runs a data plane until it is told to end. Returns the exit code.
pub fn run(config: Config) -> i32 {
    log::install(config.log, config.log_level);
    let served = serve(config);
    log::flush();
    match served {
        Ok(false) => 0,
        Ok(true) => exit::FORCED,
        Err(error) => {
            log::line(
                crate::config::LogLevel::Fatal,
                RUNTIME,
                format_args!("Fatal error from runtime: {error}"),
            );
            1
        }
    }
}

/// Serves to the end; whether it was forced.
fn serve(config: Config) -> io::Result<bool> {
    let backend = rt::preflight(config.backend)?;
    log::info(RUNTIME, format_args!("networking: {backend}"));
    config.tcp_congestion.check()?;
    let common: Arc<Common> = Arc::default();
    common.http1_only.store(is_h2c_off(std::env::var("DAPR_HTTP_DISABLE_H2C").ok().as_deref()), Relaxed);
    let plane = Plane::new(config.shards.max(1));
    let shards = plane.to.clone();
    common.ask_figures_by(move || figures(&shards));
    let subscription = subscribe(&config, &backend, &plane, &common)?;
    let names = Arc::new(ByControl(OnceLock::new()));
    let _ = names.0.set(subscription.clone());
    let draining = move |grace| subscription.draining(grace);
    let failure: Arc<OnceLock<io::Error>> = Arc::default();
    let running = plane.start(Start {
        backend,
        tcp_congestion: config.tcp_congestion,
        common: common.clone(),
        listeners: config.listeners,
        failure: failure.clone(),
        names,
        draining: Arc::new(draining),
        trace_steps: config.trace_steps,
        max_memory: config.max_memory,
        began: Instant::now(),
    })?;
    running.join()?;
    match Arc::into_inner(failure).and_then(OnceLock::into_inner) {
        Some(error) => Err(error),
        None => Ok(common.ending.is_forced()),
    }
}

/// Whether `DAPR_HTTP_DISABLE_H2C` has one of daprd's values for "yes" (spec/invocation 1.1).
fn is_h2c_off(value: Option<&str>) -> bool {
    let value = value.unwrap_or_default().trim().to_ascii_lowercase();
    matches!(&*value, "y" | "yes" | "true" | "t" | "on" | "1")
}

/// The mailboxes of all shards, made before the shards.
struct Plane {
    to: Vec<Sender<ToShard>>,
    from: Vec<Receiver<ToShard>>,
}

/// What shards are started with.
struct Start {
    backend: Backend,
    tcp_congestion: rt::Congestion,
    common: Arc<Common>,
    listeners: Vec<Listening>,
    /// Why it cannot serve at all.
    failure: Arc<OnceLock<io::Error>>,
    names: Arc<dyn NamesEverywhere>,
    /// Tells control that the end is near.
    draining: Arc<dyn Fn(Duration) + Send + Sync>,
    trace_steps: bool,
    max_memory: u64,
    began: Instant,
}

/// [`Names`] that all shards share.
trait NamesEverywhere: Names + Send + Sync {}

impl<T: Names + Send + Sync> NamesEverywhere for T {}

impl Plane {
    fn new(shards: usize) -> Plane {
        let (to, from) = (0..shards).map(|_| Mailbox::new()).unzip();
        Plane { to, from }
    }

    fn start(self, start: Start) -> io::Result<rt::Running> {
        let shards = Shards {
            count: self.to.len(),
            backend: start.backend.clone(),
            tcp_congestion: start.tcp_congestion.clone(),
            ..Shards::default()
        };
        let (placement, placed) = seat::mailboxes(self.to.len());
        let inboxes: Vec<_> = self.from.into_iter().zip(placed).map(Some).collect();
        let (inboxes, to) = (Arc::new(Mutex::new(inboxes)), self.to);
        let listeners = Arc::new(Mutex::new(start.listeners));
        rt::start_shards(shards, move |id| {
            let first = id.index() == 0;
            let mut inboxes = inboxes.lock().unwrap_or_else(PoisonError::into_inner);
            let inbox = inboxes.get_mut(id.index()).and_then(Option::take);
            let mut listeners = listeners.lock().unwrap_or_else(PoisonError::into_inner);
            let listeners = if first { std::mem::take(&mut *listeners) } else { Vec::new() };
            let seat = inbox.map(|(inbox, placed)| {
                let seat = Seat {
                    first,
                    all: to.clone(),
                    common: start.common.clone(),
                    names: start.names.clone(),
                    draining: start.draining.clone(),
                    trace_steps: start.trace_steps,
                    max_memory: start.max_memory,
                    began: start.began,
                    listeners,
                    failure: start.failure.clone(),
                    placed,
                    placement: placement.clone(),
                };
                (seat, inbox)
            });
            async move {
                if let Some((seat, inbox)) = seat {
                    seat.take(inbox).await;
                }
            }
        })
    }
}

/// Connects to control: what it pushes goes to all shards, what it asks is collected from them.
fn subscribe(
    config: &Config,
    backend: &Backend,
    plane: &Plane,
    common: &Arc<Common>,
) -> io::Result<Subscription> {
    let (name, reason) = match backend {
        Backend::Completion => (BackendName::Completion, String::new()),
        Backend::Readiness { reason } => (BackendName::Readiness, reason.clone()),
    };
    let channel = Channel {
        socket: config.control_socket.clone(),
        shards: plane.to.len(),
        backend: name,
        backend_reason: reason,
    };
    let (updates, questions) = (plane.to.clone(), plane.to.clone());
    let (here, common) = (common.clone(), common.clone());
    let app_id: Arc<Mutex<String>> = Arc::default();
    let known_id = app_id.clone();
    let deliver = move |update: Update| {
        if let Update::Attached(attached) = &update {
            return here.extended.restore(attached.iter());
        }
        if let Update::Snapshot { snapshot, .. } = &update {
            log::identify(&snapshot.workload.app_id, &snapshot.workload.host_name);
            app_id.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&snapshot.workload.app_id);
        }
        for shard in &updates {
            let _ = shard.send(ToShard::Update(update.clone())); // a shard that has ended needs no news
        }
    };
    let report = move || {
        let id = known_id.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut report = report(&questions, &common, &id);
        report.warnings.extend(common.memory.shortage());
        report
    };
    subscribe::start(channel, deliver, report)
}

/// What one shard says about itself.
#[derive(Debug, Default)]
struct Told {
    peers: Vec<Peer>,
    endpoints: Vec<EndpointHealth>,
}

/// All numbers, with what the shards tell about their peers as far as they answer in time.
fn report(shards: &[Sender<ToShard>], common: &Common, app_id: &str) -> Report {
    let mut report = common.registry.collect(app_id);
    let unhealthy = !common.gate.is_open();
    report.counts.push(Count { name: APP_UNHEALTHY.into(), value: unhealthy.into() });
    report.warnings.extend(unhealthy.then(|| "the app fails its health probes and gets no calls".to_owned()));
    let (answer, answers) = mpsc::channel();
    let asked = shards.iter().filter(|shard| shard.send(ToShard::Tell(answer.clone())).is_ok()).count();
    drop(answer);
    let by = Instant::now() + ANSWER_TIME;
    for _ in 0..asked {
        let Ok(told) = answers.recv_timeout(by.saturating_duration_since(Instant::now())) else { break };
        report.peers.extend(told.peers);
        report.endpoints.extend(told.endpoints);
    }
    report
}

/// What the shards' runtimes hold, of those that answer in time.
fn figures(shards: &[Sender<ToShard>]) -> Vec<Figures> {
    let (answer, answers) = mpsc::channel();
    let asked = shards.iter().filter(|shard| shard.send(ToShard::Figures(answer.clone())).is_ok()).count();
    drop(answer);
    let by = Instant::now() + ANSWER_TIME;
    let next = |_| answers.recv_timeout(by.saturating_duration_since(Instant::now())).ok();
    let mut all: Vec<Figures> = (0..asked).map_while(next).collect();
    all.sort_by_key(|figures| figures.shard);
    all
}

/// Names through the subscription.
struct ByControl(OnceLock<Subscription>);

impl Names for ByControl {
    fn resolve(&self, app: &AppRef) -> bool {
        self.0.get().is_some_and(|subscription| subscription.resolve(app.clone()).is_ok())
    }

    fn failed(&self, app: &AppRef, endpoint: SocketAddr) {
        if let Some(subscription) = self.0.get() {
            subscription.failed(app.clone(), endpoint);
        }
    }

    fn attached(&self, key: &str, value: &str, told: Sender<()>) {
        if let Some(subscription) = self.0.get() {
            subscription.attached(key, value, told);
        }
    }
}

//! What one core owns: its view of the world, its pools, its numbers. Nothing in it is shared with other shards but
//! [`Common`].

mod ending;
mod extended;
mod figures;
pub(crate) mod limiter;
pub(crate) mod means;
mod memory;
mod reached;
pub(crate) mod signal;
pub(crate) mod survive;
pub(crate) mod target;

use crate::app::{App, Gate, Slots};
use crate::external::External;
use crate::log;
use crate::mesh::{Mesh, MeshLimits};
use crate::metrics::{Metrics, Registry};
use crate::rt;
use crate::tls;
use proto::invoke::failure::{Failure, Kind};
use proto::policy::retry::Budget;
use proto::rng::Rng;
use proto::snapshot::{AppRef, Route, Snapshot, Tried};
use proto::time::Tick;
use proto::trace::Context;
use signal::Signal;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;
use target::{Target, Targets};

pub use ending::Ending;
pub(crate) use ending::Wish;
pub use extended::Extended;
pub use figures::{Everywhere, Figures};
pub use limiter::Limiter;
pub use memory::Memory;

/// How long a call waits for a name that control has not answered yet.
pub(crate) const NAME_TIME: Duration = Duration::from_secs(10);

/// What all shards of a process share. Nothing of it is locked on a request's way.
#[derive(Debug, Default)]
pub struct Common {
    /// All numbers.
    pub registry: Registry,
    /// Slots of the local app.
    pub slots: Arc<Slots>,
    /// Whether the local app takes calls.
    pub gate: Arc<Gate>,
    /// The app's port was seen to accept connections.
    pub app_ready: AtomicBool,
    /// A first snapshot was applied.
    pub configured: AtomicBool,
    /// The process is about to end: not ready any more.
    pub leaving: AtomicBool,
    /// Connections of local clients.
    pub connections: AtomicUsize,
    /// What clients attached by `PUT /v1.0/metadata/{key}`.
    pub extended: Extended,
    /// How all shards are asked for their figures.
    pub figures: Everywhere,
    /// The buckets of rate limits.
    pub limiter: Limiter,
    /// Whether there is memory for more calls.
    pub memory: Memory,
    /// Who is told that the process is to end.
    pub ending: Ending,
    /// Local clients are not served HTTP/2 (`DAPR_HTTP_DISABLE_H2C`).
    pub http1_only: AtomicBool,
}

/// Control as shards see it: who answers questions about names, and keeps what clients attached. Calls only send a message
/// away.
pub trait Names {
    /// Asks for a name; the answer comes by [`Shard::resolved`]. `false`: too many names are asked for already.
    fn resolve(&self, app: &AppRef) -> bool;

    /// A call to this endpoint failed.
    fn failed(&self, app: &AppRef, endpoint: SocketAddr);

    /// A client attached metadata; `told` is dropped when control was told, or is away.
    fn attached(&self, key: &str, value: &str, told: rt::Sender<()>);
}

/// What a request works with from begin to end.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) identity: Option<Arc<tls::Identity>>,
    pub(crate) app: Option<Rc<App>>,
}

/// One shard.
pub struct Shard {
    /// Shared with the other shards.
    pub common: Arc<Common>,
    /// This shard's numbers.
    pub(crate) metrics: Rc<Metrics>,
    /// Connections to other sidecars.
    pub(crate) mesh: Mesh,
    /// Connections to servers outside the mesh.
    pub(crate) external: External,
    /// Write a line for each step of each call.
    pub(crate) trace_steps: bool,
    names: Box<dyn Names>,
    view: RefCell<Rc<View>>,
    targets: Targets,
    asked: RefCell<HashMap<AppRef, Rc<Question>>>,
    budget: RefCell<Budget>,
    draining: Cell<bool>,
    reached: reached::Reached,
    drain: Signal,
    applied: Signal,
    calls: Cell<u64>,
    random: RefCell<Rng>,
}

/// A name that was asked for.
#[derive(Debug, Default)]
struct Question {
    answer: RefCell<Option<Arc<Route>>>,
    answered: Signal,
}

impl Shard {
    /// A shard that knows nothing yet.
    pub fn new(common: Arc<Common>, names: Box<dyn Names>, trace_steps: bool) -> Rc<Shard> {
        let metrics = common.registry.shard();
        let view = View { snapshot: Arc::default(), identity: None, app: None };
        Rc::new(Shard {
            common,
            external: External::new(metrics.clone()),
            metrics,
            mesh: Mesh::new(MeshLimits::default()),
            trace_steps,
            names,
            view: RefCell::new(Rc::new(view)),
            targets: Targets::default(),
            asked: RefCell::default(),
            budget: RefCell::new(Budget::new(now())),
            draining: Cell::new(false),
            reached: reached::Reached::default(),
            drain: Signal::default(),
            applied: Signal::default(),
            calls: Cell::new(0),
            random: RefCell::new(Rng::new(RandomState::new().hash_one(0))),
        })
    }

    /// The present view; a request keeps the one it began with.
    pub(crate) fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    /// Applies a new snapshot. `identity` is made from its material, once for all shards.
    pub fn apply(&self, snapshot: Arc<Snapshot>, identity: Option<Arc<tls::Identity>>) {
        let before = self.view();
        if before.snapshot.workload != snapshot.workload {
            self.targets.clear();
        }
        if !Arc::ptr_eq(&before.snapshot.http_endpoints, &snapshot.http_endpoints) {
            self.external.forget();
        }
        let app = match (&before.app, &snapshot.app) {
            (Some(app), Some(channel)) if app.channel() == channel => Some(app.clone()),
            (_, Some(channel)) => {
                let (slots, gate) = (self.common.slots.clone(), self.common.gate.clone());
                Some(Rc::new(App::new(channel.clone(), slots, gate, self.metrics.clone())))
            }
            (_, None) => None,
        };
        self.mesh.set_identity(identity.clone());
        *self.view.borrow_mut() = Rc::new(View { snapshot, identity, app });
        self.applied.notify();
    }

    /// Waits for the next snapshot.
    pub(crate) async fn changed(&self) {
        self.applied.after(self.applied.count()).await;
    }

    /// Whether this shard has a snapshot.
    pub(crate) fn is_informed(&self) -> bool {
        self.applied.count() > 0
    }

    /// Waits until this shard has a snapshot; `false` when it has none by then.
    pub(crate) async fn is_informed_by(&self, by: rt::Tick) -> bool {
        self.is_informed() || rt::within(by, self.applied.after(0)).await.is_some()
    }

    /// A name was answered.
    pub fn resolved(&self, app: &AppRef, route: &Arc<Route>) {
        if let Some(question) = self.asked.borrow_mut().remove(app) {
            *question.answer.borrow_mut() = Some(route.clone());
            question.answered.notify();
        }
    }

    /// The target a client calls `id`, which stands for `app()`.
    pub(crate) fn target(&self, id: &str, view: &View, app: impl FnOnce() -> AppRef) -> Rc<Target> {
        self.targets.known(id).unwrap_or_else(|| self.targets.add(id, app(), &view.snapshot.workload))
    }

    /// Makes sure that `target` leads somewhere: by the snapshot, else by asking control.
    ///
    /// # Errors
    /// No sidecar of that name, no answer in time, too many questions.
    pub(crate) async fn route(&self, target: &Target) -> Result<(), Failure> {
        if target.is_routed(&self.view().snapshot) {
            return Ok(());
        }
        let route = self.ask(&target.app).await?;
        target.learn(Some(&route));
        match &*route {
            Route::Endpoints(endpoints) if !endpoints.is_empty() => Ok(()),
            Route::Endpoints(_) => Err(not_found(&target.app, &[])),
            Route::NotFound { tried } => Err(not_found(&target.app, tried)),
        }
    }

    #[cold]
    async fn ask(&self, app: &AppRef) -> Result<Arc<Route>, Failure> {
        let known = self.asked.borrow().get(app).cloned();
        let question = match known {
            Some(question) => question,
            None => self.put_question(app)?,
        };
        let answered = question.answered.after(0);
        if rt::within(rt::now() + NAME_TIME, answered).await.is_none() {
            self.asked.borrow_mut().remove(app);
        }
        let answer = question.answer.borrow().clone();
        answer.ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("timeout waiting for address for app id {}", app.app_id))
        })
    }

    fn put_question(&self, app: &AppRef) -> Result<Rc<Question>, Failure> {
        let question = Rc::new(Question::default());
        self.asked.borrow_mut().insert(app.clone(), question.clone());
        if !self.names.resolve(app) {
            self.asked.borrow_mut().remove(app);
            return Err(Failure::new(Kind::Overloaded, "too many names are being looked up"));
        }
        Ok(question)
    }

    /// A sidecar failed an attempt: calls avoid it for a while, control looks again.
    pub(crate) fn endpoint_failed(&self, target: &Target, endpoint: SocketAddr) {
        target.failed(endpoint, now());
        self.names.failed(&target.app, endpoint);
    }

    /// The shard's retry budget.
    pub(crate) fn budget(&self) -> std::cell::RefMut<'_, Budget> {
        self.budget.borrow_mut()
    }

    /// A number for a new call, for step lines.
    pub(crate) fn next_call(&self) -> u64 {
        self.calls.set(self.calls.get() + 1);
        self.calls.get()
    }

    /// A trace context of the sidecar's own, where the snapshot has requests without a usable one get one.
    pub(crate) fn begin_trace(&self, view: &View) -> Option<Context> {
        let api = &view.snapshot.api;
        let sampler = api.new_traces.filter(|_| api.tracing)?;
        let mut random = self.random.borrow_mut();
        Some(Context::begin(|| random.draw(), sampler))
    }

    /// Known targets and how their endpoints stand.
    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Connections end after their present request from now on.
    pub fn drain(&self) {
        if !self.draining.replace(true) {
            log::debug(log::RUNTIME, "draining connections");
            self.drain.notify();
        }
    }

    /// Whether connections are to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Waits until connections are to end.
    pub(crate) async fn drained(&self) {
        self.drain.after(0).await;
    }
}

/// This turn's time for `proto`.
pub(crate) fn now() -> Tick {
    Tick::from_micros(rt::now().as_micros())
}

/// daprd's text, and what each way of looking answered.
fn not_found(app: &AppRef, tried: &[Tried]) -> Failure {
    let mut text = format!("couldn't find service: {}", app.app_id);
    if !tried.is_empty() {
        let tried: Vec<String> = tried.iter().map(|t| format!("{}: {}", t.way, t.answer)).collect();
        text.push_str(&format!(" ({})", tried.join("; ")));
    }
    Failure::new(Kind::NotFound, text)
}

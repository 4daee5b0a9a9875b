//! The supervisor: opens the listening sockets, starts control, data plane and app, keeps them running, ends them in order.
//!
//! It decides nothing about calls and keeps no state but its children, so that it does not crash; what happens when is in
//! [`lifecycle`], without processes. It is one thread: the children's parent-death signal is tied to the thread that
//! started them.

mod app_health;
mod children;
mod follow;
mod holder;
mod lifecycle;
pub mod probe;
mod ready;
mod restart;
mod runtime_dir;
mod say;
mod sockets;

pub use lifecycle::BAD_CONFIGURATION;
pub(crate) use runtime_dir::{live, private};
pub(crate) use say::Voice;

use crate::cli::SuperviseArgs;
use crate::settings::{Environment, Mode, Plan, Refusal, Role, Settings, decide};
use children::Children;
pub use follow::{follow, keep};
use lifecycle::{Action, Event, Lifecycle, Part};
use ready::Door;
use runtime_dir::RuntimeDir;
use sockets::Bound;
use std::io;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, sleep_until, timeout};

/// How long killed children may take to be gone.
const REAPING: Duration = Duration::from_secs(2);
/// How often a start that takes long says so.
const STILL_WAITING: Duration = Duration::from_secs(10);

/// Runs a sidecar until it ends; returns the exit code.
pub fn run(arguments: &SuperviseArgs) -> i32 {
    let started = Instant::now();
    match prepare(arguments) {
        Ok(sidecar) => sidecar.live(arguments, started),
        Err(refusal) => refuse(arguments, &refusal),
    }
}

/// daprd's last words are a log line on standard output; ours are plain.
fn refuse(arguments: &SuperviseArgs, refusal: &Refusal) -> i32 {
    if arguments.mode == Mode::Run {
        return crate::cli::complain(&refusal.0);
    }
    let log = crate::settings::Log {
        level: "info".into(),
        json: arguments.flags.log_as_json,
        file: (!arguments.flags.log_file.is_empty()).then(|| arguments.flags.log_file.clone().into()),
    };
    match Voice::new(&log, &arguments.flags.app_id, &crate::settings::host_name()) {
        Ok(voice) => voice.fatal(&refusal.0),
        Err(reason) => eprintln!("error: {reason}\nerror: {refusal}"),
    }
    1
}

/// Everything that is there before the first child.
struct Sidecar {
    settings: Settings,
    bound: Vec<Bound>,
    runtime: RuntimeDir,
    voice: Voice,
}

/// Decides, opens the sockets, makes the runtime directory.
fn prepare(arguments: &SuperviseArgs) -> Result<Sidecar, Refusal> {
    let environment = Environment::of_process();
    let Plan { mut settings, bindings } = decide(arguments, &environment)?;
    let voice = Voice::new(&settings.log, &settings.app_id, &settings.host_name).map_err(Refusal)?;
    if let Some(file) = settings.mtls.missing().first() {
        return Err(Refusal(format!(
            "--issuer-credentials: {} is not there; the directory needs ca.crt, issuer.crt and issuer.key",
            file.display()
        )));
    }
    voice.starting(&settings);
    let bound = sockets::open(&bindings)?;
    complete(&mut settings, &bound);
    let base = environment.runtime_base();
    let runtime = RuntimeDir::create(&base, &settings.app_id).map_err(|e| Refusal(e.to_string()))?;
    settings.store(runtime.path()).map_err(|e| Refusal(format!("{}: {e}", runtime.path().display())))?;
    Ok(Sidecar { settings, bound, runtime, voice })
}

/// Fills in the ports that are known now.
fn complete(settings: &mut Settings, bound: &[Bound]) {
    let port = |role| bound.iter().find(|socket| socket.role == role).and_then(Bound::port);
    settings.ports.http = port(Role::Http);
    settings.ports.public = port(Role::Public);
    settings.ports.profile = port(Role::Profile);
    settings.ports.internal = port(Role::Internal).unwrap_or(settings.ports.internal);
    let metrics_socket = bound.iter().find(|socket| socket.role == Role::Metrics);
    if let (Some(metrics), Some(socket)) = (&mut settings.metrics, metrics_socket) {
        metrics.port = socket.port().unwrap_or(metrics.port);
        metrics.listen.clone_from(&socket.label);
        metrics.inherited = true;
    }
}

impl Sidecar {
    fn live(mut self, arguments: &SuperviseArgs, started: Instant) -> i32 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                let code = runtime.block_on(self.supervise(arguments, started));
                code.unwrap_or_else(|error| {
                    self.voice.fatal(&error.to_string());
                    1
                })
            }
            Err(error) => {
                self.voice.fatal(&format!("the supervisor cannot wait for events: {error}"));
                1
            }
        }
    }

    async fn supervise(&mut self, arguments: &SuperviseArgs, started: Instant) -> io::Result<i32> {
        let mut signals = Signals::listen()?;
        let (tell, mut events) = unbounded_channel();
        let path = self.runtime.path().to_owned();
        let mut children = Children::new(path, arguments.command.clone(), tell.clone())?;
        let limits = &self.settings.limits;
        let block = Duration::from_millis(limits.block_shutdown_ms);
        let mut life = Lifecycle::new(!arguments.command.is_empty(), limits.grace(), block);
        let door = Door::of(&self.bound).ok_or_else(|| io::Error::other("no HTTP socket"))?;
        let mut actions = life.begin(started.elapsed());
        let mut readiness = Box::pin(readiness_after(door.clone(), Stage::Nothing));
        let mut stage = Stage::Nothing;
        let mut unhealthy = Box::pin(app_health::fails(self.runtime.path().to_owned()));
        loop {
            if let Some(code) = self.act(&actions, &mut children) {
                self.reap(&mut events, &children).await;
                return Ok(code);
            }
            let due = life.next_due().map(|due| started + due);
            let event = tokio::select! {
                Some(event) = events.recv() => event,
                name = signals.next() => match self.on_signal(name, arguments, &children) {
                    Some(event) => event,
                    None => { actions = Vec::new(); continue }
                },
                () = until(due), if due.is_some() => Event::Due,
                () = &mut unhealthy, if life.is_blocking() => Event::AppUnhealthy,
                reached = &mut readiness, if stage != Stage::Ready => {
                    stage = reached;
                    self.reached(stage, started);
                    readiness = Box::pin(readiness_after(door.clone(), stage));
                    match stage {
                        Stage::CanCallOut => Event::CanCallOut,
                        _ => { actions = Vec::new(); continue }
                    }
                }
            };
            actions = life.on(event, started.elapsed());
        }
    }

    /// Does what the lifecycle wants; `Some` is the exit code.
    fn act(&self, actions: &[Action], children: &mut Children) -> Option<i32> {
        for action in actions {
            match *action {
                Action::Say(notice) => self.voice.notice(notice),
                Action::Terminate(part) => children.terminate(part),
                Action::Kill(part) => children.kill(part),
                Action::Exit(code) => return Some(code),
                Action::Start(part) => {
                    if let Some(code) = self.start(part, children) {
                        return Some(code);
                    }
                }
            }
        }
        None
    }

    /// Starts a child. `Some` ends the supervisor: what cannot even be started is not tried again.
    fn start(&self, part: Part, children: &mut Children) -> Option<i32> {
        let output = || self.voice.stdio();
        let started = match part {
            Part::Control => children.start_control(&self.bound, &output),
            Part::DataPlane => children.start_data_plane(&self.settings, &self.bound, &output),
            Part::App => children.start_app(&self.settings),
        };
        let error = started.err()?;
        self.voice.fatal(&format!("{} cannot be started: {error}", children.name(part)));
        for part in [Part::App, Part::DataPlane, Part::Control] {
            children.kill(part);
        }
        Some(match (part, error.kind()) {
            (Part::App, io::ErrorKind::NotFound) => 127,
            (Part::App, _) => 126,
            _ => 1,
        })
    }

    fn on_signal(&self, name: SignalName, arguments: &SuperviseArgs, children: &Children) -> Option<Event> {
        match name {
            SignalName::HangUp if arguments.mode == Mode::Daprd => {
                self.voice.signal(name.word(), "reading the configuration again");
                self.reload(arguments, children);
                None
            }
            SignalName::Child => {
                reap_strangers(children);
                None
            }
            _ => {
                self.voice.signal(name.word(), "beginning shutdown");
                Some(Event::Signal)
            }
        }
    }

    /// Reads flags' files and environment again and restarts control with them; a bad configuration is refused and the
    /// old one stays. Ports, log and data plane flags stay as they are.
    fn reload(&self, arguments: &SuperviseArgs, children: &Children) {
        match decide(arguments, &Environment::of_process()) {
            Ok(plan) => {
                let mut settings = plan.settings;
                complete(&mut settings, &self.bound);
                match settings.store(self.runtime.path()) {
                    Ok(()) => children.terminate(Part::Control),
                    Err(error) => self.voice.error(&format!("the old configuration stays: {error}")),
                }
            }
            Err(refusal) => self.voice.error(&format!("the old configuration stays: {refusal}")),
        }
    }

    fn reached(&self, stage: Stage, started: Instant) {
        match stage {
            Stage::Nothing => self.voice.warning("still waiting for the data plane and control to be ready"),
            Stage::CanCallOut => self.voice.serving(&self.settings, &self.bound),
            Stage::WaitingForApp => {
                self.voice.info("still waiting for the application to listen on its port")
            }
            Stage::Ready => self.voice.initialized(&self.settings, started.elapsed()),
        }
    }

    /// Waits until killed children are gone, so that nothing is left behind.
    async fn reap(&self, events: &mut UnboundedReceiver<Event>, children: &Children) {
        let gone = async { while children.any_alive() && events.recv().await.is_some() {} };
        let _ = timeout(REAPING, gone).await;
    }
}

/// How far the start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Nothing,
    CanCallOut,
    WaitingForApp,
    Ready,
}

/// The next stage after `stage`, or the same kind of waiting again when it takes long.
async fn readiness_after(door: Door, stage: Stage) -> Stage {
    let (path, reached, waiting) = match stage {
        Stage::Nothing => ("/v1.0/healthz/outbound", Stage::CanCallOut, Stage::Nothing),
        _ => ("/v1.0/healthz", Stage::Ready, Stage::WaitingForApp),
    };
    tokio::select! {
        () = door.answers(path) => reached,
        () = sleep(STILL_WAITING) => waiting,
    }
}

async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        sleep_until(due.into()).await;
    }
}

/// A signal that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignalName {
    Terminate,
    Interrupt,
    HangUp,
    Child,
}

impl SignalName {
    /// As Go prints it, and with it daprd.
    fn word(self) -> &'static str {
        match self {
            SignalName::Terminate => "terminated",
            SignalName::Interrupt => "interrupt",
            SignalName::HangUp => "hangup",
            SignalName::Child => "child exited",
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    child: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
        })
    }

    async fn next(&mut self) -> SignalName {
        tokio::select! {
            _ = self.terminate.recv() => SignalName::Terminate,
            _ = self.interrupt.recv() => SignalName::Interrupt,
            _ = self.hang_up.recv() => SignalName::HangUp,
            _ = self.child.recv() => SignalName::Child,
        }
    }
}

/// As process 1 of a container the supervisor inherits orphans; left alone they would stay as zombies.
fn reap_strangers(ours: &Children) {
    use rustix::process::{Pid, WaitOptions, waitpid};
    if std::process::id() != 1 {
        return;
    }
    let children = std::fs::read_to_string("/proc/self/task/1/children").unwrap_or_default();
    let ids = children.split_whitespace().filter_map(|id| id.parse().ok()).filter_map(Pid::from_raw);
    for id in ids.filter(|id| !ours.includes(*id)) {
        let _ = waitpid(Some(id), WaitOptions::NOHANG);
    }
}

#[cfg(test)]
mod tests;

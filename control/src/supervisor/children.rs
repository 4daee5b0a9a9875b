//! The processes of one sidecar: how each is started, told to end, and killed.

use super::lifecycle::{End, Event, Part};
use super::sockets::Bound;
use crate::settings::{Role, Settings};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::UnboundedSender;

/// A running child.
#[derive(Debug)]
struct Running {
    id: Pid,
    /// Cleared in the same turn in which the process is reaped, so that no signal reaches a reused id.
    alive: Arc<AtomicBool>,
}

/// Starts and ends processes; every end is told to `events`.
#[derive(Debug)]
pub(super) struct Children {
    executable: PathBuf,
    runtime: PathBuf,
    command: Vec<OsString>,
    events: UnboundedSender<Event>,
    control: Option<Running>,
    data_plane: Option<Running>,
    app: Option<Running>,
    /// Leads the app's process group and ends it when this process is gone.
    keeper: Option<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    id: Pid,
    /// Its end tells the keeper.
    _pipe: ChildStdin,
}

/// Where children write.
pub(super) type Output<'a> = &'a dyn Fn() -> Stdio;

impl Children {
    pub(super) fn new(
        runtime: PathBuf,
        command: Vec<OsString>,
        events: UnboundedSender<Event>,
    ) -> io::Result<Children> {
        // An executable that was replaced since is still reachable as what this process runs.
        let executable = std::env::current_exe()?;
        let executable = if executable.exists() { executable } else { PathBuf::from("/proc/self/exe") };
        let (control, data_plane, app, keeper) = (None, None, None, None);
        Ok(Children { executable, runtime, command, events, control, data_plane, app, keeper })
    }

    /// Starts control; the metrics socket is its standard input, where it can be taken over without unsafe code.
    pub(super) fn start_control(&mut self, bound: &[Bound], output: Output<'_>) -> io::Result<()> {
        let mut command = self.own("control", output);
        command.arg("--runtime").arg(&self.runtime);
        if let Some(metrics) = bound.iter().find(|socket| socket.role == Role::Metrics) {
            command.stdin(metrics.duplicate()?);
        }
        self.control = Some(self.spawn(Part::Control, command, &[])?);
        Ok(())
    }

    /// Starts the data plane with its listening sockets.
    pub(super) fn start_data_plane(
        &mut self,
        settings: &Settings,
        bound: &[Bound],
        output: Output<'_>,
    ) -> io::Result<()> {
        let mut command = self.own("dataplane", output);
        command.arg("--control-socket").arg(self.runtime.join(crate::settings::CONTROL_SOCKET));
        let sockets: Vec<&Bound> = bound.iter().filter(|socket| socket.role != Role::Metrics).collect();
        for socket in &sockets {
            command.arg("--listen").arg(format!("{}=fd:{}", role(socket.role), socket.number()));
        }
        command.args(["--backend", &settings.data_plane.backend]);
        command.args(["--shards", &settings.data_plane.shards.to_string()]);
        if let Some(name) = &settings.data_plane.tcp_congestion {
            command.args(["--tcp-congestion", name]);
        }
        command.args(["--max-memory", &settings.data_plane.max_memory.to_string()]);
        command.args(["--log-level", &settings.log.level]);
        if settings.log.json {
            command.arg("--log-as-json");
        }
        if settings.data_plane.trace_steps {
            command.arg("--trace-steps");
        }
        self.data_plane = Some(self.spawn(Part::DataPlane, command, &sockets)?);
        Ok(())
    }

    /// One of our own processes. It has a process group of its own: a terminal's Ctrl-C is for the supervisor, which
    /// ends the others in order.
    fn own(&self, verb: &str, output: Output<'_>) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg0("outrigger").arg(verb).arg("--parent").arg(std::process::id().to_string());
        command.stdin(Stdio::null()).stdout(output()).process_group(0);
        command
    }

    /// Starts the app with what SDKs look for in their environment, in the keeper's process group.
    pub(super) fn start_app(&mut self, settings: &Settings) -> io::Result<()> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        let keeper = self.start_keeper()?;
        let mut command = Command::new(program);
        command.args(arguments).envs(app_environment(settings));
        command.process_group(keeper.id.as_raw_nonzero().get());
        // The app is not in the terminal's foreground group: reading there would stop it.
        if io::stdin().is_terminal() {
            command.stdin(Stdio::null());
        }
        self.app = Some(self.spawn(Part::App, command, &[])?);
        self.keeper = Some(keeper);
        Ok(())
    }

    fn start_keeper(&self) -> io::Result<Keeper> {
        let mut command = Command::new(&self.executable);
        command.arg0("outrigger").arg("keep").stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut keeper = command.spawn()?;
        let started = id_of(&keeper).zip(keeper.stdin.take());
        tokio::spawn(async move { keeper.wait().await });
        let (id, pipe) = started.ok_or_else(|| io::Error::other("the keeper has no id or no pipe"))?;
        Ok(Keeper { id, _pipe: pipe })
    }

    fn spawn(&self, part: Part, mut command: Command, heirlooms: &[&Bound]) -> io::Result<Running> {
        heirlooms.iter().try_for_each(|socket| socket.inherit(true))?;
        let spawned = command.spawn();
        heirlooms.iter().try_for_each(|socket| socket.inherit(false))?;
        let mut child = spawned?;
        let id = id_of(&child).ok_or_else(|| io::Error::other("the process has no id"))?;
        let alive = Arc::new(AtomicBool::new(true));
        let (events, still) = (self.events.clone(), Arc::clone(&alive));
        tokio::spawn(async move {
            let status = child.wait().await;
            still.store(false, Ordering::Relaxed);
            let _ = events.send(Event::Ended(part, end(status)));
        });
        Ok(Running { id, alive })
    }

    /// Asks a child to end.
    pub(super) fn terminate(&self, part: Part) {
        self.signal(part, Signal::TERM);
    }

    /// Ends a child at once; the app with every process of its group.
    pub(super) fn kill(&self, part: Part) {
        self.signal(part, Signal::KILL);
    }

    fn signal(&self, part: Part, signal: Signal) {
        let child = match part {
            Part::Control => &self.control,
            Part::DataPlane => &self.data_plane,
            Part::App => &self.app,
        };
        let Some(child) = child.as_ref().filter(|child| child.alive.load(Ordering::Relaxed)) else { return };
        // An error means that it ended meanwhile, which its end tells.
        let _ = match (part, &self.keeper) {
            (Part::App, Some(keeper)) => kill_process_group(keeper.id, signal),
            _ => kill_process(child.id, signal),
        };
    }

    /// Whether a process is one that was started here.
    pub(super) fn includes(&self, id: Pid) -> bool {
        let running = [&self.control, &self.data_plane, &self.app].into_iter().flatten();
        let keeper = self.keeper.as_ref().map(|keeper| keeper.id);
        running.map(|child| child.id).chain(keeper).any(|known| known == id)
    }

    /// What a person calls a child.
    pub(super) fn name(&self, part: Part) -> String {
        match (part, self.command.first()) {
            (Part::Control, _) => "the control process".into(),
            (Part::DataPlane, _) => "the data plane".into(),
            (Part::App, program) => {
                program.map_or_else(|| "the app".into(), |p| p.to_string_lossy().into_owned())
            }
        }
    }

    /// Whether any child still runs.
    pub(super) fn any_alive(&self) -> bool {
        [&self.control, &self.data_plane, &self.app]
            .into_iter()
            .flatten()
            .any(|child| child.alive.load(Ordering::Relaxed))
    }
}

fn id_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Http => "http",
        Role::Internal => "internal",
        Role::Public => "public",
        Role::Metrics => "metrics",
        Role::Profile => "profile",
    }
}

fn end(status: io::Result<ExitStatus>) -> End {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => End::Code(code),
            (None, Some(signal)) => End::Signal(signal),
            (None, None) => End::Code(1),
        },
        Err(_) => End::Code(1),
    }
}

/// Spec/invocation 6.3.
fn app_environment(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut variables = vec![("APP_ID", settings.app_id.clone())];
    let ports = &settings.ports;
    let optional = [
        ("DAPR_HTTP_PORT", ports.http),
        ("DAPR_GRPC_PORT", ports.grpc),
        ("DAPR_METRICS_PORT", settings.metrics.as_ref().map(|metrics| metrics.port)),
        ("APP_PORT", settings.app.as_ref().map(|app| app.port).filter(|port| *port != 0)),
    ];
    variables.extend(optional.into_iter().filter_map(|(name, port)| Some((name, port?.to_string()))));
    if let Some(app) = &settings.app {
        variables.push(("APP_PROTOCOL", format!("{:?}", app.protocol).to_lowercase()));
    }
    variables
}

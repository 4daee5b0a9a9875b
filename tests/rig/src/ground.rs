//! Sidecars of ours on common ground: one registry, one authority, one folder for runtime directories, no multicast.

use crate::http1::client;
use crate::program::Program;
use crate::scratch::Scratch;
use crate::sidecar::{Launch, Ready, Sidecar, local};
use crate::wait;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest wait for a sidecar's answer about itself, or for its first file.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the sidecars of a test share; removed on drop.
#[derive(Debug)]
pub struct Ground {
    program: Program,
    folder: Scratch,
}

impl Ground {
    /// Ground for sidecars of this executable.
    pub fn new(program: Program) -> Ground {
        let folder = Scratch::new();
        folder.folder("registry");
        folder.folder("run");
        Ground { program, folder }
    }

    /// Its folder.
    pub fn folder(&self) -> &Scratch {
        &self.folder
    }

    /// `outrigger run` for this app on free ports, found through the ground's registry only.
    pub fn launch(&self, app_id: &str, app_port: Option<u16>) -> Launch {
        let at = |name: &str| self.folder.path().join(name);
        let launch = Launch::run(&self.program).named(app_id).args(["--app-id", app_id, "--mdns", "off"]);
        let launch = launch.arg("--registry").arg(at("registry")).arg("--state-dir").arg(at("state"));
        let launch = launch.args(["--dapr-http-port", "0", "--metrics-port", "0"]);
        let launch = launch.args(["--metrics-listen-address", "127.0.0.1"]);
        let launch = launch.args(["--dapr-internal-grpc-listen-address", "127.0.0.1"]);
        let launch = launch.env("XDG_RUNTIME_DIR", at("run").to_string_lossy());
        match app_port {
            Some(port) => launch.args(["--app-port", &port.to_string()]),
            None => launch,
        }
    }

    /// Starts such a sidecar with more arguments, and waits until it serves.
    pub fn start(&self, app_id: &str, app_port: Option<u16>, more: &[&str]) -> Member {
        self.take(app_id, self.launch(app_id, app_port).args(more))
    }

    /// Starts what [`Ground::launch`] made, and waits until it serves.
    pub fn take(&self, app_id: &str, launch: Launch) -> Member {
        self.take_when(app_id, launch, Ready::Outbound)
    }

    /// Starts what [`Ground::launch`] made, and waits until it is as `ready` says of the port of its API.
    pub fn take_when(&self, app_id: &str, launch: Launch, ready: fn(u16) -> Ready) -> Member {
        let mut sidecar = launch.spawn();
        let runtime = self.folder.path().join(format!("run/outrigger/{app_id}-{}", sidecar.id()));
        let settings = wait::within(PATIENCE, || match sidecar.has_ended() {
            Some(_) => Some(None),
            None => json(&runtime.join("settings.json")).map(Some),
        });
        let Some(Some(settings)) = settings else { panic!("{app_id} does not start:\n{}", sidecar.tail()) };
        let port = |name: &str| settings["ports"][name].as_u64().and_then(|p| u16::try_from(p).ok());
        let http = port("http").expect("a port of the HTTP API");
        let mesh = port("internal").expect("a port for the other sidecars");
        sidecar.await_state(ready(http));
        let program = self.program.path().to_owned();
        let metrics =
            local(settings["metrics"]["port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or(0));
        Member { sidecar, http: local(http), mesh: local(mesh), metrics, runtime, program }
    }

    /// How many sidecars of this app are in the registry.
    pub fn registered(&self, app_id: &str) -> usize {
        let entries = fs::read_dir(self.folder.path().join("registry")).into_iter().flatten().flatten();
        let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
        names.filter(|n| n.starts_with(&format!("{app_id}."))).count()
    }

    /// Waits until so many sidecars of this app are in the registry.
    pub fn await_registered(&self, app_id: &str, count: usize) {
        wait::until(PATIENCE, &format!("{count} of {app_id} in the registry"), || {
            self.registered(app_id) == count
        });
    }
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// One sidecar on the ground.
#[derive(Debug)]
pub struct Member {
    /// The processes.
    pub sidecar: Sidecar,
    /// Its HTTP API.
    pub http: SocketAddr,
    /// Where other sidecars reach it.
    pub mesh: SocketAddr,
    /// Its metrics.
    pub metrics: SocketAddr,
    runtime: PathBuf,
    program: PathBuf,
}

impl Member {
    /// What `status --json` says, `None` while it says nothing.
    pub fn status(&self) -> Option<Value> {
        let mut command = Command::new(&self.program);
        let output = command.args(["status", "--json", "--runtime"]).arg(&self.runtime).output().ok()?;
        serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
    }

    /// Waits until `status --json` says what is wanted.
    pub fn await_status(&self, what: &str, fact: impl Fn(&Value) -> bool) -> Value {
        wait::some(PATIENCE, what, || self.status().filter(|status| fact(status)))
    }

    /// The id of its control process.
    pub fn control(&self) -> u32 {
        self.part("control")
    }

    /// The id of its data plane.
    pub fn data_plane(&self) -> u32 {
        self.part("dataplane")
    }

    fn part(&self, verb: &str) -> u32 {
        wait::some(PATIENCE, &format!("a process {verb}"), || self.sidecar.process_with(verb))
    }

    /// How often a limit of this name was reached, as `/metrics` says.
    pub fn reached(&self, limit: &str) -> u64 {
        let text = client::get(self.metrics, "/metrics").text();
        let label = format!("limit=\"{limit}\"");
        let line = text.lines().find(|l| l.starts_with("outrigger_limits_total{") && l.contains(&label));
        line.and_then(|l| l.rsplit(' ').next()).and_then(|n| n.parse::<f64>().ok()).map_or(0, |n| n as u64)
    }

    /// Open descriptors of the data plane.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.data_plane())).map_or(0, Iterator::count)
    }
}

/// Waits until none of these processes is left (a dead one whose parent has not asked for it yet is gone).
pub fn await_gone(processes: &[u32], limit: Duration) {
    let mut left: Vec<u32> = Vec::new();
    let gone = wait::within(limit, || {
        left = processes.iter().copied().filter(|&id| is_alive(id)).collect();
        left.is_empty().then_some(())
    });
    assert!(gone.is_some(), "still there: {left:?}");
}

/// Whether the process runs.
pub fn is_alive(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| !matches!(state, "Z" | "X"))
}

/// Resident memory of a process in bytes.
pub fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
}

//! Control processes, our own and a foreign one, and data planes for them.

use control::settings::{
    Access, ApiLists, ApiLogging, DataPlane as Executor, Limits, Log, Mode, Mtls, Ports, Resolution, Settings,
};
use dataplane::subscribe::{Channel, Subscription, Update, start};
use dataplane::tls::Identity;
use proto::control::{Backend, Report};
use proto::snapshot::{AppRef, Route, Snapshot};
use rig::scratch::Scratch;
use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn app(id: &str) -> AppRef {
    AppRef { app_id: id.into(), namespace: "default".into() }
}

/// The executable under test.
pub(crate) fn outrigger() -> Command {
    Command::new(rig::outrigger!().path())
}

/// A sidecar in plaintext whose names come from the scratch folder's registry only.
pub(crate) fn settings(scratch: &Scratch, app_id: &str) -> Settings {
    Settings {
        mode: Mode::Run,
        app_id: app_id.into(),
        namespace: "default".into(),
        trust_domain: "public".into(),
        host_name: "h".into(),
        host_address: [127, 0, 0, 1].into(),
        ports: Ports { internal: rig::port::one(), ..Ports::default() },
        app: None,
        limits: Limits {
            max_body: Some(4 << 20),
            max_head: 65536,
            max_replay_body: 1 << 20,
            grace_seconds: Some(5),
            block_shutdown_ms: 0,
        },
        mtls: Mtls::Off,
        leaf_lifetime_seconds: 86400,
        state_dir: scratch.path().join("state"),
        resolution: Resolution {
            component: "mdns".into(),
            mdns: false,
            registry: Some(scratch.path().join("registry")),
            table: None,
            advertise: [127, 0, 0, 1].into(),
        },
        sampling_rate: 1.0,
        begins_traces: false,
        api: ApiLists::default(),
        pipelines: control::settings::Pipelines::default(),
        allowed_origins: String::new(),
        metrics: None,
        api_logging: ApiLogging::default(),
        access: Access { allow_by_default: true },
        log: Log { level: "warn".into(), json: false, file: None },
        data_plane: Executor {
            backend: "auto".into(),
            shards: 1,
            tcp_congestion: None,
            max_memory: 0,
            trace_steps: false,
        },
        config_files: Vec::new(),
        resource_dirs: Vec::new(),
        warnings: Vec::new(),
        started_unix_ms: 0,
    }
}

/// A running `outrigger control`; killed on drop.
pub(crate) struct Control {
    runtime: PathBuf,
    child: Child,
}

impl Control {
    pub(crate) fn start(scratch: &Scratch, settings: Settings) -> Control {
        let runtime = scratch.folder(&settings.app_id);
        settings.store(&runtime).unwrap();
        Control { child: spawn(&runtime), runtime }
    }

    pub(crate) fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// A data plane for it.
    pub(crate) fn join(&self) -> DataPlane {
        DataPlane::join(&self.runtime.join("control.sock"))
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.runtime);
    }

    /// SIGTERM; the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let ended = rig::wait::some(PATIENCE, "control ends", || self.child.try_wait().unwrap());
        ended.code()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `outrigger dataplane` under whatever listens on the socket; killed on drop.
pub(crate) struct Plane(Child);

impl Plane {
    pub(crate) fn start(socket: &Path, listen: &[String]) -> Plane {
        let mut command = outrigger();
        command.args(["dataplane", "--control-socket"]).arg(socket);
        for at in listen {
            command.arg("--listen").arg(at);
        }
        command.args(["--log-level", "warn"]).stdin(Stdio::null());
        Plane(command.spawn().unwrap())
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One request, one connection; the whole answer, empty if there is none.
pub(crate) fn ask_http(port: u16, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

/// An app that answers every request with `hello`; its port.
pub(crate) fn app_that_says_hello() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                while stream.read(&mut head).is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
                }
            });
        }
    });
    port
}

fn spawn(runtime: &Path) -> Child {
    let mut command = outrigger();
    let supervisor = std::process::id().to_string();
    command.args(["control", "--parent", &supervisor, "--runtime"]).arg(runtime).stdin(Stdio::null());
    command.spawn().unwrap()
}

/// The data plane's end of the channel.
pub(crate) struct DataPlane {
    pub(crate) subscription: Subscription,
    updates: Receiver<Update>,
    seen: RefCell<Vec<Arc<Snapshot>>>,
}

impl DataPlane {
    pub(crate) fn join(socket: &Path) -> DataPlane {
        let (to, updates) = channel();
        let channel = Channel {
            socket: socket.to_owned(),
            shards: 1,
            backend: Backend::Readiness,
            backend_reason: "a test".into(),
        };
        let subscription = start(channel, move |update| drop(to.send(update)), Report::default).unwrap();
        DataPlane { subscription, updates, seen: RefCell::default() }
    }

    fn next(&self, by: Instant) -> Update {
        let left = by.saturating_duration_since(Instant::now());
        let update = self.updates.recv_timeout(left).expect("an update in time");
        if let Update::Snapshot { snapshot, .. } = &update {
            self.seen.borrow_mut().push(Arc::clone(snapshot));
        }
        update
    }

    /// The next snapshot.
    pub(crate) fn snapshot(&self) -> (Arc<Snapshot>, Option<Arc<Identity>>) {
        let by = Instant::now() + PATIENCE;
        loop {
            if let Update::Snapshot { snapshot, identity } = self.next(by) {
                return (snapshot, identity);
            }
        }
    }

    /// Waits for a snapshot.
    pub(crate) fn until(&self, what: &str, fact: impl Fn(&Snapshot) -> bool) {
        let by = Instant::now() + PATIENCE;
        while !self.seen.borrow().last().is_some_and(|now| fact(now)) {
            assert!(Instant::now() < by, "not in time: {what}");
            self.next(by);
        }
    }

    /// Asks for a name; its answer.
    pub(crate) fn ask(&self, id: &str) -> Arc<Route> {
        self.subscription.resolve(app(id)).unwrap();
        let by = Instant::now() + PATIENCE;
        loop {
            match self.next(by) {
                Update::Resolved { target, route } if target == app(id) => return route,
                _ => {}
            }
        }
    }

    /// Whether every snapshot since the first that held `name` holds it.
    pub(crate) fn never_lost(&self, name: &AppRef) -> bool {
        while let Ok(Update::Snapshot { snapshot, .. }) = self.updates.try_recv() {
            self.seen.borrow_mut().push(snapshot);
        }
        let seen = self.seen.borrow();
        seen.iter().skip_while(|s| !s.routes.contains_key(name)).all(|s| s.routes.contains_key(name))
    }
}

/// Asks until a name is found with as many endpoints as wanted: the other sidecar may only just be starting.
pub(crate) fn found(plane: &DataPlane, id: &str, enough: impl Fn(usize) -> bool) {
    rig::wait::until(PATIENCE, "the name is found", || match &*plane.ask(id) {
        Route::Endpoints(endpoints) => enough(endpoints.len()),
        Route::NotFound { .. } => false,
    });
}

/// `examples/static-control/control.py`; killed on drop.
pub(crate) struct Foreign {
    _scratch: Scratch,
    socket: PathBuf,
    child: Child,
}

impl Foreign {
    /// App id, mesh port, app port and table; `None` without python3.
    pub(crate) fn start(arguments: &[&str]) -> Option<Foreign> {
        let scratch = Scratch::new();
        let socket = scratch.path().join("c.sock");
        let child = python(&socket, arguments).ok()?;
        Some(Foreign { _scratch: scratch, socket, child })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A line on its standard input.
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    pub(crate) fn restart(&mut self, arguments: &[&str]) {
        self.kill();
        self.child = python(&self.socket, arguments).unwrap();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(socket: &Path, arguments: &[&str]) -> std::io::Result<Child> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/static-control/control.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(socket).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
}

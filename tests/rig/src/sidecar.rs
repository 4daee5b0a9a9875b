//! Sidecars as real processes.

use crate::http1::client;
use crate::port::FORK;
use crate::program::Program;
use crate::scratch::Scratch;
use crate::wait;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::PoisonError;
use std::time::Duration;

/// How long a sidecar may take to become ready.
pub const READY_LIMIT: Duration = Duration::from_secs(20);
/// How long a process may take to end after SIGTERM before the rig kills it.
pub const END_LIMIT: Duration = Duration::from_secs(10);

/// Variables of the test's own environment that a sidecar must not see.
const CLEARED: [&str; 7] = [
    "APP_API_TOKEN",
    "DAPR_API_TOKEN",
    "DAPR_HOST_IP",
    "DAPR_TRUST_ANCHORS",
    "DAPR_HTTP_DISABLE_H2C",
    "NAMESPACE",
    "RUST_LOG",
];

/// What must answer before a sidecar counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// `GET /v1.0/healthz` on this loopback port answers 204.
    Healthz(u16),
    /// `GET /v1.0/healthz/outbound` on this loopback port answers 204 (an app may be missing).
    Outbound(u16),
    /// This loopback port accepts connections.
    Accepts(u16),
    /// The process was started, nothing more.
    Started,
}

/// A process to start.
#[derive(Debug)]
pub struct Launch {
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    ready: Ready,
    name: String,
    refused: Option<(u32, i32)>,
}

impl Launch {
    /// Any executable.
    pub fn new(path: impl Into<PathBuf>) -> Launch {
        let path = path.into();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Launch { path, args: Vec::new(), env: Vec::new(), ready: Ready::Started, name, refused: None }
    }

    /// A sidecar that takes daprd's flags: `outrigger daprd …`, or the real `daprd`.
    pub fn daprd(program: &Program) -> Launch {
        let launch = Launch::new(program.path());
        if program.is_ours() { launch.arg("daprd") } else { launch }
    }

    /// `outrigger run …`.
    pub fn run(program: &Program) -> Launch {
        Launch::new(program.path()).arg("run")
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Launch {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Launch {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// One more variable.
    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Launch {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// What to wait for.
    pub fn ready(mut self, ready: Ready) -> Launch {
        self.ready = ready;
        self
    }

    /// Refuses it, and all below it, a system call with this error ([`crate::seccomp`]).
    pub fn refused(mut self, call: u32, error: i32) -> Launch {
        self.refused = Some((call, error));
        self
    }

    /// A name for messages.
    pub fn named(mut self, name: &str) -> Launch {
        self.name = name.to_owned();
        self
    }

    /// Starts it and waits until it is ready; panics with the end of its output when it is not.
    pub fn start(self) -> Sidecar {
        let mut sidecar = self.spawn();
        sidecar.await_ready();
        sidecar
    }

    /// Starts it without waiting.
    pub fn spawn(self) -> Sidecar {
        let folder = Scratch::new();
        let log = folder.path().join("output");
        let out = File::create(&log).expect("a file for the output");
        let mut command = Command::new(&self.path);
        command.args(&self.args).current_dir(folder.path()).stdin(Stdio::null());
        command.stdout(out.try_clone().expect("a second handle")).stderr(out);
        for name in CLEARED {
            command.env_remove(name);
        }
        // Its own, so that sidecars of other tests neither find it nor are found.
        command.env("XDG_RUNTIME_DIR", folder.folder("run")).env("XDG_STATE_HOME", folder.folder("state"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.process_group(0);
        die_with_this_thread(&mut command);
        if let Some((call, error)) = self.refused {
            crate::seccomp::refuse(&mut command, call, error);
        }
        let alone = FORK.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn().unwrap_or_else(|e| panic!("{} does not start: {e}", self.path.display()));
        drop(alone);
        Sidecar { name: self.name, child, folder, log, ready: self.ready, ended: None }
    }
}

/// Lets the kernel kill the process when the thread that starts it ends, so that nothing stays behind even when the
/// test is killed. Start a process from a thread that lives as long as it is needed.
fn die_with_this_thread(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec and makes one async-signal-safe system call without touching memory.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// A running process with everything it started; all of it is gone when this is dropped.
#[derive(Debug)]
pub struct Sidecar {
    name: String,
    child: Child,
    folder: Scratch,
    log: PathBuf,
    ready: Ready,
    ended: Option<ExitStatus>,
}

impl Sidecar {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its private folder (also its working folder).
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything it wrote so far, standard output and error together.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it is ready; panics with the end of its output when it is not.
    pub fn await_ready(&mut self) {
        self.await_state(self.ready);
    }

    /// Waits for another state than the one it was started with; panics with the end of its output when it does not come.
    pub fn await_state(&mut self, ready: Ready) {
        let came = wait::within(READY_LIMIT, || {
            if self.has_ended().is_some() {
                return Some(false);
            }
            is_ready(ready).then_some(true)
        });
        if came != Some(true) {
            panic!(
                "{} is not ready ({ready:?}, {:?}); its output ends with:\n{}",
                self.name,
                self.ended,
                self.tail()
            );
        }
    }

    /// Its exit status, `None` while it runs.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the state of a child");
        }
        self.ended
    }

    /// Waits for its end; `None` when `limit` passes first.
    pub fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait::within(limit, || self.has_ended())
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: i32) {
        send_signal(self.child.id() as i32, signal);
    }

    /// SIGKILL to this process alone, and waits for its end.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        self.ends_within(END_LIMIT).expect("a killed process ends");
    }

    /// SIGKILL to this process and all its descendants, and waits for its end.
    pub fn kill_family(&mut self) {
        for id in self.processes() {
            send_signal(id as i32, libc::SIGKILL);
        }
        self.ends_within(END_LIMIT).expect("a killed process ends");
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self) -> Option<ExitStatus> {
        self.signal(libc::SIGTERM);
        self.ends_within(END_LIMIT)
    }

    /// The ids of this process and all its descendants.
    pub fn processes(&self) -> Vec<u32> {
        descendants(self.child.id())
    }

    /// The id of the descendant whose command line has `word` as one of its arguments (`control`, `dataplane`).
    pub fn process_with(&self, word: &str) -> Option<u32> {
        self.processes().into_iter().find(|&id| command_line(id).iter().skip(1).any(|a| a == word))
    }

    /// The last lines of its output.
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let family = self.processes();
        if self.has_ended().is_none() {
            // The group was made for this process, so the signal reaches nobody else.
            send_signal(-(self.child.id() as i32), libc::SIGKILL);
            let _ = self.child.wait();
        }
        family.iter().skip(1).for_each(|&id| send_signal_if_child_of(self.folder.path(), id));
    }
}

/// Kills a left-over descendant; its working folder proves that it is ours and that the id was not reused.
fn send_signal_if_child_of(folder: &Path, id: u32) {
    if fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder)) {
        send_signal(id as i32, libc::SIGKILL);
    }
}

fn is_ready(ready: Ready) -> bool {
    match ready {
        Ready::Started => true,
        Ready::Accepts(port) => std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(),
        Ready::Healthz(port) => client::status(local(port), "/v1.0/healthz") == Some(204),
        Ready::Outbound(port) => client::status(local(port), "/v1.0/healthz/outbound") == Some(204),
    }
}

/// This port on the loopback interface.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Sends a signal to a process (or, negative, to a group) that the test started itself.
pub fn send_signal(id: i32, signal: i32) {
    // SAFETY: kill takes two integers and touches no memory.
    unsafe { libc::kill(id, signal) };
}

/// `id` and all processes below it, parents first.
pub fn descendants(id: u32) -> Vec<u32> {
    let mut found = vec![id];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(children(parent));
        at += 1;
    }
    found
}

fn children(id: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn command_line(id: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    bytes.split(|&b| b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

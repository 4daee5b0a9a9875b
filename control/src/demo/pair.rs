//! The demonstration's sidecars: real `outrigger run` processes with private directories, their output read line by line.

use super::steps::{self, Told};
use crate::settings::{Environment, Settings};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a sidecar may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines kept for the case that something goes wrong.
const KEPT: usize = 20;
/// Variables of the user's own that would change the demonstration.
const CLEARED: [&str; 6] =
    ["DAPR_API_TOKEN", "APP_API_TOKEN", "NAMESPACE", "DAPR_HOST_IP", "DAPR_HTTP_PORT", "APP_ID"];

/// One sidecar.
#[derive(Debug)]
pub(super) struct Sidecar {
    child: Child,
    base: PathBuf,
    app_id: String,
    last: Arc<Mutex<VecDeque<String>>>,
}

/// How the sidecars find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// By multicast DNS, as on a network.
    Mdns,
    /// Through a directory, as on a host without multicast.
    Registry,
}

/// What all sidecars of a demonstration share.
#[derive(Debug)]
pub(super) struct Ground {
    folder: PathBuf,
    names: Names,
    /// Empty, or what tells this demonstration's apps from those of another one on this host.
    suffix: String,
    /// Held as long as the plain names are in use here.
    _plain_names: Option<File>,
    /// Leads the sidecars' process group and kills it when this process is gone.
    keeper: Child,
}

impl Ground {
    /// A private folder, and a keeper that ends the sidecars if this process is killed.
    pub(super) fn new(names: Names) -> io::Result<Ground> {
        let folder = std::env::temp_dir().join(format!("outrigger-demo-{}", std::process::id()));
        crate::supervisor::private(&folder)?;
        let mut keeper = Command::new(std::env::current_exe()?);
        keeper.arg("keep").stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let keeper = keeper.spawn()?;
        let plain_names = plain_names().ok();
        let suffix = if plain_names.is_some() { String::new() } else { format!("-{}", std::process::id()) };
        Ok(Ground { folder, names, suffix, _plain_names: plain_names, keeper })
    }

    /// The full app id of a short one.
    pub(super) fn app_id(&self, short: &str) -> String {
        format!("{short}{}", self.suffix)
    }

    /// Starts a sidecar; its steps go to `told`.
    pub(super) fn start(
        &self,
        app_id: &str,
        app_port: Option<u16>,
        told: Sender<Told>,
    ) -> io::Result<Sidecar> {
        let base = self.folder.join("run");
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["run", "--app-id", app_id, "--log-as-json", "--trace-steps"]);
        match self.names {
            Names::Mdns => command.args(["--mdns", "on", "--registry", "off"]),
            Names::Registry => {
                command.args(["--mdns", "off"]).arg("--registry").arg(self.folder.join("registry"))
            }
        };
        command.args([
            "--dapr-http-port",
            "0",
            "--metrics-port",
            "0",
            "--metrics-listen-address",
            "127.0.0.1",
        ]);
        command.args(["--dapr-internal-grpc-listen-address", "127.0.0.1"]);
        command.arg("--state-dir").arg(self.folder.join("state"));
        if let Some(port) = app_port {
            command.args(["--app-port", &port.to_string()]);
        }
        for name in CLEARED {
            command.env_remove(name);
        }
        fs::create_dir_all(&base)?;
        command.env("XDG_RUNTIME_DIR", &base).stdin(Stdio::null()).stdout(Stdio::piped());
        command
            .stderr(Stdio::piped())
            .process_group(i32::try_from(self.keeper.id()).map_err(io::Error::other)?);
        let mut child = command.spawn()?;
        let last = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(output) = child.stdout.take() {
            listen(output, told.clone(), Arc::clone(&last))?;
        }
        if let Some(output) = child.stderr.take() {
            listen(output, told, Arc::clone(&last))?;
        }
        Ok(Sidecar { child, base: base.join("outrigger"), app_id: app_id.to_owned(), last })
    }

    /// Where everything of this demonstration is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        // The end of its standard input ends the keeper, and whatever is still in its group.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A lock that only one demonstration at a time gets: names by multicast reach all of this host.
fn plain_names() -> io::Result<File> {
    let base = Environment::of_process().runtime_base();
    crate::supervisor::private(&base)?;
    let file = File::create(base.join("demo.lock"))?;
    file.try_lock()?;
    Ok(file)
}

/// Reads a sidecar's output to its end: steps are told, everything else is kept for a while.
fn listen(
    output: impl Read + Send + 'static,
    told: Sender<Told>,
    last: Arc<Mutex<VecDeque<String>>>,
) -> io::Result<()> {
    thread::Builder::new().name("output".into()).spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(step) = steps::read(&line) {
                // Nobody listens any more once the demonstrated call is over.
                let _ = told.send(step);
                continue;
            }
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.len() == KEPT {
                last.pop_front();
            }
            last.push_back(line);
        }
    })?;
    Ok(())
}

impl Sidecar {
    /// Waits until it is ready.
    ///
    /// # Errors
    /// It ended, or takes too long; the text has its last words.
    pub(super) fn ready(&mut self, path: &str) -> Result<Settings, String> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.words(&format!("ended ({status})")));
            }
            if let Some(settings) = self.settings()
                && settings.ports.http.is_some_and(|port| crate::supervisor::probe::answers(port, path))
            {
                return Ok(settings);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(self.words("is not ready"))
    }

    /// Its runtime directory.
    pub(super) fn runtime(&self) -> PathBuf {
        self.base.join(format!("{}-{}", self.app_id, self.child.id()))
    }

    fn settings(&self) -> Option<Settings> {
        Settings::load(&self.runtime()).ok()
    }

    fn words(&self, what: &str) -> String {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = last.iter().map(|line| format!("  {line}")).collect();
        format!("the sidecar of {} {what}; its last words:\n{}", self.app_id, lines.join("\n"))
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(id, Signal::TERM);
        }
    }

    /// Waits for its end, which it was asked for; kills it when it takes too long. Whether it ended in order.
    pub(super) fn ended(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.success();
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        false
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.terminate();
            self.ended();
        }
    }
}

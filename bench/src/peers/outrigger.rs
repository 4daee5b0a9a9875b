//! Two Outrigger sidecars with mTLS on and everything else at its default.

use super::{App, Pair, await_ready, healthy, local, ports};
use crate::host::Guard;
use rig::scratch::Scratch;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// `unix`: the callee reaches the app over its Unix socket instead of loopback TCP.
pub(super) fn start(app: &App, name: &'static str, program: &Path, unix: bool) -> Result<Pair, String> {
    let folder = Scratch::new();
    let [front, back] = ports();
    let (flag, at) = match unix {
        true => ("--app-channel-address", format!("unix:{}", app.socket().display())),
        false => ("--app-port", app.port().to_string()),
    };
    let begin = Instant::now();
    let mut callee = sidecar(&folder, program, "callee", back, &[flag, &at])?;
    let ready = await_ready(begin, "Outrigger (callee)", &mut callee, || healthy(back))?;
    let begin = Instant::now();
    let mut caller = sidecar(&folder, program, "caller", front, &[])?;
    let ready = ready.max(await_ready(begin, "Outrigger (caller)", &mut caller, || healthy(front))?);
    let prefix = "/v1.0/invoke/callee/method";
    Ok(Pair {
        name,
        front: local(front),
        prefix,
        caller,
        callee,
        ready,
        _others: Vec::new(),
        _folder: folder,
    })
}

fn sidecar(folder: &Scratch, program: &Path, id: &str, port: u16, more: &[&str]) -> Result<Guard, String> {
    let log = File::create(folder.path().join(format!("{id}.log"))).map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.args([
        "run",
        "--app-id",
        id,
        "--dapr-http-port",
        &port.to_string(),
        "--dapr-grpc-port",
        "0",
        "--metrics-port",
        "0",
    ]);
    command.args([
        "--dapr-internal-grpc-port",
        "0",
        "--dapr-internal-grpc-listen-address",
        "127.0.0.1",
        "--mdns",
        "off",
    ]);
    command
        .arg("--registry")
        .arg(folder.path().join("registry"))
        .arg("--state-dir")
        .arg(folder.path().join("state"));
    command.env("XDG_RUNTIME_DIR", folder.path()).args(more);
    Guard::start(command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()))
}

//! Two real daprd with mTLS under a real sentry.

use super::{App, Pair, accepts, await_ready, healthy, local, ports};
use crate::host::Guard;
use rig::Program;
use rig::scratch::Scratch;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

pub(super) fn start(app: &App) -> Option<Result<Pair, String>> {
    let (daprd, sentry) = (Program::daprd()?, rig::program::sentry()?);
    Some(pair(app, &daprd, &sentry))
}

struct Site<'a> {
    folder: &'a Scratch,
    anchors: String,
    sentry: u16,
}

fn pair(app: &App, daprd: &Program, sentry: &std::path::Path) -> Result<Pair, String> {
    let folder = Scratch::new();
    folder.file("config.yaml", configuration(&folder));
    let [sentry_port, front, back] = ports();
    let authority = authority(&folder, sentry, sentry_port)?;
    let anchors = fs::read_to_string(folder.path().join("certs/ca.crt")).map_err(|e| e.to_string())?;
    let site = Site { folder: &folder, anchors, sentry: sentry_port };
    let begin = Instant::now();
    let mut callee = sidecar(&site, daprd, "callee", back, &["--app-port", &app.port().to_string()])?;
    let ready = await_ready(begin, "daprd (callee)", &mut callee, || healthy(back))?;
    let begin = Instant::now();
    let mut caller = sidecar(&site, daprd, "caller", front, &[])?;
    let ready = ready.max(await_ready(begin, "daprd (caller)", &mut caller, || healthy(front))?);
    let prefix = "/v1.0/invoke/callee/method";
    Ok(Pair {
        name: "daprd",
        front: local(front),
        prefix,
        caller,
        callee,
        ready,
        _others: vec![authority],
        _folder: folder,
    })
}

fn configuration(folder: &Scratch) -> String {
    let names = folder.path().join("names.db");
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: appconfig}}\nspec:\n  nameResolution:\n    component: sqlite\n    version: v1\n    configuration: {{connectionString: \"{}\"}}\n",
        names.display()
    )
}

fn authority(folder: &Scratch, sentry: &std::path::Path, port: u16) -> Result<Guard, String> {
    let certs = folder.folder("certs");
    folder.file("daprsystem", "");
    let [health, metrics] = ports();
    let mut command = Command::new(sentry);
    command.current_dir(folder.path()).arg("--issuer-credentials").arg(&certs);
    command.args([
        "--trust-domain",
        "localhost",
        "--listen-address",
        "127.0.0.1",
        "--port",
        &port.to_string(),
    ]);
    command.args(["--healthz-port", &health.to_string(), "--metrics-port", &metrics.to_string()]);
    let mut process =
        Guard::start(command.env("NAMESPACE", "default").stdout(Stdio::null()).stderr(Stdio::null()))?;
    let up = || accepts(port) && certs.join("ca.crt").metadata().is_ok_and(|m| m.len() > 0);
    await_ready(Instant::now(), "sentry", &mut process, up)?;
    Ok(process)
}

fn sidecar(site: &Site<'_>, daprd: &Program, id: &str, port: u16, more: &[&str]) -> Result<Guard, String> {
    let [grpc, internal, metrics, public] = ports();
    let mut command = Command::new(daprd.path());
    command.args([
        "--app-id",
        id,
        "--dapr-http-port",
        &port.to_string(),
        "--dapr-grpc-port",
        &grpc.to_string(),
    ]);
    command.args([
        "--dapr-internal-grpc-port",
        &internal.to_string(),
        "--metrics-port",
        &metrics.to_string(),
    ]);
    command.args(["--dapr-public-port", &public.to_string(), "--dapr-listen-addresses", "127.0.0.1"]);
    command.args([
        "--dapr-internal-grpc-listen-address",
        "127.0.0.1",
        "--metrics-listen-address",
        "127.0.0.1",
    ]);
    command.args(["--enable-mtls", "--sentry-address", &format!("127.0.0.1:{}", site.sentry)]);
    command.arg("--config").arg(site.folder.path().join("config.yaml")).args(more);
    command
        .env("DAPR_TRUST_ANCHORS", &site.anchors)
        .env("DAPR_HOST_IP", "127.0.0.1")
        .env("NAMESPACE", "default");
    Guard::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

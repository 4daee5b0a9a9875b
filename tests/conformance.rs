//! HTTP/2 as others judge it: h2spec on both ports, h2load on the one for sidecars.
//!
//! h2spec is built from its Go module where Go and the module are to be had; `OUTRIGGER_H2SPEC` names a built one.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::echo::Echo;
use rig::port;
use rig::scratch::Scratch;
use rig::sidecar::{Launch, Ready, Sidecar, local};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The module whose tools are built.
const MODULE: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";
/// Its cases, so that none gets lost.
const CASES: usize = 145;

struct House {
    http: SocketAddr,
    mesh: SocketAddr,
    _sidecar: Sidecar,
    _app: Echo,
}

/// A sidecar in the clear, with an app.
fn house() -> House {
    let app = Echo::start("one");
    let ports = port::free(4);
    let flag = |name: &str, port: u16| format!("--{name}={port}");
    let launch = Launch::daprd(&rig::outrigger!())
        .args(["--app-id=h2", "--registry=off", "--mdns=off", "--dapr-listen-addresses=127.0.0.1"])
        .arg(flag("app-port", app.port()))
        .arg(flag("dapr-http-port", ports[0]))
        .arg(flag("dapr-grpc-port", ports[1]))
        .arg(flag("dapr-internal-grpc-port", ports[2]))
        .arg(flag("metrics-port", ports[3]));
    let sidecar = launch.ready(Ready::Healthz(ports[0])).start();
    House { http: local(ports[0]), mesh: local(ports[2]), _sidecar: sidecar, _app: app }
}

fn skipped(why: &str) {
    eprintln!("\n!! SKIPPED: {why}\n");
}

/// The tool, built once; `None` where that is not possible.
fn h2spec() -> Option<&'static Path> {
    static TOOL: OnceLock<Option<PathBuf>> = OnceLock::new();
    let tool = TOOL.get_or_init(|| match std::env::var_os("OUTRIGGER_H2SPEC") {
        Some(path) => Some(path.into()),
        None => built(Path::new(env!("CARGO_TARGET_TMPDIR"))),
    });
    tool.as_deref()
}

fn built(folder: &Path) -> Option<PathBuf> {
    let tool = folder.join("h2spec");
    if tool.exists() {
        return Some(tool);
    }
    let go =
        Command::new("go").args(["install", MODULE]).env("GOBIN", folder).env("GOFLAGS", "-mod=mod").output();
    match go {
        Ok(output) if output.status.success() => Some(tool),
        Ok(output) => {
            skipped(&format!("h2spec cannot be built: {}", String::from_utf8_lossy(&output.stderr).trim()));
            None
        }
        Err(error) => {
            skipped(&format!(
                "h2spec cannot be built without Go ({error}); OUTRIGGER_H2SPEC names a built one"
            ));
            None
        }
    }
}

/// A case that failed, and what h2spec saw in the place of what it wanted.
#[derive(Debug)]
struct Failure {
    case: String,
    saw: String,
}

/// The cases that failed, after all were run.
fn failed(tool: &Path, at: SocketAddr, path: &str) -> Vec<Failure> {
    let port = at.port().to_string();
    let output =
        Command::new(tool).args(["-h", "127.0.0.1", "-p", &port, "-P", path, "-o", "5"]).output().unwrap();
    let text = text(&output);
    assert!(text.contains(&format!("{CASES} tests, ")), "{text}");
    let listed = text.split_once("\nFailures:").map_or("", |(_, listed)| listed);
    let blocks = listed.split("× ").skip(1);
    let failure = |block: &str| Failure {
        case: block.lines().next().unwrap_or_default().into(),
        saw: block.split("Actual: ").nth(1).and_then(|saw| saw.lines().next()).unwrap_or_default().into(),
    };
    blocks.map(failure).collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_http_port_passes_h2spec() {
    let Some(tool) = h2spec() else { return };
    let house = house();
    // RFC 9113 section 3.4 wants a connection without the preface closed. A port that serves HTTP/1 too takes it for
    // that, answers 400, and closes.
    let failed = failed(tool, house.http, "/v1.0/invoke/h2/method/bytes/100");
    let (preface, others): (Vec<_>, Vec<_>) =
        failed.iter().partition(|f| f.case == "2: Sends invalid connection preface");
    assert_eq!(preface.len(), 1, "{failed:?}");
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn the_port_for_sidecars_passes_h2spec() {
    let Some(tool) = h2spec() else { return };
    let house = house();
    // h2spec sends no gRPC: it is answered at once and without a body (RFC 9113 section 8.1 lets a server answer before
    // the request ends), so that no DATA comes, and a stream has ended before the frame that is wrong about it: what
    // h2spec sees is the answer, or that the stream was let go. It does not say with which code: the codes of all
    // these cases are asserted by the codec's own tests (`proto/src/http2/tests/rules.rs`).
    let answered = |saw: &str| saw.starts_with("HEADERS Frame (") && saw.contains("flags:0x05");
    let let_go = |saw: &str| saw.starts_with("RST_STREAM Frame (");
    let failed = failed(tool, house.mesh, "/");
    let others: Vec<_> = failed.iter().filter(|f| !answered(&f.saw) && !let_go(&f.saw)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn both_ports_carry_what_h2load_sends() {
    if Command::new("h2load").arg("--version").output().is_err() {
        return skipped("h2load is not installed (nghttp2-client)");
    }
    let house = house();
    let folder = Scratch::new();
    let message = folder.file("message", [0, 0, 0, 0, 0]); // one empty message
    let message = message.to_str().unwrap();
    let rpc = "dapr.proto.internals.v1.ServiceInvocation/CallLocal";
    let grpc = ["-H", "content-type: application/grpc", "-d", message];
    load(&grpc, &format!("http://{}/{rpc}", house.mesh));
    load(&[], &format!("http://{}/v1.0/invoke/h2/method/bytes/100", house.http));
    load(&["-d", message], &format!("http://{}/v1.0/invoke/h2/method/echo", house.http));
}

fn load(more: &[&str], url: &str) {
    let output =
        Command::new("h2load").args(["-n", "2000", "-c", "4", "-m", "16"]).args(more).arg(url).output();
    let text = text(&output.unwrap());
    assert!(text.contains("2000 succeeded, 0 failed") && text.contains("2000 2xx"), "{url}: {text}");
}

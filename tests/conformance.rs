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

/// h2spec sends no gRPC: on the port for sidecars it is answered at once and without a body. Where a case waits for DATA, or
/// for a stream beyond the limit, it sees the answer.
const ANSWERED: [(&str, &str); 3] = [
    (
        "Sends a WINDOW_UPDATE frame on half-closed (remote) stream",
        "RFC 9113 section 5.1: the answer, without DATA",
    ),
    (
        "Sends a PRIORITY frame on half-closed (remote) stream",
        "RFC 9113 section 5.1: the answer, without DATA",
    ),
    (
        "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
        "RFC 9113 section 5.1.2 counts open streams: these are closed as soon as they are answered",
    ),
];

/// Cases whose request has not ended when it is answered, which RFC 9113 section 8.1 lets a server do: depending on which is
/// first, they see that the stream was let go in the place of the code for what they send on it next. That code is
/// asserted by the codec's own tests (`proto/src/http2/tests/rules.rs`).
const LET_GO: [(&str, &str); 8] = [
    ("closed: Sends a DATA frame after sending RST_STREAM frame", "RFC 9113 section 5.1"),
    ("closed: Sends a HEADERS frame after sending RST_STREAM frame", "RFC 9113 section 5.1"),
    ("closed: Sends a CONTINUATION frame after sending RST_STREAM frame", "RFC 9113 section 5.1"),
    (
        "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream",
        "RFC 9113 section 6.9",
    ),
    (
        "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
        "RFC 9113 section 6.9.1",
    ),
    ("Sends a second HEADERS frame without the END_STREAM flag", "RFC 9113 section 8.1"),
    ("Sends a HEADERS frame that contains a pseudo-header field as trailers", "RFC 9113 section 8.1"),
    ("Sends a HEADERS frame with the \"content-length\" header field which", "RFC 9113 section 8.1.1"),
];

#[test]
fn the_port_for_sidecars_passes_h2spec() {
    let Some(tool) = h2spec() else { return };
    let house = house();
    let failed = failed(tool, house.mesh, "/");
    let answered = |saw: &str| saw.starts_with("HEADERS Frame (") && saw.contains("flags:0x05");
    let let_go = |saw: &str| saw.starts_with("RST_STREAM Frame (");
    let excused = |f: &&Failure| {
        let is = |case: &&str| f.case.split_once(": ").is_some_and(|(_, name)| name.starts_with(case));
        ANSWERED.iter().any(|(case, _)| is(case)) && answered(&f.saw)
            || LET_GO.iter().any(|(case, _)| is(case)) && (answered(&f.saw) || let_go(&f.saw))
    };
    let others: Vec<_> = failed.iter().filter(|f| !excused(f)).collect();
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

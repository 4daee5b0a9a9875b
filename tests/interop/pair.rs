//! A caller, a callee and the callee's app in a network namespace of their own.

use rig::http1::{App, client};
use rig::mdns::Responder;
use rig::scratch::Scratch;
use rig::sidecar::{Launch, Ready, Sidecar, local};
use rig::{Program, netns, port, wait};
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a sentry may take to be ready.
const SENTRY_LIMIT: Duration = Duration::from_secs(20);
/// How long the first lookup of a name may take, with everything beside it on a busy machine.
const LOOKUP_LIMIT: Duration = Duration::from_secs(20);

/// Who plays which part.
pub(crate) struct Peers {
    pub(crate) caller: Program,
    pub(crate) callee: Program,
    pub(crate) sentry: PathBuf,
    pub(crate) mtls: bool,
}

/// A root and an issuer that the real sentry made, and that sentry.
pub(crate) struct Trust {
    files: Scratch,
    port: u16,
    _sentry: Sidecar,
}

impl Trust {
    fn new(program: &Path) -> Trust {
        let files = Scratch::new();
        let ports = port::free(3);
        let sentry = Launch::new(program)
            .arg("--config")
            .arg(files.file("config/daprsystem", ""))
            .arg("--issuer-credentials")
            .arg(files.folder("issuer"))
            .args(["--trust-domain", "localhost", "--listen-address", "127.0.0.1"])
            .args(["--healthz-listen-address", "127.0.0.1", "--metrics-listen-address", "127.0.0.1"])
            .args([format!("--port={}", ports[0]), format!("--healthz-port={}", ports[1])])
            .arg(format!("--metrics-port={}", ports[2]))
            .spawn();
        let ready = || client::status(local(ports[1]), "/healthz") == Some(200);
        wait::until(SENTRY_LIMIT, "sentry is ready", ready);
        Trust { files, port: ports[0], _sentry: sentry }
    }

    fn issuer(&self) -> PathBuf {
        self.files.path().join("issuer")
    }

    /// The flags and variables with which this program gets its certificate under this root.
    fn apply(&self, program: &Program, launch: Launch) -> Launch {
        let launch = launch.arg("--enable-mtls");
        if program.is_ours() {
            return launch.arg("--issuer-credentials").arg(self.issuer());
        }
        let anchors = fs::read_to_string(self.issuer().join("ca.crt")).expect("the root that sentry made");
        launch.arg(format!("--sentry-address=127.0.0.1:{}", self.port)).env("DAPR_TRUST_ANCHORS", anchors)
    }
}

/// Everything of one pair, running. The callee is known as `callee`, and by a false record as `impostor` too.
pub(crate) struct Pair {
    pub(crate) app: App,
    /// The API of the caller.
    pub(crate) caller: SocketAddr,
    /// The API of a caller whose certificate comes from another root.
    pub(crate) stranger: Option<SocketAddr>,
    sidecars: Vec<Sidecar>,
    _trust: Vec<Trust>,
    _names: Responder,
}

impl Pair {
    /// Moves this thread into a namespace of its own and starts everything there.
    pub(crate) fn open(peers: &Peers) -> Pair {
        netns::enter().expect("a network namespace");
        let app = App::start();
        let trust: Vec<Trust> =
            (0..if peers.mtls { 2 } else { 0 }).map(|_| Trust::new(&peers.sentry)).collect();
        let ports = port::free(12);
        let callee = start(&peers.callee, "callee", &ports[..4], Some(app.port()), trust.first(), &[]);
        let caller = start(&peers.caller, "caller", &ports[4..8], None, trust.first(), &[]);
        let mut sidecars = vec![callee, caller];
        if let Some(other) = trust.get(1) {
            sidecars.push(start(&peers.caller, "stranger", &ports[8..], None, Some(other), &[]));
        }
        let pair = Pair {
            app,
            caller: local(ports[4]),
            stranger: trust.get(1).map(|_| local(ports[8])),
            sidecars,
            _trust: trust,
            _names: Responder::start(HashMap::from([("impostor".to_owned(), ports[2])])),
        };
        let found = || client::status(pair.caller, "/v1.0/invoke/callee/method/warm") == Some(200);
        if wait::within(LOOKUP_LIMIT, || found().then_some(())).is_none() {
            panic!("the caller does not reach the callee by mDNS\n{}", pair.logs());
        }
        pair
    }

    /// The ends of all sidecars' outputs.
    pub(crate) fn logs(&self) -> String {
        self.sidecars.iter().map(|s| format!("-- output of {}:\n{}\n", s.id(), s.tail())).collect()
    }
}

/// A sidecar in daprd mode with ports for HTTP, gRPC, its peers and metrics, and more arguments.
pub(crate) fn start(
    program: &Program,
    id: &str,
    ports: &[u16],
    app: Option<u16>,
    trust: Option<&Trust>,
    more: &[String],
) -> Sidecar {
    let mut launch = Launch::daprd(program)
        .named(id)
        .args(more)
        .args(["--app-id", id, "--dapr-listen-addresses", "127.0.0.1"])
        .args(["--dapr-internal-grpc-listen-address", "127.0.0.1", "--metrics-listen-address", "127.0.0.1"])
        .args([format!("--dapr-http-port={}", ports[0]), format!("--dapr-grpc-port={}", ports[1])])
        .args([format!("--dapr-internal-grpc-port={}", ports[2]), format!("--metrics-port={}", ports[3])])
        .env("DAPR_HOST_IP", "127.0.0.1")
        .env("NAMESPACE", "default");
    if program.is_ours() {
        // The registry is a directory, which namespaces share: names are to come by mDNS alone.
        launch = launch.args(["--registry", "off"]);
    }
    if let Some(port) = app {
        launch = launch.arg(format!("--app-port={port}"));
    }
    if let Some(trust) = trust {
        launch = trust.apply(program, launch);
    }
    launch.ready(Ready::Healthz(ports[0])).start()
}

//! A sidecar in daprd mode as in the recordings, on free ports.

use rig::port;
use rig::sidecar::{Launch, Ready, Sidecar, local};
use rig::vectors;
use serde_json::Value;
use std::net::SocketAddr;

/// How a sidecar of this test is started.
pub(crate) struct Stage {
    pub(crate) launch: Launch,
    pub(crate) http: u16,
    pub(crate) public: u16,
}

impl Stage {
    pub(crate) fn new(app_id: &str) -> Stage {
        let [http, public]: [u16; 2] = port::free(2).try_into().unwrap();
        let program = rig::outrigger!();
        let launch = Launch::daprd(&program)
            .named(app_id)
            .args(["--app-id", app_id, "--dapr-http-port", &http.to_string()])
            .args([
                "--dapr-listen-addresses",
                "127.0.0.1",
                "--dapr-internal-grpc-listen-address",
                "127.0.0.1",
            ])
            .args(["--metrics-port", "0", "--metrics-listen-address", "127.0.0.1"])
            .args(["--mdns", "off", "--registry", "off"])
            .env("DAPR_HOST_IP", "127.0.0.1");
        Stage { launch, http, public }
    }

    pub(crate) fn args(self, args: &[&str]) -> Stage {
        Stage { launch: self.launch.args(args), ..self }
    }

    pub(crate) fn start(self) -> (Sidecar, SocketAddr) {
        let http = self.http;
        (self.launch.ready(Ready::Healthz(http)).start(), local(http))
    }
}

/// A recorded case by name.
pub(crate) fn recorded(file: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(vectors::folder("surface").join(file)).expect("the recordings");
    let cases = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a case"));
    cases.into_iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no case {name}"))
}

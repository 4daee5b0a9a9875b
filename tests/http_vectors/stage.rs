//! One topology's processes: sidecars, app, scripted peer, names.

use crate::players::Players;
use rig::ca::Authority;
use rig::h2app::{self, H2App};
use rig::http1::{Answer, App, app, client};
use rig::mdns::Responder;
use rig::peer::{Peer, Status};
use rig::scratch::Scratch;
use rig::sidecar::{Launch, Ready, Sidecar, local};
use rig::vectors::http::{self, Case, Daprd, Topology};
use rig::vectors::observe::{Known, app_answer};
use rig::vectors::tokens::resolve;
use rig::{netns, port};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

/// How long after a case its requests may be in work at the app.
const SETTLE: Duration = Duration::from_secs(4);

/// The app of a topology.
pub(crate) enum Behind {
    /// HTTP/1, with or without TLS.
    Http(App),
    /// HTTP/2 without TLS.
    H2(H2App),
}

/// What reached the app.
pub(crate) enum Saw {
    Http(Vec<app::Saw>),
    H2(Vec<h2app::Saw>),
}

/// A topology with everything running.
pub(crate) struct Stage<'a> {
    topology: &'a Topology,
    players: &'a Players,
    pub(crate) known: Known,
    files: Scratch,
    sidecars: BTreeMap<String, Sidecar>,
    app: Option<Behind>,
    peer: Option<Peer>,
    _names: Option<Responder>,
}

impl<'a> Stage<'a> {
    /// Moves this thread into a namespace of its own and starts everything there.
    pub(crate) fn open(topology: &'a Topology, players: &'a Players) -> Stage<'a> {
        netns::enter().expect("a network namespace");
        let known = known_tokens();
        let names: HashMap<String, u16> =
            topology.names.iter().map(|(name, token)| (name.clone(), port_of(&known, token))).collect();
        let mut stage = Stage {
            topology,
            players,
            app: None,
            peer: topology.peer.as_ref().map(|p| Peer::start_at(local(port_of(&known, &p.port)))),
            _names: (!names.is_empty()).then(|| Responder::start(names)),
            known,
            files: Scratch::new(),
            sidecars: BTreeMap::new(),
        };
        if topology.app.as_ref().is_some_and(|app| app.start != Some(false)) {
            stage.start_app();
        }
        topology.daprds.iter().for_each(|daprd| stage.start(daprd));
        stage
    }

    fn start_app(&mut self) {
        let plan = self.topology.app.as_ref().expect("a topology with an app");
        let address = local(port_of(&self.known, &plan.port));
        self.app = Some(match plan.protocol.as_str() {
            "h2c" => Behind::H2(H2App::start_at(address)),
            "https" => {
                let certificate = Authority::new("app").host(&["localhost", "127.0.0.1"]);
                Behind::Http(App::start_at(address, Some(certificate.server())))
            }
            _ => Behind::Http(App::start_at(address, None)),
        });
        if let (Some(Behind::Http(app)), Some(health)) = (&self.app, &plan.health) {
            app.answer_health(&health.path, health.status);
        }
    }

    /// Starts a sidecar (again).
    fn start(&mut self, daprd: &Daprd) {
        let program = self.players.of(&daprd.role);
        let resolved =
            |text: &String| String::from_utf8(resolve(text.as_bytes(), &self.known)).expect("UTF-8");
        let folder = self.files.folder(&daprd.role);
        let mut launch =
            Launch::daprd(program).named(&daprd.app_id).arg(format!("--app-id={}", daprd.app_id));
        launch = launch.args(daprd.flags.iter().map(resolved));
        if program.is_ours() {
            // Names are found as they were when recorded.
            launch = launch.args(["--registry", "off"]);
        }
        for (name, value) in &daprd.env {
            launch = launch.env(name, resolved(value));
        }
        if let Some(config) = &daprd.config {
            std::fs::write(folder.join("config.yaml"), resolved(config)).expect("a configuration");
            launch = launch.arg("--config").arg(folder.join("config.yaml"));
        }
        if !daprd.resources.is_empty() {
            let resources = folder.join("resources");
            std::fs::create_dir_all(&resources).expect("a folder for resources");
            for (n, resource) in daprd.resources.iter().enumerate() {
                std::fs::write(resources.join(format!("{n}.yaml")), resolved(resource)).expect("a resource");
            }
            launch = launch.arg("--resources-path").arg(resources);
        }
        let port = self.http_port(&daprd.role);
        let waits_for_app = self.app.is_none() && daprd.flags.iter().any(|f| f.starts_with("--app-port"));
        let ready = if waits_for_app { Ready::Outbound(port) } else { Ready::Healthz(port) };
        self.sidecars.insert(daprd.role.clone(), launch.ready(ready).start());
    }

    fn http_port(&self, role: &str) -> u16 {
        port_of(&self.known, &format!("{{{role}_http_port}}"))
    }

    /// The address that `send.to` names.
    pub(crate) fn address(&self, to: Option<&str>) -> SocketAddr {
        match to {
            None => local(self.http_port("caller")),
            Some("caller-public") => local(port_of(&self.known, "{caller_public_port}")),
            Some(role) => local(self.http_port(role)),
        }
    }

    /// Makes the callee known to the caller, so that no case pays for the first lookup.
    pub(crate) fn warm(&self) {
        let callee = self.topology.daprds.iter().find(|d| d.role == "callee");
        if let Some(callee) = callee {
            self.call(&format!("/v1.0/invoke/{}/method/warm", callee.app_id));
        }
    }

    fn call(&self, target: &str) {
        let token = self.topology.daprds[0].env.get("DAPR_API_TOKEN");
        let headers: Vec<(&str, &str)> = token.iter().map(|t| ("dapr-api-token", t.as_str())).collect();
        client::request(self.address(None), "GET", target, &headers, b"");
        if let Some(Behind::Http(app)) = &self.app {
            app.saw(SETTLE);
        }
    }

    /// Does what a case asks for before sending.
    pub(crate) fn before(&mut self, case: &Case) {
        if case.name.contains("after-app-starts") && self.app.is_none() {
            self.start_app();
            let port = self.http_port("callee");
            self.sidecars.get_mut("callee").expect("a callee").await_state(Ready::Healthz(port));
        }
        for step in &case.before {
            if let (Some(status), Some(Behind::Http(app))) = (step.app_health, &self.app) {
                let path =
                    &self.topology.app.as_ref().and_then(|a| a.health.as_ref()).expect("a probed app").path;
                app.answer_health(path, status);
            }
            if let Some(ms) = step.wait_ms {
                sleep(Duration::from_millis(ms));
            }
            if step.start_app == Some(true) && self.app.is_none() {
                self.start_app();
            }
            if let (Some(true), Some(Behind::Http(app))) = (step.drop_app_connections, &self.app) {
                app.drop_connections();
            }
            if let Some(path) = &step.warm {
                self.script(&[], &[]);
                self.call(path);
            }
            if let Some(role) = &step.kill {
                self.sidecars.get_mut(role).expect("that sidecar").kill_family();
            }
        }
    }

    /// Scripts app and peer for a case.
    pub(crate) fn script(&self, answers: &[http::Answer], statuses: &[http::PeerAnswer]) {
        match &self.app {
            Some(Behind::Http(app)) => {
                app.script(answers.iter().map(|a| app_answer(a, &self.known)).collect())
            }
            Some(Behind::H2(app)) => app.script(answers.iter().filter_map(h2_answer).collect()),
            None => (),
        }
        if let Some(peer) = &self.peer {
            let status =
                |s: &http::PeerAnswer| Status { code: s.grpc_status, message: s.grpc_message.clone() };
            peer.script(statuses.iter().map(status).collect());
        }
    }

    /// The process ids to kill later (role by role).
    pub(crate) fn process(&self, role: &str) -> &Sidecar {
        &self.sidecars[role]
    }

    /// What reached the app since the script.
    pub(crate) fn app_saw(&self) -> Option<Saw> {
        self.app.as_ref().map(|app| match app {
            Behind::Http(app) => Saw::Http(app.saw(SETTLE)),
            Behind::H2(app) => Saw::H2(app.saw(SETTLE)),
        })
    }

    /// The app's probes and peak.
    pub(crate) fn http_app(&self) -> Option<&App> {
        match &self.app {
            Some(Behind::Http(app)) => Some(app),
            _ => None,
        }
    }

    /// The scripted peer.
    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// The roles whose process has ended; they are started again, except in topologies about ending.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        let mut ended = Vec::new();
        for daprd in &self.topology.daprds {
            if self.sidecars.get_mut(&daprd.role).expect("a sidecar").has_ended().is_some() {
                ended.push(daprd.role.clone());
            }
        }
        ended
    }

    /// Starts the sidecars of these roles again.
    pub(crate) fn restart(&mut self, roles: &[String]) {
        if roles.is_empty() {
            return;
        }
        self.script(&[], &[]);
        for daprd in self.topology.daprds.iter().filter(|d| roles.contains(&d.role)) {
            self.start(daprd);
        }
        self.warm();
    }
}

fn h2_answer(answer: &http::Answer) -> Option<h2app::Answer> {
    let h2 = answer.h2.as_ref()?;
    let reset = !h2.reset.is_null() && h2.reset != serde_json::Value::Bool(false);
    let status = if h2.status == 0 { 200 } else { h2.status };
    Some(h2app::Answer { status, headers: h2.headers.clone(), body: h2.body.clone().into(), reset })
}

fn known_tokens() -> Known {
    let names = [
        "caller_http_port",
        "caller_grpc_port",
        "caller_internal_port",
        "caller_metrics_port",
        "caller_public_port",
        "callee_http_port",
        "callee_grpc_port",
        "callee_internal_port",
        "callee_metrics_port",
        "app_port",
        "peer_port",
        "closed_port",
    ];
    let ports = port::free(names.len());
    let mut known: Known = names.iter().zip(ports).map(|(n, p)| ((*n).to_owned(), p.to_string())).collect();
    known.insert("host_ip".to_owned(), "127.0.0.1".to_owned());
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the host name");
    known.insert("hostname".to_owned(), hostname.trim().to_owned());
    known
}

fn port_of(known: &Known, token: &str) -> u16 {
    let text = resolve(token.as_bytes(), known);
    String::from_utf8_lossy(&text).parse().unwrap_or_else(|_| panic!("{token} is no port"))
}

/// The recordings' default answer, for `app_names_type`.
pub(crate) fn names_type(case: &Case, known: &Known) -> bool {
    let Some(last) = case.app.last() else { return true };
    if let Some(h2) = &last.h2 {
        return h2.headers.iter().any(|(n, v)| n == "content-type" && !v.is_empty());
    }
    let Answer { steps, .. } = app_answer(last, known);
    steps.iter().any(|step| match step {
        rig::http1::Step::Bytes(bytes) => String::from_utf8_lossy(bytes).lines().any(line_names_type),
        _ => false,
    })
}

fn line_names_type(line: &str) -> bool {
    line.split_once(':')
        .is_some_and(|(name, value)| name.eq_ignore_ascii_case("content-type") && !value.trim().is_empty())
}

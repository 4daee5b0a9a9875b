//! The same HTTP pipelines on both sides of a call give the same answers, whoever plays which part: what two real daprds
//! answer is the measure. `routeralias` stands in the API's pipeline alone: in the app's, a daprd fails every call that
//! it changes.

use crate::pair::start;
use rig::harness::{Group, Outcome, message};
use rig::http1::{Answer, App, client};
use rig::scratch::Scratch;
use rig::sidecar::{Sidecar, local};
use rig::token::{Signer, key_set};
use rig::{Program, netns, port, wait};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the first lookup of a name, and the end of a request at the app, may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is called by its path.
const METHOD: &str = "/v1.0/invoke/callee/method";

/// One pair after the other: first the measure, then what is measured.
pub(crate) struct Pipelines {
    pub(crate) ours: Program,
    pub(crate) daprd: Program,
}

impl Group for Pipelines {
    fn cases(&self) -> Vec<String> {
        self.pairs().into_iter().map(|(name, ..)| name).collect()
    }

    fn run(self: Box<Self>, chosen: &[String], tell: &mut dyn FnMut(&str, Outcome)) {
        let measure = catch_unwind(AssertUnwindSafe(|| answers(&self.daprd, &self.daprd)));
        for (name, caller, callee) in self.pairs() {
            if !chosen.contains(&name) {
                continue;
            }
            let Ok(measure) = &measure else {
                tell(&name, Outcome::Failed("two real daprds do not answer each other".into()));
                continue;
            };
            let compared = catch_unwind(AssertUnwindSafe(|| {
                for (wanted, got) in measure.iter().zip(answers(caller, callee)) {
                    assert_eq!(&got, wanted);
                }
            }));
            tell(&name, compared.map_or_else(|p| Outcome::Failed(message(p.as_ref())), |()| Outcome::Passed));
        }
    }
}

impl Pipelines {
    fn pairs(&self) -> Vec<(String, &Program, &Program)> {
        [
            ("outrigger-daprd", &self.ours, &self.daprd),
            ("daprd-outrigger", &self.daprd, &self.ours),
            ("outrigger-outrigger", &self.ours, &self.ours),
        ]
        .map(|(name, caller, callee)| (format!("{name}/pipelines"), caller, callee))
        .into()
    }
}

/// What a client sees of an answer, and the app of the request.
#[derive(Debug, PartialEq)]
struct Seen {
    asked: String,
    status: u16,
    content_type: Option<String>,
    limit: Option<String>,
    body: String,
    app: Vec<(String, String, bool)>,
}

/// Opens a pair in a namespace of its own and asks it everything.
fn answers(caller: &Program, callee: &Program) -> Vec<Seen> {
    netns::enter().expect("a network namespace");
    let (app, signer, keys) = (App::start(), Signer::p256("k"), App::start());
    keys.script(vec![Answer::text(200, &key_set(&[&signer]))]);
    let files = Scratch::new();
    files.file("config.yaml", configuration());
    files.file("resources/all.yaml", components(&format!("http://{}/", keys.address())));
    let at = |name: &str| files.path().join(name).to_string_lossy().into_owned();
    let more = [format!("--config={}", at("config.yaml")), format!("--resources-path={}", at("resources"))];
    let ports = port::free(8);
    let begin = |program, id, ports, app| start(program, id, ports, app, None, &more);
    let sidecars =
        [begin(callee, "callee", &ports[..4], Some(app.port())), begin(caller, "caller", &ports[4..], None)];
    let token = signer.token(&json!({"iss": "i", "aud": "me", "exp": seconds() + 600}));
    let good = format!("Bearer {token}");
    let warm = || {
        client::request(local(ports[4]), "GET", &format!("{METHOD}/new"), &[("Authorization", &good)], b"")
    };
    let warm = wait::within(PATIENCE, || (warm().status == 200).then_some(()));
    assert!(warm.is_some(), "the caller does not reach the callee\n{}", logs(&sidecars));
    let expired = signer.token(&json!({"iss": "i", "aud": "me", "exp": seconds() - 600}));
    let confused = signer.confused(&json!({"iss": "i", "aud": "me"}));
    let (expired, confused) = (format!("Bearer {expired}"), format!("Bearer {confused}"));
    let mut seen = Vec::new();
    for api in [ports[4], ports[0]] {
        for (method, authorization) in [
            ("/new/plain", &good),
            ("/old/7", &good),
            ("/shut", &good),
            ("/old", &good),
            ("/new", &expired),
            ("/new", &confused),
            ("/new", &"Bearer x.y.z".to_owned()),
            ("/new", &"Basic x".to_owned()),
        ] {
            seen.push(ask(&app, api, &format!("{METHOD}{method}"), authorization));
        }
        seen.push(ask(&app, api, "/short/5", &good));
        seen.push(ask(&app, api, "/short/5/6", &good));
    }
    seen
}

fn ask(app: &App, api: u16, target: &str, authorization: &str) -> Seen {
    app.script(vec![Answer::text(201, "from the app")]);
    let headers = [("Authorization", authorization), ("Content-Type", "text/plain")];
    let got = client::request(local(api), "POST", target, &headers, b"from the client");
    let saw = app.saw(PATIENCE).into_iter().map(|saw| {
        let body = String::from_utf8_lossy(&saw.body.bytes).into_owned();
        (saw.target(), body, saw.head.value("authorization").is_some())
    });
    Seen {
        asked: target.to_owned(),
        status: got.status,
        content_type: got.header("content-type"),
        limit: got.header("x-rate-limit-limit"),
        body: got.text(),
        app: saw.collect(),
    }
}

fn configuration() -> String {
    let all = |names: &[(&str, &str)]| -> Value {
        let one =
            |(name, kind): &(&str, &str)| json!({"name": name, "type": format!("middleware.http.{kind}")});
        json!({"handlers": names.iter().map(one).collect::<Vec<_>>()})
    };
    let api = all(&[("short", "routeralias"), ("rate", "ratelimit"), ("sent", "uppercase")]);
    let app = all(&[("who", "bearer"), ("open", "routerchecker"), ("answered", "uppercase")]);
    json!({"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"},
        "spec": {"httpPipeline": api, "appHttpPipeline": app}})
    .to_string()
}

fn components(keys_at: &str) -> String {
    let one = |name: &str, kind: &str, metadata: &[(&str, &str)]| {
        let metadata: Vec<Value> =
            metadata.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let spec = json!({"type": format!("middleware.http.{kind}"), "version": "v1", "metadata": metadata});
        json!({"apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": name}, "spec": spec}).to_string()
    };
    [
        one("short", "routeralias", &[("routes", &format!("{{\"/short/{{id}}\": \"{METHOD}/new\"}}"))]),
        one("rate", "ratelimit", &[("maxRequestsPerSecond", "100000")]),
        one("sent", "uppercase", &[]),
        one("who", "bearer", &[("issuer", "i"), ("audience", "me"), ("jwksURL", keys_at)]),
        one("open", "routerchecker", &[("rule", "^/new")]),
        one("answered", "uppercase", &[("direction", "response")]),
    ]
    .join("\n---\n")
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn logs(sidecars: &[Sidecar]) -> String {
    sidecars.iter().map(|s| format!("-- output of {}:\n{}\n", s.id(), s.tail())).collect()
}

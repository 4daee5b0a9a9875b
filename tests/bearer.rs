//! `middleware.http.bearer` on both sides: tokens that are taken and refused, and keys that come, change and fail.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::ca::Authority;
use rig::ground::{Ground, Member};
use rig::http1::app::{Answer, App, Saw};
use rig::http1::client::{self, Got};
use rig::sidecar::{Launch, Ready};
use rig::token::{Signer, base64url, key_set};
use rig::{port, wait};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PATIENCE: Duration = Duration::from_secs(20);
const ISSUER: &str = "http://issuer.test/";
const CALL: &str = "/v1.0/invoke/callee/method/a";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that are taken.
fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "me", "exp": now() + 600, "sub": "somebody"})
}

/// The same with one that is otherwise.
fn claims_with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

/// A server of keys: what it answers, the last answer again and again.
fn issuer(answers: &[Answer]) -> App {
    let issuer = App::start();
    issuer.script(answers.to_vec());
    issuer
}

fn keys(keys: &[&Signer]) -> Answer {
    Answer::text(200, &key_set(keys))
}

/// Keys that are to be asked for again soon.
fn short_lived(keys: &[&Signer]) -> Answer {
    let set = key_set(keys);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=1\r\n";
    Answer::bytes(format!("{head}Content-Length: {}\r\n\r\n{set}", set.len()))
}

/// One sidecar with an app; a pipeline of its API or its app checks tokens.
struct House {
    sidecar: Member,
    app: App,
    ground: Ground,
}

impl House {
    fn open(pipeline: &str, metadata: &[(&str, String)], more: impl FnOnce(Launch) -> Launch) -> House {
        let ground = Ground::new(rig::outrigger!());
        let kind = "middleware.http.bearer";
        let configuration = json!({"kind": "Configuration", "spec": {pipeline: {"handlers": [{"name": "it", "type": kind}]}}});
        ground.folder().file("config.yaml", configuration.to_string());
        let metadata: Vec<Value> =
            metadata.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let component = json!({
            "apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": "it"},
            "spec": {"type": kind, "version": "v1", "metadata": metadata}
        });
        ground.folder().file("resources/it.yaml", component.to_string());
        let at = |name: &str| ground.folder().path().join(name);
        let app = App::start();
        let launch = ground.launch("callee", Some(app.port())).arg("--config").arg(at("config.yaml"));
        let launch = launch.arg("--resources-path").arg(at("resources"));
        let sidecar = ground.take_when("callee", more(launch), Ready::Accepts);
        House { sidecar, app, ground }
    }

    /// Its app takes tokens of this issuer.
    fn of(issuer: &App) -> House {
        House::open("appHttpPipeline", &metadata(&format!("http://{}/keys", issuer.address())), |launch| {
            launch
        })
    }

    fn get(&self, target: &str, token: Option<&str>) -> Got {
        ask(self.sidecar.http, target, token)
    }

    fn status(&self, token: &str) -> u16 {
        self.get(CALL, Some(token)).status
    }

    fn await_status(&self, token: &str, status: u16) {
        let mut last = 0;
        wait::within(PATIENCE, || {
            last = self.status(token);
            (last == status).then_some(())
        });
        assert_eq!(last, status, "{}", self.sidecar.sidecar.tail());
    }

    fn await_said(&self, words: &str) {
        let said = wait::within(PATIENCE, || self.sidecar.sidecar.output().contains(words).then_some(()));
        assert!(said.is_some(), "{words}:\n{}", self.sidecar.sidecar.tail());
    }
}

fn metadata(keys_at: &str) -> [(&'static str, String); 3] {
    [("issuer", ISSUER.to_owned()), ("audience", "me".to_owned()), ("jwksURL", keys_at.to_owned())]
}

fn ask(to: SocketAddr, target: &str, token: Option<&str>) -> Got {
    let value = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = value.iter().map(|value| ("Authorization", value.as_str())).collect();
    client::request(to, "GET", target, &headers, b"")
}

fn assert_unauthorized(got: &Got, what: &str) {
    assert_eq!((got.status, got.text().as_str()), (401, "Unauthorized"), "{what}");
    assert_eq!(got.header("content-type").as_deref(), Some("text/plain; charset=utf-8"), "{what}");
}

#[test]
fn a_call_of_the_app_needs_a_token_wherever_it_comes_from() {
    let (good, other) = (Signer::p256("a"), Signer::ed25519("b"));
    let issuer = issuer(&[keys(&[&good, &other])]);
    let house = House::of(&issuer);
    let caller = house.ground.start("caller", None, &[]);
    for to in [house.sidecar.http, caller.http] {
        for token in [good.token(&claims()), other.token(&claims_with("aud", json!(["x", "me"])))] {
            let got = ask(to, CALL, Some(&token));
            assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{}", got.text());
        }
        let strangers = Signer::p256("a").token(&claims());
        let refused = [
            ("missing", None),
            ("missing", Some(String::new())),
            ("expired", Some(good.token(&claims_with("exp", now() - 301)))),
            ("early", Some(good.token(&claims_with("nbf", now() + 400)))),
            ("audience", Some(good.token(&claims_with("aud", "you")))),
            ("issuer", Some(good.token(&claims_with("iss", "http://issuer.test")))),
            ("key", Some(good.token_of(&json!({"alg": "ES256", "kid": "z"}), &claims()))),
            ("key", Some(good.token_of(&json!({"alg": "ES256"}), &claims()))),
            ("key", Some(good.token_of(&json!({"alg": "EdDSA", "kid": "a"}), &claims()))),
            ("signature", Some(strangers)),
            ("algorithm", Some(good.token_of(&json!({"alg": "none", "kid": "a"}), &claims()))),
            ("algorithm", Some(good.confused(&claims()))),
            ("malformed", Some("garbage".to_owned())),
            ("malformed", Some(format!("{}.", base64url(b"{}").repeat(2)))),
            ("malformed", Some("a".repeat(40_000))),
        ];
        let before = house.app.arrived();
        for (why, token) in refused {
            let counted = refusals(&house.sidecar, why);
            assert_unauthorized(&ask(to, CALL, token.as_deref()), why);
            assert_eq!(refusals(&house.sidecar, why), counted + 1, "{why} {token:?}");
        }
        let value = format!("Bearer {}", good.token(&claims()));
        let twice = [("Authorization", value.as_str()), ("Authorization", "Bearer other")];
        assert_unauthorized(&client::request(to, "GET", CALL, &twice, b""), "two lines");
        let large = client::request(to, "POST", CALL, &[], &vec![b'x'; 2 << 20]);
        assert_unauthorized(&large, "with a large body");
        assert_eq!(house.app.arrived(), before, "what is refused reaches nobody");
    }
    let saw = house.app.saw(PATIENCE);
    assert!(saw[0].head.value("authorization").is_some(), "the app sees the token, as with daprd");
    assert_eq!(client::get(house.sidecar.http, "/v1.0/healthz").status, 204, "it is not asked about the API");
}

/// Requests refused for that reason.
fn refusals(member: &Member, why: &str) -> u64 {
    let text = client::get(member.metrics, "/metrics").text();
    let label = format!("why=\"{why}\"");
    let line = text.lines().find(|l| l.starts_with("outrigger_refusals_total{") && l.contains(&label));
    line.and_then(|l| l.rsplit(' ').next()).and_then(|n| n.parse::<f64>().ok()).map_or(0, |n| n as u64)
}

#[test]
fn a_token_of_the_api_is_needed_for_everything_that_it_serves() {
    let signer = Signer::ed25519("a");
    let issuer = issuer(&[keys(&[&signer])]);
    let house = House::open(
        "httpPipeline",
        &metadata(&format!("http://{}/keys?of=me", issuer.address())),
        |launch| launch,
    );
    let token = signer.token(&claims());
    for target in [CALL, "/v1.0/healthz", "/v1.0/metadata", "/nothing"] {
        assert_unauthorized(&house.get(target, None), target);
        assert_ne!(house.get(target, Some(&token)).status, 401, "{target}");
    }
    assert_eq!(house.status(&token), 200);
    assert_eq!(issuer.saw(PATIENCE)[0].target(), "/keys?of=me");
}

#[test]
fn keys_are_found_by_the_issuers_description_and_redirects_are_followed() {
    let signer = Signer::p256("a");
    let server = App::start();
    let name = format!("http://{}", server.address());
    let description = json!({"issuer": name, "jwks_uri": format!("{name}/old")}).to_string();
    let moved = Answer::bytes("HTTP/1.1 302 Found\r\nLocation: /keys\r\nContent-Length: 0\r\n\r\n");
    server.script(vec![Answer::text(200, &description), moved, keys(&[&signer])]);
    let metadata = [("issuerURL", name.clone()), ("clientID", "me".to_owned())];
    let house = House::open("appHttpPipeline", &metadata, |launch| launch);
    house.await_status(&signer.token(&claims_with("iss", name)), 200);
    let asked: Vec<String> = server.saw(PATIENCE).iter().map(Saw::target).collect();
    assert_eq!(asked, ["/.well-known/openid-configuration", "/old", "/keys"]);
}

#[test]
fn a_description_of_somebody_else_gives_no_keys() {
    let signer = Signer::p256("a");
    let server = App::start();
    let name = format!("http://{}", server.address());
    let description = json!({"issuer": "http://evil", "jwks_uri": format!("{name}/keys")}).to_string();
    server.script(vec![Answer::text(200, &description), keys(&[&signer])]);
    let metadata = [("issuer", name.clone()), ("audience", "me".to_owned())];
    let house = House::open("appHttpPipeline", &metadata, |launch| launch);
    house.await_said("it describes issuer");
    let got = house.get(CALL, Some(&signer.token(&claims_with("iss", name))));
    assert_eq!(got.status, 503, "{}", got.text());
}

#[test]
fn withdrawn_keys_are_refused_and_new_ones_taken_without_a_restart() {
    let (old, new) = (Signer::p256("old"), Signer::ed25519("new"));
    let issuer = issuer(&[short_lived(&[&old])]);
    let house = House::of(&issuer);
    house.await_status(&old.token(&claims()), 200);
    assert_unauthorized(&house.get(CALL, Some(&new.token(&claims()))), "not published yet");
    issuer.script(vec![short_lived(&[&new])]);
    house.await_status(&new.token(&claims()), 200);
    assert_unauthorized(&house.get(CALL, Some(&old.token(&claims()))), "withdrawn");
}

#[test]
fn known_keys_stay_in_force_when_they_cannot_be_fetched_anew() {
    let signer = Signer::p256("a");
    let issuer = issuer(&[short_lived(&[&signer])]);
    let house = House::of(&issuer);
    house.await_status(&signer.token(&claims()), 200);
    for (answer, words) in [
        (Answer::text(500, "{}"), "the answer is 500, not 200"),
        (Answer::text(200, "{"), "no JSON Web Key Set"),
        (Answer::text(200, &" ".repeat(1_200_000)), "larger than 1048576 bytes"),
    ] {
        issuer.script(vec![answer]);
        house.await_said(words);
        house.await_said("the known ones stay in force");
        assert_eq!(house.status(&signer.token(&claims())), 200, "{words}");
    }
    issuer.script(vec![short_lived(&[])]);
    house.await_status(&signer.token(&claims()), 401);
}

#[test]
fn without_keys_nothing_passes_until_they_come() {
    let signer = Signer::p256("a");
    let port = port::one();
    let house = House::open("appHttpPipeline", &metadata(&format!("http://127.0.0.1:{port}/")), |l| l);
    house.await_said("cannot be fetched");
    let got = house.get(CALL, Some(&signer.token(&claims())));
    assert_eq!((got.status, got.text().contains("not known yet")), (503, true), "{}", got.text());
    assert_unauthorized(&house.get(CALL, None), "who shows nothing");
    assert!(refusals(&house.sidecar, "no_keys") > 0);
    let failing = |status: &Value| status["warnings"].to_string().contains("cannot be fetched");
    house.sidecar.await_status("the failure", failing);
    let issuer = App::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), None);
    issuer.script(vec![keys(&[&signer])]);
    house.await_status(&signer.token(&claims()), 200);
    house.sidecar.await_status("no failure", |status| !failing(status));
}

#[test]
fn who_serves_keys_over_tls_must_prove_its_name() {
    let (authority, signer) = (Authority::new("keys"), Signer::p256("a"));
    let tls = authority.host(&["localhost"]).server();
    let issuer = App::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(tls));
    issuer.script(vec![keys(&[&signer])]);
    let at = metadata(&format!("https://localhost:{}/", issuer.port()));
    let house = House::open("appHttpPipeline", &at, |launch| launch);
    house.await_said("cannot be fetched");
    assert_eq!(house.status(&signer.token(&claims())), 503);
    let folder = rig::scratch::Scratch::new();
    let roots = folder.file("roots.pem", authority.pem());
    let house =
        House::open("appHttpPipeline", &at, |launch| launch.env("SSL_CERT_FILE", roots.to_string_lossy()));
    house.await_status(&signer.token(&claims()), 200);
}

/// The data plane serves with what it knows while control is away, and control fetches anew when it comes back.
#[test]
fn keys_outlive_the_control_process() {
    let signer = Signer::p256("a");
    let issuer = issuer(&[keys(&[&signer])]);
    let house = House::of(&issuer);
    house.await_status(&signer.token(&claims()), 200);
    let (first, asked) = (house.sidecar.control(), issuer.arrived());
    rig::sidecar::send_signal(i32::try_from(first).unwrap(), 9);
    wait::until(PATIENCE, "keys are fetched anew", || {
        assert_eq!(house.status(&signer.token(&claims())), 200);
        issuer.arrived() > asked
    });
    house.await_status(&signer.token(&claims()), 200);
}

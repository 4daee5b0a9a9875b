//! Servers outside the mesh: HTTPEndpoint resources and literal URLs, with TLS, secrets and redirects.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::ca::{Authority, Issued};
use rig::ground::{Ground, Member};
use rig::http1::app::{Answer, App, Saw};
use rig::http1::client::{self, Got};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A sidecar without an app that has these resources.
struct House {
    ground: Ground,
    caller: Option<Member>,
}

impl House {
    fn open(resources: &str, env: &[(&str, &str)]) -> House {
        let ground = Ground::new(rig::outrigger!());
        ground.folder().file("resources/all.yaml", resources);
        let mut launch = ground.launch("caller", None);
        launch = launch.arg("--resources-path").arg(ground.folder().path().join("resources"));
        for (name, value) in env {
            launch = launch.env(name, value);
        }
        let caller = Some(ground.take("caller", launch));
        House { ground, caller }
    }

    fn get(&self, target: &str) -> Got {
        client::get(self.caller.as_ref().unwrap().http, target)
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn endpoint(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {{name: {name}}}\nspec:\n{spec}\n"
    )
}

fn indented(pem: &str) -> String {
    pem.lines().map(|line| format!("        {line}\n")).collect()
}

/// A server that lets in only who shows a certificate of `clients`.
fn demanding(own: &Issued, clients: &Authority) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.der()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(own.key.clone_key());
    Arc::new(builder.with_single_cert(vec![own.certificate.clone()], key).unwrap())
}

fn only(app: &App) -> Saw {
    let saw = app.saw(PATIENCE);
    assert_eq!(saw.len(), 1, "{saw:?}");
    saw.into_iter().next().unwrap()
}

fn header(saw: &Saw, name: &str) -> Option<String> {
    saw.head.value(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

#[test]
fn an_endpoint_has_its_own_root_certificate_and_secrets() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let app = App::start_at(loopback(), Some(demanding(&servers.host(&["localhost"]), &clients)));
    let own = clients.host(&["caller"]);
    let tls = |with_certificate: bool| {
        let own = format!(
            "    certificate:\n      value: |\n{}    privateKey:\n      value: |\n{}",
            indented(&own.certificate_pem),
            indented(&own.key_pem)
        );
        format!(
            "  baseUrl: https://localhost:{}/base\n  headers:\n  - {{name: X-Env, envRef: BANK_KEY}}\n  - \
             {{name: X-File, secretKeyRef: {{name: bank, key: bank}}}}\n  clientTLS:\n    rootCA:\n      value: |\n{}{}",
            app.port(),
            indented(&servers.pem()),
            if with_certificate { own.as_str() } else { "" }
        )
    };
    let store = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: local}\nspec:\n  type: secretstores.local.file\n  \
                 version: v1\n  metadata:\n  - {name: secretsFile, value: SECRETS}\n";
    let secrets = std::env::temp_dir().join(format!("rig-secrets-{}.json", std::process::id()));
    std::fs::write(&secrets, r#"{"bank": "from-file"}"#).unwrap();
    let resources = [
        store.replace("SECRETS", &secrets.to_string_lossy()),
        endpoint("bank", &tls(true)) + "auth: {secretStore: local}\n",
        endpoint("stranger", &tls(false)) + "auth: {secretStore: local}\n",
        endpoint("doubter", &format!("  baseUrl: https://localhost:{}", app.port())),
    ];
    let house = House::open(&resources.concat(), &[("BANK_KEY", "from-env")]);
    std::fs::remove_file(&secrets).unwrap();

    let got = house.get("/v1.0/invoke/bank/method/pay?x=1");
    assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{}", got.text());
    let saw = only(&app);
    assert_eq!(saw.target(), "/base/pay?x=1");
    assert_eq!(header(&saw, "x-env").as_deref(), Some("from-env"));
    assert_eq!(header(&saw, "x-file").as_deref(), Some("from-file"));
    let again = house.get("/v1.0/invoke/bank/method/pay");
    assert_eq!(again.status, 200);
    assert!(app.saw(PATIENCE)[1].reused, "the connection is used again");

    app.script(vec![]);
    for (name, why) in [("stranger", "certificate required"), ("doubter", "UnknownIssuer")] {
        let got = house.get(&format!("/v1.0/invoke/{name}/method/pay"));
        assert_eq!(got.status, 500);
        assert!(got.text().contains(why), "{name}: {}", got.text());
    }
    assert_eq!(app.arrived(), 0, "nothing reached the server");
    let stored = std::fs::read_dir(house.ground.folder().path().join("run/outrigger")).unwrap().flatten();
    for entry in stored.map(|entry| entry.path().join("settings.json")).filter(|file| file.exists()) {
        let settings = std::fs::read_to_string(entry).unwrap();
        assert!(!settings.contains("from-env") && !settings.contains("PRIVATE"), "no secret is stored");
    }
}

#[test]
fn a_literal_https_target_is_verified_by_the_systems_authorities_and_its_name() {
    let system = Authority::new("system");
    let app = App::start_at(loopback(), Some(system.host(&["localhost"]).server()));
    let folder = rig::scratch::Scratch::new();
    let file = folder.file("ca.pem", system.pem());
    let house = House::open("", &[("SSL_CERT_FILE", &file.to_string_lossy())]);
    let got = house.get(&format!("/v1.0/invoke/https://localhost:{}/method/a", app.port()));
    assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{}", got.text());
    let got = house.get(&format!("/v1.0/invoke/https://127.0.0.1:{}/method/a", app.port()));
    assert_eq!(got.status, 500);
    assert!(got.text().contains("certificate not valid for name"), "{}", got.text());
    assert_eq!(only(&app).target(), "/a");
}

#[test]
fn bodies_cross_tls_whole_and_a_cut_one_is_cut() {
    let system = Authority::new("system");
    let app = App::start_at(loopback(), Some(system.host(&["localhost"]).server()));
    let folder = rig::scratch::Scratch::new();
    let file = folder.file("ca.pem", system.pem());
    let house = House::open("", &[("SSL_CERT_FILE", &file.to_string_lossy())]);
    let body: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(&body);
    app.script(vec![Answer::bytes(answer)]);
    let to = house.caller.as_ref().unwrap().http;
    let target = format!("/v1.0/invoke/https://localhost:{}/method/a", app.port());
    let got = client::request(to, "POST", &target, &[], &body);
    assert_eq!(got.status, 200, "{}", got.text());
    assert!(got.body == body, "{} bytes", got.body.len());
    assert!(only(&app).body.bytes == body);

    // closed without close_notify: whether that was the end of the body, nobody can know
    let cut = Answer::steps(vec![
        rig::http1::script::Step::Bytes(b"HTTP/1.1 200 OK\r\n\r\npart".to_vec()),
        rig::http1::script::Step::End(rig::http1::script::End::Close),
    ]);
    app.script(vec![cut]);
    let got = house.get(&target);
    assert_eq!((got.status, got.text().as_str()), (200, "part"));
    assert!(got.end.starts_with("truncated"), "{}", got.end);
}

/// compat.md, redirects of external endpoints: credentials stay with the origin they were given for.
#[test]
fn a_redirect_elsewhere_takes_no_credentials_along() {
    let (here, elsewhere) = (App::start(), App::start());
    let moved = |to: String| {
        Answer::bytes(format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"))
    };
    here.script(vec![
        moved(format!("http://127.0.0.1:{}/there", elsewhere.port())),
        Answer::text(200, "back"),
    ]);
    elsewhere.script(vec![moved(format!("http://127.0.0.1:{}/back", here.port()))]);
    let spec = format!(
        "  baseUrl: http://127.0.0.1:{}\n  headers:\n  - {{name: Authorization, value: secret}}\n  - {{name: X-Key, value: secret}}",
        here.port()
    );
    let house = House::open(&endpoint("bank", &spec), &[]);
    let to = house.caller.as_ref().unwrap().http;
    let headers = [("Cookie", "secret"), ("X-Plain", "1")];
    let got = client::request(to, "GET", "/v1.0/invoke/bank/method/a", &headers, b"");
    assert_eq!((got.status, got.text().as_str()), (200, "back"), "{}", got.text());
    let (first, there) = (here.saw(PATIENCE), only(&elsewhere));
    assert_eq!(header(&first[0], "authorization").as_deref(), Some("secret"));
    for (saw, place) in [(&there, "elsewhere"), (&first[1], "after that also at home")] {
        for secret in ["authorization", "cookie", "x-key"] {
            assert_eq!(header(saw, secret), None, "{secret} {place}");
        }
        assert_eq!(header(saw, "x-plain").as_deref(), Some("1"));
    }
    assert_eq!(there.target(), "/there");

    here.script(vec![moved("ftp://127.0.0.1/x".into())]);
    let got = house.get("/v1.0/invoke/bank/method/a");
    assert_eq!(got.status, 500);
    assert!(got.text().contains("unsupported protocol scheme"), "{}", got.text());
}

#[test]
fn a_name_without_address_and_a_slow_server_do_not_stop_others() {
    let app = App::start();
    let house = House::open(&endpoint("bank", "  baseUrl: http://h"), &[]);
    let got = house.get("/v1.0/metadata");
    assert!(got.text().contains(r#","httpEndpoints":[{"name":"bank"}],"#), "{}", got.text());
    assert_eq!(got.text().matches("httpEndpoints").count(), 1, "{}", got.text());
    let got = house.get("/v1.0/invoke/http://no-such-host.invalid/method/a");
    assert_eq!(got.status, 500);
    assert!(got.text().contains("dial tcp: lookup no-such-host.invalid: no such host"), "{}", got.text());
    let got = house.get(&format!("/v1.0/invoke/http://localhost:{}/method/a", app.port()));
    assert_eq!(got.status, 200, "{}", got.text());
}

#[test]
fn a_password_in_a_literal_url_reaches_the_server_and_no_metric() {
    let app = App::start();
    let house = House::open("", &[]);
    let got = house.get(&format!("/v1.0/invoke/http://user:hidden@127.0.0.1:{}/method/a", app.port()));
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(header(&only(&app), "authorization").as_deref(), Some("Basic dXNlcjpoaWRkZW4="));
    let stored = std::fs::read_dir(house.ground.folder().path().join("run/outrigger")).unwrap().flatten();
    let settings =
        stored.filter_map(|entry| std::fs::read(entry.path().join("settings.json")).ok()).next().unwrap();
    let settings: serde_json::Value = serde_json::from_slice(&settings).unwrap();
    let port = settings["metrics"]["port"].as_u64().unwrap() as u16;
    let metrics = client::get(rig::sidecar::local(port), "/metrics").text();
    assert!(metrics.contains(&format!("dst_app_id=\"http://127.0.0.1:{}\"", app.port())), "{metrics}");
    assert!(!metrics.contains("hidden"), "{metrics}");
}

#[test]
fn a_mistake_in_an_endpoint_stops_the_start_with_its_place() {
    let ground = Ground::new(rig::outrigger!());
    let spec = "  baseUrl: http://h\n  clientTLS:\n    certificate: {value: nonsense}\n";
    ground.folder().file("resources/bank.yaml", endpoint("bank", spec));
    let launch = ground.launch("caller", None).arg("--resources-path");
    let mut sidecar = launch.arg(ground.folder().path().join("resources")).spawn();
    let ended = sidecar.ends_within(PATIENCE).expect("it does not start");
    assert_ne!(ended.code(), Some(0));
    let said = sidecar.output();
    assert!(said.contains("bank.yaml:8:18: spec.clientTLS.certificate: no PEM document"), "{said}");
}

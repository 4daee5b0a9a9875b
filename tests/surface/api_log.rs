//! The API's log (`tests/vectors/surface/log.jsonl`), and daprd's marker lines of a start and a stop.

use crate::stage::{Stage, recorded};
use rig::http1::{App, client};
use rig::wait;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// What differs from run to run, from build to build, and where an error's text is our own.
const VARIES: [&str; 4] = ["time", "ver", "instance", "duration"];

/// The recorded calls; the app answers `{}` to all but one of them.
fn call(http: SocketAddr) {
    let agent = [("User-Agent", "gv/1")];
    client::request(http, "GET", "/v1.0/invoke/gv-log/method/json?q=1", &agent, b"");
    client::get(http, "/v1.0/invoke/gv-nobody/method/x");
    client::get(http, "/nothing");
    client::request(http, "PUT", "/v1.0/metadata/k", &[], b"v");
    client::get(http, "/v1.0/metadata");
    client::get(http, "/v1.0/healthz");
}

fn lines(flags: &[&str]) -> (String, Vec<String>) {
    let app = App::start();
    let port = app.port().to_string();
    let stage = Stage::new("gv-log").args(&["--app-port", &port, "--disable-init-endpoints", "config"]);
    let (mut sidecar, http) = stage.args(flags).start();
    call(http);
    wait::until(PATIENCE, "the lines", || {
        sidecar.output().contains("SetMetadata") || sidecar.output().contains("metadata/k")
    });
    assert_eq!(sidecar.terminate().and_then(|ended| ended.code()), Some(0));
    let said = sidecar.output();
    let api = said.lines().filter(|line| line.contains("HTTP API Called")).map(str::to_owned).collect();
    (said, api)
}

/// Of the recorded line the keys, and the values that do not vary.
fn same(line: &str, recorded: &str) {
    let recorded = recorded.replace("{N}", "0");
    let (line, recorded): (Value, Value) =
        (serde_json::from_str(line).unwrap(), serde_json::from_str(&recorded).unwrap());
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&line), keys(&recorded));
    for key in keys(&recorded) {
        if !VARIES.contains(&key.as_str()) && key != "size" {
            assert_eq!(line[&key], recorded[&key], "{key} of {line}");
        }
    }
}

#[test]
fn every_call_of_the_api_has_a_line_as_json() {
    let (said, api) = lines(&["--enable-api-logging", "--log-as-json"]);
    let find = |text: &str| {
        api.iter().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {api:#?}"))
    };
    let case = recorded("log.jsonl", "log/api-json");
    for recorded in case["lines"].as_array().unwrap() {
        let recorded = recorded.as_str().unwrap();
        for method in ["GET /v1.0/invoke/gv-log/method/json", "GET /nothing", "PUT /v1.0/metadata/k"] {
            if recorded.contains(&format!("\"{method}\"")) {
                same(find(&format!("\"{method}\"")), recorded);
            }
        }
    }
    // before it was ready it may have been asked, too
    let healthy = |line: &String| line.contains("/v1.0/healthz") && line.contains("\"code\":204");
    assert!(api.iter().any(healthy), "{api:#?}");
    assert!(said.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{said}");
    for marker in MARKERS {
        assert!(said.contains(&format!("\"msg\":\"{marker}")), "{marker} in {said}");
    }
}

/// What tools look for, in order.
const MARKERS: [&str; 8] = [
    "Starting Dapr Runtime -- version ",
    "app id: gv-log",
    "HTTP server is running on port ",
    "application discovered on port ",
    "dapr initialized. Status: Running. Init Elapsed ",
    "Received signal 'terminated'; beginning shutdown",
    "Dapr runtime stopped",
    "Daprd shutdown gracefully",
];

#[test]
fn paths_and_health_checks_may_be_left_out() {
    let folder = rig::scratch::Scratch::new();
    let config = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: c\nspec:\n  logging:\n    apiLogging:\n      enabled: true\n      obfuscateURLs: true\n      omitHealthChecks: true\n";
    let file = folder.file("config.yaml", config);
    let (said, api) = lines(&["--config", file.to_str().unwrap()]);
    let methods: Vec<&str> =
        api.iter().map(|line| line.split(" method=").nth(1).unwrap().split(' ').next().unwrap()).collect();
    assert_eq!(
        methods,
        ["InvokeService/gv-log", "InvokeService/gv-nobody", "InvokeService", "SetMetadata", "GetMetadata"],
        "{said}"
    );
    let mut at = 0;
    for marker in MARKERS {
        let found = said[at..].find(&format!("msg=\"{marker}"));
        at += found.unwrap_or_else(|| panic!("{marker} after {} in {said}", &said[..at]));
    }
}

#[test]
fn without_the_flag_there_are_no_lines() {
    let app = App::start();
    let port = app.port().to_string();
    let (mut sidecar, http) = Stage::new("gv-log").args(&["--app-port", &port]).start();
    call(http);
    sidecar.terminate();
    assert!(!sidecar.output().contains("HTTP API Called"));
}

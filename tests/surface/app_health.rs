//! Health checks of the app (`tests/vectors/surface/app-health.jsonl`), and what it is asked at the start.

use crate::stage::{Stage, recorded};
use rig::http1::{App, client};
use rig::sidecar::local;
use rig::wait;
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn an_app_that_fails_its_probes_is_not_called_until_it_recovers() {
    let app = App::start_at(local(0), None);
    app.answer_health("/healthz", 200);
    let port = app.address().port().to_string();
    let flags = ["--app-port", &port, "--enable-app-health-check"];
    let timing = ["--app-health-probe-interval", "1", "--app-health-threshold", "2"];
    let (sidecar, http) = Stage::new("gv-h").args(&flags).args(&timing).start();
    let call = || client::get(http, "/v1.0/invoke/gv-h/method/x");
    wait::until(PATIENCE, "the first probe", || call().status == 200);
    let case = recorded("app-health.jsonl", "app-health/http");
    app.answer_health("/healthz", 503);
    wait::until(PATIENCE, "a refusal", || call().status != 200);
    let (got, refused) = (call(), &case["steps"][1]["self_call"]);
    assert_eq!(
        (Value::from(got.status), got.text().into()),
        (refused["status"].clone(), refused["body"]["text"].clone())
    );
    assert_eq!(client::get(http, "/v1.0/healthz").status, 204);
    let health = &client::get(http, "/v1.0/metadata").text();
    let told = r#""health":{"healthCheckPath":"/healthz","healthProbeInterval":"1s","healthProbeTimeout":"500ms","healthThreshold":2}"#;
    assert!(health.contains(told), "{health}");
    app.answer_health("/healthz", 204);
    wait::until(PATIENCE, "calls again", || call().status == 200);
    let said = sidecar.output();
    for line in case["log"].as_array().unwrap() {
        let message = line.as_str().unwrap().split("msg=").nth(1).unwrap().split(" app_id").next().unwrap();
        assert!(said.contains(message), "{message} in {said}");
    }
}

#[test]
fn the_app_is_asked_for_its_configuration_once_with_its_token() {
    let app = App::start_at(local(0), None);
    app.script(Vec::new());
    let port = app.address().port().to_string();
    let stage = Stage::new("gv-e1").args(&["--app-port", &port]);
    let stage = Stage { launch: stage.launch.env("APP_API_TOKEN", "apptok"), ..stage };
    let (_sidecar, _http) = stage.start();
    let saw = app.saw(Duration::from_secs(1));
    let case = recorded("other.jsonl", "app-start/config-probe");
    let wanted = &case["app_saw"][0];
    assert_eq!(saw.len(), 1, "{saw:?}");
    assert_eq!(wanted["line"], format!("{} {} HTTP/1.1", saw[0].method(), saw[0].target()));
    for name in ["Content-Type", "Dapr-Api-Token", "Dapr-App-Id"] {
        let header = wanted["headers"].as_array().unwrap().iter().find(|h| h[0] == name).unwrap();
        assert_eq!(saw[0].head.value(name), header[1].as_str().map(str::as_bytes), "{name}");
    }
}

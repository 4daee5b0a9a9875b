//! The end that the API was asked for.

use crate::stage::{Stage, recorded};
use rig::echo::Echo;
use rig::http1::{App, client};
use rig::sidecar::{Sidecar, local};
use rig::wait;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn shut_down(headers: &[(&str, &str)]) -> Option<i32> {
    let (mut sidecar, http) = Stage::new("gv-exit").start();
    let answer = client::request(http, "POST", "/v1.0/shutdown", headers, b"");
    assert_eq!(answer.status, 204);
    let ended = sidecar.ends_within(PATIENCE).expect("it ends");
    ended.code()
}

#[test]
fn the_api_ends_the_sidecar_in_peace() {
    assert_eq!(shut_down(&[]), Some(0));
}

#[test]
fn the_api_may_force_the_end() {
    let case = recorded("exit.jsonl", "exit/shutdown-api-force");
    let code = shut_down(&[("dapr-force-shutdown", "true")]);
    assert_eq!(code.map(i64::from), case["exit_code"].as_i64());
}

const TERM: i32 = 15;

fn healthz(http: SocketAddr) -> (Option<u16>, String) {
    let got = client::get(http, "/v1.0/healthz");
    (Some(got.status), got.text())
}

/// A sidecar whose app has a call that ends when the app lets go.
fn with_a_call(flags: &[&str]) -> (Sidecar, SocketAddr, Echo, JoinHandle<u16>) {
    let app = Echo::start("gv-h");
    let (sidecar, http) =
        Stage::new("gv-h").args(&["--app-port", &app.port().to_string()]).args(flags).start();
    let call = thread::spawn(move || client::get(http, "/v1.0/invoke/gv-h/method/slow").status);
    wait::until(PATIENCE, "the call at the app", || app.held() == 1);
    (sidecar, http, app, call)
}

#[test]
fn while_it_leaves_it_is_not_ready_but_calls_out_and_shows_itself() {
    let (mut sidecar, http, app, call) = with_a_call(&["--dapr-graceful-shutdown-seconds", "30"]);
    let case = recorded("healthz.jsonl", "healthz/shutdown-in-flight");
    sidecar.signal(TERM);
    let not_ready = &case["sequence"]["/v1.0/healthz"][0];
    wait::until(PATIENCE, "not ready", || healthz(http).0 == Some(500));
    assert_eq!(healthz(http).1, not_ready[1].as_str().unwrap());
    assert_eq!(client::get(http, "/v1.0/healthz/outbound").status, 204);
    assert_eq!(client::get(http, "/v1.0/metadata").status, 200);
    app.let_go();
    assert_eq!(call.join().unwrap(), 200);
    assert_eq!(sidecar.ends_within(PATIENCE).and_then(|ended| ended.code()), Some(0));
}

/// The supervisor hears a moment later than others that the sidecar is ready; a signal before ends a start at once.
fn has_started(sidecar: &Sidecar) {
    let marker = "dapr initialized. Status: Running";
    wait::until(PATIENCE, "the marker line", || sidecar.output().contains(marker));
}

#[test]
fn a_signal_may_only_be_noted_for_a_while() {
    let (mut sidecar, http) = Stage::new("gv-h").args(&["--dapr-block-shutdown-duration", "2s"]).start();
    has_started(&sidecar);
    sidecar.signal(TERM);
    let blocking = "Blocking graceful shutdown for 2s or until app reports unhealthy...";
    wait::until(PATIENCE, "the block", || sidecar.output().contains(blocking));
    assert_eq!(healthz(http).0, Some(204));
    assert_eq!(sidecar.ends_within(PATIENCE).and_then(|ended| ended.code()), Some(0));
    assert!(sidecar.output().contains("Block shutdown period expired, entering shutdown..."));
}

#[test]
fn a_noted_signal_counts_once_the_app_is_unhealthy() {
    let app = App::start_at(local(0), None);
    app.answer_health("/healthz", 200);
    let port = app.address().port().to_string();
    let flags = ["--app-port", &port, "--enable-app-health-check", "--app-health-threshold", "1"];
    let timing = ["--app-health-probe-interval", "1", "--dapr-block-shutdown-duration", "600s"];
    let (mut sidecar, http) = Stage::new("gv-h").args(&flags).args(&timing).start();
    let call = || client::get(http, "/v1.0/invoke/gv-h/method/x").status;
    wait::until(PATIENCE, "the first probe", || call() == 200);
    has_started(&sidecar);
    sidecar.signal(TERM);
    wait::until(PATIENCE, "the block", || {
        sidecar.output().contains("Blocking graceful shutdown for 10m0s or")
    });
    assert_eq!((healthz(http).0, call()), (Some(204), 200), "everything is served meanwhile");
    app.answer_health("/healthz", 500);
    assert_eq!(sidecar.ends_within(PATIENCE).and_then(|ended| ended.code()), Some(0));
    assert!(sidecar.output().contains("App reported unhealthy, entering shutdown..."));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut sidecar, http, _app, call) = with_a_call(&["--dapr-graceful-shutdown-seconds", "600"]);
    sidecar.signal(TERM);
    wait::until(PATIENCE, "not ready", || healthz(http).0 == Some(500));
    sidecar.signal(TERM);
    assert_eq!(sidecar.ends_within(PATIENCE).and_then(|ended| ended.code()), Some(1));
    let _ = call.join(); // it was cut off
}

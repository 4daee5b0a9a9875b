//! The end that the API was asked for.

use crate::stage::{Stage, recorded};
use rig::http1::client;
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

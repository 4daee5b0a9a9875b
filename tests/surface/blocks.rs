//! Bodies that a building block could not read, told before the block is missed: the same from us as from a real daprd,
//! which is asked too where there is one.

use crate::stage::Stage;
use rig::http1::client;
use rig::sidecar::{Launch, Ready, Sidecar, local};
use rig::{Program, port, program};
use serde_json::Value;
use std::net::SocketAddr;

const MALFORMED: (u64, &str) = (400, "ERR_MALFORMED_REQUEST");

/// Verb, path, body, and what answers: status and code.
const CASES: [(&str, &str, &str, (u64, &str)); 44] = [
    ("POST", "/v1.0-alpha1/lock/l", "{", MALFORMED),
    ("POST", "/v1.0-alpha1/lock/l", "", MALFORMED),
    ("POST", "/v1.0-alpha1/lock/l", "null", MALFORMED),
    ("POST", "/v1.0-alpha1/lock/l", "{\"expiryInSeconds\":\"x\"}", MALFORMED),
    ("POST", "/v1.0-alpha1/lock/l", "{\"expiryInSeconds\":1.5}", MALFORMED),
    ("POST", "/v1.0-alpha1/lock/l", "{\"expiryInSeconds\":-1}", MALFORMED),
    ("POST", "/v1.0-alpha1/lock/l", "{\"expiryInSeconds\":5,\"expiryInSeconds\":6}", MALFORMED),
    ("POST", "/v1.0-alpha1/lock/l", "{\"expiryInSeconds\":\"5\"}", (500, "ERR_LOCK_STORE_NOT_CONFIGURED")),
    ("POST", "/v1.0-alpha1/lock/l", "{\"expiry_in_seconds\":5.0}", (500, "ERR_LOCK_STORE_NOT_CONFIGURED")),
    ("POST", "/v1.0-alpha1/unlock/l", "[]", MALFORMED),
    ("POST", "/v1.0-alpha1/unlock/l", "{\"resourceId\":5}", MALFORMED),
    ("POST", "/v1.0-alpha1/unlock/l", "", (500, "ERR_LOCK_STORE_NOT_CONFIGURED")),
    ("POST", "/v1.0/bindings/b", "", MALFORMED),
    ("POST", "/v1.0/bindings/b", "{", MALFORMED),
    ("POST", "/v1.0/bindings/b", "[]", MALFORMED),
    ("POST", "/v1.0/bindings/b", "{\"operation\":5}", MALFORMED),
    ("POST", "/v1.0/bindings/b", "{\"metadata\":5}", MALFORMED),
    ("POST", "/v1.0/bindings/b", "null", (500, "ERR_INVOKE_OUTPUT_BINDING")),
    ("POST", "/v1.0/bindings/b", "{\"Operation\":\"x\"} x", (500, "ERR_INVOKE_OUTPUT_BINDING")),
    ("POST", "/v1.0-alpha1/jobs/j", "{", MALFORMED),
    ("POST", "/v1.0-alpha1/jobs/j", "{} x", MALFORMED),
    ("POST", "/v1.0-alpha1/jobs/j", "{\"repeats\":-1}", MALFORMED),
    ("POST", "/v1.0-alpha1/jobs/j", "{\"overwrite\":1}", MALFORMED),
    ("POST", "/v1.0-alpha1/jobs/j", "", (400, "DAPR_SCHEDULER_SCHEDULE_EMPTY")),
    ("POST", "/v1.0-alpha1/jobs/j", "{\"schedule\":null}", (400, "DAPR_SCHEDULER_SCHEDULE_EMPTY")),
    ("POST", "/v1.0-alpha1/jobs/j", "{\"due_time\":\"\"}", (500, "DAPR_SCHEDULER_SCHEDULE_JOB")),
    ("POST", "/v1.0-alpha1/jobs/j", "{\"name\":\"n\"}", (400, "DAPR_SCHEDULER_JOB_NAME")),
    ("DELETE", "/v1.0-alpha1/jobs/j", "{", (500, "DAPR_SCHEDULER_DELETE_JOB")),
    ("POST", "/v1.0-alpha1/conversation/c/converse", "{", MALFORMED),
    ("POST", "/v1.0-alpha2/conversation/c/converse", "{\"temperature\":\"x\"}", MALFORMED),
    ("POST", "/v1.0-alpha1/conversation/c/converse", "", (400, "ERR_CONVERSATION_NOT_FOUND")),
    ("POST", "/v1.0-alpha1/subtlecrypto/c/encrypt", "5", MALFORMED),
    ("POST", "/v1.0-alpha1/subtlecrypto/c/encrypt", "", (501, "ERR_API_UNIMPLEMENTED")),
    ("PUT", "/v1.0-alpha1/crypto/c/encrypt", "{", (500, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED")),
    ("POST", "/v1.0/state/s", "{", (500, "ERR_STATE_STORE_NOT_CONFIGURED")),
    ("POST", "/v1.0/publish/p/t", "{", (404, "ERR_PUBSUB_NOT_FOUND")),
    ("PUT", "/v1.0/actors/t/i/state", "{}", MALFORMED),
    ("POST", "/v1.0/actors/t/i/state", "[]", (400, "ERR_ACTOR_NO_PLACEMENT")),
    ("POST", "/v1.0/actors/t/i/reminders/r", "{\"dueTime\":5}", MALFORMED),
    ("DELETE", "/v1.0/actors/t/i/timers/r", "{", MALFORMED),
    ("POST", "/v1.0/actors/t/i/method/m", "{", (400, "ERR_ACTOR_NO_PLACEMENT")),
    ("POST", "/v1.0/workflows/dapr/i/pause", "{", MALFORMED),
    ("POST", "/v1.0/workflows/dapr/i/terminate", "", (400, "ERR_ACTOR_NO_PLACEMENT")),
    ("POST", "/v1.0-beta1/workflows/dapr/w/start", "{", (400, "ERR_ACTOR_NO_PLACEMENT")),
];

fn asked(http: SocketAddr) {
    for (verb, path, body, (status, code)) in CASES {
        let got = client::request(http, verb, path, &[("Content-Type", "application/json")], body.as_bytes());
        let told: Value = serde_json::from_str(&got.text()).unwrap_or_default();
        assert_eq!(
            (u64::from(got.status), told["errorCode"].as_str()),
            (status, Some(code)),
            "{verb} {path} {body:?}: {}",
            got.text()
        );
        let message = told["message"].as_str().unwrap_or_default();
        let unread = code == MALFORMED.1 && !message.starts_with("ExpiryInSeconds is not positive");
        assert_eq!(
            message.starts_with("failed deserializing HTTP body: "),
            unread,
            "{path} {body:?}: {message}"
        );
    }
}

#[test]
fn a_body_that_cannot_be_read_is_told_before_the_block_is_missed() {
    let (_sidecar, http) = Stage::new("gv-blocks").start();
    asked(http);
}

#[test]
fn a_real_daprd_answers_alike() {
    let Some(daprd) = Program::daprd() else {
        return program::skipped_without_peers("what building blocks answer");
    };
    let (_sidecar, http) = real(&daprd);
    asked(http);
}

fn real(daprd: &Program) -> (Sidecar, SocketAddr) {
    let ports = port::free(4);
    let launch = Launch::daprd(daprd)
        .args(["--app-id", "gv-blocks", "--dapr-listen-addresses", "127.0.0.1"])
        .args([format!("--dapr-http-port={}", ports[0]), format!("--dapr-grpc-port={}", ports[1])])
        .args([format!("--dapr-internal-grpc-port={}", ports[2]), format!("--metrics-port={}", ports[3])]);
    (launch.ready(Ready::Healthz(ports[0])).start(), local(ports[0]))
}

//! `GET /v1.0/healthz` and `GET /v1.0/healthz/outbound` (spec/invocation 5.1, corrections 15 and 32).

use super::own::Own;
use crate::shard::{Shard, View};
use std::sync::atomic::Ordering::Relaxed;

/// `GET /v1.0/healthz`.
pub(super) fn health(shard: &Shard, view: &View, query: &str) -> Own<'static> {
    let missing = not_ready(shard, view);
    if !missing.is_empty() {
        let text = format!("dapr is not ready: [{}]", missing.join(" "));
        return Own::error(500, "ERR_HEALTH_NOT_READY", &text);
    }
    let asked = query.split('&').find_map(|pair| match pair.split_once('=') {
        Some(("appid", id)) => Some(id),
        None if pair == "appid" => Some(""),
        _ => None,
    });
    if asked.is_some_and(|id| id != view.snapshot.workload.app_id) {
        return Own::error(500, "ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match");
    }
    Own::empty(204)
}

/// daprd's names of what is not ready.
fn not_ready(shard: &Shard, view: &View) -> Vec<&'static str> {
    let common = &shard.common;
    let mut missing = Vec::new();
    if common.leaving.load(Relaxed) {
        missing.extend(["grpc-api-server", "grpc-internal-server"]);
    }
    let unproven =
        view.snapshot.workload.mtls && !view.identity.as_ref().is_some_and(|id| is_valid(id.not_after()));
    if unproven || common.leaving.load(Relaxed) {
        missing.push("security-provider");
    }
    if !common.configured.load(Relaxed) || !common.app_ready.load(Relaxed) {
        missing.push("runtime");
    }
    missing
}

fn is_valid(not_after: i64) -> bool {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).is_ok_and(|now| now < not_after)
}

/// `GET /v1.0/healthz/outbound`: calls go out until the end (vector healthz/shutdown-in-flight).
pub(super) fn outbound_health(shard: &Shard) -> Own<'static> {
    if shard.common.configured.load(Relaxed) {
        return Own::empty(204);
    }
    Own::error(500, "ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready")
}

/// Nothing is known of the token that a client must show, or of the own namespace.
pub(super) fn uninformed() -> Own<'static> {
    let text = "dapr is not ready: the control process has sent no settings yet";
    Own { closes: true, ..Own::error(500, "ERR_HEALTH_NOT_READY", text) }
}

//! Which request is an invocation, and what the sidecar answers itself (spec/invocation 1.2, 1.3, 5.1).

use super::{Surface, metadata};
use crate::proxy::Reply;
use crate::shard::{Shard, View};
use proto::http1::head::Request;
use proto::http1::names::Known;
use proto::invoke::method;
use proto::invoke::target::{self, Path};
use std::sync::atomic::Ordering::Relaxed;

/// Where a request goes.
pub(super) enum Route {
    /// To another app.
    Invoke,
    /// Nowhere: the sidecar answers.
    Answer(Own),
}

/// An answer of the sidecar's own.
pub(super) struct Own {
    pub(super) status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    /// The connection ends with it.
    pub(super) closes: bool,
    /// It tells the request's trace context.
    pub(super) traced: bool,
}

impl Own {
    fn empty(status: u16) -> Own {
        Own { status, content_type: "", body: Vec::new(), closes: false, traced: false }
    }

    fn json(status: u16, body: impl Into<Vec<u8>>) -> Own {
        Own { status, content_type: "application/json", body: body.into(), closes: false, traced: false }
    }

    fn text(status: u16, body: impl Into<Vec<u8>>) -> Own {
        Own {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
            closes: false,
            traced: false,
        }
    }

    pub(super) fn reply(&self) -> Reply<'_> {
        let text = self.content_type.starts_with("text/");
        let extra: &[(&str, &[u8])] = if text { &[("X-Content-Type-Options", b"nosniff")] } else { &[] };
        Reply { status: self.status, content_type: self.content_type, body: &self.body, extra }
    }
}

/// The building blocks that daprd has and this sidecar has not (spec/invocation 5.6): they win over `dapr-app-id`.
const NOT_SERVED: [&str; 16] = [
    "actors",
    "bindings",
    "configuration",
    "conversation",
    "crypto",
    "jobs",
    "lock",
    "publish",
    "reminders",
    "secrets",
    "shutdown",
    "state",
    "subscribe",
    "subtlecrypto",
    "unlock",
    "workflows",
];

/// Decides about a request.
pub(super) fn route(
    shard: &Shard,
    view: &View,
    request: &Request<'_, '_>,
    path: &Path<'_>,
    surface: Surface,
) -> Route {
    if request.expects_the_unknown() {
        return Route::Answer(Own { closes: true, ..Own::empty(417) });
    }
    if request.method == "OPTIONS" && path.raw == "*" {
        return Route::Answer(Own::empty(200));
    }
    if let Some(refused) = bad_baggage(view, request) {
        return Route::Answer(refused);
    }
    let exempt = request.method == "GET"
        && matches!(path.raw.trim_matches('/'), "v1.0/healthz" | "v1.0/healthz/outbound");
    if surface == Surface::Api && !exempt && !has_token(view, request) {
        let traced = view.snapshot.api.tracing && !path.raw.contains("/healthz");
        return Route::Answer(Own { traced, ..Own::text(401, "invalid api token\n") });
    }
    by_path(shard, view, request, path, surface)
}

fn by_path(
    shard: &Shard,
    view: &View,
    request: &Request<'_, '_>,
    path: &Path<'_>,
    surface: Surface,
) -> Route {
    if surface == Surface::Api && target::is_invocation(path.raw) {
        return Route::Invoke; // whatever its dot segments lead to
    }
    let cleaned = method::clean(path.raw);
    let get = request.method == "GET";
    match cleaned.strip_prefix("/v1.0/") {
        Some("healthz") if get => Route::Answer(health(shard, view, path.query)),
        Some("healthz/outbound") if get => Route::Answer(outbound_health(shard)),
        Some("metadata") if get => Route::Answer(Own::json(200, metadata::show(view))),
        _ if surface == Surface::Public => Route::Answer(Own::text(404, "404 page not found\n")),
        Some(rest) if NOT_SERVED.contains(&rest.split('/').next().unwrap_or_default()) => {
            let text = "{\"errorCode\":\"ERR_API_UNIMPLEMENTED\",\"message\":\"this API is not served by this sidecar\"}";
            Route::Answer(Own::json(404, text))
        }
        _ => Route::Invoke,
    }
}

/// With tracing on, a malformed `baggage` is answered before anything else (spec/invocation 1.18).
fn bad_baggage(view: &View, request: &Request<'_, '_>) -> Option<Own> {
    if !view.snapshot.api.tracing || !request.headers.has(Known::Baggage) {
        return None;
    }
    let error = proto::trace::baggage::check(request.headers.all(Known::Baggage)).err()?;
    Some(Own::text(400, format!("{error}\n")))
}

/// Whether the request carries the API token, where one is demanded. Takes the same time for every wrong token of one
/// length.
fn has_token(view: &View, request: &Request<'_, '_>) -> bool {
    let Some(token) = view.snapshot.api.token.as_deref().filter(|token| !token.is_empty()) else {
        return true;
    };
    let given = request.headers.first(Known::DaprApiToken).unwrap_or_default();
    let differs = given.iter().zip(token.as_bytes()).fold(0, |acc, (a, b)| acc | (a ^ b));
    std::hint::black_box(differs) == 0 && given.len() == token.len()
}

/// What is answered at once, snapshot or not.
pub(super) fn is_about_health(path: &str) -> bool {
    !target::is_invocation(path)
        && matches!(&*method::clean(path), "/v1.0/healthz" | "/v1.0/healthz/outbound")
}

/// Nothing is known of the token that a client must show, or of the own namespace.
pub(super) fn uninformed() -> Own {
    let text = "{\"errorCode\":\"ERR_HEALTH_NOT_READY\",\"message\":\"dapr is not ready: the control process has sent no settings yet\"}";
    Own { closes: true, ..Own::json(500, text) }
}

/// `GET /v1.0/healthz` (spec/invocation 5.1, corrections 15).
fn health(shard: &Shard, view: &View, query: &str) -> Own {
    let missing = not_ready(shard, view);
    if !missing.is_empty() {
        let text = format!(
            "{{\"errorCode\":\"ERR_HEALTH_NOT_READY\",\"message\":\"dapr is not ready: [{}]\"}}",
            missing.join(" ")
        );
        return Own::json(500, text);
    }
    let asked = query.split('&').find_map(|pair| match pair.split_once('=') {
        Some(("appid", id)) => Some(id),
        None if pair == "appid" => Some(""),
        _ => None,
    });
    if asked.is_some_and(|id| id != view.snapshot.workload.app_id) {
        let text =
            "{\"errorCode\":\"ERR_HEALTH_APPID_NOT_MATCH\",\"message\":\"dapr app-id does not match\"}";
        return Own::json(500, text);
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

/// `GET /v1.0/healthz/outbound`.
fn outbound_health(shard: &Shard) -> Own {
    if shard.common.configured.load(Relaxed) && !shard.common.leaving.load(Relaxed) {
        return Own::empty(204);
    }
    let text = "{\"errorCode\":\"ERR_OUTBOUND_HEALTH_NOT_READY\",\"message\":\"dapr outbound is not ready\"}";
    Own::json(500, text)
}

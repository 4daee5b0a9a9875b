//! Which request is an invocation, and which one the sidecar answers itself (spec/invocation 1.2, 1.3, 5, 7.2).

use super::ask::Ask;
use super::health::{health, outbound_health};
use super::metadata;
use super::own::{Own, Then};
use super::profile;
use crate::shard::{Shard, View};
use proto::api::cors::Preflight;
use proto::api::routes::{self, Does, Found, Scope};
use proto::http1::head::Request;
use proto::http1::names::Known;
use proto::invoke::target::{self, Path};
use proto::invoke::{escape, method};
use std::borrow::Cow;

/// Where a request goes.
pub(super) enum Route<'r> {
    /// To another app.
    Invoke,
    /// Nowhere: the sidecar answers.
    Answer(Own<'r>),
    /// The sidecar answers when it has read the body.
    Ask(Ask<'r>),
}

/// What is answered before anything looks at what is called.
pub(super) fn refused<'r>(
    view: &View,
    request: &Request<'_, 'r>,
    path: &Path<'r>,
    scope: Scope,
) -> Option<Own<'r>> {
    if request.expects_the_unknown() {
        return Some(Own { closes: true, unlogged: true, ..Own::empty(417) });
    }
    if request.method == "OPTIONS" && path.raw == "*" {
        return Some(Own { unlogged: true, ..Own::empty(200) });
    }
    if let Some(refused) = bad_baggage(view, request) {
        return Some(Own { unlogged: true, ..refused });
    }
    if scope == Scope::Api {
        if let Some(answer) = preflight(view, request) {
            return Some(Own { traced: true, unlogged: true, ..answer });
        }
        if !is_exempt(request.method, path.raw) && !has_token(view, request) {
            let own = Own::text(401, "invalid api token\n");
            return Some(Own { traced: true, unlogged: true, ..own });
        }
    }
    None
}

/// Decides about a request.
pub(super) fn route<'r>(
    shard: &Shard,
    view: &View,
    request: &Request<'_, 'r>,
    path: &Path<'r>,
    scope: Scope,
) -> Route<'r> {
    if scope == Scope::Profile {
        return profile::route(request, path);
    }
    match by_path(shard, view, request, path, scope) {
        Route::Answer(own) => Route::Answer(Own { traced: true, ..own }),
        other => other,
    }
}

fn by_path<'r>(
    shard: &Shard,
    view: &View,
    request: &Request<'_, 'r>,
    path: &Path<'r>,
    scope: Scope,
) -> Route<'r> {
    let rules = &view.snapshot.api.rules;
    let invoke = routes::has_invoke(rules, scope);
    if scope == Scope::Api && target::is_invocation(path.raw) {
        return if invoke { Route::Invoke } else { Route::Answer(not_found()) }; // whatever its dot segments lead to
    }
    let cleaned = method::clean(path.raw);
    match routes::find(rules, scope, request.method, &cleaned) {
        Found::Route { does, name } => answer(shard, view, request, path, does, name),
        _ if invoke => Route::Invoke,
        Found::OtherVerb(verb) => {
            Route::Answer(Own { lines: vec![("Allow", verb.as_bytes())], ..Own::empty(405) })
        }
        Found::Nothing => Route::Answer(not_found()),
    }
}

/// Go's router speaks so where invocation does not take what is left over.
pub(super) fn not_found() -> Own<'static> {
    Own::text(404, "404 page not found\n")
}

fn answer<'r>(
    shard: &Shard,
    view: &View,
    request: &Request<'_, 'r>,
    path: &Path<'r>,
    does: Does,
    name: &str,
) -> Route<'r> {
    let name = || String::from_utf8_lossy(&escape::decode(name, true).unwrap_or_default()).into_owned();
    match does {
        Does::Health => Route::Answer(health(shard, view, path.query)),
        Does::OutboundHealth => Route::Answer(outbound_health(shard)),
        Does::Metadata => Route::Answer(Own::json(200, metadata::show(shard, view))),
        Does::Shutdown => Route::Answer(shutdown(request)),
        Does::PutMetadata => Route::Ask(Ask::PutMetadata { key: name() }),
        Does::Block(block) => Route::Ask(Ask::Block { block, verb: request.method, name: name() }),
    }
}

/// `POST /v1.0/shutdown` (spec/invocation 5.5).
fn shutdown(request: &Request<'_, '_>) -> Own<'static> {
    let forced = request.headers.iter().any(|line| {
        line.name.eq_ignore_ascii_case("dapr-force-shutdown") && line.value.eq_ignore_ascii_case(b"true")
    });
    if forced {
        return Own { then: Then::End, ..Own::empty(204) };
    }
    Own { then: Then::Leave, closes: true, ..Own::empty(204) }
}

/// With tracing on, a malformed `baggage` is answered before anything else (spec/invocation 1.18).
fn bad_baggage(view: &View, request: &Request<'_, '_>) -> Option<Own<'static>> {
    if !view.snapshot.api.tracing || !request.headers.has(Known::Baggage) {
        return None;
    }
    let error = proto::trace::baggage::check(request.headers.all(Known::Baggage)).err()?;
    Some(Own::text(400, format!("{error}\n")))
}

/// A browser asks before it lets a script send a request: no token is needed, no app is called.
fn preflight<'r>(view: &View, request: &Request<'_, 'r>) -> Option<Own<'r>> {
    let origins = &view.snapshot.api.origins;
    if !origins.is_on() || !is_preflight(request) {
        return None;
    }
    let first = |name| request.headers.named(name).next();
    let verb = first(ASKED_VERB)?;
    let asked = Preflight { origin: first("origin"), verb, headers: first("access-control-request-headers") };
    Some(Own { lines: origins.preflight(&asked), ..Own::empty(200) })
}

const ASKED_VERB: &str = "access-control-request-method";

/// Whether a browser asks what a script may do, where CORS is the sidecar's affair.
pub(super) fn is_preflight(request: &Request<'_, '_>) -> bool {
    request.method == "OPTIONS"
        && request.headers.named(ASKED_VERB).next().is_some_and(|verb| !verb.is_empty())
}

/// What is answered without a token: only the plain spellings, which no router reads as anything else.
fn is_exempt(verb: &str, path: &str) -> bool {
    verb == "GET" && matches!(path.trim_matches('/'), "v1.0/healthz" | "v1.0/healthz/outbound")
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
    let cleaned: Cow<'_, str> = method::clean(path);
    !target::is_invocation(path) && matches!(&*cleaned, "/v1.0/healthz" | "/v1.0/healthz/outbound")
}

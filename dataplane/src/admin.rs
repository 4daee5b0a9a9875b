//! The HTTP API of one client connection: which request is an invocation, and what the sidecar answers itself.
//!
//! Order as in daprd (spec/invocation 1.2): routing by the cleaned path, baggage, API token, then the handler. Nothing
//! before routing rewrites a path into another API.

mod metadata;

use crate::http1::server::{After, Body, Connection, HEAD_TIME, settle};
use crate::http1::sink::Sink;
use crate::http1::source::NoHead;
use crate::metrics::{Level, Record, Side};
use crate::proxy::{self, Reply, asked, date, reply};
use crate::rt::{self, Stream};
use crate::shard::{Shard, View, now};
use proto::http1::head::{Head, Limits, Request, Slots};
use proto::http1::names::Known;
use proto::http1::refusal::HeadError;
use proto::invoke::target::{self, Path};
use proto::invoke::{escape, method};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

/// How long a request waits for the first snapshot: a data plane that was started again is connected to before it knows
/// whom it serves.
const FIRST_SNAPSHOT_TIME: Duration = Duration::from_secs(5);

/// Which routes a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// All.
    Api,
    /// `--dapr-public-port`: healthz and metadata.
    Public,
}

/// Serves a client's connection to its end.
pub(crate) async fn serve(shard: Rc<Shard>, stream: Stream, surface: Surface) {
    let _open = shard.metrics.hold(Level::ClientConnections);
    let mut connection = Connection::new(stream);
    let mut after = After::Next;
    while after == After::Next && next_head(&shard, &mut connection).await {
        after = exchange(&shard, &mut connection, surface).await;
    }
    connection.end(after);
}

/// Waits for a request; `false` when there is none or connections are to end.
async fn next_head(shard: &Shard, connection: &mut Connection) -> bool {
    let max_head = shard.view().snapshot.limits.max_head;
    let mut head = pin!(connection.next_head(max_head, rt::now()));
    let mut drained = pin!(shard.drained());
    let came = poll_fn(|cx| match head.as_mut().poll(cx) {
        Poll::Ready(came) => Poll::Ready(Some(came)),
        Poll::Pending => drained.as_mut().poll(cx).map(|()| None),
    })
    .await;
    match came {
        Some(Ok(())) => true,
        None | Some(Err(NoHead::End | NoHead::Truncated | NoHead::Deadline | NoHead::Io(_))) => false,
    }
}

/// One request and its one answer.
async fn exchange(shard: &Rc<Shard>, connection: &mut Connection, surface: Surface) -> After {
    let view = shard.view();
    let Connection { source, writer, head, ends, .. } = connection;
    let mut answer = Sink::new(writer);
    let mut slots = Slots::new();
    let limits = Limits { max_head: view.snapshot.limits.max_head };
    let request = match Request::parse(head, &mut slots, &limits) {
        Ok(Head::Complete(request)) => request,
        Ok(Head::Partial) => return refuse(answer, &HeadError::Malformed("incomplete head")).await,
        Err(error) => return refuse(answer, &error).await,
    };
    let Ok(path) = target::split(request.target) else {
        return refuse(answer, &HeadError::Malformed("malformed request target")).await;
    };
    if path.raw.contains('%') && escape::decode(path.raw, false).is_err() {
        return refuse(answer, &HeadError::Malformed("invalid percent-encoding in the request target")).await;
    }
    let served = shard.is_informed()
        || (request.method == "GET" && is_about_health(path.raw))
        || shard.is_informed_by(rt::now() + FIRST_SNAPSHOT_TIME).await;
    let view = shard.view();
    let mut body = Body::new(source, &request, view.snapshot.limits.max_body, *ends);
    let keep = Cell::new(request.keeps_alive() && !shard.is_draining());
    let mut record = Record::begin(&shard.metrics, Side::Outbound, request.method, path.raw, now());
    let route =
        if served { route(shard, &view, &request, &path, surface) } else { Route::Answer(uninformed()) };
    match route {
        Route::Invoke => {
            proxy::outbound::invoke(shard, &request, &path, &mut body, &mut answer, &keep, &mut record).await;
        }
        Route::Answer(own) => {
            body.discard_at_hand().await;
            keep.set(keep.get() && !body.is_left_unread() && !own.closes);
            let date = date();
            let asked = asked(&request, false, !keep.get(), &date);
            reply(&mut answer, &asked, &own.reply());
            record.status = own.status;
            record.bytes_out = answer.body_bytes();
            let _ = answer.flush().await; // a client that left is seen at its next request
        }
    }
    record.finish();
    settle(body, &answer, keep.get(), rt::now()).await
}

/// A head that is not served: its answer, and the end of the connection.
async fn refuse(mut answer: Sink<'_>, error: &HeadError) -> After {
    error.answer(answer.head());
    let _ = answer.flush().await; // the connection ends anyway
    After::Close
}

/// Where a request goes.
enum Route {
    /// To another app.
    Invoke,
    /// Nowhere: the sidecar answers.
    Answer(Own),
}

/// An answer of the sidecar's own.
struct Own {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    closes: bool,
}

impl Own {
    fn empty(status: u16) -> Own {
        Own { status, content_type: "", body: Vec::new(), closes: false }
    }

    fn json(status: u16, body: impl Into<Vec<u8>>) -> Own {
        Own { status, content_type: "application/json", body: body.into(), closes: false }
    }

    fn text(status: u16, body: impl Into<Vec<u8>>) -> Own {
        Own { status, content_type: "text/plain; charset=utf-8", body: body.into(), closes: false }
    }

    fn reply(&self) -> Reply<'_> {
        Reply { status: self.status, content_type: self.content_type, body: &self.body, extra: &[] }
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

fn route(shard: &Shard, view: &View, request: &Request<'_, '_>, path: &Path<'_>, surface: Surface) -> Route {
    if request.expects_the_unknown() {
        return Route::Answer(Own { closes: true, ..Own::empty(417) });
    }
    if request.method == "OPTIONS" && path.raw == "*" {
        return Route::Answer(Own::empty(200));
    }
    if let Some(refused) = bad_baggage(view, request) {
        return Route::Answer(refused);
    }
    let cleaned = method::clean(path.raw);
    let get = request.method == "GET";
    match &*cleaned {
        "/v1.0/healthz" if get => return Route::Answer(health(shard, view, path.query)),
        "/v1.0/healthz/outbound" if get => return Route::Answer(outbound_health(shard)),
        _ => {}
    }
    if surface == Surface::Api && !has_token(view, request) {
        return Route::Answer(Own::text(401, "invalid api token\n"));
    }
    match cleaned.strip_prefix("/v1.0/") {
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
    Some(Own::text(400, format!("invalid baggage header: {error}\n")))
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
fn is_about_health(path: &str) -> bool {
    matches!(&*method::clean(path), "/v1.0/healthz" | "/v1.0/healthz/outbound")
}

/// Nothing is known of the token that a client must show, or of the own namespace.
fn uninformed() -> Own {
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

/// The answer to a client for whom there is no room; its connection is closed.
pub(crate) async fn turn_away(stream: Stream) {
    let mut stream = stream;
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = stream.send(answer).await; // there is nothing else to do for it
    stream.close(HEAD_TIME / 10);
}

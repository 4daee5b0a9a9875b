//! The HTTP API of one client connection: which request is an invocation, and what the sidecar answers itself.
//!
//! Order as in daprd (spec/invocation 1.2): routing by the cleaned path, baggage, API token, then the handler. Nothing
//! before routing rewrites a path into another API.

mod api_log;
mod ask;
mod h2c;
mod health;
mod metadata;
mod own;
mod pipeline;
mod profile;
mod route;

use crate::http1::server::{After, Body, Connection, HEAD_TIME, settle};
use crate::http1::sink::Sink;
use crate::http1::source::NoHead;
use crate::metrics::{Level, Record, Side};
use crate::proxy::outbound::Calling;
use crate::proxy::{self, Trace, asked, date, reply};
use crate::rt::{self, Stream};
use crate::shard::{Shard, View, now};
use h2c::Wanted;
use health::uninformed;
use own::{Own, Then};
use proto::api::cors::Lines;
pub(crate) use proto::api::routes::Scope;
use proto::http1::head::{Head, Limits, Request, Slots};
use proto::http1::refusal::HeadError;
use proto::invoke::target::Path;
use proto::invoke::{escape, target};
use route::{Route, is_about_health, is_preflight, refused, route};
use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// How long a request waits for the first snapshot: a data plane that was started again is connected to before it knows
/// whom it serves.
const FIRST_SNAPSHOT_TIME: Duration = Duration::from_secs(5);

/// Serves a client's connection to its end.
pub(crate) async fn serve(shard: Rc<Shard>, stream: Stream, scope: Scope) {
    let _open = shard.metrics.hold(Level::ClientConnections);
    let mut connection = Connection::new(stream);
    let mut after = After::Next;
    while after == After::Next && next_head(&shard, &mut connection).await {
        if connection.begins_http2() && h2c::is_served(&shard, scope) {
            // apart: an HTTP/1 connection need not have room for it
            return Box::pin(h2c::serve(shard, connection, scope)).await;
        }
        // an idle connection has no room for a request
        after = rt::lane(|| exchange(&shard, &mut connection, scope)).await;
    }
    match after {
        After::Upgrade => Box::pin(h2c::upgrade(shard, connection, scope)).await,
        after => Box::pin(connection.end(after)).await, // apart for the same reason
    }
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
        Some(Err(NoHead::Deadline)) => {
            shard.reached("head_time", "a client took too long to send a request head");
            false
        }
        None | Some(Err(NoHead::End | NoHead::Truncated | NoHead::Io(_))) => false,
    }
}

/// One request and its one answer.
async fn exchange(shard: &Rc<Shard>, connection: &mut Connection, scope: Scope) -> After {
    let view = shard.view();
    let Connection { source, to, head, ends, client, .. } = connection;
    let is_stream = source.stream().is_some();
    let mut answer = Sink::new(to);
    let mut slots = Slots::new();
    let limits = Limits { max_head: view.snapshot.limits.max_head };
    let parsed = whole(head, &mut slots, &limits).and_then(|request| Ok((path_of(&request)?, request)));
    let (path, request) = match parsed {
        Ok(both) => both,
        Err(error) => {
            note(shard, &error);
            return refuse(answer, &error).await;
        }
    };
    answer.speaks(request.version);
    let may_upgrade = !is_stream && h2c::is_served(shard, scope);
    let upgrade = if may_upgrade { h2c::wanted(&request, view.snapshot.limits.max_body) } else { Wanted::No };
    if upgrade == Wanted::Upgrade {
        return After::Upgrade;
    }
    let (view, informed) = informed(shard, view, &request, &path).await;
    let mut body = Body::new(source, &request, view.snapshot.limits.max_body, *ends);
    let keep = Cell::new(request.keeps_alive() && !is_stream && !shard.is_draining());
    let refused = match (upgrade, informed) {
        (Wanted::Broken, _) => Some(Own::empty(500)),
        (_, true) => refused(&view, &request, &path, scope),
        (_, false) => Some(uninformed()),
    };
    let came = Came { request: &request, path, client: *client, scope, keep: &keep, refused };
    serve_one(shard, &view, came, &mut body, &mut answer).await;
    settle(body, &answer, keep.get(), rt::now()).await
}

/// The newest view, once there is one that a request like this can be judged by; `false` where none came in time.
async fn informed(
    shard: &Shard,
    view: Rc<View>,
    request: &Request<'_, '_>,
    path: &Path<'_>,
) -> (Rc<View>, bool) {
    if shard.is_informed() || (request.method == "GET" && is_about_health(path.raw)) {
        return (view, true);
    }
    let informed = shard.is_informed_by(rt::now() + FIRST_SNAPSHOT_TIME).await;
    (shard.view(), informed)
}

/// A request whose head is understood.
struct Came<'r> {
    request: &'r Request<'r, 'r>,
    path: Path<'r>,
    client: Option<IpAddr>,
    scope: Scope,
    keep: &'r Cell<bool>,
    /// The answer, where it goes no further.
    refused: Option<Own<'r>>,
}

/// Takes a request through the pipeline and to whom it is meant for; afterwards it is answered and recorded.
async fn serve_one(
    shard: &Rc<Shard>,
    view: &View,
    came: Came<'_>,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
) {
    let Came { request, path, client, scope, keep, refused } = came;
    let mut record = Record::begin(&shard.metrics, Side::Outbound, request.method, path.raw, now());
    let goes_on = refused.is_none() && scope == Scope::Api;
    let entry = if goes_on { pipeline::enter(shard, view, request, &path, client) } else { None };
    if let Some(entry) = &entry {
        body.uppercase(entry.uppercase().request);
        answer.uppercase(entry.uppercase().response);
    }
    let path = entry.as_ref().and_then(|entry| entry.path()).unwrap_or(path);
    let route = match refused.or_else(|| entry.as_ref()?.refusal()) {
        Some(own) => Route::Answer(own),
        None => route(shard, view, request, &path, scope),
    };
    let lines = lines(view, request, scope, entry.as_deref());
    let own = match route {
        Route::Answer(own) => Some(own),
        Route::Ask(ask) => Some(Own { traced: true, ..ask.answer(shard, view, body, answer).await }),
        Route::Invoke => None,
    };
    let logged = own.as_ref().is_none_or(|own| !own.unlogged);
    match own {
        None => {
            let calling = Calling { request, path: &path, lines: &lines, keep };
            proxy::outbound::invoke(shard, &calling, body, answer, &mut record).await;
        }
        Some(own) => {
            let trace = if own.traced { Trace::of(shard, view, request, path.raw) } else { Trace::default() };
            let told = Told { request, trace, lines, keep };
            told.send(own, shard, body, answer, &mut record).await;
        }
    }
    if logged {
        api_log::called(view, scope, request, &path, &record);
    }
    record.finish();
}

/// A head beyond its limit is counted.
fn note(shard: &Shard, error: &HeadError) {
    if error.status() == 431 {
        shard.reached("request_head", error);
    }
}

/// The request whose whole head stands in `head`.
fn whole<'s, 'h>(
    head: &'h [u8],
    slots: &'s mut Slots<'h>,
    limits: &Limits,
) -> Result<Request<'s, 'h>, HeadError> {
    match Request::parse(head, slots, limits)? {
        Head::Complete(request) => Ok(request),
        Head::Partial => Err(HeadError::Malformed("incomplete head")),
    }
}

/// What an answer of the sidecar's own depends on.
struct Told<'t> {
    request: &'t Request<'t, 't>,
    trace: Trace,
    lines: Lines<'t>,
    keep: &'t Cell<bool>,
}

impl<'t> Told<'t> {
    async fn send(
        self,
        mut own: Own<'t>,
        shard: &Shard,
        body: &mut Body<'_>,
        answer: &mut Sink<'_>,
        record: &mut Record<'_>,
    ) {
        let Told { request, trace, lines, keep } = self;
        own.lines.extend(lines);
        body.discard_at_hand().await;
        keep.set(keep.get() && !body.is_left_unread() && !own.closes);
        let date = date();
        let asked = asked(request, &trace, !keep.get(), &date, &None);
        reply(answer, &asked, &own.reply());
        record.status = own.status;
        record.bytes_out = answer.body_bytes();
        let _ = answer.flush().await; // a client that left is seen at its next request
        match own.then {
            Then::Nothing => {}
            Then::Leave => shard.common.ending.leave(),
            Then::End => shard.common.ending.end_at_once(),
        }
    }
}

/// Where a request goes, as it says.
fn path_of<'r>(request: &Request<'_, 'r>) -> Result<Path<'r>, HeadError> {
    let path = target::split(request.target);
    let path = path.map_err(|_| HeadError::Malformed("malformed request target"))?;
    if path.raw.contains('%') && escape::decode(path.raw, false).is_err() {
        return Err(HeadError::Malformed("invalid percent-encoding in the request target"));
    }
    Ok(path)
}

/// What every answer tells, about limits and to scripts of other origins; a preflight's answer says it itself.
fn lines<'r>(
    view: &View,
    request: &Request<'_, 'r>,
    scope: Scope,
    entry: Option<&'r pipeline::Entry>,
) -> Lines<'r> {
    let origins = &view.snapshot.api.origins;
    let mut lines = match scope == Scope::Api && origins.is_on() && !is_preflight(request) {
        true => origins.lines(request.headers.named("origin").next(), request.method),
        false => Lines::new(),
    };
    if let Some(entry) = entry {
        entry.tell(&mut lines);
    }
    lines
}

/// A head that is not served: its answer, and the end of the connection.
async fn refuse(mut answer: Sink<'_>, error: &HeadError) -> After {
    error.answer(answer.head());
    answer.whole();
    let _ = answer.flush().await; // the connection ends anyway
    After::Close
}

/// The answer to a client for whom there is no room; its connection is closed.
pub(crate) async fn turn_away(stream: Stream) {
    let mut stream = stream;
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = stream.send(answer).await; // there is nothing else to do for it
    stream.close(HEAD_TIME / 10);
}

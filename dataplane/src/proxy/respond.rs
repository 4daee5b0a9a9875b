//! Answers that the sidecar itself gives, and what it knows about the request for those of an app.

use crate::http1::sink::Sink;
use crate::rt;
use crate::shard::{Shard, View};
use proto::http1::encode;
use proto::http1::framing::Framing;
use proto::http1::head::{Request, Version};
use proto::http1::names::Known;
use proto::invoke::failure::{Failure, Kind};
use proto::invoke::headers::client::Asked;
use proto::trace::Context;
use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// An answer of the sidecar's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
    /// Further header lines.
    pub(crate) extra: &'a [(&'a str, &'a [u8])],
}

/// Writes a whole answer of the sidecar's own; it goes out with the next flush.
pub(crate) fn reply(answer: &mut Sink<'_>, asked: &Asked<'_>, reply: &Reply<'_>) {
    let bodiless = matches!(reply.status, 204 | 304);
    let out = answer.head();
    encode::status_line(out, reply.status);
    if !reply.content_type.is_empty() {
        encode::line(out, b"Content-Type", reply.content_type.as_bytes());
    }
    for (name, value) in reply.extra.iter().chain(asked.extra) {
        encode::line(out, name.as_bytes(), value);
    }
    if let Some(context) = asked.trace {
        encode::line(out, b"Traceparent", &context.traceparent());
    }
    encode::line(out, b"Date", asked.date);
    if !bodiless {
        encode::content_length(out, reply.body.len() as u64);
    }
    if asked.close {
        encode::line(out, b"Connection", b"close");
    }
    encode::end(out);
    let silent = asked.head || bodiless;
    answer.begin(if silent { Framing::None } else { Framing::Length(reply.body.len() as u64) });
    let body = if silent { &[][..] } else { reply.body };
    let written = answer.push(body).and_then(|()| answer.finish());
    debug_assert!(written.is_ok(), "the length was counted");
}

/// Writes the one answer to a failure.
pub(super) fn failure(answer: &mut Sink<'_>, asked: &Asked<'_>, failure: &Failure, id: &str) -> u16 {
    let mut body = Vec::with_capacity(160);
    failure.json(&mut body, id);
    let seconds = failure.retry_after().map(|s| s.to_string());
    let extra: Vec<(&str, &[u8])> = seconds.iter().map(|s| ("Retry-After", s.as_bytes())).collect();
    let status = failure.http_status();
    reply(answer, asked, &Reply { status, content_type: "application/json", body: &body, extra: &extra });
    status
}

/// The trace of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trace {
    /// Whether trace headers are handled.
    pub(crate) on: bool,
    /// The client's context, or one that the sidecar began.
    pub(crate) context: Option<Context>,
    /// The sidecar began it: what the client sent belongs to no trace.
    pub(crate) begun: bool,
}

impl Trace {
    /// The trace of `request`; none where health is asked for (spec/invocation 1.18).
    pub(crate) fn of(shard: &Shard, view: &View, request: &Request<'_, '_>, path: &str) -> Trace {
        // looking for one rare letter first costs less than looking for the word
        let health = path.as_bytes().contains(&b'z') && path.contains("/healthz");
        if !view.snapshot.api.tracing || health {
            return Trace::default();
        }
        let sent = request.headers.first(Known::Traceparent).and_then(Context::parse);
        let begun = if sent.is_none() { shard.begin_trace(view) } else { None };
        Trace { on: true, context: sent.or(begun), begun: begun.is_some() }
    }

    /// What of the client's trace headers does not travel on.
    pub(crate) fn dropped(&self) -> u64 {
        if self.begun { Known::Traceparent.bit() | Known::Tracestate.bit() } else { 0 }
    }
}

/// A failure that stands for a limit is counted as one.
pub(super) fn note_limit(shard: &Shard, failure: &Failure) {
    match failure.kind {
        Kind::RequestTooLarge | Kind::ResponseTooLarge => shard.reached("max_body_size", &failure.text),
        Kind::MemoryShort => shard.reached("memory", &failure.text),
        Kind::Overloaded => shard.reached("waiting_calls", &failure.text),
        _ => {}
    }
}

/// What the sidecar knows about `request`.
pub(crate) fn asked<'a>(
    request: &Request<'_, 'a>,
    trace: &Trace,
    close: bool,
    date: &'a [u8; 29],
    baggage: &'a Option<Vec<u8>>,
) -> Asked<'a> {
    let headers = &request.headers;
    let traced = |known| trace.on.then(|| headers.first(known)).flatten();
    Asked {
        version: request.version,
        head: request.method.eq_ignore_ascii_case("HEAD"),
        events: request.wants_events(),
        streaming: request.framing() == Framing::Chunked,
        close: close || request.version == Version::Http10,
        trace: trace.context,
        tracestate: traced(Known::Tracestate).filter(|_| !trace.begun),
        baggage: baggage.as_deref().or_else(|| traced(Known::Baggage)),
        date,
        extra: &[],
        upgrade: request.switches_to(),
    }
}

/// The values of several `baggage` lines as one; `None` where there is at most one, which needs no joining.
pub(crate) fn joined_baggage(request: &Request<'_, '_>, tracing: bool) -> Option<Vec<u8>> {
    let headers = &request.headers;
    if !tracing || !headers.may_repeat() || headers.all(Known::Baggage).nth(1).is_none() {
        return None;
    }
    Some(headers.all(Known::Baggage).collect::<Vec<_>>().join(&b","[..]))
}

/// The current date for `Date`: the clock is read once a turn, the date formatted once a second.
pub(crate) fn date() -> [u8; 29] {
    type Last = (Option<rt::Tick>, i64, [u8; 29]);
    thread_local!(static LAST: Cell<Last> = const { Cell::new((None, i64::MIN, [0; 29])) });
    let turn = Some(rt::now());
    let (last_turn, second, date) = LAST.get();
    if turn == last_turn {
        return date;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or_default();
    let date = if second == now { date } else { encode::date(now) };
    LAST.set((turn, now, date));
    date
}

//! The response head that an HTTP client sees (spec/invocation 1.12.6, 1.14).

use super::{Rule, rule, write};
use crate::envelope::Peer;
use crate::envelope::response::Answer;
use crate::grpc::status::Code;
use crate::http1::encode::{self, is_value};
use crate::http1::framing::{Framing, bodiless};
use crate::http1::head::{Response, Version};
use crate::http1::hop::Listed;
use crate::http1::names::Known;
use crate::trace::{self, Context};

/// What the sidecar knows about the request it answers.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The client's version: HTTP/1.0 gets no chunks.
    pub version: Version,
    /// The request was HEAD.
    pub head: bool,
    /// The client wants server-sent events ([`crate::http1::head::Request::wants_events`]).
    pub events: bool,
    /// The request's body had no declared length.
    pub streaming: bool,
    /// The connection closes after this answer.
    pub close: bool,
    /// The request's context, to be told where the app tells none; `None` with tracing off.
    pub trace: Option<Context>,
    /// The request's `tracestate`, told together with `trace`.
    pub tracestate: Option<&'a [u8]>,
    /// The request's valid baggage, echoed; `None` with tracing off.
    pub baggage: Option<&'a [u8]>,
    /// The current date ([`encode::date`]), for answers without one.
    pub date: &'a [u8; 29],
    /// Further lines, of CORS. The app's own of a name win, but for `Vary`, of which both count.
    pub extra: &'a [(&'a str, &'a [u8])],
    /// The protocol that was asked for: a 101 switches to it.
    pub upgrade: Option<&'a str>,
}

/// How much is known about the body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Exactly so many bytes: it is there as a whole.
    Complete(u64),
    /// So many bytes were declared.
    Declared(u64),
    /// Nothing.
    Unknown,
}

/// A head that is to be written, from either source.
struct Writing<'o, 'a> {
    out: &'o mut Vec<u8>,
    asked: &'a Asked<'a>,
    status: u16,
    /// Server-sent events were asked for over the mesh: daprd's caller then says what the answer is.
    events: bool,
    seen: u64,
    /// `…-bin` passes: an event stream of the own app never was a message of the mesh.
    binary: bool,
    /// Bit `n`: the app told a line of its own in the place of the `n`th further one.
    told: u8,
}

/// Appends the head for an answer from the mesh, and says how its body must be sent.
///
/// The status of a gRPC app's code is that of the table in spec/invocation 1.14.1; a code other than 0 has no body of
/// its own (see [`crate::invoke::details`] for the JSON that stands in its place). Headers that would change the
/// message are dropped. `None`: a status that cannot be written (1000 and more, negative).
pub fn from_mesh(
    out: &mut Vec<u8>,
    answer: &Answer<'_>,
    asked: &Asked<'_>,
    body: Body,
) -> Option<(u16, Framing)> {
    let status = status(answer, asked)?;
    let events = asked.events && (200..400).contains(&status);
    let mut writing = Writing::begin(out, asked, status, events);
    let headers = &answer.headers;
    let listed = headers.listed();
    for entry in headers.entries().filter(|entry| !listed.drops(entry.known, entry.key)) {
        match entry.only_value() {
            Some(value) => writing.line(entry.known, entry.key, value),
            None => entry.values().for_each(|value| writing.line(entry.known, entry.key, value)),
        }
    }
    Some((status, writing.finish(answer.told_content_type(), body)))
}

/// Appends the head for an answer of the sidecar's own app, whose event streams pass as they are
/// (vector sse/self/hop-by-hop-and-cookies).
pub fn from_app(out: &mut Vec<u8>, response: &Response<'_, '_>, asked: &Asked<'_>, body: Body) -> Framing {
    let mut writing = Writing::begin(out, asked, response.status, false);
    writing.binary = asked.events && (200..300).contains(&response.status);
    let listed = Listed::of(&response.headers);
    for line in response.headers.iter() {
        if !listed.drops(line.known, line.name.as_bytes()) {
            writing.line(line.known, line.name.as_bytes(), line.value);
        }
    }
    let content_type = response.headers.first(Known::ContentType).unwrap_or_default();
    writing.finish(content_type, body)
}

/// The HTTP status of an answer: of 100 and more the app's own; below, a gRPC code by the table. Status 100 itself
/// cannot end a request and becomes 200, as daprd has it (corrections 39; vector caller/answer/status-100). After a 101
/// that nobody asked for a client would take the next bytes for another protocol: it cannot be written.
fn status(answer: &Answer<'_>, asked: &Asked<'_>) -> Option<u16> {
    match u32::try_from(answer.code).ok()? {
        code @ 0..100 => Some(Code(code).http_status()),
        101 => asked.upgrade.map(|_| 101),
        100 | 102..200 => Some(200),
        _ => answer.http_status(),
    }
}

/// The body length to tell: of an Outrigger's declared length, else nothing.
pub fn declared(answer: &Answer<'_>, peer: Peer) -> Body {
    answer.declared_length(peer).map_or(Body::Unknown, Body::Declared)
}

impl<'o, 'a> Writing<'o, 'a> {
    fn begin(out: &'o mut Vec<u8>, asked: &'a Asked<'a>, status: u16, events: bool) -> Self {
        encode::status_line(out, status);
        if let Some(baggage) = asked.baggage.filter(|value| is_value(value) && !value.is_empty()) {
            encode::line(out, b"Baggage", baggage);
        }
        Writing { out, asked, status, events, seen: 0, binary: false, told: 0 }
    }

    /// One line of the app, dropped where it would change the message.
    #[inline]
    fn line(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let forced = self.events && name.eq_ignore_ascii_case(b"cache-control");
        if forced || !is_value(value) {
            return;
        }
        match rule(known, name) {
            Rule::Known(name) => encode::line(self.out, name.as_bytes(), value),
            Rule::Pass(name) => write(self.out, b"", name, value),
            Rule::Rename(name) => write(self.out, b"Dapr-", name, value),
            Rule::Drop if self.binary && known == Known::Other => write(self.out, b"", name, value),
            Rule::Drop | Rule::Invalid => return,
        }
        self.seen |= known.bit();
        self.notice(name);
    }

    /// Which of the further lines the app's own stand for.
    #[inline]
    fn notice(&mut self, name: &[u8]) {
        for (n, (extra, _)) in self.asked.extra.iter().enumerate() {
            if *extra != "Vary" && name.eq_ignore_ascii_case(extra.as_bytes()) {
                self.told |= 1 << n.min(7);
            }
        }
    }

    fn finish(mut self, content_type: &[u8], body: Body) -> Framing {
        if let Some(protocol) = self.asked.upgrade.filter(|_| self.status == 101) {
            return self.switched(protocol);
        }
        self.content_type(content_type);
        self.trace();
        for (n, (name, value)) in self.asked.extra.iter().enumerate() {
            if self.told & (1 << n.min(7)) == 0 {
                encode::line(self.out, name.as_bytes(), value);
            }
        }
        if !Known::Date.is_in(self.seen) {
            encode::line(self.out, b"Date", self.asked.date);
        }
        let framing = self.framing(body);
        if self.asked.close || framing == Framing::UntilClose {
            encode::line(self.out, b"Connection", b"close");
        }
        encode::end(self.out);
        framing
    }

    /// The rest of the connection belongs to another protocol.
    #[cold]
    fn switched(mut self, protocol: &str) -> Framing {
        self.trace();
        encode::line(self.out, b"Connection", b"Upgrade");
        encode::line(self.out, b"Upgrade", protocol.as_bytes());
        encode::end(self.out);
        Framing::UntilClose
    }

    fn content_type(&mut self, told: &[u8]) {
        let failed = !(200..400).contains(&self.status);
        if self.events {
            encode::line(self.out, b"Content-Type", b"text/event-stream");
            encode::line(self.out, b"Cache-Control", b"no-cache");
        } else if !told.is_empty() && is_value(told) {
            encode::line(self.out, b"Content-Type", told);
        } else if failed && !self.asked.streaming {
            encode::line(self.out, b"Content-Type", b"application/json");
        }
    }

    /// The request's own context, where the app told none.
    fn trace(&mut self) {
        let Some(context) = self.asked.trace.filter(|_| !Known::Traceparent.is_in(self.seen)) else { return };
        encode::line(self.out, b"Traceparent", &context.traceparent());
        let state = self.asked.tracestate.filter(|state| trace::state::is_valid(state));
        if let Some(state) = state.filter(|_| !Known::Tracestate.is_in(self.seen)) {
            encode::line(self.out, b"Tracestate", state);
        }
    }

    fn framing(&mut self, body: Body) -> Framing {
        let length = match body {
            Body::Complete(length) | Body::Declared(length) => Some(length),
            Body::Unknown => None,
        };
        let empty = self.asked.head || bodiless(self.status);
        match length {
            _ if self.status == 204 || self.status < 200 => Framing::None,
            Some(length) => {
                // an answer to HEAD and a 304 tell the length of what they stand for, not of nothing
                if !empty || body == Body::Declared(length) {
                    encode::content_length(self.out, length);
                }
                if empty { Framing::None } else { Framing::Length(length) }
            }
            None if empty => Framing::None,
            None if self.asked.version == Version::Http10 => Framing::UntilClose,
            None => {
                encode::chunked(self.out);
                Framing::Chunked
            }
        }
    }
}

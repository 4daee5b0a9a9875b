//! The request head that an HTTP app sees (spec/invocation 1.12.4, 4.3).
//!
//! ```
//! # use proto::envelope::{Peer, request::Invoke};
//! # use proto::http1::framing::{Framing, Outgoing};
//! # use proto::invoke::headers::app::{Added, Refused, from_mesh};
//! fn forward(invoke: &Invoke<'_>, peer: Peer, method: &str, out: &mut Vec<u8>) -> Result<Outgoing, Refused> {
//!     let added = Added { host: "127.0.0.1:3000", app_id: "orders", ..Added::default() };
//!     let framing = from_mesh(out, invoke, peer, method, &added, None)?; // body length not known yet
//!     Ok(Outgoing::new(framing)) // then: body.piece(out, data) …, body.finish(out)
//! }
//! ```

pub use super::refused::Refused;
use super::{Rule, rule, write};
use crate::envelope::request::{Declared, Invoke};
use crate::envelope::{Peer, Verb};
use crate::http1::encode::{self, is_value};
use crate::http1::framing::Framing;
use crate::http1::head::Request;
use crate::http1::hop::Listed;
use crate::http1::names::Known;
use crate::invoke::escape;
use crate::trace::{Context, Passed};

/// Names that are written by other rules than passing on.
const ASIDE: u64 = Known::Baggage.bit()
    | Known::DaprApiToken.bit()
    | Known::DaprCalleeAppId.bit()
    | Known::DaprCallerAppId.bit()
    | Known::DaprCallerNamespace.bit()
    | Known::Host.bit()
    | Known::Traceparent.bit()
    | Known::Tracestate.bit();

/// What the sidecar itself puts into a request to its app.
#[derive(Clone, Copy, Debug, Default)]
pub struct Added<'a> {
    /// The app's address, for `Host`.
    pub host: &'a str,
    /// The own app id, for `dapr-callee-app-id`.
    pub app_id: &'a str,
    /// Who calls, proven by its certificate: replaces what the caller's sidecar says. `None` without mTLS.
    pub caller: Option<Caller<'a>>,
    /// `APP_API_TOKEN`, sent as `dapr-api-token`; a client's own token never reaches the app.
    pub token: Option<&'a str>,
    /// The context of the call itself (`traceparent` or `grpc-trace-bin` on the HTTP/2 stream); beats the message's.
    pub trace: Option<Context>,
    /// The protocol that the app is asked to switch to.
    pub upgrade: Option<&'a str>,
}

/// An app by id and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller<'a> {
    /// App id.
    pub app_id: &'a str,
    /// Namespace.
    pub namespace: &'a str,
}

/// Whether an app of HTTP may be called like this: extension, verb, version, in daprd's order (spec/invocation 4.3).
///
/// # Errors
/// The first check that fails.
pub fn check(invoke: &Invoke<'_>) -> Result<Verb, Refused> {
    let verb = invoke.verb.ok_or(Refused::NoExtension)?;
    match invoke.version {
        _ if !verb.is_callable() => Err(Refused::Verb),
        1 => Ok(verb),
        version => Err(Refused::Version(version)),
    }
}

/// Whether to wait for the next message or the end of the request before the head is written: nothing says whether
/// there is a body, and a request that usually has none would be sent chunked.
pub fn should_wait(invoke: &Invoke<'_>) -> bool {
    let bodyless = invoke.verb.and_then(Verb::name).is_some_and(|verb| !expects_body(verb));
    bodyless && invoke.declared_length() == Declared::Nothing
}

/// Methods whose requests usually have a body (RFC 9110 section 8.6).
pub(super) fn expects_body(verb: &str) -> bool {
    !matches!(verb, "GET" | "HEAD" | "DELETE" | "OPTIONS" | "TRACE")
}

/// How the request's body is delimited towards the app. `complete`: the exact length, once the whole body is known.
fn framing(declared: Option<u64>, complete: Option<u64>, verb: &str) -> Framing {
    match (declared, complete) {
        (Some(length), _) => Framing::Length(length),
        (None, Some(0)) if !expects_body(verb) => Framing::None,
        (None, Some(length)) => Framing::Length(length),
        (None, None) => Framing::Chunked,
    }
}

/// Appends the head for a call that came over the mesh, and says how its body must be sent. `method` is normalised.
///
/// # Errors
/// `out` is as before.
pub fn from_mesh(
    out: &mut Vec<u8>,
    invoke: &Invoke<'_>,
    peer: Peer,
    method: &str,
    added: &Added<'_>,
    complete: Option<u64>,
) -> Result<Framing, Refused> {
    undone_on_error(out, |out| {
        let numbered = check(invoke)?;
        let spelled = numbered.name().map_or_else(|| numbered.to_string().into(), std::borrow::Cow::Borrowed);
        let verb = invoke.real_verb(peer).unwrap_or(&spelled);
        let declared = match invoke.declared_length() {
            Declared::Nothing => None,
            Declared::Bytes(length) => Some(length),
            Declared::Invalid(value) => {
                return Err(Refused::Length(String::from_utf8_lossy(value).into_owned()));
            }
        };
        let framing = framing(declared, complete, verb);
        begin(out, verb, method, invoke.query, added, framing)?;
        let protobuf: &[u8] = b"application/x-protobuf";
        content_type(out, if invoke.type_url.is_empty() { invoke.content_type } else { protobuf })?;
        mesh_headers(out, invoke, added)?;
        upgrade(out, added);
        encode::end(out);
        Ok(framing)
    })
}

/// Appends the head for a call of the sidecar's own app: no mesh hop, no forwarding headers (spec/invocation 1.10.2).
/// `namespace` is the own one; `dropped`: known names that the form of address used up.
///
/// # Errors
/// `out` is as before.
pub fn from_client(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    method: &str,
    query: &str,
    added: &Added<'_>,
    dropped: u64,
) -> Result<Framing, Refused> {
    undone_on_error(out, |out| {
        let numbered = Verb::of(request.method);
        if numbered.is_some_and(|verb| !verb.is_callable()) {
            return Err(Refused::Verb);
        }
        let verb = numbered.and_then(Verb::name).unwrap_or(request.method);
        let framing = match request.framing() {
            Framing::None if expects_body(verb) => Framing::Length(0),
            framing => framing,
        };
        begin(out, verb, method, query, added, framing)?;
        content_type(out, request.headers.first(Known::ContentType).unwrap_or_default())?;
        client_headers(out, request, added, dropped)?;
        upgrade(out, added);
        encode::end(out);
        Ok(framing)
    })
}

pub(super) fn undone_on_error<T>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let before = out.len();
    write(out).inspect_err(|_| out.truncate(before))
}

/// Request line, `Host`, body length.
fn begin(
    out: &mut Vec<u8>,
    verb: &str,
    method: &str,
    query: &str,
    added: &Added<'_>,
    framing: Framing,
) -> Result<(), Refused> {
    if !encode::is_name(verb.as_bytes()) {
        return Err(Refused::Verb);
    }
    out.extend_from_slice(verb.as_bytes());
    out.extend_from_slice(b" /");
    let method = method.trim_start_matches('/');
    escape::path(out, method)
        .map_err(|bad| Refused::Escape { url: format!("http://{}/{method}", added.host), escape: bad.0 })?;
    if !query.is_empty() && !query.starts_with('#') {
        out.push(b'?');
        escape::query(out, query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    encode::line(out, b"Host", added.host.as_bytes());
    match framing {
        Framing::Length(length) => encode::content_length(out, length),
        Framing::Chunked => encode::chunked(out),
        Framing::None | Framing::UntilClose => {}
    }
    Ok(())
}

fn upgrade(out: &mut Vec<u8>, added: &Added<'_>) {
    if let Some(protocol) = added.upgrade {
        encode::line(out, b"Connection", b"Upgrade");
        encode::line(out, b"Upgrade", protocol.as_bytes());
    }
}

pub(super) fn content_type(out: &mut Vec<u8>, value: &[u8]) -> Result<(), Refused> {
    if value.is_empty() { Ok(()) } else { checked(out, b"Content-Type", value) }
}

/// A header line of canonical name, if its value cannot end it.
#[inline]
pub(super) fn checked(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    if !is_value(value) {
        return Err(unwritable(name));
    }
    encode::line(out, name, value);
    Ok(())
}

/// One line that is passed on, renamed where the rules say so.
#[inline]
pub(super) fn pass(out: &mut Vec<u8>, known: Known, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    match rule(known, name) {
        Rule::Drop => return Ok(()),
        Rule::Known(name) if is_value(value) => encode::line(out, name.as_bytes(), value),
        Rule::Pass(name) if is_value(value) => write(out, b"", name, value),
        Rule::Rename(name) if is_value(value) => write(out, b"Dapr-", name, value),
        _ => return Err(unwritable(name)),
    }
    Ok(())
}

#[cold]
fn unwritable(name: &[u8]) -> Refused {
    Refused::Header(String::from_utf8_lossy(name).into_owned())
}

/// `User-Agent` is no list: the first counts, an empty one is none (vectors request-headers/user-agent-twice,
/// app-protocols/h2c/user-agent-empty).
pub(super) fn user_agent(out: &mut Vec<u8>, first: Option<&[u8]>) -> Result<(), Refused> {
    match first {
        Some(value) if !value.is_empty() => checked(out, b"User-Agent", value),
        _ => Ok(()),
    }
}

fn mesh_headers(out: &mut Vec<u8>, invoke: &Invoke<'_>, added: &Added<'_>) -> Result<(), Refused> {
    let metadata = &invoke.metadata;
    let listed = metadata.listed();
    for entry in metadata.entries() {
        if entry.known.is_in(ASIDE | Known::UserAgent.bit()) || listed.drops(entry.known, entry.key) {
            continue;
        }
        match entry.only_value() {
            Some(value) => pass(out, entry.known, entry.key, value)?,
            None => entry.values().try_for_each(|value| pass(out, entry.known, entry.key, value))?,
        }
    }
    if !listed.drops(Known::UserAgent, b"user-agent") {
        user_agent(out, metadata.first(Known::UserAgent))?;
    }
    identity(out, invoke, added)?;
    let state = metadata.first(Known::Tracestate);
    let passed = added.trace.map(Passed::Context).or_else(|| context(invoke));
    trace(out, passed, state)?;
    rest(out, metadata.first(Known::Baggage), added)
}

/// Whether the message brings a trace context that can be used.
pub fn has_context(invoke: &Invoke<'_>) -> bool {
    matches!(context(invoke), Some(Passed::Context(_)))
}

/// The context inside the message: a gRPC client's is binary, an HTTP client's is text (spec/invocation 1.12.4).
fn context<'a>(invoke: &Invoke<'a>) -> Option<Passed<'a>> {
    let metadata = &invoke.metadata;
    let binary = || {
        let typed = metadata.exactly("content-type").next()?;
        let value =
            typed.starts_with(b"application/grpc").then(|| metadata.exactly("grpc-trace-bin").next())?;
        value.and_then(Context::from_header).map(Passed::Context)
    };
    let from_grpc = if metadata.has(Known::GrpcTraceBin) { binary() } else { None };
    from_grpc.or_else(|| metadata.first(Known::Traceparent).and_then(Passed::of))
}

/// Who calls whom. Only the keys that sidecars write count, in their spelling; a client's are dropped.
fn identity(out: &mut Vec<u8>, invoke: &Invoke<'_>, added: &Added<'_>) -> Result<(), Refused> {
    let metadata = &invoke.metadata;
    if metadata.first(Known::DaprCalleeAppId).is_some() {
        checked(out, b"Dapr-Callee-App-Id", added.app_id.as_bytes())?;
    }
    if let Some(caller) = &added.caller {
        return caller_lines(out, caller.app_id.as_bytes(), caller.namespace.as_bytes());
    }
    for known in [Known::DaprCallerAppId, Known::DaprCallerNamespace] {
        if let Some(value) = metadata.first(known) {
            checked(out, known.spelling().as_bytes(), value)?;
        }
    }
    Ok(())
}

fn caller_lines(out: &mut Vec<u8>, app_id: &[u8], namespace: &[u8]) -> Result<(), Refused> {
    checked(out, b"Dapr-Caller-App-Id", app_id)?;
    checked(out, b"Dapr-Caller-Namespace", namespace)
}

pub(super) fn trace(
    out: &mut Vec<u8>,
    passed: Option<Passed<'_>>,
    state: Option<&[u8]>,
) -> Result<(), Refused> {
    match passed {
        None => return Ok(()),
        Some(Passed::Context(context)) => encode::line(out, b"Traceparent", &context.traceparent()),
        Some(Passed::Raw(value)) => checked(out, b"Traceparent", value)?,
    }
    match state {
        Some(state) if !state.is_empty() => checked(out, b"Tracestate", state),
        _ => Ok(()),
    }
}

/// Baggage (its first value) and the app's token.
pub(super) fn rest(out: &mut Vec<u8>, baggage: Option<&[u8]>, added: &Added<'_>) -> Result<(), Refused> {
    if let Some(baggage) = baggage {
        checked(out, b"Baggage", baggage)?;
    }
    match added.token {
        Some(token) => checked(out, b"Dapr-Api-Token", token.as_bytes()),
        None => Ok(()),
    }
}

fn client_headers(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    added: &Added<'_>,
    dropped: u64,
) -> Result<(), Refused> {
    let headers = &request.headers;
    let listed = Listed::of(headers);
    for line in headers.iter() {
        let aside = line.known.is_in(ASIDE | Known::UserAgent.bit() | dropped);
        if !aside && !listed.drops(line.known, line.name.as_bytes()) {
            pass(out, line.known, line.name.as_bytes(), line.value)?;
        }
    }
    if !listed.drops(Known::UserAgent, b"user-agent") {
        user_agent(out, headers.first(Known::UserAgent))?;
    }
    checked(out, b"Dapr-Callee-App-Id", added.app_id.as_bytes())?;
    if let Some(caller) = &added.caller {
        caller_lines(out, caller.app_id.as_bytes(), caller.namespace.as_bytes())?;
    }
    let passed = headers.first(Known::Traceparent).and_then(Passed::of);
    let passed = added.trace.map(Passed::Context).or(passed);
    let state = headers.first(Known::Tracestate).filter(|_| !Known::Tracestate.is_in(dropped));
    trace(out, passed, state)?;
    rest(out, headers.first(Known::Baggage), added)
}

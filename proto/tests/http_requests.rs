//! A client's bytes become the app's request through the hop's message, without sockets, as recorded from a real daprd
//! (tests/vectors/http).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // in a test, a panic is the finding

mod common;

use common::http::{Cast, NO_TRACE, lines, recorded};
use proto::envelope::{Fixed, Identity, Peer, request};
use proto::grpc::frame;
use proto::http1::framing::{BodyError, Incoming};
use proto::http1::head::{Head, Limits, Request, Slots};
use proto::http1::refusal::HeadError;
use proto::invoke::failure::Failure;
use proto::invoke::headers::app::{self, Added, Caller};
use proto::invoke::{method, target};
use proto::trace::baggage;
use serde_json::Value;

/// One request of a recording, as our sidecars treat it.
#[derive(Debug)]
enum Outcome {
    /// It reaches the app: the head that the app sees, and the body.
    App { head: Vec<u8>, body: Vec<u8> },
    /// The sidecar answers itself.
    Failed { failure: Failure, id: String },
    /// The head is refused.
    Refused(HeadError),
    /// 417.
    Expectation,
    /// The baggage is refused.
    Baggage(String),
    /// The body is broken.
    Body(BodyError),
    /// Not the whole request is there.
    Incomplete,
}

/// What happens to the first request in `bytes`, and how many bytes it takes.
fn treat(bytes: &[u8], cast: &Cast, max_head: usize, token: Option<&str>, tracing: bool) -> (Outcome, usize) {
    let mut slots = Slots::new();
    let request = match Request::parse(bytes, &mut slots, &Limits { max_head }) {
        Ok(Head::Complete(request)) => request,
        Ok(Head::Partial) => return (Outcome::Incomplete, bytes.len()),
        Err(error) => return (Outcome::Refused(error), bytes.len()),
    };
    if request.expects_the_unknown() {
        return (Outcome::Expectation, bytes.len());
    }
    let (body, used) = match whole_body(&request, bytes) {
        Ok(body) => body,
        Err(outcome) => return (outcome, bytes.len()),
    };
    if tracing && let Err(invalid) = baggage::check(request.headers.named("baggage")) {
        return (Outcome::Baggage(invalid.to_string()), used);
    }
    (forward(&request, body, cast, token).unwrap_or_else(|outcome| outcome), used)
}

fn whole_body(request: &Request<'_, '_>, bytes: &[u8]) -> Result<(Vec<u8>, usize), Outcome> {
    let mut incoming = Incoming::new(request.framing());
    let mut rest = bytes[request.len..].to_vec();
    let compacted = incoming.compact(&mut rest).map_err(Outcome::Body)?;
    if !compacted.done {
        return Err(Outcome::Incomplete);
    }
    rest.truncate(compacted.body);
    Ok((rest, request.len + compacted.used))
}

fn forward(
    request: &Request<'_, '_>,
    body: Vec<u8>,
    cast: &Cast,
    token: Option<&str>,
) -> Result<Outcome, Outcome> {
    let path = target::split(request.target)
        .map_err(|target::Malformed| Outcome::Refused(HeadError::Malformed("request target")))?;
    let target = match target::find(&path, &request.headers) {
        Err(target::TargetError::Malformed) => {
            return Err(Outcome::Refused(HeadError::Malformed("request target")));
        }
        Err(error) => return Err(failed(error, "")),
        Ok(target) => target,
    };
    let destination = target::destination(&target.id).map_err(|error| failed(error, &target.id))?;
    let method = method::normalise(&target.method).map_err(|error| failed(error, &target.id))?;
    let to = destination.app("default").unwrap();
    if to.app_id != cast.callee {
        let unknown = Failure::new(
            proto::invoke::failure::Kind::NotFound,
            format!("couldn't find service: {}", to.app_id),
        );
        return Err(Outcome::Failed { failure: unknown, id: target.id.into_owned() });
    }
    let added = Added { host: "127.0.0.1:{app_port}", app_id: cast.callee, token, ..Added::default() };
    let mut head = Vec::new();
    if cast.own {
        let caller = Some(Caller { app_id: "hv-self", namespace: "default" });
        let added = Added { caller, ..added };
        let dropped = target.form.dropped();
        app::from_client(&mut head, request, &method, target.query, &added, dropped)
            .map_err(|refused| failed(refused, &target.id))?;
        return Ok(Outcome::App { head, body });
    }
    let message = encoded(request, &target, &method, &body).map_err(|error| failed(error, &target.id))?;
    let invoke = request::open(&message, Peer::Daprd).unwrap().leading().unwrap().0;
    let again = method::normalise(invoke.method).unwrap();
    assert_eq!(again, method, "a normal form is stable");
    let complete = Some(body.len() as u64);
    match app::from_mesh(&mut head, &invoke, Peer::Daprd, &again, &added, complete) {
        Ok(_) => Ok(Outcome::App { head, body }),
        Err(refused) => {
            let status = proto::grpc::status::Status { ..refused.status() };
            Err(Outcome::Failed { failure: Failure::rpc(&status), id: target.id.into_owned() })
        }
    }
}

fn failed(error: impl Into<Failure>, id: &str) -> Outcome {
    Outcome::Failed { failure: error.into(), id: id.into() }
}

fn encoded(
    request: &Request<'_, '_>,
    target: &target::Target<'_>,
    method: &str,
    body: &[u8],
) -> Result<Vec<u8>, proto::envelope::EncodeError> {
    let own = Identity {
        app_id: "hv-caller",
        namespace: "default",
        host_address: "{host_ip}",
        host_name: "{hostname}",
    };
    let app_id = target.id.split('.').next().unwrap();
    let call = request::Outgoing {
        headers: &request.headers,
        verb: request.method,
        method,
        query: target.query,
        fixed: &Fixed::new(&own, app_id),
        peer: Peer::Daprd,
        dropped: target.form.dropped(),
    };
    let mut out = Vec::new();
    request::first(&mut out, &call, body)?;
    Ok(frame::split(&out, 1 << 26).unwrap().unwrap().message.to_vec())
}

/// Where we answer differently on purpose: the case and our status (0: the call reaches the app or ends unnoticed).
const DIFFERENT: &[(&str, u16, &str)] = &[
    // compat.md, "HTTP/1 laxness"
    ("http1/headers/bare-lf", 400, "bare LF"),
    ("http1/headers/lf-only-end", 400, "bare LF"),
    ("http1/headers/one-bare-lf", 400, "bare LF"),
    ("http1/length/two-equal", 400, "doubled length"),
    ("http1/smuggling/cl-te-with-second-request", 400, "Content-Length beside Transfer-Encoding"),
    ("http1/smuggling/te-folded", 400, "obs-fold"),
    ("http1/smuggling/te-identity", 501, ""),
    ("http1/smuggling/te-empty", 501, ""),
    // compat.md, "dot segments that climb out of /method/"
    ("addressing/path/dotdot-climbs-out-of-invoke", 400, "climbs"),
    ("addressing/path/dotdot-to-other-app", 400, "climbs"),
    ("addressing/encoded/dots", 400, "climbs"),
    // not UTF-8 in a request target is no HTTP/1 request line here
    ("addressing/raw-bytes/latin1", 400, "not UTF-8"),
    ("query/raw-invalid-utf8", 400, "not UTF-8"),
    // versions after 1.1
    ("http1/version-1.2", 505, "version"),
    ("http1/tls-hello", 400, "refused at its first byte, not after a time-out"),
    ("http1/h2c-off/preface", 505, "version"),
    // an empty id before the dot is not looked up
    ("addressing/odd/id-dot-first", 500, "app id is empty"),
    ("addressing/odd/id-is-dot", 500, "app id is empty"),
    // a daprd peer is told which header
    ("request-headers/latin1-value", 500, "names the header"),
    ("request-headers/latin1-value-other-name", 500, "names the header"),
    // resolvers' own texts
    ("addressing/odd/id-is-long", 500, "resolver"),
];

/// Without what Go adds, what framing decides and what is never written (compat.md).
fn comparable(name: &str, sent: &[u8], headers: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let asked = String::from_utf8_lossy(sent).to_ascii_lowercase();
    let keep = |(key, value): &(String, Vec<u8>)| {
        let framing = key == "Content-Length" || key == "Transfer-Encoding";
        let gos = (key == "Accept-Encoding"
            && (!asked.contains("accept-encoding: gzip") || !asked.contains("accept-encoding")))
            || value == b"Go-http-client/1.1";
        let ends_here = key == "Dapr-Api-Token" && !name.starts_with("tokens/app");
        !framing && !gos && !ends_here && value != NO_TRACE.as_bytes()
    };
    let mut kept: Vec<_> = headers.into_iter().filter(keep).collect();
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    kept
}

fn different(name: &str) -> Option<(u16, &'static str)> {
    DIFFERENT.iter().find(|(case, ..)| *case == name).map(|(_, status, why)| (*status, *why))
}

/// Header lines that daprd passes although they were forged, or drops although the sidecar added them.
const FORGED: [&str; 3] = [
    "request-headers/spoof-callee",
    "request-headers/connection-names-identity",
    "request-headers/body/spoof-caller",
];

#[test]
fn a_request_reaches_the_app_as_recorded() {
    let (mut reached, mut answered) = (0, 0);
    for (case, cast) in recorded() {
        let name = case["name"].as_str().unwrap();
        let Some(bytes) = common::request(&case["send"]) else { continue };
        let tracing = case["topology"] != "tracing-off";
        let small = case["topology"] == "small-header";
        let max_head = if small { 1024 } else { 4096 };
        let got = if case["got"].is_array() { case["got"][0].clone() } else { case["got"].clone() };
        let saw = case["app_saw"].as_array().map(Vec::as_slice).unwrap_or_default();
        let (outcome, _) = treat(&bytes, &cast, max_head, None, tracing);
        if let Some((status, _)) = different(name) {
            assert_eq!(status_of(&outcome), Some(status), "{name}: {outcome:?}");
            continue;
        }
        match outcome {
            Outcome::App { head, body } => {
                let Some(saw) = saw.first() else { panic!("{name}: daprd's app saw nothing") };
                same_request(name, &bytes, &head, &body, saw);
                reached += 1;
            }
            outcome => {
                same_answer(name, &outcome, saw, &got);
                answered += 1;
            }
        }
    }
    assert!(reached > 250 && answered > 100, "{reached} reached the app, {answered} were answered");
}

fn same_request(name: &str, sent: &[u8], head: &[u8], body: &[u8], saw: &Value) {
    let (line, headers) = lines(head);
    let theirs = common::headers(&saw["headers"]);
    let theirs = theirs.into_iter().map(|(key, value)| (String::from_utf8(key).unwrap(), value)).collect();
    // compat.md: the real verb travels between our own sidecars, and so within one
    let verb = if name == "verbs/self/propfind" { "PROPFIND" } else { "POST" };
    let recorded = saw["line"].as_str().unwrap().to_owned();
    let recorded = if verb == "POST" { recorded } else { recorded.replacen("POST", verb, 1) };
    assert_eq!(line, recorded, "{name}");
    if !FORGED.contains(&name) && !name.contains("spoof") {
        let shown = |headers: Vec<(String, Vec<u8>)>| -> Vec<(String, String)> {
            headers
                .into_iter()
                .map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned()))
                .collect()
        };
        assert_eq!(shown(comparable(name, sent, headers)), shown(comparable(name, sent, theirs)), "{name}");
    }
    let cut = saw["body_cut"].is_boolean() || saw.get("body_note").is_some();
    if !cut {
        assert!(common::bytes(saw, "body") == body, "{name}: body");
    }
}

fn status_of(outcome: &Outcome) -> Option<u16> {
    Some(match outcome {
        Outcome::App { .. } | Outcome::Incomplete => return None,
        Outcome::Failed { failure, .. } => failure.http_status(),
        Outcome::Refused(error) => error.status(),
        Outcome::Expectation => 417,
        Outcome::Baggage(_) => 400,
        Outcome::Body(_) => 500,
    })
}

fn same_answer(name: &str, outcome: &Outcome, saw: &[Value], got: &Value) {
    if let Outcome::Incomplete = outcome {
        return; // what follows is a matter of time, or of a body that never comes
    }
    let status = status_of(outcome).map(u64::from);
    assert_eq!(status, got["status"].as_u64(), "{name}: {outcome:?}");
    match outcome {
        Outcome::Failed { failure, id } => {
            assert!(saw.is_empty(), "{name}");
            let mut json = Vec::new();
            failure.json(&mut json, id);
            let body = String::from_utf8(json).unwrap();
            if got["body"] != "" {
                assert_eq!(body, got["body"].as_str().unwrap(), "{name}");
            }
        }
        Outcome::Baggage(text) => assert_eq!(format!("{text}\n"), got["body"].as_str().unwrap(), "{name}"),
        Outcome::Body(error) => {
            assert!(got["body"].as_str().unwrap().contains(&error.to_string()), "{name}: {error}");
        }
        Outcome::Refused(_) => assert_eq!(got["end"], "closed", "{name}"),
        _ => {}
    }
}

#[test]
fn pipelined_requests_are_taken_apart_as_recorded() {
    for (case, cast) in recorded() {
        let name = case["name"].as_str().unwrap();
        let several = name.starts_with("http1/pipelining") || name.starts_with("http1/smuggling/te-on-get");
        if !several && name != "http1/smuggling/get-with-length-hides-request" {
            continue;
        }
        let bytes = common::request(&case["send"]).unwrap();
        let (mut at, mut statuses, mut reached) = (0, Vec::new(), 0);
        while at < bytes.len() {
            let mut slots = Slots::new();
            let parsed = Request::parse(&bytes[at..], &mut slots, &Limits::default());
            let last = matches!(parsed, Ok(Head::Complete(request)) if !request.keeps_alive());
            let (outcome, used) = treat(&bytes[at..], &cast, 4096, None, true);
            reached += usize::from(matches!(outcome, Outcome::App { .. }));
            statuses.push(status_of(&outcome).unwrap_or(200));
            at += used;
            if last {
                break;
            }
        }
        let answers = if case["got"].is_array() {
            case["got"].clone()
        } else {
            Value::Array(vec![case["got"].clone()])
        };
        let recorded: Vec<u64> =
            answers.as_array().unwrap().iter().filter_map(|got| got["status"].as_u64()).collect();
        assert_eq!(statuses.iter().map(|status| u64::from(*status)).collect::<Vec<_>>(), recorded, "{name}");
        assert_eq!(reached, case["app_saw"].as_array().unwrap().len(), "{name}");
    }
}

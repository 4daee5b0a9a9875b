//! An app's bytes become the client's answer through the hop's message, without sockets, as recorded from a real daprd
//! (tests/vectors/http).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // in a test, a panic is the finding

mod common;

use common::http::{NO_TRACE, lines, recorded};
use proto::envelope::{Peer, response};
use proto::grpc::frame;
use proto::http1::head::{Head, Limits, Request, Response, Slots, Version};
use proto::http1::refusal::HeadError;
use proto::invoke::headers::client::{self, Asked, Body};
use proto::trace::Context;
use serde_json::Value;

/// The app's bytes of the first answer, where it answers in plain writes.
fn app_answer(case: &Value) -> Option<Vec<u8>> {
    let steps = case["app"][0]["steps"].as_array()?;
    let mut out = Vec::new();
    for step in steps {
        if step.get("bytes").is_some() || step.get("bytes_b64").is_some() || step.get("bytes_fill").is_some()
        {
            out.extend(common::bytes(step, "bytes"));
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Answers that we refuse or pass differently on purpose, with the reason.
const ANSWERS: &[(&str, &str)] = &[
    ("response-headers/raw/bare-lf", "RFC 9112: refused"),
    ("response-headers/raw/obs-fold", "RFC 9112: refused"),
    ("response-headers/raw/space-in-name", "RFC 9112: refused, not skipped"),
    ("response-headers/gzip-claimed-but-plain", "codings pass untouched"),
    ("response-headers/gzip-not-asked-for", "codings pass untouched"),
    ("response-headers/gzip-not-asked-for-on-error", "codings pass untouched"),
    ("response-headers/over-4-kib", "the limit is the flag's: 64 KiB by default"),
    ("response-headers/near-4-kib", "the limit counts from the status line"),
    ("statuses/1xx/100-for-ever", "interim answers only"),
    ("statuses/1xx/101-asked", "a protocol switch is refused before"),
    ("statuses/1xx/101-unasked", "a protocol switch nobody asked for is a broken answer"),
    ("statuses/odd-number/000", "refused: no answer of an app can stop a sidecar"),
    ("statuses/odd-number/1000", ""),
    ("statuses/odd-number/200-negative", ""),
    ("statuses/odd-number/2x0", ""),
    ("statuses/odd-number/self-099", "refused: no answer of an app can stop a sidecar"),
];

#[test]
fn an_answer_reaches_the_client_as_recorded() {
    let mut compared = 0;
    for (case, cast) in recorded() {
        let name = case["name"].as_str().unwrap();
        let (Some(sent), Some(bytes)) = (common::request(&case["send"]), app_answer(&case)) else { continue };
        let Some(status) = case["got"]["status"].as_u64() else { continue };
        let max_head = if case["topology"] == "small-header" { 1024 } else { 4096 };
        if ANSWERS.iter().any(|(case, _)| *case == name) {
            continue;
        }
        let answered = answer(&sent, &bytes, cast.own, max_head);
        match answered {
            Ok((head, untyped)) => same_response(name, status, &head, untyped, &case["got"]),
            Err(error) => {
                assert_eq!(status, 500, "{name}: {error}");
                let text = case["got"]["body"].as_str().unwrap();
                assert!(text.contains("error invoking app channel: "), "{name}: {error}: {text}");
            }
        }
        compared += 1;
    }
    assert!(compared > 100, "only {compared} answers were compared");
}

#[test]
fn answers_that_are_no_http_are_refused() {
    for (case, cast) in recorded() {
        let name = case["name"].as_str().unwrap();
        let refused = name.starts_with("statuses/odd-number") || name.starts_with("response-headers/raw/");
        if refused && name != "response-headers/raw/none-at-all" {
            let sent = common::request(&case["send"]).unwrap();
            let bytes = app_answer(&case).unwrap();
            assert!(answer(&sent, &bytes, cast.own, 4096).is_err(), "{name}");
        }
    }
}

/// The client's head for an app's bytes, and whether the app told no content type.
fn answer(sent: &[u8], bytes: &[u8], own: bool, max_head: usize) -> Result<(Vec<u8>, bool), HeadError> {
    let mut slots = Slots::new();
    let Ok(Head::Complete(request)) = Request::parse(sent, &mut slots, &Limits::default()) else { panic!() };
    let mut at = 0;
    let mut first = request.headers.named("traceparent");
    let date = *b"{date}                       ";
    let baggage = request.headers.named("baggage").collect::<Vec<_>>().join(&b","[..]);
    let asked = Asked {
        version: Version::Http11,
        head: request.method == "HEAD",
        events: request.wants_events(),
        streaming: request.headers.has(proto::http1::Known::TransferEncoding),
        close: false,
        trace: first.next().and_then(Context::parse),
        tracestate: request.headers.named("tracestate").next(),
        baggage: (!baggage.is_empty()).then_some(&baggage[..]),
        date: &date,
        extra: &[],
        upgrade: None,
    };
    loop {
        let mut slots = Slots::new();
        let parsed = Response::parse(&bytes[at..], &mut slots, &Limits { max_head })?;
        let Head::Complete(response) = parsed else { return Err(HeadError::Malformed("cut off")) };
        if response.is_interim() {
            at += response.len;
            continue;
        }
        let mut out = Vec::new();
        if own {
            client::from_app(&mut out, &response, &asked, Body::Unknown);
            return Ok((out, response.headers.named("content-type").all(<[u8]>::is_empty)));
        }
        let outgoing = response::Outgoing { head: &response, peer: Peer::Daprd };
        let mut wire = Vec::new();
        response::first(&mut wire, &outgoing, b"x").unwrap();
        let message = frame::split(&wire, 1 << 20).unwrap().unwrap().message.to_vec();
        let (answer, _) = response::open(&message, Peer::Daprd).unwrap().leading().unwrap();
        client::from_mesh(&mut out, &answer, &asked, Body::Unknown).unwrap();
        return Ok((out, answer.told_content_type().is_empty()));
    }
}

fn same_response(name: &str, status: u64, head: &[u8], untyped: bool, got: &Value) {
    let (line, headers) = lines(head);
    let theirs = common::headers(&got["headers"]);
    let theirs: Vec<_> =
        theirs.into_iter().map(|(key, value)| (String::from_utf8(key).unwrap(), value)).collect();
    assert!(
        line.starts_with(&format!("HTTP/1.1 {status} {}", got["reason"].as_str().unwrap())),
        "{name}: {line}"
    );
    let essential = |headers: Vec<(String, Vec<u8>)>| {
        let keep = |(key, value): &(String, Vec<u8>)| {
            let framing = ["Content-Length", "Transfer-Encoding", "Connection"].contains(&key.as_str());
            let date = key == "Date" && value.starts_with(b"{date}");
            let sniffed = untyped && key == "Content-Type";
            !framing && !date && !sniffed && value != NO_TRACE.as_bytes()
        };
        let mut kept: Vec<_> = headers
            .into_iter()
            .filter(keep)
            .map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned()))
            .collect();
        kept.sort_by(|a, b| a.0.cmp(&b.0));
        kept
    };
    assert_eq!(essential(headers), essential(theirs), "{name}");
}

//! The mesh hop's ends: from recorded messages to the heads that a recorded app and a recorded client saw.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // in a test, a panic is the finding

mod common;

use proto::envelope::{Peer, request, response};
use proto::grpc::base64;
use proto::http1::framing::Framing;
use proto::http1::head::{Head, Limits, Request, Response, Slots, Version};
use proto::invoke::headers::app::{self, Added};
use proto::invoke::headers::client::{self, Asked, Body};
use proto::invoke::{details, method};
use proto::trace::Context;
use serde_json::Value;

const NO_TRACE: &str = "00-00000000000000000000000000000000-0000000000000000-00";

/// The messages of one direction, as bytes; `None` where one is shown only by its hash.
fn message_bytes(messages: &Value) -> Option<Vec<Vec<u8>>> {
    let plain = messages.as_array()?.iter().filter(|message| message["compressed"] != 1);
    plain.map(|message| base64::decode(message["base64"].as_str()?.as_bytes())).collect()
}

fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    common::headers(headers).into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// What a callee does with the first message of a call, up to the app's head.
fn to_app(
    first: &[u8],
    unary: bool,
    trace: Option<Context>,
    body: bool,
) -> Result<(Vec<u8>, Framing), proto::grpc::status::Status> {
    let invoke = if unary {
        request::open_whole(first, Peer::Daprd).map_err(|error| error.status())?
    } else {
        request::open(first, Peer::Daprd)
            .and_then(|message| message.leading())
            .map_err(|error| error.status())?
            .0
    };
    let rejected = |error: method::MethodError| proto::grpc::status::Status {
        code: proto::grpc::status::Code::INVALID_ARGUMENT,
        message: format!("invalid method: {error}"),
    };
    let method = method::normalise(invoke.method).map_err(rejected)?;
    let added = Added { host: "127.0.0.1:45040", app_id: "gv-callee", trace, ..Added::default() };
    let complete = if unary {
        Some(invoke.data.len() as u64)
    } else if body {
        None
    } else {
        Some(0)
    };
    let mut out = Vec::new();
    let framing = app::from_mesh(&mut out, &invoke, Peer::Daprd, &method, &added, complete)
        .map_err(|refused| refused.status())?;
    Ok((out, framing))
}

/// Our head in the recorder's form.
fn shown_request(head: &[u8]) -> (String, Vec<(String, String)>) {
    let mut slots = Slots::new();
    let Ok(Head::Complete(request)) = Request::parse(head, &mut slots, &Limits::default()) else {
        panic!("{}", String::from_utf8_lossy(head))
    };
    assert_eq!(request.len, head.len());
    let lines = request.headers.iter();
    let headers = lines.map(|line| (line.name.to_owned(), String::from_utf8(line.value.to_vec()).unwrap()));
    (format!("{} {} HTTP/1.1", request.method, request.target), common::sorted(headers.collect()))
}

/// A recorded app's headers without what Go added and what we deliberately leave out (compat.md: identity headers,
/// all-zero contexts, client tokens, compression).
fn comparable(headers: Vec<(String, String)>, sent: &Value) -> Vec<(String, String)> {
    let metadata = sent["metadata"].to_string();
    let forged = |name: &str, value: &str| name == "Dapr-Caller-App-Id" && value == "evil";
    let keep = |(name, value): &(String, String)| {
        let gos = (name == "Accept-Encoding" && !metadata.contains("ccept-"))
            || value.starts_with("Go-http-client");
        let framing = name == "Transfer-Encoding" || name == "Content-Length";
        !gos && !framing && value != NO_TRACE && !forged(name, value) && name != "Dapr-Api-Token"
    };
    common::sorted(headers.into_iter().filter(keep).collect())
}

#[test]
fn an_app_sees_the_request_that_daprds_app_saw() {
    let mut compared = 0;
    for case in common::cases("hopb/callee.jsonl") {
        let name = case["name"].as_str().unwrap();
        let (sent, saw) = (&case["caller_sent"], &case["app_saw"][0]);
        let Some(line) = saw["line"].as_str().filter(|line| line.ends_with("HTTP/1.1")) else { continue };
        let Some(messages) = sent.get("messages").and_then(message_bytes).filter(|all| !all.is_empty())
        else {
            continue;
        };
        let rpc = pairs(&sent["metadata"]);
        let unary = sent["rpc"].as_str().is_some_and(|path| path.ends_with("/CallLocal"));
        let trace = Context::of_call(
            header(&rpc, "traceparent").map(str::as_bytes),
            header(&rpc, "grpc-trace-bin").map(str::as_bytes),
        );
        let body = sent["messages"].to_string().contains("\"payload\"");
        let (head, framing) =
            to_app(&messages[0], unary, trace, body).unwrap_or_else(|s| panic!("{name}: {s}"));
        let (our_line, our_headers) = shown_request(&head);
        let request = &sent["messages"][0]["decoded"];
        let request = if unary { request } else { &request["request"] };
        assert_eq!(our_line, line, "{name}");
        assert_eq!(comparable(our_headers, request), comparable(pairs(&saw["headers"]), request), "{name}");
        same_framing(name, framing, saw);
        compared += 1;
    }
    assert!(compared > 60, "only {compared} requests were compared");
}

fn same_framing(name: &str, ours: Framing, saw: &Value) {
    let recorded = saw["framing"].as_str().unwrap();
    let empty = saw["body"]["text"] == "";
    match ours {
        Framing::None => assert!(empty && recorded != "content-length", "{name}: {recorded}"),
        Framing::Length(0) => assert!(empty, "{name}: {recorded}"), // Go sends an empty chunked body
        Framing::Length(length) => assert_eq!(recorded, format!("content-length {length}"), "{name}"),
        Framing::Chunked => assert_eq!(recorded, "chunked", "{name}"),
        Framing::UntilClose => panic!("{name}"),
    }
}

#[test]
fn a_call_that_cannot_be_made_ends_with_daprds_status() {
    let mut compared = Vec::new();
    for case in common::cases("hopb/callee.jsonl") {
        let name = case["name"].as_str().unwrap();
        let family = ["callee/bad/", "callee/method/", "callee/http/", "callee/unary/"];
        let (sent, got) = (&case["caller_sent"], &case["caller_got"]);
        let Some(messages) = sent.get("messages").and_then(message_bytes).filter(|all| !all.is_empty())
        else {
            continue;
        };
        let called = case["app_saw"].as_array().is_some_and(|saw| !saw.is_empty());
        if called || !family.iter().any(|family| name.starts_with(family)) || name.ends_with("baggage-bad") {
            continue;
        }
        let unary = name.starts_with("callee/unary/");
        let Err(status) = to_app(&messages[0], unary, None, true) else {
            panic!("{name}: would reach the app")
        };
        let ends = if got["trailers"].is_array() { &got["trailers"] } else { &got["headers"] };
        let ends = pairs(ends);
        let message = header(&ends, "grpc-message").unwrap();
        assert_eq!(Some(status.code.0.to_string().as_str()), header(&ends, "grpc-status"), "{name}");
        assert_eq!(
            status.message.replace("%zz", "%25zz"),
            message.replace("%25zz", "%zz").replace("%zz", "%25zz"),
            "{name}"
        );
        compared.push(name.to_owned());
    }
    assert!(compared.len() > 10, "{compared:?}");
}

fn asked(events: bool, trace: Option<Context>) -> Asked<'static> {
    Asked {
        version: Version::Http11,
        head: false,
        events,
        streaming: false,
        close: false,
        trace,
        tracestate: None,
        baggage: None,
        date: b"Thu, 01 Jan 1970 00:00:00 GMT",
        extra: &[],
        upgrade: None,
    }
}

/// The first message of a scripted answer.
fn answered(case: &Value) -> Option<Vec<u8>> {
    let steps = case["callee_answered"].as_array()?;
    let message = steps.iter().find_map(|step| step["data"].get(0))?;
    if message["compressed"] == 1 || message.get("decoded").is_none() {
        return None;
    }
    base64::decode(message["base64"].as_str()?.as_bytes())
}

#[test]
fn a_client_sees_the_answer_that_daprds_client_saw() {
    let mut compared = 0;
    for case in common::cases("hopb/caller.jsonl") {
        let (name, got) = (case["name"].as_str().unwrap(), &case["client_got"]);
        let Some(status) = got["status"].as_u64().filter(|_| case["client_sent"]["line"].is_string()) else {
            continue;
        };
        let Some(message) = answered(&case) else { continue };
        if name.contains("policy")
            || name.contains("retry")
            || name.contains("fallback")
            || name.contains("too-big")
        {
            continue;
        }
        let opened = response::open(&message, Peer::Daprd).and_then(|message| message.leading());
        let (answer, _) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let text = got["body_json"]["message"].as_str().unwrap();
                assert_eq!(text.replace("{SPACE}", " "), proto_failure(error), "{name}");
                compared += 1;
                continue;
            }
        };
        let mut out = Vec::new();
        let events = name.starts_with("caller/sse");
        let Some((our_status, _)) = client::from_mesh(&mut out, &answer, &asked(events, None), Body::Unknown)
        else {
            panic!("{name}: no status")
        };
        if name.ends_with("details-unknown") {
            let error = details::json(&answer).unwrap_err().to_string();
            assert_eq!(got["body_json"]["message"].as_str().unwrap().replace("{SPACE}", " "), error);
            continue;
        }
        assert_eq!(u64::from(our_status), status, "{name}");
        if (1..100).contains(&answer.code) {
            let json = String::from_utf8(details::json(&answer).unwrap()).unwrap();
            assert_eq!(got["body"]["text"], json, "{name}");
        }
        same_headers(name, &out, &pairs(&got["headers"]), answer.told_content_type().is_empty());
        compared += 1;
    }
    assert!(compared > 40, "only {compared} answers were compared");
}

fn proto_failure(error: proto::envelope::OpenError) -> String {
    proto::invoke::failure::Failure::from(error).message("gv-fake")
}

/// Compares header lines without date, framing, all-zero contexts and content types nobody gave.
fn same_headers(name: &str, head: &[u8], recorded: &[(String, String)], untyped: bool) {
    let mut slots = Slots::new();
    let Ok(Head::Complete(response)) = Response::parse(head, &mut slots, &Limits::default()) else {
        panic!("{}", String::from_utf8_lossy(head))
    };
    let ours = response.headers.iter();
    let ours =
        ours.map(|line| (line.name.to_owned(), String::from_utf8(line.value.to_vec()).unwrap())).collect();
    let essential = |headers: Vec<(String, String)>| {
        let keep = |(name, value): &(String, String)| {
            let framing =
                ["Date", "Content-Length", "Transfer-Encoding", "Connection"].contains(&name.as_str());
            !framing && value != NO_TRACE && !(untyped && name == "Content-Type")
        };
        common::sorted(headers.into_iter().filter(keep).collect())
    };
    assert_eq!(essential(ours), essential(recorded.to_vec()), "{name}");
}

//! What the scripted callee answers: the recorded steps, or, where the recording only tells what came of it, our reading
//! of what the case is about.

use crate::case::{Case, bytes, hex, message, pairs};
use rig::grpc::callee::{Script, Step};
use rig::grpc::framed;
use rig::grpc::messages::{Any, InvokeResponse, Message, Payload, Response, Status, StreamResponse, Values};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const CANCEL: u32 = 8;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// The answers to the calls of a case, in order.
pub(crate) fn of(case: &Case) -> Vec<Script> {
    if let Some(steps) = case.value["callee_answered"].as_array() {
        return vec![recorded(steps).into()];
    }
    let unavailable = || vec![status(14, "try later")].into();
    match case.short() {
        "early-answer" => vec![Script { steps: stream("early", "text/plain"), at_head: true }],
        "client-leaves" => vec![Vec::new().into()],
        "client-leaves-mid-body" => vec![stream("one", "text/plain")[..2].to_vec().into()],
        "fallback/both-unimplemented" => {
            vec![unknown("CallLocalStream")]
        }
        "fallback/get" => vec![unknown("CallLocalStream"), via_unary(200, "hello", "X-Via", "unary").into()],
        "fallback/status-404" => vec![unknown("CallLocalStream"), via_unary(404, "nope", "X-A", "1").into()],
        "retry/close-before-answer" => vec![vec![Step::Close].into(), plain_ok()],
        "retry/refused-stream-once" => vec![vec![Step::Reset(REFUSED_STREAM)].into(), plain_ok()],
        "retry/two-addresses" => vec![unavailable()],
        "retry/unavailable-then-internal" => vec![unavailable(), vec![status(13, "boom")].into()],
        name if name.starts_with("retry/") => vec![unavailable(), plain_ok()],
        _ => vec![plain_ok()],
    }
}

fn unknown(method: &str) -> Script {
    vec![status(12, &format!("unknown method {method}"))].into()
}

fn own(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn opening() -> Step {
    Step::Head(own(&[(":status", "200"), ("content-type", "application/grpc")]), false)
}

fn ending() -> Step {
    Step::Trailers(own(&[("grpc-status", "0"), ("grpc-message", "")]))
}

/// Trailers only.
fn status(code: u8, text: &str) -> Step {
    let code = code.to_string();
    let fields = [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", code.as_str()),
        ("grpc-message", text),
    ];
    Step::Head(own(&fields), true)
}

fn response(code: i32, content_type: &str, header: Option<(&str, &str)>) -> Response {
    let values = |v: &str| Values { values: vec![v.to_owned()] };
    Response {
        status: Some(Status { code, ..Status::default() }),
        headers: header.map(|(n, v)| (n.to_owned(), values(v))).into_iter().collect(),
        trailers: BTreeMap::new(),
        message: Some(InvokeResponse { data: None, content_type: content_type.to_owned() }),
    }
}

fn message_of(response: Response, data: &[u8]) -> Vec<u8> {
    let payload = Payload { data: data.to_vec(), seq: 0 };
    framed(0, &StreamResponse { response: Some(response), payload: Some(payload) }.encode_to_vec())
}

fn plain_ok() -> Script {
    let first = message_of(response(200, "text/plain", Some(("X-Fake", "1"))), b"hello");
    vec![opening(), Step::Data(first, false), ending()].into()
}

fn stream(text: &str, content_type: &str) -> Vec<Step> {
    let first = message_of(response(200, content_type, None), text.as_bytes());
    vec![opening(), Step::Data(first, false), ending()]
}

fn via_unary(code: i32, text: &str, name: &str, value: &str) -> Vec<Step> {
    let mut answer = response(code, "text/plain", Some((name, value)));
    let data = Any { type_url: String::new(), value: text.as_bytes().to_vec() };
    answer.message.as_mut().expect("a message").data = Some(data);
    vec![opening(), Step::Data(framed(0, &answer.encode_to_vec()), false), ending()]
}

/// The recorded steps.
fn recorded(steps: &[Value]) -> Vec<Step> {
    let mut opened = false;
    let mut found = Vec::new();
    for step in steps {
        match step {
            Value::String(text) => {
                assert_eq!(text, "close the TCP connection");
                found.push(Step::Close);
            }
            Value::Object(members) => {
                for (name, value) in members {
                    found.extend(one(name, value, &mut opened));
                }
            }
            other => panic!("an unknown step: {other}"),
        }
    }
    found
}

fn one(name: &str, value: &Value, opened: &mut bool) -> Vec<Step> {
    match name {
        "headers" => {
            *opened = true;
            vec![Step::Head(pairs(value), false)]
        }
        "headers, END_STREAM" if *opened => vec![Step::Trailers(pairs(value))],
        "headers, END_STREAM" => vec![Step::Head(pairs(value), true)],
        "data" => value.as_array().into_iter().flatten().map(|m| Step::Data(data(m), false)).collect(),
        "data, END_STREAM" => {
            let joined = value.as_array().into_iter().flatten().flat_map(data).collect();
            vec![Step::Data(joined, true)]
        }
        "pause_s" => vec![Step::Pause(Duration::from_secs_f64(value.as_f64().expect("seconds")))],
        "RST_STREAM" => vec![Step::Reset(if value == "CANCEL" { CANCEL } else { INTERNAL_ERROR })],
        other => panic!("an unknown step: {other}"),
    }
}

/// The bytes of a recorded message with its prefix.
fn data(recorded: &Value) -> Vec<u8> {
    if let Some(rest) = recorded["incomplete_rest"].as_str() {
        return hex(rest);
    }
    let flag = recorded["compressed"].as_u64().unwrap_or_default() as u8;
    if let Some(message) = message(recorded) {
        return framed(flag, &message);
    }
    let decoded = &recorded["decoded"];
    let payload = Payload {
        data: bytes(&decoded["payload"]["data"]),
        seq: decoded["payload"]["seq"].as_u64().unwrap_or_default(),
    };
    let response = decoded.get("response").map(|_| response(200, "text/plain", None));
    let message = StreamResponse { response, payload: Some(payload) }.encode_to_vec();
    assert_eq!(Some(message.len() as u64), recorded["len"].as_u64(), "the recorded length");
    framed(flag, &message)
}

//! What was observed, in the form of the recordings, so that a difference can be reviewed and kept in `ours.jsonl`.
//!
//! `OUTRIGGER_VECTORS_OBSERVED=FILE` appends one line a failed case.

use crate::stage::Saw;
use rig::h2app;
use rig::http1::app;
use rig::http1::body::Framing;
use rig::http1::client::Got;
use rig::http1::head::Headers;
use rig::vectors::bytes::to_base64;
use rig::vectors::observe::Known;
use serde_json::{Map, Value, json};
use std::fs::OpenOptions;
use std::io::Write;

/// Appends what was observed to the file that the environment names, if it does.
pub(crate) fn keep(name: &str, known: &Known, got: &[&Got], saw: Option<&Saw>) {
    let Some(path) = std::env::var_os("OUTRIGGER_VECTORS_OBSERVED") else { return };
    let mut line = json!({ "name": name });
    let answers: Vec<Value> = got.iter().map(|g| answer(g, known)).collect();
    line["got"] = if answers.len() == 1 { answers[0].clone() } else { Value::Array(answers) };
    match saw {
        Some(Saw::Http(saw)) => line["app_saw"] = saw.iter().map(|s| request(s, known)).collect(),
        Some(Saw::H2(saw)) => line["app_saw"] = saw.iter().map(|s| h2_request(s, known)).collect(),
        None => (),
    }
    let mut file =
        OpenOptions::new().create(true).append(true).open(path).expect("the file for observations");
    file.write_all(format!("{line}\n").as_bytes()).expect("an observation is written");
}

/// A text with values put back into tokens; bytes that are no UTF-8 in base 64.
fn text(bytes: &[u8], known: &Known) -> Value {
    let Ok(text) = std::str::from_utf8(bytes) else { return json!({ "b64": to_base64(bytes) }) };
    let mut text = text.to_owned();
    for (name, value) in known.iter().filter(|(name, _)| name.ends_with("port") || *name == "hostname") {
        text = text.replace(value, &format!("{{{name}}}"));
    }
    Value::String(text)
}

fn fields(headers: &Headers, known: &Known) -> Value {
    headers.iter().map(|(n, v)| json!([text(n, known), field(n, v, known)])).collect()
}

fn field(name: &[u8], value: &[u8], known: &Known) -> Value {
    if name.eq_ignore_ascii_case(b"date") { json!("{date}") } else { text(value, known) }
}

fn answer(got: &Got, known: &Known) -> Value {
    let mut answer = Map::new();
    if got.status != 0 {
        answer.insert("status".into(), json!(got.status));
        answer.insert("headers".into(), fields(&got.headers, known));
        body(&mut answer, &got.body, known);
    }
    if !got.trailers.is_empty() {
        answer.insert("trailers".into(), fields(&got.trailers, known));
    }
    if !got.interim.is_empty() {
        answer.insert(
            "interim".into(),
            got.interim.iter().map(|(s, _)| json!({ "status": s, "headers": [] })).collect(),
        );
    }
    if !got.end.is_empty() {
        answer.insert("end".into(), json!(got.end));
    }
    Value::Object(answer)
}

/// A body as `body` or `body_b64`.
fn body(into: &mut Map<String, Value>, bytes: &[u8], known: &Known) {
    match text(bytes, known) {
        Value::Object(mut encoded) => {
            into.insert("body_b64".into(), encoded.remove("b64").unwrap_or_default())
        }
        text => into.insert("body".into(), text),
    };
}

fn request(saw: &app::Saw, known: &Known) -> Value {
    let framing = match saw.framing {
        _ if saw.unread => "not read",
        Framing::None | Framing::ToEnd => "none",
        Framing::Length(_) => "content-length",
        Framing::Chunked => "chunked",
    };
    let mut request = json!({
        "line": text(&saw.head.line, known), "headers": fields(&saw.head.headers, known), "framing": framing,
    });
    if !saw.body.bytes.is_empty() {
        request["body"] = text(&saw.body.bytes, known);
    }
    if saw.body.cut.is_some() {
        request["body_cut"] = json!(true);
    }
    if saw.left {
        request["sidecar_closed"] = json!(true);
    }
    request
}

fn h2_request(saw: &h2app::Saw, known: &Known) -> Value {
    let headers: Value = saw.headers.iter().map(|(n, v)| json!([n, text(v.as_bytes(), known)])).collect();
    json!({ "line": "HTTP/2", "headers": headers, "framing": "http2", "body": text(&saw.body, known) })
}

//! Every message that a real daprd sent or took on the mesh hop (tests/vectors/hopb), read and written again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // in a test, a panic is the finding

mod common;

use common::messages as by_prost;
use prost::Message;
use proto::envelope::{Fixed, Identity, Metadata, Peer, request, response};
use proto::grpc::{base64, frame};
use proto::http1::head::{Head, Limits, Request, Slots};
use proto::invoke::{method, target};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Every object with `base64` and `decoded` inside a case.
fn messages<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
        Value::Object(fields) if fields.contains_key("base64") && fields.contains_key("decoded") => {
            found.extend((fields["compressed"] != 1).then_some(value));
        }
        Value::Object(fields) => fields.values().for_each(|item| messages(item, found)),
        _ => {}
    }
}

/// The recorder's form of bytes.
fn recorded_bytes(data: &[u8], like: &Value) -> Value {
    if like.get("len").is_some() {
        let starts = String::from_utf8_lossy(data.get(..48).unwrap_or(data)).into_owned();
        json!({ "len": data.len(), "sha256": like["sha256"], "starts": { "text": starts } })
    } else if like.get("hex").is_some() {
        json!({ "hex": data.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
    } else {
        json!({ "text": String::from_utf8_lossy(data) })
    }
}

fn metadata(metadata: &Metadata<'_>) -> Value {
    let text = |value: &[u8]| Value::from(String::from_utf8(value.to_vec()).unwrap());
    let entries = metadata
        .entries()
        .map(|entry| (String::from_utf8(entry.key.to_vec()).unwrap(), entry.values().map(text).collect()));
    Value::Object(entries.collect())
}

/// Leaves out what proto3 does not tell from absence: empty texts, zeros, empty maps; and unknown fields, which a
/// reader skips.
fn essence(value: &Value) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let mut kept = Map::new();
    for (name, value) in fields {
        let no_bytes = *value == json!({ "text": "" });
        let value = if name == "metadata" || name == "headers" { value.clone() } else { essence(value) };
        let nothing = value == json!("") || value == json!(0) || no_bytes;
        let nothing = nothing || value == json!("APIVERSION_UNSPECIFIED") || value == json!("NONE");
        let empty_map = (name == "metadata" || name == "headers") && value == json!({});
        if !nothing && !empty_map && name != "?unknown" && name != "trailers" && name != "details" {
            kept.insert(name.clone(), value);
        }
    }
    Value::Object(kept)
}

fn payload(
    payload: Option<proto::envelope::payload::Payload<'_>>,
    like: &Value,
    object: &mut Map<String, Value>,
) {
    if let Some(payload) = payload {
        let data = recorded_bytes(payload.data, &like["payload"]["data"]);
        object.insert("payload".into(), json!({ "data": data, "seq": payload.seq }));
    }
}

fn any(type_url: &str, data: &[u8], like: &Value) -> Value {
    let value = recorded_bytes(data, &like["value"]);
    json!({ "type_url": type_url, "value": value })
}

fn request_view(invoke: &request::Invoke<'_>, like: &Value) -> Value {
    let verb = |verb: proto::envelope::Verb| {
        verb.name()
            .filter(|_| verb.number() > 0)
            .map_or(if verb.number() > 9 { json!(verb.number()) } else { json!(0) }, Value::from)
    };
    let mut message = Map::from_iter([
        ("method".into(), json!(invoke.method)),
        ("content_type".into(), json!(String::from_utf8_lossy(invoke.content_type))),
    ]);
    if let Some(number) = invoke.verb {
        message.insert("http_extension".into(), json!({ "verb": verb(number), "querystring": invoke.query }));
    }
    if like["message"].get("data").is_some() {
        message.insert("data".into(), any(invoke.type_url, invoke.data, &like["message"]["data"]));
    }
    let version = match invoke.version {
        1 => json!("V1"),
        0 => json!(0),
        other => json!(other),
    };
    let mut object =
        Map::from_iter([("ver".into(), version), ("metadata".into(), metadata(&invoke.metadata))]);
    if like.get("message").is_some() {
        object.insert("message".into(), Value::Object(message));
    }
    Value::Object(object)
}

fn response_view(answer: &response::Answer<'_>, like: &Value) -> Value {
    let mut object = Map::from_iter([
        ("status".into(), json!({ "code": answer.code, "message": answer.message })),
        ("headers".into(), metadata(&answer.headers)),
    ]);
    if let Some(message) = like.get("message") {
        let mut fields =
            Map::from_iter([("content_type".into(), json!(String::from_utf8_lossy(answer.content_type)))]);
        if let Some(data) = message.get("data") {
            fields.insert("data".into(), any(answer.type_url, answer.data, data));
        }
        object.insert("message".into(), Value::Object(fields));
    }
    Value::Object(object)
}

/// Reads a recorded message by our reader and compares; `None` where it is of another protocol.
fn check(name: &str, message: &Value) -> Option<()> {
    let bytes = base64::decode(message["base64"].as_str()?.as_bytes()).unwrap();
    let decoded = &message["decoded"];
    let mut seen = Map::new();
    if decoded.get("response").is_some()
        || decoded.get("payload").is_some()
        || decoded.get("request").is_some()
    {
        if let Some(like) = decoded.get("response") {
            let opened =
                response::open(&bytes, Peer::Daprd).unwrap_or_else(|error| panic!("{name}: {error}"));
            match opened.leading() {
                Ok((answer, body)) => {
                    seen.insert("response".into(), response_view(&answer, like));
                    payload(body, decoded, &mut seen);
                }
                Err(_) => return None, // late or empty responses: see the sequence tests
            }
        } else {
            let opened = request::open(&bytes, Peer::Daprd).unwrap_or_else(|error| panic!("{name}: {error}"));
            match decoded.get("request") {
                Some(like) => match opened.leading() {
                    Ok((invoke, body)) => {
                        seen.insert("request".into(), request_view(&invoke, like));
                        payload(body, decoded, &mut seen);
                    }
                    Err(_) => return None,
                },
                None => payload(opened.following().unwrap(), decoded, &mut seen),
            }
        }
        assert_eq!(essence(&Value::Object(seen)), essence(decoded), "{name}");
    } else if decoded.get("ver").is_some() && decoded.get("message").is_some() {
        let invoke =
            request::open_whole(&bytes, Peer::Daprd).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(essence(&request_view(&invoke, decoded)), essence(decoded), "{name}");
    } else if decoded.get("status").is_some() {
        let answer =
            response::open_whole(&bytes, Peer::Daprd).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(essence(&response_view(&answer, decoded)), essence(decoded), "{name}");
    } else {
        return None;
    }
    Some(())
}

#[test]
fn every_recorded_message_reads_as_recorded() {
    let mut read = 0;
    for file in ["hopb/caller.jsonl", "hopb/callee.jsonl"] {
        for case in common::cases(file) {
            let mut found = Vec::new();
            let name = case["name"].as_str().unwrap();
            if name != "callee/bad/not-utf8" {
                messages(&case, &mut found);
            }
            read += found.into_iter().filter(|message| check(name, message).is_some()).count();
        }
    }
    assert!(read > 400, "only {read} messages were read");
}

/// The first message that daprd sent for an HTTP client's request, and that request.
fn calls() -> Vec<(String, Vec<u8>, Value)> {
    let mut calls = Vec::new();
    for case in common::cases("hopb/caller.jsonl") {
        let (sent, saw) = (&case["client_sent"], &case["callee_saw"][0]);
        let stream = saw["headers"].as_array().is_some_and(|headers| {
            headers
                .iter()
                .any(|pair| pair[1].as_str().is_some_and(|value| value.ends_with("/CallLocalStream")))
        });
        let (Some(line), Some(first)) = (sent["line"].as_str(), saw["messages"][0].get("decoded")) else {
            continue;
        };
        if stream {
            let mut head = format!("{line}\r\n").into_bytes();
            for pair in sent["headers"].as_array().unwrap() {
                head.extend_from_slice(&[&latin1(&pair[0])[..], b": ", &latin1(&pair[1]), b"\r\n"].concat());
            }
            head.extend_from_slice(b"\r\n");
            calls.push((case["name"].as_str().unwrap().to_owned(), head, first.clone()));
        }
    }
    calls
}

/// Header text of these recordings stands for single bytes.
fn latin1(text: &Value) -> Vec<u8> {
    text.as_str().unwrap().chars().map(|letter| letter as u8).collect()
}

/// The metadata that we send: daprd's without what ends at the calling sidecar.
fn expected(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let list = |values: &Value| -> Vec<String> {
        values.as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect()
    };
    let mut entries: BTreeMap<String, Vec<String>> =
        metadata.as_object().unwrap().iter().map(|(key, values)| (key.clone(), list(values))).collect();
    let named: Vec<String> = entries
        .get("Connection")
        .into_iter()
        .flatten()
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    const ENDS: [&str; 11] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "te",
        "trailer",
        "proxy-authorization",
        "proxy-authenticate",
        "dapr-api-token",
    ];
    const OURS: [&str; 4] =
        ["dapr-caller-app-id", "dapr-callee-app-id", "dapr-caller-namespace", "destination-app-id"];
    entries.retain(|key, _| {
        let lower = key.to_ascii_lowercase();
        let forged = OURS.contains(&lower.as_str()) && *key != lower;
        !ENDS.contains(&lower.as_str()) && !named.contains(&lower) && !forged
    });
    entries
}

#[test]
fn a_request_is_encoded_as_daprd_encodes_it() {
    let own = Identity {
        app_id: "gv-caller",
        namespace: "default",
        host_address: "10.77.0.1",
        host_name: "gv-host",
    };
    let calls = calls();
    let mut encoded = 0;
    for (name, head, recorded) in &calls {
        let mut slots = Slots::new();
        let Ok(Head::Complete(client)) = Request::parse(head, &mut slots, &Limits::default()) else {
            panic!("{name}: head refused")
        };
        let path = target::split(client.target).unwrap();
        let target = target::find(&path, &client.headers).unwrap();
        let method = method::normalise(&target.method).unwrap();
        let app_id = target.id.split('.').next().unwrap();
        let fixed = Fixed::new(&Identity { namespace: namespace(name), ..own }, app_id);
        let call = request::Outgoing {
            headers: &client.headers,
            verb: client.method,
            method: &method,
            query: target.query,
            fixed: &fixed,
            peer: Peer::Daprd,
            dropped: target.form.dropped(),
        };
        let mut out = Vec::new();
        request::first(&mut out, &call, b"body").unwrap();
        let message = frame::split(&out, 1 << 20).unwrap().unwrap().message;
        let ours = by_prost::InternalInvokeRequestStream::decode(message).unwrap();
        let request = ours.request.unwrap();
        assert_eq!((request.ver, ours.payload.unwrap().data), (1, b"body".to_vec()), "{name}");
        let entries: BTreeMap<_, _> =
            request.metadata.into_iter().map(|(key, list)| (key, list.values)).collect();
        assert_eq!(entries, expected(&recorded["request"]["metadata"]), "{name}");
        same_message(name, &request.message.unwrap(), &recorded["request"]["message"]);
        encoded += 1;
    }
    assert!(encoded > 100, "only {encoded} requests were encoded");
}

fn namespace(name: &str) -> &'static str {
    if name == "caller/setting/namespace-empty" { "" } else { "default" }
}

fn same_message(name: &str, ours: &by_prost::InvokeRequest, recorded: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let extension = ours.http_extension.as_ref().unwrap();
    let verb = proto::envelope::Verb::from_number(extension.verb as u32).name().unwrap();
    assert_eq!(ours.method, text(&recorded["method"]), "{name}");
    assert_eq!(ours.content_type, text(&recorded["content_type"]), "{name}");
    assert_eq!(extension.querystring, text(&recorded["http_extension"]["querystring"]), "{name}");
    assert_eq!(verb, recorded["http_extension"]["verb"].as_str().unwrap_or("NONE"), "{name}");
}

#[test]
fn a_value_that_is_not_utf8_is_refused_from_a_daprd_and_taken_from_an_outrigger() {
    let cases = common::cases("hopb/callee.jsonl");
    let case = cases.iter().find(|case| case["name"] == "callee/bad/not-utf8").unwrap();
    let message =
        base64::decode(case["caller_sent"]["messages"][0]["base64"].as_str().unwrap().as_bytes()).unwrap();
    let error = request::open(&message, Peer::Daprd).unwrap_err();
    let recorded = common::headers(&case["caller_got"]["headers"]);
    let text = recorded.iter().find(|(name, _)| name == b"grpc-message").unwrap();
    assert_eq!(error.status().message.as_bytes(), text.1);
    assert!(request::open(&message, Peer::Outrigger).is_ok());
}

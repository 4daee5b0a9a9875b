//! What the tests against recordings share: the recordings, their byte fields, and the hop's messages by prost as an
//! independent reader and writer.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses its part

pub mod http;
pub mod messages;

use proto::grpc::base64;
use serde_json::Value;

/// The lines of one file of `tests/vectors`.
pub fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A field of an HTTP recording that may be text, `{"b64": …}`, or stand beside as `…_b64` or `…_fill`.
pub fn bytes(object: &Value, field: &str) -> Vec<u8> {
    if let Some(encoded) = object[format!("{field}_b64")].as_str() {
        return base64::decode(encoded.as_bytes()).unwrap();
    }
    let fill = &object[format!("{field}_fill")];
    if let (Some(text), Some(length)) = (fill["text"].as_str(), fill["bytes"].as_u64()) {
        return text.bytes().cycle().take(length as usize).collect();
    }
    value_bytes(&object[field])
}

/// A text value or `{"b64": …}`; nothing for null.
pub fn value_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Null => Vec::new(),
        _ => base64::decode(value["b64"].as_str().unwrap().as_bytes()).unwrap(),
    }
}

/// Header pairs of a recording.
pub fn headers(value: &Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = value.as_array().map(Vec::as_slice).unwrap_or_default();
    pairs.iter().map(|pair| (value_bytes(&pair[0]), value_bytes(&pair[1]))).collect()
}

/// The request bytes of one `send` of an HTTP recording, as far as they are one write; `None` for scripted ones.
pub fn request(send: &Value) -> Option<Vec<u8>> {
    if send.get("raw").is_some() || send.get("raw_b64").is_some() || send.get("raw_fill").is_some() {
        return Some(bytes(send, "raw"));
    }
    send.get("method")?;
    let mut out = bytes(send, "method");
    out.push(b' ');
    out.extend(bytes(send, "target"));
    out.push(b' ');
    out.extend_from_slice(send["version"].as_str().unwrap_or("HTTP/1.1").as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in headers(&send["headers"]) {
        out.extend_from_slice(&[&name[..], b": ", &value, b"\r\n"].concat());
    }
    out.extend_from_slice(b"\r\n");
    out.extend(bytes(send, "body"));
    Some(out)
}

/// Names with values, sorted by name; the order of the values of one name is kept.
pub fn sorted(mut headers: Vec<(String, String)>) -> Vec<(String, String)> {
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

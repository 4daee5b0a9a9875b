//! The messages between sidecars (`tests/vectors/hopb/fields.md`), and their JSON form in the recordings.

pub use prost::Message;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A message of `CallLocalStream`, towards the callee.
#[derive(Clone, PartialEq, Message)]
pub struct StreamRequest {
    /// Only in the first.
    #[prost(message, optional, tag = "1")]
    pub request: Option<Request>,
    /// A piece of the body.
    #[prost(message, optional, tag = "2")]
    pub payload: Option<Payload>,
}

/// A message of `CallLocalStream`, towards the caller.
#[derive(Clone, PartialEq, Message)]
pub struct StreamResponse {
    /// In the first; empty ones follow in event streams.
    #[prost(message, optional, tag = "1")]
    pub response: Option<Response>,
    /// A piece of the body.
    #[prost(message, optional, tag = "2")]
    pub payload: Option<Payload>,
}

/// `InternalInvokeRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// The version.
    #[prost(int32, tag = "1")]
    pub ver: i32,
    /// Header fields.
    #[prost(btree_map = "string, message", tag = "2")]
    pub metadata: BTreeMap<String, Values>,
    /// Method, type, verb.
    #[prost(message, optional, tag = "3")]
    pub message: Option<InvokeRequest>,
}

/// `InternalInvokeResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// Of the app.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// Header fields.
    #[prost(btree_map = "string, message", tag = "2")]
    pub headers: BTreeMap<String, Values>,
    /// Trailers.
    #[prost(btree_map = "string, message", tag = "3")]
    pub trailers: BTreeMap<String, Values>,
    /// Type and, in `CallLocal`, body.
    #[prost(message, optional, tag = "4")]
    pub message: Option<InvokeResponse>,
}

/// `ListStringValue`.
#[derive(Clone, PartialEq, Message)]
pub struct Values {
    /// In order.
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

/// `Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// HTTP's or gRPC's.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// Text.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Details.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `StreamPayload`.
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    /// Bytes of the body.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
    /// From 0.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// The type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The content.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `InvokeRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct InvokeRequest {
    /// The method's path.
    #[prost(string, tag = "1")]
    pub method: String,
    /// The body, in `CallLocal`.
    #[prost(message, optional, tag = "2")]
    pub data: Option<Any>,
    /// The body's type.
    #[prost(string, tag = "3")]
    pub content_type: String,
    /// Verb and query.
    #[prost(message, optional, tag = "4")]
    pub http_extension: Option<HttpExtension>,
}

/// `HTTPExtension`.
#[derive(Clone, PartialEq, Message)]
pub struct HttpExtension {
    /// The verb.
    #[prost(int32, tag = "1")]
    pub verb: i32,
    /// The query.
    #[prost(string, tag = "2")]
    pub querystring: String,
}

/// `InvokeResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct InvokeResponse {
    /// The body, in `CallLocal`.
    #[prost(message, optional, tag = "1")]
    pub data: Option<Any>,
    /// The body's type.
    #[prost(string, tag = "2")]
    pub content_type: String,
}

const VERBS: [&str; 10] =
    ["NONE", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// An object without the members that stand for "not on the wire".
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let kept = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(kept.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

/// Short bytes as `text` or `hex`, long ones as their length.
pub fn bytes(bytes: &[u8]) -> Value {
    if bytes.len() > 1024 {
        return json!({ "len": bytes.len() });
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>() }),
    }
}

fn map(values: &BTreeMap<String, Values>) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    Value::Object(values.iter().map(|(name, list)| (name.clone(), json!(list.values))).collect::<Map<_, _>>())
}

impl Any {
    fn json(&self) -> Value {
        let value = if self.value.is_empty() { Value::Null } else { bytes(&self.value) };
        object([("type_url", text(&self.type_url)), ("value", value)])
    }
}

impl Request {
    /// The recordings' form.
    pub fn json(&self) -> Value {
        let ver = match self.ver {
            0 => Value::Null,
            1 => json!("V1"),
            other => json!(other),
        };
        let message = self.message.as_ref().map_or(Value::Null, InvokeRequest::json);
        object([("ver", ver), ("metadata", map(&self.metadata)), ("message", message)])
    }
}

impl InvokeRequest {
    fn json(&self) -> Value {
        object([
            ("method", text(&self.method)),
            ("data", self.data.as_ref().map_or(Value::Null, Any::json)),
            ("content_type", text(&self.content_type)),
            ("http_extension", self.http_extension.as_ref().map_or(Value::Null, HttpExtension::json)),
        ])
    }
}

impl HttpExtension {
    fn json(&self) -> Value {
        let name = usize::try_from(self.verb).ok().and_then(|v| VERBS.get(v));
        let verb = if self.verb == 0 { Value::Null } else { name.map_or(json!(self.verb), |n| json!(n)) };
        object([("verb", verb), ("querystring", text(&self.querystring))])
    }
}

impl Response {
    /// The recordings' form.
    pub fn json(&self) -> Value {
        object([
            ("status", self.status.as_ref().map_or(Value::Null, Status::json)),
            ("headers", map(&self.headers)),
            ("trailers", map(&self.trailers)),
            ("message", self.message.as_ref().map_or(Value::Null, InvokeResponse::json)),
        ])
    }
}

impl Status {
    fn json(&self) -> Value {
        let code = if self.code == 0 { Value::Null } else { json!(self.code) };
        let details = self.details.iter().map(Any::json).collect::<Vec<_>>();
        let details = if details.is_empty() { Value::Null } else { json!(details) };
        object([("code", code), ("message", text(&self.message)), ("details", details)])
    }
}

impl InvokeResponse {
    fn json(&self) -> Value {
        let data = self.data.as_ref().map_or(Value::Null, Any::json);
        object([("data", data), ("content_type", text(&self.content_type))])
    }
}

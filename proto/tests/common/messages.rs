//! The messages of `tests/vectors/hopb/fields.md`, by prost.

#![allow(dead_code, unreachable_pub, missing_docs)]

use prost::Message;
use std::collections::HashMap;

#[derive(Clone, PartialEq, Message)]
pub struct ListStringValue {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HttpExtension {
    #[prost(int32, tag = "1")]
    pub verb: i32,
    #[prost(string, tag = "2")]
    pub querystring: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct InvokeRequest {
    #[prost(string, tag = "1")]
    pub method: String,
    #[prost(message, optional, tag = "2")]
    pub data: Option<Any>,
    #[prost(string, tag = "3")]
    pub content_type: String,
    #[prost(message, optional, tag = "4")]
    pub http_extension: Option<HttpExtension>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InvokeResponse {
    #[prost(message, optional, tag = "1")]
    pub data: Option<Any>,
    #[prost(string, tag = "2")]
    pub content_type: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StreamPayload {
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct InternalInvokeRequest {
    #[prost(int32, tag = "1")]
    pub ver: i32,
    #[prost(map = "string, message", tag = "2")]
    pub metadata: HashMap<String, ListStringValue>,
    #[prost(message, optional, tag = "3")]
    pub message: Option<InvokeRequest>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InternalInvokeResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(map = "string, message", tag = "2")]
    pub headers: HashMap<String, ListStringValue>,
    #[prost(map = "string, message", tag = "3")]
    pub trailers: HashMap<String, ListStringValue>,
    #[prost(message, optional, tag = "4")]
    pub message: Option<InvokeResponse>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InternalInvokeRequestStream {
    #[prost(message, optional, tag = "1")]
    pub request: Option<InternalInvokeRequest>,
    #[prost(message, optional, tag = "2")]
    pub payload: Option<StreamPayload>,
}

#[derive(Clone, PartialEq, Message)]
pub struct InternalInvokeResponseStream {
    #[prost(message, optional, tag = "1")]
    pub response: Option<InternalInvokeResponse>,
    #[prost(message, optional, tag = "2")]
    pub payload: Option<StreamPayload>,
}

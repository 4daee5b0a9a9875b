//! The messages of the mesh hop, straight from HTTP heads to wire bytes and back (spec/invocation 3, vectors/hopb).
//!
//! No message struct is built: [`request`] and [`response`] write from the parsed head of one side and read into
//! borrowed views. A call is a first message (head and first body bytes) and further [`payload`] messages.
//!
//! Caller side, inside `Call::write`:
//!
//! ```
//! use proto::envelope::{Fixed, Identity, Peer, payload, request};
//! use proto::http1::head::{Head, Limits, Request, Slots};
//!
//! let bytes = b"POST /v1.0/invoke/orders/method/pay?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhiho";
//! let mut slots = Slots::new();
//! let Ok(Head::Complete(head)) = Request::parse(bytes, &mut slots, &Limits::default()) else { return };
//! // once per callee and snapshot:
//! let own = Identity { app_id: "shop", namespace: "default", host_address: "10.0.0.5", host_name: "node1" };
//! let fixed = Fixed::new(&own, "orders");
//! // once per call:
//! let call = request::Outgoing {
//!     headers: &head.headers,
//!     verb: head.method,
//!     method: "pay",
//!     query: "x=1",
//!     fixed: &fixed,
//!     peer: Peer::Daprd,
//!     dropped: 0,
//! };
//! let mut out = Vec::new();
//! request::first(&mut out, &call, b"hi").unwrap(); // head and the body bytes that are there
//! payload::frame(&mut out, 1, b"ho"); // later bytes, numbered on
//!
//! // Callee side, inside `Call::take`:
//! let message = &out[5..]; // without the gRPC prefix
//! let first = proto::grpc::frame::split(&out, 4 << 20).unwrap().unwrap().message;
//! let (invoke, body) = request::open(first, Peer::Daprd).unwrap().leading().unwrap();
//! assert_eq!((invoke.method, invoke.query, body.unwrap().data), ("pay", "x=1", &b"hi"[..]));
//! # let _ = message;
//! ```

mod entries;
mod fixed;
mod metadata;
pub mod payload;
pub mod request;
pub mod response;
#[cfg(test)]
mod tests;
mod verb;
pub(crate) mod wire;

use crate::grpc::status::{Code, Status};
use core::fmt;

pub use fixed::{Fixed, Identity};
pub(crate) use metadata::any;
pub use metadata::{Entries, Entry, Metadata, Values};
pub use verb::Verb;

/// What the other end of the mesh hop is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peer {
    /// A daprd, or unknown: nothing beyond its protocol.
    #[default]
    Daprd,
    /// An Outrigger that announced itself: real verbs, header values that are not UTF-8, declared lengths of answers.
    Outrigger,
}

/// Why a head cannot be sent to this peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A header value that is not UTF-8, which daprd's messages cannot carry.
    NotUtf8 {
        /// The header's name.
        header: String,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::NotUtf8 { header } => {
                write!(
                    f,
                    "error sending message: value of header {header} contains invalid UTF-8, which a daprd peer does not accept"
                )
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// Why a received message ends the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Not protobuf.
    Malformed,
    /// A string that is not UTF-8.
    NotUtf8,
    /// The first message of a request lacks metadata or message.
    RequestIncomplete,
    /// A unary request lacks its message.
    RequestWithoutMessage,
    /// The first message of a response lacks its status.
    ResponseIncomplete,
    /// A later message carries request metadata.
    LateRequest,
    /// A later message carries response metadata.
    LateResponse,
    /// A payload out of sequence.
    Sequence {
        /// Its number.
        received: u64,
        /// The number due.
        expected: u64,
    },
}

impl OpenError {
    /// The status that a callee ends the call with, or that a caller sees (vectors callee/bad/…).
    pub fn status(&self) -> Status {
        match self {
            OpenError::Malformed | OpenError::NotUtf8 => Status {
                code: Code::INTERNAL,
                message: format!("grpc: failed to unmarshal the received message: {self}"),
            },
            OpenError::RequestIncomplete | OpenError::RequestWithoutMessage => Status {
                code: Code::INVALID_ARGUMENT,
                message: format!("parsing InternalInvokeRequest error: {self}"),
            },
            _ => Status { code: Code::INTERNAL, message: format!("error invoking app channel: {self}") },
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpenError::Malformed => "proto: cannot parse invalid wire-format data",
            OpenError::NotUtf8 => "string field contains invalid UTF-8",
            OpenError::RequestIncomplete => {
                "request does not contain the required fields in the leading chunk"
            }
            OpenError::RequestWithoutMessage => "field Message is nil",
            OpenError::ResponseIncomplete => {
                "response does not contain the required fields in the leading chunk"
            }
            OpenError::LateRequest => "request metadata found in non-leading chunk",
            OpenError::LateResponse => "response metadata found in non-leading chunk",
            OpenError::Sequence { received, expected } => {
                return write!(f, "invalid sequence number received: {received} (expected: {expected})");
            }
        })
    }
}

impl core::error::Error for OpenError {}

impl From<wire::Malformed> for OpenError {
    fn from(_: wire::Malformed) -> OpenError {
        OpenError::Malformed
    }
}

/// A string field that holds a header value: UTF-8 from a daprd, any bytes from an Outrigger.
#[inline]
pub(crate) fn value(bytes: &[u8], peer: Peer) -> Result<&[u8], OpenError> {
    if peer == Peer::Daprd {
        utf8(bytes)?;
    }
    Ok(bytes)
}

/// A string field that is wanted as bytes.
#[inline]
pub(crate) fn utf8(bytes: &[u8]) -> Result<(), OpenError> {
    if bytes.is_ascii() || core::str::from_utf8(bytes).is_ok() { Ok(()) } else { Err(OpenError::NotUtf8) }
}

/// A string field: UTF-8, as Go's decoder demands.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, OpenError> {
    core::str::from_utf8(bytes).map_err(|_| OpenError::NotUtf8)
}

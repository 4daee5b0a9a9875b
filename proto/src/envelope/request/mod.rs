//! Requests: an HTTP/1 head becomes the first message of a call, and the callee's view of it.

mod entries;
mod open;

use super::wire;
use super::{EncodeError, Fixed, Peer, Verb, payload};
use crate::grpc::frame;
use crate::http1::head::Headers;
use crate::http1::names::Known;

pub use open::{Declared, Invoke, Message, open, open_whole};

/// A call about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The client's header lines.
    pub headers: &'a Headers<'a, 'a>,
    /// The client's request method, as received.
    pub verb: &'a str,
    /// The normalised method ([`crate::invoke::method`]).
    pub method: &'a str,
    /// The raw query without `?`.
    pub query: &'a str,
    /// What this sidecar adds to calls of that callee.
    pub fixed: &'a Fixed,
    /// Who receives it.
    pub peer: Peer,
    /// Known names ([`Known::bit`]) that must not travel besides those that never do: `dapr-app-id` where it was the
    /// address.
    pub dropped: u64,
}

/// Appends the first message of `CallLocalStream`, with the gRPC prefix: the head and the body bytes that are there,
/// or none. Later bytes follow by [`payload::frame`], numbered from 1, or from 0 when `body` was empty.
///
/// # Errors
/// A header this peer cannot be sent; `out` is as before.
pub fn first(out: &mut Vec<u8>, call: &Outgoing<'_>, body: &[u8]) -> Result<(), EncodeError> {
    message(out, |out| {
        let at = wire::open(out, 1);
        invoke(out, call, None)?;
        wire::close(out, at);
        if !body.is_empty() {
            payload::put(out, 0, body);
        }
        Ok(())
    })
}

/// Appends the one message of `CallLocal`, with the gRPC prefix, for peers that do not know `CallLocalStream`.
///
/// # Errors
/// As [`first`].
pub fn whole(out: &mut Vec<u8>, call: &Outgoing<'_>, body: &[u8]) -> Result<(), EncodeError> {
    message(out, |out| invoke(out, call, Some(body)))
}

fn message(
    out: &mut Vec<u8>,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let before = out.len();
    let at = frame::open(out);
    let written = content(out);
    match written {
        Ok(()) => frame::close(out, at),
        Err(_) => out.truncate(before),
    }
    written
}

/// `InternalInvokeRequest`: version, metadata, message.
fn invoke(out: &mut Vec<u8>, call: &Outgoing<'_>, body: Option<&[u8]>) -> Result<(), EncodeError> {
    let verb = Verb::of(call.verb);
    out.extend_from_slice(&[wire::varint_tag(1), 1]);
    out.extend_from_slice(&call.fixed.identity);
    if verb.is_none() && call.peer == Peer::Outrigger {
        entries::verb(out, call.verb);
    }
    entries::client(out, call)?;
    let content_type = call.headers.first(Known::ContentType).unwrap_or_default();
    invoke_request(out, call, verb.unwrap_or(Verb::POST), content_type, body);
    Ok(())
}

/// `InvokeRequest`: method, data, content type, HTTP extension.
fn invoke_request(
    out: &mut Vec<u8>,
    call: &Outgoing<'_>,
    verb: Verb,
    content_type: &[u8],
    body: Option<&[u8]>,
) {
    let at = wire::open(out, 3);
    wire::put_nonempty(out, 1, call.method.as_bytes());
    if let Some(body) = body {
        wire::put_head(out, 2, if body.is_empty() { 0 } else { wire::field_len(body.len()) });
        wire::put_nonempty(out, 2, body);
    }
    wire::put_nonempty(out, 3, content_type);
    let extension = wire::open(out, 4);
    if verb != Verb::NONE {
        out.push(wire::varint_tag(1));
        wire::put_varint(out, u64::from(verb.number()));
    }
    wire::put_nonempty(out, 2, call.query.as_bytes());
    wire::close(out, extension);
    wire::close(out, at);
}

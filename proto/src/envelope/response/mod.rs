//! Responses: an app's HTTP/1 head becomes the first message of an answer, and the caller's view of it.

mod open;

use super::{EncodeError, Peer, entries, payload, wire};
use crate::grpc::frame;
use crate::http1::head::{Line, Response};
use crate::http1::hop::{HOP_BY_HOP, Listed};
use crate::http1::names::Known;

pub use open::{Answer, Message, open, open_whole};

/// An app's answer about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The app's head.
    pub head: &'a Response<'a, 'a>,
    /// Who receives it. An Outrigger is also told the declared body length.
    pub peer: Peer,
}

/// Appends the first message of the answer to `CallLocalStream`, with the gRPC prefix: the head and the body bytes
/// that are there, or none. Answers to requests for server-sent events have this form too, which daprd callers accept
/// and which keeps their status (vector caller/sse/http-style-202).
///
/// # Errors
/// A header this peer cannot be sent; `out` is as before.
pub fn first(out: &mut Vec<u8>, answer: &Outgoing<'_>, body: &[u8]) -> Result<(), EncodeError> {
    message(out, |out| {
        let at = wire::open(out, 1);
        invoke(out, answer, None)?;
        wire::close(out, at);
        if !body.is_empty() {
            payload::put(out, 0, body);
        }
        Ok(())
    })
}

/// Appends the one message of the answer to `CallLocal`, with the gRPC prefix.
///
/// # Errors
/// As [`first`].
pub fn whole(out: &mut Vec<u8>, answer: &Outgoing<'_>, body: &[u8]) -> Result<(), EncodeError> {
    message(out, |out| invoke(out, answer, Some(body)))
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

/// `InternalInvokeResponse`: status, headers, message.
fn invoke(out: &mut Vec<u8>, answer: &Outgoing<'_>, body: Option<&[u8]>) -> Result<(), EncodeError> {
    let status = u64::from(answer.head.status);
    wire::put_head(out, 1, 1 + wire::varint_len(status));
    out.push(wire::varint_tag(1));
    wire::put_varint(out, status);
    headers(out, answer)?;
    let content_type = answer.head.headers.first(Known::ContentType).unwrap_or_default();
    let at = wire::open(out, 4);
    if let Some(body) = body {
        wire::put_head(out, 1, if body.is_empty() { 0 } else { wire::field_len(body.len()) });
        wire::put_nonempty(out, 2, body);
    }
    wire::put_nonempty(out, 2, content_type);
    wire::close(out, at);
    Ok(())
}

/// The app's header lines without the hop-by-hop ones and those its `Connection` lists (spec/invocation 1.12.6).
fn headers(out: &mut Vec<u8>, answer: &Outgoing<'_>) -> Result<(), EncodeError> {
    let headers = &answer.head.headers;
    let listed = Listed::of(headers);
    let length = if answer.peer == Peer::Outrigger { 0 } else { Known::ContentLength.bit() };
    let dropped = HOP_BY_HOP | length;
    let keep =
        |line: &Line<'_>| !line.known.is_in(dropped) && !listed.drops(line.known, line.name.as_bytes());
    entries::all(out, headers, answer.peer, keep)
}

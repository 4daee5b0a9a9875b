//! Header rules between a client, the mesh and an app (spec/invocation 1.12), on both ends of a call.
//!
//! [`app`] writes the request head an app sees, [`client`] the response head a client sees. Each has two sources: a
//! message of the mesh hop, or the HTTP/1 head itself when a sidecar calls its own app. [`external`] writes the head for
//! a server outside the mesh.

pub mod app;
pub mod client;
pub mod external;
mod refused;

use crate::http1::encode::{canonical, is_name};
use crate::http1::hop::HOP_BY_HOP;
use crate::http1::names::Known;

/// Names that neither side passes on: hop-by-hop ones, those the framing decides, those of the mesh itself.
const DROPPED: u64 = HOP_BY_HOP
    | Known::ContentLength.bit()
    | Known::ContentType.bit()
    | Known::DestinationAppId.bit()
    | Known::GrpcTraceBin.bit()
    | Known::OutriggerVerb.bit();

/// What becomes of a header on the other side.
enum Rule<'a> {
    /// It is not passed on.
    Drop,
    /// It is passed on under this name, which is in canonical spelling.
    Known(&'static str),
    /// It is passed on under this name.
    Pass(&'a [u8]),
    /// It is passed on with `Dapr-` before this name.
    Rename(&'a [u8]),
    /// Its name could not be written.
    Invalid,
}

/// The rule for a header (spec/invocation 1.12.4).
#[inline]
fn rule(known: Known, name: &[u8]) -> Rule<'_> {
    if known != Known::Other {
        let dropped = known.is_in(DROPPED);
        return if dropped { Rule::Drop } else { Rule::Known(known.spelling()) };
    }
    if name.last_chunk().is_some_and(|end: &[u8; 4]| end.eq_ignore_ascii_case(b"-bin")) {
        return Rule::Drop;
    }
    match name {
        [b':', pseudo @ ..] => match pseudo {
            b"method" | b"scheme" | b"path" | b"authority" => Rule::Rename(pseudo),
            _ => Rule::Invalid,
        },
        _ if !is_name(name) => Rule::Invalid,
        _ if name.first_chunk().is_some_and(|start: &[u8; 5]| start.eq_ignore_ascii_case(b"grpc-")) => {
            Rule::Rename(name)
        }
        _ => Rule::Pass(name),
    }
}

/// Appends a header line whose name and value have been judged.
#[inline]
fn write(out: &mut Vec<u8>, prefix: &[u8], name: &[u8], value: &[u8]) {
    out.reserve(prefix.len() + name.len() + value.len() + 4);
    out.extend_from_slice(prefix);
    canonical(out, name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;

//! Header rules between a client, the mesh and an app (spec/invocation 1.12), on both ends of a call.
//!
//! [`app`] writes the request head an app sees, [`client`] the response head a client sees. Each has two sources: a
//! message of the mesh hop, or the HTTP/1 head itself when a sidecar calls its own app.

pub mod app;
pub mod client;

use crate::http1::encode::is_name;
use crate::http1::hop::HOP_BY_HOP;
use crate::http1::names::Known;

/// Names that neither side passes on: hop-by-hop ones, those the framing decides, those of the mesh itself.
const DROPPED: u64 = HOP_BY_HOP
    | Known::ContentLength.bit()
    | Known::ContentType.bit()
    | Known::DestinationAppId.bit()
    | Known::GrpcTraceBin.bit()
    | Known::OutriggerVerb.bit();

/// The name a header has on the other side; `None` where it is dropped. `Err`: not a header name.
#[inline]
fn passed(known: Known, name: &str) -> Result<Option<(&'static str, &str)>, ()> {
    if known != Known::Other {
        return Ok((!known.is_in(DROPPED)).then_some(("", name)));
    }
    let bytes = name.as_bytes();
    let suffix = bytes.len().checked_sub(4).and_then(|at| bytes.get(at..));
    if suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"-bin")) {
        return Ok(None);
    }
    if let Some(pseudo) = name.strip_prefix(':') {
        let renamed = matches!(pseudo, "method" | "scheme" | "path" | "authority");
        return if renamed { Ok(Some(("dapr-", pseudo))) } else { Err(()) };
    }
    if !is_name(bytes) {
        return Err(());
    }
    let grpc = bytes.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"grpc-"));
    Ok(Some((if grpc { "dapr-" } else { "" }, name)))
}

#[cfg(test)]
mod tests;

//! The client's header lines as metadata entries.

use super::{EncodeError, Outgoing};
use crate::envelope::fixed::FORWARDED;
use crate::envelope::{entries, metadata, wire};
use crate::http1::head::Line;
use crate::http1::hop::{HOP_BY_HOP, Listed};
use crate::http1::names::Known;

/// Names that the calling sidecar sets itself or that end with it.
const NEVER: u64 = HOP_BY_HOP
    | Known::Host.bit()
    | Known::DaprApiToken.bit()
    | Known::DaprCalleeAppId.bit()
    | Known::DaprCallerAppId.bit()
    | Known::DaprCallerNamespace.bit()
    | Known::DestinationAppId.bit()
    | Known::OutriggerVerb.bit()
    | MERGED;

/// Names that the calling sidecar adds a value to: one value a call, after the client's (spec/invocation 1.12.3).
const MERGED: u64 = Known::XForwardedFor.bit() | Known::XForwardedHost.bit() | Known::Forwarded.bit();

/// The verb that the enumeration has no number for, as an entry of its own.
pub(super) fn verb(out: &mut Vec<u8>, verb: &str) {
    const KEY: &[u8] = b"outrigger-verb";
    let list = wire::field_len(verb.len());
    wire::put_head(out, metadata::FIELD, wire::field_len(KEY.len()) + wire::field_len(list));
    wire::put_field(out, 1, KEY);
    wire::put_head(out, 2, list);
    wire::put_field(out, 1, verb.as_bytes());
}

/// Every entry that comes from the client, and the forwarding headers.
pub(super) fn client(out: &mut Vec<u8>, call: &Outgoing<'_>) -> Result<(), EncodeError> {
    let headers = call.headers;
    let listed = Listed::of(headers);
    if headers.present() & MERGED == 0 {
        out.extend_from_slice(&call.fixed.forwarded);
    } else {
        forwarded(out, call, &listed)?;
    }
    let dropped = NEVER | call.dropped;
    let keep =
        |line: &Line<'_>| !line.known.is_in(dropped) && !listed.drops(line.known, line.name.as_bytes());
    entries::all(out, headers, call.peer, keep)
}

/// The forwarding entries for a client that sent some itself: its values, then ours.
fn forwarded(out: &mut Vec<u8>, call: &Outgoing<'_>, listed: &Listed<'_>) -> Result<(), EncodeError> {
    for (known, own) in FORWARDED.iter().zip(&call.fixed.values) {
        let theirs = call.headers.iter().filter(|line| line.known == *known);
        let kept = theirs.filter(|line| !listed.drops(line.known, line.name.as_bytes()));
        entries::group(out, &kept.collect::<Vec<_>>(), &[(*known, own.as_bytes())], call.peer)?;
    }
    Ok(())
}

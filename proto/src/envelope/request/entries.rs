//! The client's header lines as metadata entries.

use super::{EncodeError, Outgoing};
use crate::envelope::fixed::FORWARDED;
use crate::envelope::{Peer, metadata, wire};
use crate::http1::encode::canonical;
use crate::http1::head::{Headers, Line};
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

/// One entry with one value.
pub(super) fn single(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    entry_head(out, key, wire::field_len(value.len()));
    wire::put_field(out, 1, value);
}

/// Tag, length and key of an entry whose list has `list` bytes, and the tag and length of that list.
#[inline]
fn entry_head(out: &mut Vec<u8>, key: &[u8], list: usize) {
    wire::put_head(out, metadata::FIELD, wire::field_len(key.len()) + wire::field_len(list));
    wire::put_head(out, 1, key.len());
    canonical_unless_ours(out, key);
    wire::put_head(out, 2, list);
}

/// Client headers travel in canonical spelling, which server-sent events and gRPC apps depend on at a daprd callee;
/// the sidecar's own keys are lower case and are written as they are.
#[inline]
fn canonical_unless_ours(out: &mut Vec<u8>, key: &[u8]) {
    if key == b"outrigger-verb" {
        out.extend_from_slice(key);
    } else {
        canonical(out, key);
    }
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
    for (at, line) in headers.iter().enumerate() {
        if line.known.is_in(dropped) || listed.drops(line.known, line.name) {
            continue;
        }
        if headers.may_repeat() {
            repeated(out, call, at, line)?;
        } else {
            check(call.peer, line)?;
            entry_head(out, line.name.as_bytes(), wire::field_len(line.value.len()));
            wire::put_field(out, 1, line.value);
        }
    }
    Ok(())
}

/// The entry of a name that may occur on other lines too: written at its first line with the values of all.
fn repeated(out: &mut Vec<u8>, call: &Outgoing<'_>, at: usize, line: Line<'_>) -> Result<(), EncodeError> {
    let same = |other: &Line<'_>| other.name.eq_ignore_ascii_case(line.name);
    if call.headers.iter().take(at).any(|earlier| same(&earlier)) {
        return Ok(());
    }
    let lines = || call.headers.iter().skip(at).filter(same);
    let list = lines().map(|line| wire::field_len(line.value.len())).sum();
    entry_head(out, line.name.as_bytes(), list);
    for line in lines() {
        check(call.peer, line)?;
        wire::put_field(out, 1, line.value);
    }
    Ok(())
}

/// The forwarding entries for a client that sent some itself: its values, then ours.
fn forwarded(out: &mut Vec<u8>, call: &Outgoing<'_>, listed: &Listed<'_, '_>) -> Result<(), EncodeError> {
    for (name, own) in FORWARDED.iter().zip(&call.fixed.values) {
        let known = Known::of(name.as_bytes());
        let dropped = listed.drops(known, name);
        let lines = || of(call.headers, known).filter(|_| !dropped);
        let theirs: usize = lines().map(|line| wire::field_len(line.value.len())).sum();
        entry_head(out, name.as_bytes(), theirs + wire::field_len(own.len()));
        for line in lines() {
            check(call.peer, line)?;
            wire::put_field(out, 1, line.value);
        }
        wire::put_field(out, 1, own.as_bytes());
    }
    Ok(())
}

fn of<'a>(headers: &Headers<'_, 'a>, known: Known) -> impl Iterator<Item = Line<'a>> {
    headers.iter().filter(move |line| line.known == known)
}

/// A daprd's strings are UTF-8.
#[inline]
pub(in crate::envelope) fn check(peer: Peer, line: Line<'_>) -> Result<(), EncodeError> {
    if line.value.is_ascii() || peer == Peer::Outrigger || core::str::from_utf8(line.value).is_ok() {
        return Ok(());
    }
    Err(EncodeError::NotUtf8 { header: line.name.into() })
}

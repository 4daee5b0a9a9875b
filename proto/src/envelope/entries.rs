//! Header lines as entries of a `map<string, ListStringValue>`, in both directions of the hop.

use super::{EncodeError, Peer, metadata, wire};
use crate::http1::encode::canonical;
use crate::http1::head::{Headers, Line};
use crate::http1::hop::order;
use crate::http1::names::Known;

/// Appends an entry for every line that `keep` lets pass; the lines of one name become one entry.
pub(super) fn all(
    out: &mut Vec<u8>,
    headers: &Headers<'_, '_>,
    peer: Peer,
    keep: impl Fn(&Line<'_>) -> bool,
) -> Result<(), EncodeError> {
    if headers.may_repeat() {
        return grouped(out, headers, peer, keep);
    }
    for line in headers.iter().filter(|line| keep(line)) {
        check(peer, &line)?;
        head(out, line.known, line.name.as_bytes(), wire::field_len(line.value.len()));
        wire::put_field(out, 1, line.value);
    }
    Ok(())
}

/// Some name occurs twice: the lines are sorted by name, those of one name keep their order.
fn grouped(
    out: &mut Vec<u8>,
    headers: &Headers<'_, '_>,
    peer: Peer,
    keep: impl Fn(&Line<'_>) -> bool,
) -> Result<(), EncodeError> {
    let mut lines: Vec<Line<'_>> = headers.iter().filter(keep).collect();
    lines.sort_by(|a, b| order(a.name.as_bytes(), b.name.as_bytes()));
    lines
        .chunk_by(|a, b| a.name.eq_ignore_ascii_case(b.name))
        .try_for_each(|lines| group(out, lines, &[], peer))
}

/// One entry with the values of `lines`, which have one name, and then `more` values.
pub(super) fn group(
    out: &mut Vec<u8>,
    lines: &[Line<'_>],
    more: &[(Known, &[u8])],
    peer: Peer,
) -> Result<(), EncodeError> {
    let name = lines.first().map(|line| (line.known, line.name.as_bytes()));
    let own = more.first().map(|(known, _)| (*known, known.spelling().as_bytes()));
    let Some((known, name)) = name.or(own) else { return Ok(()) };
    let values = || lines.iter().map(|line| line.value).chain(more.iter().map(|(_, value)| *value));
    head(out, known, name, values().map(|value| wire::field_len(value.len())).sum());
    lines.iter().try_for_each(|line| check(peer, line))?;
    values().for_each(|value| wire::put_field(out, 1, value));
    Ok(())
}

/// Tag, length and key of an entry whose list has `list` bytes, and the tag and length of that list. The key is
/// written in canonical spelling, which server-sent events and gRPC apps depend on at a daprd callee.
#[inline]
fn head(out: &mut Vec<u8>, known: Known, name: &[u8], list: usize) {
    wire::put_head(out, metadata::FIELD, wire::field_len(name.len()) + wire::field_len(list));
    wire::put_head(out, 1, name.len());
    match known {
        Known::Other => canonical(out, name),
        _ => out.extend_from_slice(known.spelling().as_bytes()),
    }
    wire::put_head(out, 2, list);
}

/// A daprd's strings are UTF-8.
#[inline]
fn check(peer: Peer, line: &Line<'_>) -> Result<(), EncodeError> {
    if line.value.is_ascii() || peer == Peer::Outrigger || core::str::from_utf8(line.value).is_ok() {
        return Ok(());
    }
    Err(EncodeError::NotUtf8 { header: line.name.into() })
}

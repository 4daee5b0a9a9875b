//! Hop-by-hop headers: what daprd drops (spec/invocation 1.12.4) and what RFC 9110 section 7.6.1 demands.

use super::head::{Headers, list};
use super::names::Known;

/// Names that never pass a sidecar, in either direction.
pub const HOP_BY_HOP: u64 = Known::Connection.bit()
    | Known::KeepAlive.bit()
    | Known::ProxyConnection.bit()
    | Known::TransferEncoding.bit()
    | Known::Upgrade.bit()
    | Known::Http2Settings.bit()
    | Known::Te.bit()
    | Known::Trailer.bit()
    | Known::ProxyAuthorization.bit()
    | Known::ProxyAuthenticate.bit();

/// Names that stay although a client's `Connection` lists them: the message would not arrive without them, or daprd
/// keeps them (corrections 16; vectors request-headers/body/connection-names-content-headers,
/// request-headers/connection-names-essential).
const KEPT: u64 = Known::ContentType.bit()
    | Known::ContentLength.bit()
    | Known::Traceparent.bit()
    | Known::Tracestate.bit();

/// The names that a message's `Connection` lines list, without its own options. They apply to that message's own
/// headers only, never to what a sidecar adds.
#[derive(Clone, Debug, Default)]
pub struct Listed<'b> {
    /// Sorted without regard to case; does not allocate while empty.
    names: Vec<&'b [u8]>,
}

impl<'b> Listed<'b> {
    /// The names listed in a head.
    pub fn of(headers: &Headers<'_, 'b>) -> Listed<'b> {
        match headers.first(Known::Connection) {
            None => Listed::default(),
            Some(b"keep-alive") if !headers.may_repeat() => Listed::default(), // what most servers send
            Some(_) => Listed::collect(headers.all(Known::Connection)),
        }
    }

    /// The names listed in values of `Connection`.
    pub fn collect(values: impl Iterator<Item = &'b [u8]>) -> Listed<'b> {
        let plain = |item: &&[u8]| {
            [&b"keep-alive"[..], b"close", b"upgrade"].iter().any(|option| item.eq_ignore_ascii_case(option))
        };
        let mut names: Vec<_> = values.flat_map(list).filter(|item| !plain(item)).collect();
        names.sort_unstable_by(|a, b| order(a, b));
        Listed { names }
    }

    /// Whether a header line must be dropped because it is listed.
    #[inline]
    pub fn drops(&self, known: Known, name: &[u8]) -> bool {
        !self.names.is_empty() && !known.is_in(KEPT) && self.lists(name)
    }

    /// Whether a name is listed.
    pub fn lists(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|listed| order(listed, name)).is_ok()
    }
}

/// Compares names without regard to case.
pub(crate) fn order(a: &[u8], b: &[u8]) -> core::cmp::Ordering {
    a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase))
}

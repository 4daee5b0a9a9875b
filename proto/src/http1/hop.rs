//! Hop-by-hop headers: what daprd drops (spec/invocation 1.12.4) and what RFC 9110 section 7.6.1 demands.

use super::head::Headers;
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

/// The names that a message's `Connection` lines list. They apply to that message's own headers only, never to what
/// a sidecar adds.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'s, 'b> {
    headers: Option<Headers<'s, 'b>>,
}

impl<'s, 'b> Listed<'s, 'b> {
    /// The names listed in this head; cheap when there is no `Connection` line or only an option of its own.
    pub fn of(headers: &Headers<'s, 'b>) -> Listed<'s, 'b> {
        let plain =
            |item: &[u8]| item.eq_ignore_ascii_case(b"keep-alive") || item.eq_ignore_ascii_case(b"close");
        let listed = headers.has(Known::Connection)
            && headers.all(Known::Connection).any(|value| super::head::list(value).any(|item| !plain(item)));
        Listed { headers: listed.then_some(*headers) }
    }

    /// Whether a header line must be dropped because it is listed.
    #[inline]
    pub fn drops(&self, known: Known, name: &str) -> bool {
        match &self.headers {
            None => false,
            Some(headers) => !known.is_in(KEPT) && headers.connection_lists(name.as_bytes()),
        }
    }
}

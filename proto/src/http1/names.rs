//! Header names that mean something to a sidecar, told apart once while a head is parsed.

/// A header name with a meaning here; everything else is [`Known::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // each variant is the header of that name
pub enum Known {
    Other,
    Accept,
    Authorization,
    Baggage,
    Connection,
    ContentLength,
    ContentType,
    DaprApiToken,
    DaprAppId,
    DaprCalleeAppId,
    DaprCallerAppId,
    DaprCallerNamespace,
    Date,
    DestinationAppId,
    Expect,
    Forwarded,
    GrpcTraceBin,
    Host,
    Http2Settings,
    KeepAlive,
    OutriggerVerb,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Te,
    Traceparent,
    Tracestate,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    XForwardedFor,
    XForwardedHost,
}

impl Known {
    /// Number of variants, for tables indexed by one.
    pub const COUNT: usize = Known::XForwardedHost as usize + 1;

    /// Which known name `name` is, in any case.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        match candidate(name) {
            Some((spelled, known)) if name.eq_ignore_ascii_case(spelled) => known,
            _ => Known::Other,
        }
    }

    /// One bit a variant, for sets.
    #[inline]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Whether `self` is in a set made of [`Known::bit`]s.
    #[inline]
    pub const fn is_in(self, set: u64) -> bool {
        set & self.bit() != 0
    }
}

/// The only known name that a name of this length and first letter can be.
#[inline]
fn candidate(name: &[u8]) -> Option<(&'static [u8], Known)> {
    let first = name.first()? | 0x20;
    Some(match (name.len(), first) {
        (2, b't') => (b"te", Known::Te),
        (4, b'd') => (b"date", Known::Date),
        (4, b'h') => (b"host", Known::Host),
        (6, b'a') => (b"accept", Known::Accept),
        (6, b'e') => (b"expect", Known::Expect),
        (7, b'b') => (b"baggage", Known::Baggage),
        (7, b't') => (b"trailer", Known::Trailer),
        (7, b'u') => (b"upgrade", Known::Upgrade),
        (9, b'f') => (b"forwarded", Known::Forwarded),
        (10, b'c') => (b"connection", Known::Connection),
        (10, b'k') => (b"keep-alive", Known::KeepAlive),
        (10, b't') => (b"tracestate", Known::Tracestate),
        (10, b'u') => (b"user-agent", Known::UserAgent),
        (11, b'd') => (b"dapr-app-id", Known::DaprAppId),
        (11, b't') => (b"traceparent", Known::Traceparent),
        (12, b'c') => (b"content-type", Known::ContentType),
        (13, b'a') => (b"authorization", Known::Authorization),
        (14, b'c') => (b"content-length", Known::ContentLength),
        (14, b'd') => (b"dapr-api-token", Known::DaprApiToken),
        (14, b'g') => (b"grpc-trace-bin", Known::GrpcTraceBin),
        (14, b'h') => (b"http2-settings", Known::Http2Settings),
        (14, b'o') => (b"outrigger-verb", Known::OutriggerVerb),
        (15, b'x') => (b"x-forwarded-for", Known::XForwardedFor),
        (16, b'p') => (b"proxy-connection", Known::ProxyConnection),
        (16, b'x') => (b"x-forwarded-host", Known::XForwardedHost),
        (17, b't') => (b"transfer-encoding", Known::TransferEncoding),
        (18, b'd') => longer_dapr(name),
        (18, b'p') => (b"proxy-authenticate", Known::ProxyAuthenticate),
        (19, b'p') => (b"proxy-authorization", Known::ProxyAuthorization),
        (21, b'd') => (b"dapr-caller-namespace", Known::DaprCallerNamespace),
        _ => return None,
    })
}

/// The three names of 18 letters that begin with `d`.
fn longer_dapr(name: &[u8]) -> (&'static [u8], Known) {
    match name.get(10).map(|byte| byte | 0x20) {
        Some(b'r') => (b"dapr-caller-app-id", Known::DaprCallerAppId),
        Some(b'e') => (b"dapr-callee-app-id", Known::DaprCalleeAppId),
        _ => (b"destination-app-id", Known::DestinationAppId),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, Known); 32] = [
        ("Accept", Known::Accept),
        ("Authorization", Known::Authorization),
        ("baggage", Known::Baggage),
        ("Connection", Known::Connection),
        ("Content-Length", Known::ContentLength),
        ("Content-Type", Known::ContentType),
        ("dapr-api-token", Known::DaprApiToken),
        ("dapr-app-id", Known::DaprAppId),
        ("dapr-callee-app-id", Known::DaprCalleeAppId),
        ("dapr-caller-app-id", Known::DaprCallerAppId),
        ("dapr-caller-namespace", Known::DaprCallerNamespace),
        ("Date", Known::Date),
        ("destination-app-id", Known::DestinationAppId),
        ("Expect", Known::Expect),
        ("Forwarded", Known::Forwarded),
        ("grpc-trace-bin", Known::GrpcTraceBin),
        ("Host", Known::Host),
        ("HTTP2-Settings", Known::Http2Settings),
        ("Keep-Alive", Known::KeepAlive),
        ("outrigger-verb", Known::OutriggerVerb),
        ("Proxy-Authenticate", Known::ProxyAuthenticate),
        ("Proxy-Authorization", Known::ProxyAuthorization),
        ("Proxy-Connection", Known::ProxyConnection),
        ("TE", Known::Te),
        ("traceparent", Known::Traceparent),
        ("tracestate", Known::Tracestate),
        ("Trailer", Known::Trailer),
        ("Transfer-Encoding", Known::TransferEncoding),
        ("Upgrade", Known::Upgrade),
        ("User-Agent", Known::UserAgent),
        ("X-Forwarded-For", Known::XForwardedFor),
        ("X-Forwarded-Host", Known::XForwardedHost),
    ];

    #[test]
    fn every_known_name_is_found_in_any_case() {
        assert_eq!(NAMES.len() + 1, Known::COUNT);
        for (name, known) in NAMES {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
            assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), known, "{name}");
            assert_eq!(Known::of(name.to_ascii_lowercase().as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn a_name_that_differs_in_one_letter_is_another_name() {
        for (name, _) in NAMES {
            for at in 0..name.len() {
                let mut other = name.as_bytes().to_vec();
                other[at] = b'!';
                assert_eq!(Known::of(&other), Known::Other, "{name}");
            }
        }
        assert_eq!(Known::of(b""), Known::Other);
    }
}

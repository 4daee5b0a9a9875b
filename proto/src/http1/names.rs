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

/// Canonical spellings, in the order of the variants.
const SPELLINGS: [&str; Known::COUNT] = [
    "",
    "Accept",
    "Authorization",
    "Baggage",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Dapr-Api-Token",
    "Dapr-App-Id",
    "Dapr-Callee-App-Id",
    "Dapr-Caller-App-Id",
    "Dapr-Caller-Namespace",
    "Date",
    "Destination-App-Id",
    "Expect",
    "Forwarded",
    "Grpc-Trace-Bin",
    "Host",
    "Http2-Settings",
    "Keep-Alive",
    "Outrigger-Verb",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Te",
    "Traceparent",
    "Tracestate",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "User-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Host",
];

impl Known {
    /// Number of variants, for tables indexed by one.
    pub const COUNT: usize = Known::XForwardedHost as usize + 1;

    /// Which known name `name` is, in any case: the only one of its length and first letter, or of three.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        let Some(first) = name.first() else { return Known::Other };
        match (name.len(), first | 0x20) {
            (2, b't') => is(name, b"te", Known::Te),
            (4, b'd') => is(name, b"date", Known::Date),
            (4, b'h') => is(name, b"host", Known::Host),
            (6, b'a') => is(name, b"accept", Known::Accept),
            (6, b'e') => is(name, b"expect", Known::Expect),
            (7, b'b') => is(name, b"baggage", Known::Baggage),
            (7, b't') => is(name, b"trailer", Known::Trailer),
            (7, b'u') => is(name, b"upgrade", Known::Upgrade),
            (9, b'f') => is(name, b"forwarded", Known::Forwarded),
            (10, b'c') => is(name, b"connection", Known::Connection),
            (10, b'k') => is(name, b"keep-alive", Known::KeepAlive),
            (10, b't') => is(name, b"tracestate", Known::Tracestate),
            (10, b'u') => is(name, b"user-agent", Known::UserAgent),
            (11, b'd') => is(name, b"dapr-app-id", Known::DaprAppId),
            (11, b't') => is(name, b"traceparent", Known::Traceparent),
            (12, b'c') => is(name, b"content-type", Known::ContentType),
            (13, b'a') => is(name, b"authorization", Known::Authorization),
            (14, b'c') => is(name, b"content-length", Known::ContentLength),
            (14, b'd') => is(name, b"dapr-api-token", Known::DaprApiToken),
            (14, b'g') => is(name, b"grpc-trace-bin", Known::GrpcTraceBin),
            (14, b'h') => is(name, b"http2-settings", Known::Http2Settings),
            (14, b'o') => is(name, b"outrigger-verb", Known::OutriggerVerb),
            (15, b'x') => is(name, b"x-forwarded-for", Known::XForwardedFor),
            (16, b'p') => is(name, b"proxy-connection", Known::ProxyConnection),
            (16, b'x') => is(name, b"x-forwarded-host", Known::XForwardedHost),
            (17, b't') => is(name, b"transfer-encoding", Known::TransferEncoding),
            (18, b'p') => is(name, b"proxy-authenticate", Known::ProxyAuthenticate),
            (19, b'p') => is(name, b"proxy-authorization", Known::ProxyAuthorization),
            (21, b'd') => is(name, b"dapr-caller-namespace", Known::DaprCallerNamespace),
            (18, b'd') => match name.get(10).map(|byte| byte | 0x20) {
                Some(b'r') => is(name, b"dapr-caller-app-id", Known::DaprCallerAppId),
                Some(b'e') => is(name, b"dapr-callee-app-id", Known::DaprCalleeAppId),
                _ => is(name, b"destination-app-id", Known::DestinationAppId),
            },
            _ => Known::Other,
        }
    }

    /// The name in Go's canonical spelling; empty for [`Known::Other`].
    #[inline]
    pub fn spelling(self) -> &'static str {
        SPELLINGS.get(self as usize).copied().unwrap_or_default()
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

/// `known` if `name` is `spelled` in any case. The length is a constant, so that this is a few vector instructions.
#[inline]
fn is<const N: usize>(name: &[u8], spelled: &[u8; N], known: Known) -> Known {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return Known::Other };
    let mut differ = 0;
    for (byte, lower) in name.iter().zip(spelled) {
        differ |= byte.to_ascii_lowercase() ^ lower;
    }
    if differ == 0 { known } else { Known::Other }
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
            let mut canonical = Vec::new();
            crate::http1::encode::canonical(&mut canonical, name.as_bytes());
            assert_eq!(known.spelling().as_bytes(), canonical, "{name}");
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

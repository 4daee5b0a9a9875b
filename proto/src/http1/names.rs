//! Header names that mean something to a sidecar, told apart once while a head is parsed.

/// A header name with a meaning here; everything else is [`Known::Other`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // each variant is the header of that name
pub enum Known {
    #[default]
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

/// `known` if `name` is `spelled` in any case. Length and letters are constants wherever it is called, so that this is two
/// instructions for eight bytes; the last word overlaps the one before it.
#[inline(always)]
fn is<const N: usize>(name: &[u8], spelled: &[u8; N], known: Known) -> Known {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return Known::Other };
    let differ = match (name.last_chunk(), spelled.last_chunk()) {
        (Some(name_end), Some(spelled_end)) => {
            let words = name.as_chunks().0.iter().zip(spelled.as_chunks().0);
            words.fold(differences(name_end, spelled_end), |all, (a, b)| all | differences(a, b))
        }
        _ => differences(&padded(name), &padded(spelled)),
    };
    if differ == 0 { known } else { Known::Other }
}

/// Where eight bytes differ from lower-case ones. Of a letter, the bit that makes it a capital does not count; nothing
/// else that is spelled here has the bit that all letters have.
#[inline(always)]
fn differences(bytes: &[u8; 8], lower: &[u8; 8]) -> u64 {
    let lower = u64::from_le_bytes(*lower);
    let capital = (lower & 0x4040_4040_4040_4040) >> 1;
    (u64::from_le_bytes(*bytes) ^ lower) & !capital
}

/// Up to eight bytes, and zeros behind them.
#[inline(always)]
fn padded<const N: usize>(name: &[u8; N]) -> [u8; 8] {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(name) {
        *to = *from;
    }
    word
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
            for (at, byte) in name.bytes().enumerate() {
                let mut other = name.as_bytes().to_vec();
                for wrong in (0..=255u8).filter(|wrong| !wrong.eq_ignore_ascii_case(&byte)) {
                    other[at] = wrong;
                    let also = |(known, _): &&(&str, Known)| other.eq_ignore_ascii_case(known.as_bytes());
                    let known = NAMES.iter().find(also).map_or(Known::Other, |(_, known)| *known);
                    assert_eq!(Known::of(&other), known, "{name} {other:?}");
                }
            }
        }
        assert_eq!(Known::of(b""), Known::Other);
    }
}

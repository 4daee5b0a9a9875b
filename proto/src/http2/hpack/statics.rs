//! The static table (RFC 7541 Appendix A).

use crate::http2::field::Name;

/// Name, value and tag of an entry.
pub(super) type Entry = (&'static str, &'static str, Name);

/// Entry 1 first.
#[rustfmt::skip]
pub(super) static STATIC: [Entry; 61] = {
    use Name::*;
    [
        (":authority", "", Authority), (":method", "GET", Method), (":method", "POST", Method),
        (":path", "/", Path), (":path", "/index.html", Path), (":scheme", "http", Scheme),
        (":scheme", "https", Scheme), (":status", "200", Status), (":status", "204", Status),
        (":status", "206", Status), (":status", "304", Status), (":status", "400", Status),
        (":status", "404", Status), (":status", "500", Status), ("accept-charset", "", Other),
        ("accept-encoding", "gzip, deflate", Other), ("accept-language", "", Other),
        ("accept-ranges", "", Other), ("accept", "", Other), ("access-control-allow-origin", "", Other),
        ("age", "", Other), ("allow", "", Other), ("authorization", "", Other), ("cache-control", "", Other),
        ("content-disposition", "", Other), ("content-encoding", "", Other), ("content-language", "", Other),
        ("content-length", "", ContentLength), ("content-location", "", Other), ("content-range", "", Other),
        ("content-type", "", ContentType), ("cookie", "", Other), ("date", "", Other), ("etag", "", Other),
        ("expect", "", Other), ("expires", "", Other), ("from", "", Other), ("host", "", Other),
        ("if-match", "", Other), ("if-modified-since", "", Other), ("if-none-match", "", Other),
        ("if-range", "", Other), ("if-unmodified-since", "", Other), ("last-modified", "", Other),
        ("link", "", Other), ("location", "", Other), ("max-forwards", "", Other),
        ("proxy-authenticate", "", Other), ("proxy-authorization", "", Other), ("range", "", Other),
        ("referer", "", Other), ("refresh", "", Other), ("retry-after", "", Other), ("server", "", Other),
        ("set-cookie", "", Other), ("strict-transport-security", "", Other),
        ("transfer-encoding", "", Forbidden), ("user-agent", "", Other), ("vary", "", Other),
        ("via", "", Other), ("www-authenticate", "", Other),
    ]
};

/// Index of the first dynamic entry (§2.3.3).
pub(super) const DYNAMIC: usize = STATIC.len() + 1;

//! Heads of HTTP/2 messages as HTTP/1 writes them, and back (RFC 9113 §8.2, §8.3; RFC 9110 §7.6.1).
//!
//! Everything behind the codec works on HTTP/1 heads, so that a request means the same whatever it came by. Fields that
//! were accepted by [`super::Connection`] hold no line ends, which is what makes the one direction safe; a head that
//! was parsed or written by this program holds whole lines only, which is what makes the other safe.

use super::field::{Fields, Name};
use super::hpack::Literal;
use crate::http1::encode;

/// Why a request that HTTP/2 allows cannot be written as HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable(
    /// What is wrong with it.
    pub &'static str,
);

/// Appends the head of a request. `complete`: nothing follows it. A body without `content-length` is declared as
/// chunked: it is one of unknown length.
///
/// # Errors
/// A method that is no token, or a path with blanks or control characters: as HTTP/1 they could be read as something
/// else.
pub fn request(fields: &Fields, complete: bool, out: &mut Vec<u8>) -> Result<(), Unwritable> {
    let method = fields.tagged(Name::Method).unwrap_or_default();
    let path = fields.tagged(Name::Path).unwrap_or_default();
    if !encode::is_name(method) {
        return Err(Unwritable("invalid :method"));
    }
    if path.iter().any(|byte| byte.is_ascii_control() || *byte == b' ') {
        return Err(Unwritable("invalid :path"));
    }
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(path);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = fields.tagged(Name::Authority).or_else(|| fields.named(b"host")).unwrap_or_default();
    encode::line(out, b"Host", host);
    regular(fields, out);
    if !complete && fields.tagged(Name::ContentLength).is_none() {
        encode::chunked(out);
    }
    encode::end(out);
    Ok(())
}

/// Appends the head of a response. `empty`: it is complete, and was not asked for by HEAD.
pub fn response(status: u16, fields: &Fields, empty: bool, out: &mut Vec<u8>) {
    encode::status_line(out, status);
    regular(fields, out);
    let bodiless = matches!(status, 204 | 304);
    if empty && !bodiless && fields.tagged(Name::ContentLength).is_none() {
        encode::content_length(out, 0);
    }
    encode::end(out);
}

/// The regular fields as lines, in their order; crumbs of a cookie as one (RFC 9113 §8.2.3).
fn regular(fields: &Fields, out: &mut Vec<u8>) {
    let mut length = false;
    for field in fields.iter() {
        let again = field.tag == Name::ContentLength && core::mem::replace(&mut length, true);
        if field.name.starts_with(b":") || again || matches!(field.name, b"host" | b"cookie" | b"te") {
            continue;
        }
        encode::canonical(out, field.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value);
        out.extend_from_slice(b"\r\n");
    }
    let crumbs: Vec<&[u8]> = fields.iter().filter(|f| f.name == b"cookie").map(|f| f.value).collect();
    if !crumbs.is_empty() {
        encode::line(out, b"Cookie", &crumbs.join(&b"; "[..]));
    }
}

/// A head of ours, to be sent over HTTP/2.
#[derive(Debug)]
pub struct Lines<'h> {
    first: &'h [u8],
    rest: &'h [u8],
}

impl<'h> Lines<'h> {
    /// The lines of a whole head, whose names are made lower-case in place.
    pub fn new(head: &'h mut [u8]) -> Lines<'h> {
        let end = head.windows(2).position(|two| two == b"\r\n").map_or(head.len(), |at| at + 2);
        let mut in_name = true;
        for byte in head.get_mut(end..).unwrap_or_default() {
            match byte {
                b'\n' => in_name = true,
                b':' => in_name = false,
                _ if in_name => byte.make_ascii_lowercase(),
                _ => {}
            }
        }
        let (first, rest) = head.split_at_checked(end).unwrap_or((&[], &[]));
        Lines { first: first.strip_suffix(b"\r\n").unwrap_or(first), rest }
    }

    /// `:status` of a response's head.
    pub fn status(&self) -> u16 {
        let digits = self.first.get(9..12).unwrap_or_default();
        core::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(500)
    }

    /// The fields of a request, pseudo-header fields first.
    pub fn request(&self, scheme: &'h str) -> Vec<Literal<'h>> {
        let mut words = self.first.split(|byte| *byte == b' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let host = self.lines().find(|(name, _)| *name == b"host").map(|(_, value)| value);
        let mut fields = vec![
            Literal::new(":method", method),
            Literal::new(":scheme", scheme.as_bytes()),
            Literal::new(":authority", host.unwrap_or_default()),
            Literal::new(":path", path),
        ];
        let zero = |name: &[u8], value: &[u8]| name == b"content-length" && value == b"0";
        fields.extend(self.regular().filter(|l| l.name != b"host" && !zero(l.name, l.value)));
        fields
    }

    /// The regular fields of a response.
    pub fn response(&self) -> Vec<Literal<'h>> {
        self.regular().collect()
    }

    /// What is not about the HTTP/1 connection.
    fn regular(&self) -> impl Iterator<Item = Literal<'h>> + use<'h> {
        self.lines().filter(|(name, _)| !is_about_connection(name)).map(|(name, value)| {
            let never_indexed =
                matches!(name, b"authorization" | b"cookie" | b"dapr-api-token" | b"set-cookie");
            Literal { name, value, never_indexed }
        })
    }

    fn lines(&self) -> impl Iterator<Item = (&'h [u8], &'h [u8])> + use<'h> {
        self.rest.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let at = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(at)?;
            Some((name, value.get(1..).unwrap_or_default().trim_ascii()))
        })
    }
}

/// Names that say something about an HTTP/1 connection only, and `te`, which says nothing to anybody else here.
fn is_about_connection(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection"
            | b"keep-alive"
            | b"proxy-connection"
            | b"transfer-encoding"
            | b"upgrade"
            | b"http2-settings"
            | b"te"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::{field, hpack};

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in list {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let tag = field::classify(name);
            fields.push(&hpack::Field { tag, name, value, valid: true, never_indexed: false });
        }
        fields
    }

    fn written(list: &[(&str, &str)], complete: bool) -> Result<String, Unwritable> {
        let mut out = Vec::new();
        request(&fields(list), complete, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":path", "/a?b"), (":authority", "h")];

    #[test]
    fn a_request_reads_as_http1() {
        let more = [("x-a", "1"), ("cookie", "a=1"), ("x-a", "2"), ("cookie", "b=2"), ("te", "trailers")];
        let list = [&GET[..], &more].concat();
        let expected = "GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\nCookie: a=1; b=2\r\n";
        assert_eq!(written(&list, true).unwrap(), format!("{expected}\r\n"));
        assert_eq!(written(&list, false).unwrap(), format!("{expected}Transfer-Encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn a_declared_length_is_said_once() {
        let list = [&GET[..], &[("content-length", "3"), ("content-length", "3")]].concat();
        assert_eq!(
            written(&list, false).unwrap(),
            "GET /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
        );
    }

    #[test]
    fn authority_wins_over_host_and_host_stands_in_for_it() {
        let both = [&GET[..], &[("host", "other")]].concat();
        assert_eq!(written(&both, true).unwrap(), "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n");
        let host = [&GET[..3], &[("host", "other")]].concat();
        assert_eq!(written(&host, true).unwrap(), "GET /a?b HTTP/1.1\r\nHost: other\r\n\r\n");
    }

    #[test]
    fn what_http1_would_read_otherwise_is_not_written() {
        for (method, path) in [("GET /x", "/"), ("G\tT", "/"), ("", "/"), ("GET", "/a b"), ("GET", "/a\tb")] {
            assert!(written(&[(":method", method), (":path", path)], true).is_err(), "{method:?} {path:?}");
        }
    }

    #[test]
    fn an_empty_response_says_so_and_one_to_head_does_not() {
        let mut out = Vec::new();
        response(200, &fields(&[(":status", "200"), ("x-a", "1")]), true, &mut out);
        assert_eq!(out, b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n");
        for (status, empty) in [(200, false), (204, true), (304, true)] {
            out.clear();
            response(status, &fields(&[(":status", "-")]), empty, &mut out);
            assert!(!out.windows(15).any(|line| line == b"Content-Length:"), "{status}");
        }
    }

    #[test]
    fn a_head_of_ours_becomes_fields_without_what_is_about_the_connection() {
        let mut head =
            b"POST /a?b=C HTTP/1.1\r\nHost: H:1\r\nX-A: B: c\r\nContent-Length: 0\r\nConnection: X\r\n\
            Transfer-Encoding: chunked\r\nTE: trailers\r\nEmpty:\r\n\r\n"
                .to_vec();
        let lines = Lines::new(&mut head);
        let shown: Vec<String> = lines
            .request("http")
            .iter()
            .map(|l| format!("{}={}", String::from_utf8_lossy(l.name), String::from_utf8_lossy(l.value)))
            .collect();
        assert_eq!(
            shown,
            [":method=POST", ":scheme=http", ":authority=H:1", ":path=/a?b=C", "x-a=B: c", "empty="]
        );
        let mut head = b"HTTP/1.1 204 No Content\r\nSet-Cookie: A=b\r\nConnection: close\r\n\r\n".to_vec();
        let lines = Lines::new(&mut head);
        assert_eq!(lines.status(), 204);
        let response = lines.response();
        assert_eq!(response.len(), 1);
        assert_eq!((response[0].name, response[0].value), (&b"set-cookie"[..], &b"A=b"[..]));
    }
}

//! Percent-encoding of paths, as Go's URL library reads and writes it (spec/invocation 1.5).

use crate::grpc::metadata::{escape, hex};
use std::borrow::Cow;

/// A `%` that is not followed by two hex digits; holds up to three bytes from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEscape(pub String);

/// Decodes every `%XX` once. `plus`: `+` stands for a space (query rules).
///
/// # Errors
/// A `%` without two hex digits.
pub fn decode(text: &str, plus: bool) -> Result<Cow<'_, [u8]>, BadEscape> {
    let encoded = text.as_bytes().contains(&b'%') || (plus && text.as_bytes().contains(&b'+'));
    if !encoded {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            (b'%', _) => {
                let shown: Vec<u8> = core::iter::once(b'%').chain(tail.iter().take(2).copied()).collect();
                return Err(BadEscape(String::from_utf8_lossy(&shown).into_owned()));
            }
            (b'+', _) if plus => out.push(b' '),
            _ => out.push(*first),
        }
    }
    Ok(Cow::Owned(out))
}

/// Appends a method as the path of a request line, without the leading slash.
///
/// What Go's URL library takes as already encoded stays as it is; if one byte is not allowed there, the whole is
/// decoded and encoded anew (vectors addressing/encoded/…, addressing/raw-bytes/…).
///
/// # Errors
/// A `%` without two hex digits: daprd cannot build the URL either.
pub fn path(out: &mut Vec<u8>, method: &str) -> Result<(), BadEscape> {
    if method.bytes().all(is_plain) {
        out.extend_from_slice(method.as_bytes());
        return Ok(());
    }
    let decoded = decode(method, false)?;
    if method.bytes().all(|byte| is_plain(byte) || byte == b'%') {
        out.extend_from_slice(method.as_bytes());
        return Ok(());
    }
    for byte in decoded.iter() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(byte) {
            out.push(*byte);
        } else {
            escape(out, *byte);
        }
    }
    Ok(())
}

/// Bytes that Go leaves unescaped in a path it was given.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]/".contains(&byte)
}

/// Appends a query to a request line: as it is, up to a `#`, with white space and control characters escaped.
pub fn query(out: &mut Vec<u8>, query: &str) {
    for byte in query.bytes().take_while(|byte| *byte != b'#') {
        if byte <= b' ' || byte == 0x7f {
            escape(out, byte);
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(method: &str) -> Result<String, BadEscape> {
        let mut out = Vec::new();
        path(&mut out, method)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_method_is_escaped_as_go_escapes_it() {
        for (method, line) in [
            ("a/b", "a/b"),
            ("a b", "a%20b"),
            ("a'(b)!", "a'(b)!"),
            ("a%3Fb", "a%3Fb"),
            ("a<b>", "a%3Cb%3E"),
            ("a%41<", "aA%3C"),
            ("a[b]", "a[b]"),
            ("a[b] ", "a%5Bb%5D%20"),
            ("café", "caf%C3%A9"),
            ("a%2Fb c", "a/b%20c"),
        ] {
            assert_eq!(written(method).unwrap(), line, "{method}");
        }
    }

    #[test]
    fn a_lone_percent_is_refused() {
        for (method, shown) in [("a%b", "%b"), ("a%zz", "%zz"), ("%", "%"), ("a%zzz", "%zz"), ("a %4", "%4")]
        {
            assert_eq!(written(method), Err(BadEscape(shown.into())), "{method}");
        }
    }

    #[test]
    fn a_query_cannot_end_the_request_line() {
        let mut out = Vec::new();
        query(&mut out, "x=1 HTTP/1.1\r\nX: y#frag");
        assert_eq!(out, b"x=1%20HTTP/1.1%0D%0AX:%20y");
    }
}

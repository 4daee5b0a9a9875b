//! Heads that are not served: what a proxy has to insist on, and the answer each refusal deserves.

use super::encode;
use super::head::{Headers, Length, MAX_LINES, Version};
use super::names::Known;
use core::fmt;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not HTTP/1, or not the HTTP/1 that every reader understands alike (RFC 9112).
    Malformed(&'static str),
    /// Larger than the limit.
    TooLarge {
        /// The value of `--read-buffer-size`.
        flag: usize,
    },
    /// More than [`MAX_LINES`] header lines.
    TooManyLines,
    /// A version other than 1.0 and 1.1.
    Version,
    /// A transfer coding other than `chunked` alone.
    TransferCoding,
    /// A response with a status outside 100 to 999.
    Status(u16),
}

impl HeadError {
    pub(super) fn of(error: httparse::Error, bytes: &[u8]) -> HeadError {
        match error {
            httparse::Error::TooManyHeaders => HeadError::TooManyLines,
            httparse::Error::Version if names_a_version(bytes) => HeadError::Version,
            httparse::Error::Version => HeadError::Malformed("invalid version"),
            httparse::Error::HeaderName => HeadError::Malformed("invalid header name"),
            httparse::Error::HeaderValue => HeadError::Malformed("invalid header value"),
            httparse::Error::NewLine => HeadError::Malformed("carriage return without line feed"),
            httparse::Error::Status => HeadError::Malformed("invalid status line"),
            httparse::Error::Token => HeadError::Malformed("invalid request line"),
        }
    }

    /// The status that a client's request is answered with.
    pub fn status(&self) -> u16 {
        match self {
            HeadError::Malformed(_) | HeadError::Status(_) => 400,
            HeadError::TooLarge { .. } | HeadError::TooManyLines => 431,
            HeadError::Version => 505,
            HeadError::TransferCoding => 501,
        }
    }

    /// Appends the whole answer to a client: head and plain text, `Connection: close` (vectors http1/…).
    pub fn answer(&self, out: &mut Vec<u8>) {
        let text = self.answer_text();
        encode::status_line(out, self.status());
        encode::line(out, b"Content-Type", b"text/plain; charset=utf-8");
        encode::content_length(out, text.len() as u64);
        encode::line(out, b"Connection", b"close");
        encode::end(out);
        out.extend_from_slice(text.as_bytes());
    }

    fn answer_text(&self) -> String {
        let status = self.status();
        match self {
            HeadError::TransferCoding => "Unsupported transfer encoding".into(),
            _ => format!("{status} {}: {self}", encode::reason(status).unwrap_or_default()),
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::Malformed(why) => f.write_str(why),
            HeadError::TooLarge { flag } => {
                write!(f, "head larger than --read-buffer-size allows ({flag} bytes)")
            }
            HeadError::TooManyLines => write!(f, "more than {MAX_LINES} header lines"),
            HeadError::Version => f.write_str("unsupported protocol version"),
            HeadError::TransferCoding => f.write_str("unsupported transfer encoding"),
            HeadError::Status(status) => write!(f, "invalid status {status:03}"),
        }
    }
}

impl core::error::Error for HeadError {}

/// Whether the first line is well-formed but for a version that is not ours.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let version = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(response), ..) if response.starts_with(b"HTTP/") => response,
        (Some(_), Some(_), Some(version), None) => version,
        _ => return false,
    };
    let ours = version == b"HTTP/1.0" || version == b"HTTP/1.1";
    !ours && matches!(version, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'])
}

/// Every line of the head ends in CRLF. httparse ends a line at a bare LF too; where each line begins shows it.
pub(super) fn line_ends(bytes: &[u8], len: usize, lines: &[httparse::Header<'_>]) -> Result<(), HeadError> {
    const BARE: HeadError = HeadError::Malformed("line feed without carriage return");
    let head = bytes.get(..len).unwrap_or_default();
    let start = bytes.as_ptr() as usize;
    for line in lines {
        let at = (line.name.as_ptr() as usize).wrapping_sub(start);
        if head.get(..at).is_none_or(|before| !before.ends_with(b"\r\n")) {
            return Err(BARE);
        }
    }
    if head.ends_with(b"\r\n\r\n") { Ok(()) } else { Err(BARE) }
}

/// Exactly one well-formed `Host`; HTTP/1.0 may do without.
pub(super) fn host(headers: &Headers<'_, '_>, version: Version) -> Result<(), HeadError> {
    let Some(host) = headers.first(Known::Host) else {
        let missing = HeadError::Malformed("missing required Host header");
        return if version == Version::Http10 { Ok(()) } else { Err(missing) };
    };
    if headers.may_repeat() && headers.all(Known::Host).nth(1).is_some() {
        return Err(HeadError::Malformed("too many Host headers"));
    }
    if host.iter().all(|byte| encode::HOST.has(*byte)) {
        Ok(())
    } else {
        Err(HeadError::Malformed("malformed Host header"))
    }
}

/// The body length of a request: strict, because a difference of opinion with the client is a smuggled request.
pub(super) fn request_length(headers: &Headers<'_, '_>, version: Version) -> Result<Length, HeadError> {
    let (coded, declared) = (headers.has(Known::TransferEncoding), headers.has(Known::ContentLength));
    if !coded && !declared {
        return Ok(Length::Absent);
    }
    if coded {
        only_chunked(headers)?;
        if declared {
            return Err(HeadError::Malformed("both Content-Length and Transfer-Encoding"));
        }
        let old = HeadError::Malformed("Transfer-Encoding in an HTTP/1.0 request");
        return if version == Version::Http10 { Err(old) } else { Ok(Length::Chunked) };
    }
    let mut values = headers.all(Known::ContentLength);
    let length = values.next().and_then(digits);
    if values.next().is_some() {
        return Err(HeadError::Malformed("more than one Content-Length"));
    }
    length.map(Length::Known).ok_or(HeadError::Malformed("invalid Content-Length"))
}

/// The body length of a response: equal repeated lengths are one (RFC 9110 section 8.6), everything else is refused.
pub(super) fn response_length(headers: &Headers<'_, '_>, version: Version) -> Result<Length, HeadError> {
    if headers.has(Known::TransferEncoding) {
        only_chunked(headers)?;
        if headers.has(Known::ContentLength) || version == Version::Http10 {
            return Err(HeadError::Malformed("Transfer-Encoding beside Content-Length or in HTTP/1.0"));
        }
        return Ok(Length::Chunked);
    }
    let mut values = headers.all(Known::ContentLength);
    let Some(first) = values.next() else { return Ok(Length::Absent) };
    let length = digits(first).ok_or(HeadError::Malformed("invalid Content-Length"))?;
    if values.any(|value| digits(value) != Some(length)) {
        return Err(HeadError::Malformed("more than one Content-Length"));
    }
    Ok(Length::Known(length))
}

fn only_chunked(headers: &Headers<'_, '_>) -> Result<(), HeadError> {
    let mut codings = headers.all(Known::TransferEncoding);
    let chunked = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if chunked && codings.next().is_none() { Ok(()) } else { Err(HeadError::TransferCoding) }
}

/// A decimal number without sign, at most what a signed 64-bit number holds (as Go reads it).
pub(crate) fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    let number = value.iter().try_fold(0u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    (number <= i64::MAX as u64).then_some(number)
}

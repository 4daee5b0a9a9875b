//! Request and response heads as borrowed views over the bytes that arrived.
//!
//! httparse finds the fields; this module adds what a proxy has to insist on (RFC 9112): CRLF line ends, one `Host`,
//! one unambiguous body length. Known headers are found in the same pass. The usual head allocates nothing.
//!
//! ```
//! use proto::http1::head::{Head, Limits, Request, Slots};
//!
//! let bytes = b"POST /v1.0/invoke/orders/method/pay HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
//! let mut slots = Slots::new();
//! match Request::parse(bytes, &mut slots, &Limits::default()) {
//!     Ok(Head::Complete(request)) => {
//!         assert_eq!(request.method, "POST");
//!         assert_eq!(&bytes[request.len..], b"hi"); // the body follows
//!     }
//!     Ok(Head::Partial) => { /* receive more; `may_end` says whether parsing again is worth it */ }
//!     Err(error) => { /* error.answer(&mut out) and close */ let _ = error.status(); }
//! }
//! ```

use super::names::Known;
use super::refusal::HeadError;

use core::mem::MaybeUninit;

pub use super::headers::{Headers, Line, list};

/// Header lines that fit without allocating.
pub(super) const ON_STACK: usize = 64;
/// Most header lines of a head; more are refused. Go has no such limit, its byte limit comes first.
pub const MAX_LINES: usize = 2048;
/// What daprd's server accepts above its `--read-buffer-size` (vectors limits/head-8192-bytes, limits/head-8193-bytes).
pub const SLACK: usize = 4096;

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `--read-buffer-size` in bytes. A request head may have [`SLACK`] more, a response head may not.
    pub max_head: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_head: 64 << 10 }
    }
}

/// Room for the header lines of one head. Reusable; belongs on the stack of the function that parses.
pub struct Slots<'b> {
    lines: [MaybeUninit<httparse::Header<'b>>; ON_STACK],
    known: [Known; ON_STACK],
    more_lines: Vec<MaybeUninit<httparse::Header<'b>>>,
    more_known: Vec<Known>,
}

impl Slots<'_> {
    /// Room for the usual number of header lines; grows to [`MAX_LINES`] when a head has more.
    #[inline]
    pub fn new() -> Self {
        Slots {
            lines: [const { MaybeUninit::uninit() }; ON_STACK],
            known: [Known::Other; ON_STACK],
            more_lines: Vec::new(),
            more_known: Vec::new(),
        }
    }
}

impl Default for Slots<'_> {
    fn default() -> Self {
        Slots::new()
    }
}

/// What parsing a head yields.
#[derive(Debug)]
pub enum Head<T> {
    /// The head is there in full.
    Complete(T),
    /// The bytes are the beginning of a head.
    Partial,
}

/// HTTP/1 minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no persistence unless asked for.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    fn of(minor: Option<u8>) -> Version {
        if minor == Some(0) { Version::Http10 } else { Version::Http11 }
    }
}

/// A request head.
#[derive(Clone, Copy, Debug)]
pub struct Request<'s, 'b> {
    /// A token, as received.
    pub method: &'b str,
    /// The request target, as received; UTF-8 without white space or control characters.
    pub target: &'b str,
    /// The client's version.
    pub version: Version,
    /// The header lines.
    pub headers: Headers<'s, 'b>,
    /// Bytes of the head with its empty line: where the body begins.
    pub len: usize,
    pub(super) length: Length,
}

/// A response head with a status of 100 to 999.
#[derive(Clone, Copy, Debug)]
pub struct Response<'s, 'b> {
    /// 100 to 999.
    pub status: u16,
    /// The server's version.
    pub version: Version,
    /// The header lines.
    pub headers: Headers<'s, 'b>,
    /// Bytes of the head with its empty line.
    pub len: usize,
    pub(super) length: Length,
}

/// What `Content-Length` and `Transfer-Encoding` say, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Absent,
    Known(u64),
    Chunked,
}

impl Length {
    fn has_body(self) -> bool {
        !matches!(self, Length::Absent | Length::Known(0))
    }
}

impl<'s, 'b> Request<'s, 'b> {
    /// Reads the request head at the beginning of `bytes`.
    ///
    /// # Errors
    /// A head that is malformed, ambiguous or too large; the error knows its answer, after which the connection
    /// must be closed.
    pub fn parse(
        bytes: &'b [u8],
        slots: &'s mut Slots<'b>,
        limits: &Limits,
    ) -> Result<Head<Request<'s, 'b>>, HeadError> {
        let limit = limits.max_head.saturating_add(SLACK);
        if matches!(bytes.first(), Some(b'\r' | b'\n')) {
            return Err(HeadError::Malformed("empty line before the request line"));
        }
        let parsed = parse_lines(bytes, slots, |lines| {
            let mut request = httparse::Request::new(&mut []);
            let config = httparse::ParserConfig::default();
            let status = config.parse_request_with_uninit_headers(&mut request, bytes, lines)?;
            let headers: &'s [httparse::Header<'b>] = request.headers;
            Ok((status, (request.method, request.path, request.version), headers))
        });
        let (len, (method, target, version), headers) = match settle(parsed, bytes, limit, limits.max_head)? {
            Head::Complete(parsed) => parsed,
            Head::Partial => return Ok(Head::Partial),
        };
        let version = Version::of(version);
        super::refusal::host(&headers, version)?;
        let length = super::refusal::request_length(&headers, version)?;
        let (method, target) = (method.unwrap_or(""), target.unwrap_or(""));
        Ok(Head::Complete(Request { method, target, version, headers, len, length }))
    }

    /// Whether the client wants and can have another request on this connection: HTTP/1.1 without
    /// `Connection: close`. An HTTP/1.0 connection is closed after its answer, as daprd does
    /// (vector http1/http10/keep-alive).
    pub fn keeps_alive(&self) -> bool {
        self.version == Version::Http11 && !self.headers.connection_lists(b"close")
    }

    /// Whether the client waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11
            && self
                .headers
                .first(Known::Expect)
                .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// Whether an `Expect` other than `100-continue` is there: the answer is 417 (vector request-headers/expect-other).
    pub fn expects_the_unknown(&self) -> bool {
        self.headers.first(Known::Expect).is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// The protocol the client wants to switch to, when both `Upgrade` and `Connection: upgrade` are there.
    pub fn upgrade(&self) -> Option<&'b [u8]> {
        self.headers.first(Known::Upgrade).filter(|_| self.headers.connection_lists(b"upgrade"))
    }

    /// The protocol that is offered to the app: the first that is named, if the request has no body and it is neither
    /// `h2c` nor too odd to be one.
    pub fn switches_to(&self) -> Option<&'b str> {
        if !self.headers.has(Known::Upgrade) || self.version != Version::Http11 || self.length.has_body() {
            return None;
        }
        protocol(list(self.upgrade()?).next()?)
    }

    /// Whether the client asks for server-sent events in daprd's sense: the first `Accept` value is
    /// `text/event-stream`, nothing else (spec/invocation 1.14.2).
    pub fn wants_events(&self) -> bool {
        self.headers
            .first(Known::Accept)
            .is_some_and(|value| value.eq_ignore_ascii_case(b"text/event-stream"))
    }
}

/// A protocol's name, with its version or without, that a request may switch to.
pub fn protocol(name: &[u8]) -> Option<&str> {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    let fits = !name.is_empty() && name.len() <= 64 && name.iter().all(token);
    let name = core::str::from_utf8(name).ok().filter(|_| fits)?;
    (!name.eq_ignore_ascii_case("h2c")).then_some(name)
}

impl<'s, 'b> Response<'s, 'b> {
    /// Reads the response head at the beginning of `bytes`.
    ///
    /// # Errors
    /// A head that is malformed, ambiguous, too large, or has a status below 100; the connection is of no further use.
    pub fn parse(
        bytes: &'b [u8],
        slots: &'s mut Slots<'b>,
        limits: &Limits,
    ) -> Result<Head<Response<'s, 'b>>, HeadError> {
        let parsed = parse_lines(bytes, slots, |lines| {
            let mut response = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            let status = config.parse_response_with_uninit_headers(&mut response, bytes, lines)?;
            let headers: &'s [httparse::Header<'b>] = response.headers;
            Ok((status, (response.code, response.version), headers))
        });
        let (len, (code, version), headers) = match settle(parsed, bytes, limits.max_head, limits.max_head)? {
            Head::Complete(parsed) => parsed,
            Head::Partial => return Ok(Head::Partial),
        };
        let status = code.unwrap_or(0);
        if status < 100 {
            return Err(HeadError::Status(status));
        }
        let version = Version::of(version);
        let length = super::refusal::response_length(&headers, version)?;
        Ok(Head::Complete(Response { status, version, headers, len, length }))
    }

    /// Whether it is an interim answer (1xx but 101): another head follows on the same connection.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Whether the connection may carry another request once this answer's body has ended.
    pub fn keeps_alive(&self) -> bool {
        match self.version {
            Version::Http11 => !self.headers.connection_lists(b"close"),
            Version::Http10 => self.headers.connection_lists(b"keep-alive"),
        }
    }
}

type Parsed<'s, 'b, T> = Result<(httparse::Status<usize>, T, Headers<'s, 'b>), httparse::Error>;

/// Parses into the slots on the stack, and where those do not suffice into the growing ones.
fn parse_lines<'s, 'b, T>(
    bytes: &'b [u8],
    slots: &'s mut Slots<'b>,
    mut parse: impl FnMut(
        &'s mut [MaybeUninit<httparse::Header<'b>>],
    )
        -> Result<(httparse::Status<usize>, T, &'s [httparse::Header<'b>]), httparse::Error>,
) -> Parsed<'s, 'b, T> {
    let Slots { lines, known, more_lines, more_known } = slots;
    match parse(lines) {
        Err(httparse::Error::TooManyHeaders) => {}
        parsed => return parsed.map(|(status, line, lines)| (status, line, Headers::index(lines, known))),
    }
    let room = MAX_LINES.min(bytes.len() / 4 + 1); // the shortest line is "a:\r\n"
    more_lines.resize_with(room, MaybeUninit::uninit);
    more_known.resize(room, Known::Other);
    parse(more_lines).map(|(status, line, lines)| (status, line, Headers::index(lines, more_known)))
}

/// Limits and line ends, which httparse does not look at.
fn settle<'s, 'b, T>(
    parsed: Parsed<'s, 'b, T>,
    bytes: &[u8],
    limit: usize,
    flag: usize,
) -> Result<Head<(usize, T, Headers<'s, 'b>)>, HeadError> {
    match parsed {
        Ok((httparse::Status::Complete(len), _, _)) if len > limit => Err(HeadError::TooLarge { flag }),
        Ok((httparse::Status::Complete(len), line, headers)) => {
            super::refusal::line_ends(bytes, len, headers.lines)?;
            Ok(Head::Complete((len, line, headers)))
        }
        Ok((httparse::Status::Partial, _, _)) if bytes.len() >= limit => Err(HeadError::TooLarge { flag }),
        Ok((httparse::Status::Partial, _, _)) => Ok(Head::Partial),
        Err(error) => Err(HeadError::of(error, bytes)),
    }
}

/// Whether a head may end within `bytes`, of which the first `before` were already seen to hold no end.
///
/// For heads that come in many pieces: parsing again is worth it only when this says so, which keeps the work linear
/// in the head's size however small the pieces are.
pub fn may_end(bytes: &[u8], before: usize) -> bool {
    let from = before.saturating_sub(3);
    let tail = bytes.get(from..).unwrap_or_default();
    tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n")
}

/// How a connection to the API port begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// HTTP/1.
    Http1,
    /// The HTTP/2 preface (RFC 9113 section 3.4).
    Http2,
    /// Too few bytes to tell.
    Undecided,
}

/// Tells HTTP/2 with prior knowledge from HTTP/1 by a connection's first bytes.
pub fn opening(bytes: &[u8]) -> Opening {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if bytes.starts_with(PREFACE) {
        Opening::Http2
    } else if PREFACE.starts_with(bytes) {
        Opening::Undecided
    } else {
        Opening::Http1
    }
}

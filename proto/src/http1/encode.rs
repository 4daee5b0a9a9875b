//! Writing HTTP/1: status and request lines, header lines, chunk sizes, dates. Everything appends to a `Vec<u8>`.

/// Reason phrases as Go's server writes them (RFC 9110 section 15).
const REASONS: [(u16, &str); 62] = [
    (100, "Continue"),
    (101, "Switching Protocols"),
    (102, "Processing"),
    (103, "Early Hints"),
    (200, "OK"),
    (201, "Created"),
    (202, "Accepted"),
    (203, "Non-Authoritative Information"),
    (204, "No Content"),
    (205, "Reset Content"),
    (206, "Partial Content"),
    (207, "Multi-Status"),
    (208, "Already Reported"),
    (226, "IM Used"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Found"),
    (303, "See Other"),
    (304, "Not Modified"),
    (305, "Use Proxy"),
    (307, "Temporary Redirect"),
    (308, "Permanent Redirect"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (409, "Conflict"),
    (410, "Gone"),
    (411, "Length Required"),
    (412, "Precondition Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Requested Range Not Satisfiable"),
    (417, "Expectation Failed"),
    (418, "I'm a teapot"),
    (421, "Misdirected Request"),
    (422, "Unprocessable Entity"),
    (423, "Locked"),
    (424, "Failed Dependency"),
    (425, "Too Early"),
    (426, "Upgrade Required"),
    (428, "Precondition Required"),
    (429, "Too Many Requests"),
    (431, "Request Header Fields Too Large"),
    (451, "Unavailable For Legal Reasons"),
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Timeout"),
    (505, "HTTP Version Not Supported"),
    (506, "Variant Also Negotiates"),
    (507, "Insufficient Storage"),
    (508, "Loop Detected"),
    (510, "Not Extended"),
    (511, "Network Authentication Required"),
];

/// The reason phrase of a status; `None` where there is no registered one.
pub fn reason(status: u16) -> Option<&'static str> {
    let at = REASONS.binary_search_by_key(&status, |(status, _)| *status).ok()?;
    REASONS.get(at).map(|(_, reason)| *reason)
}

/// `HTTP/1.1 404 Not Found` and its line end; `status code 299` where a status has no phrase, as Go writes it.
/// `status` must have three digits.
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(status));
    out.push(b' ');
    match reason(status) {
        Some(reason) => out.extend_from_slice(reason.as_bytes()),
        None => {
            out.extend_from_slice(b"status code ");
            decimal(out, u64::from(status));
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// One header line. The caller vouches for name and value ([`is_name`], [`is_value`]).
#[inline]
pub fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a header name in Go's canonical spelling: a capital at the beginning and after every dash.
#[inline]
pub fn canonical(out: &mut Vec<u8>, name: &[u8]) {
    let mut upper = true;
    out.extend(name.iter().map(|byte| {
        let spelled = if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        upper = *byte == b'-';
        spelled
    }));
}

/// `Content-Length: N`.
pub fn content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// `Transfer-Encoding: chunked`.
pub fn chunked(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
}

/// The empty line after the header lines.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// The line before a chunk of `len` bytes, which must not be 0.
pub fn chunk_size(out: &mut Vec<u8>, len: usize) {
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let value = len >> (4 * digit) & 15;
        out.push(b"0123456789abcdef".get(value).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal digits.
pub fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len() - used));
}

/// A set of bytes.
pub(crate) struct Bytes([bool; 256]);

impl Bytes {
    /// Letters, digits, and what is listed.
    #[allow(clippy::indexing_slicing)] // evaluated when compiled
    pub(crate) const fn alphanumeric_and(others: &[u8]) -> Bytes {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut at = 0;
        while at < others.len() {
            table[others[at] as usize] = true;
            at += 1;
        }
        Bytes(table)
    }

    /// Whether a byte is in the set.
    #[inline]
    #[allow(clippy::indexing_slicing)] // a u8 indexes a table of 256
    pub(crate) const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

/// Bytes of a token (RFC 9110 section 5.6.2).
const TOKEN: Bytes = Bytes::alphanumeric_and(b"!#$%&'*+-.^_`|~");
/// Bytes of a `Host` value, as Go takes them.
pub(crate) const HOST: Bytes = Bytes::alphanumeric_and(b"!$%&'()*+,-.:;=[]_~");

/// Whether a header name is a token (RFC 9110 section 5.6.2) and may be written.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| TOKEN.has(*byte))
}

/// Whether a header value has no control character but tab and may be written (RFC 9110 section 5.5).
#[inline]
pub fn is_value(value: &[u8]) -> bool {
    let mut bad = false;
    for byte in value {
        bad |= (*byte < b' ' && *byte != b'\t') | (*byte == 0x7f);
    }
    !bad
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7) for a Unix time in seconds, years 1 to 9999.
pub fn date(unix: i64) -> [u8; 29] {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    put(&mut text, 0, three(DAYS, days.rem_euclid(7)));
    put(&mut text, 5, &two(day));
    put(&mut text, 8, three(MONTHS, month - 1));
    put(&mut text, 12, &two(year / 100));
    put(&mut text, 14, &two(year % 100));
    put(&mut text, 17, &two(second / 3600));
    put(&mut text, 20, &two(second / 60 % 60));
    put(&mut text, 23, &two(second % 60));
    text
}

/// Days since 1970-01-01 as year, month, day: counted from March, so that the leap day is a year's last.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn three(names: &[u8], at: i64) -> &[u8] {
    let from = usize::try_from(at).unwrap_or(0) * 3;
    names.get(from..from + 3).unwrap_or(b"???")
}

/// The last two decimal digits.
pub(crate) fn two(number: i64) -> [u8; 2] {
    let number = number.rem_euclid(100) as u8; // below 100
    [b'0' + number / 10, b'0' + number % 10]
}

fn put(text: &mut [u8], at: usize, what: &[u8]) {
    for (to, from) in text.iter_mut().skip(at).zip(what) {
        *to = *from;
    }
}

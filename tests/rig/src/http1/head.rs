//! Heads as they are on the wire.

/// Header lines as sent: order and case kept.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// A start line and its header lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The start line without its end.
    pub line: Vec<u8>,
    /// The header lines, values trimmed.
    pub headers: Headers,
}

impl Head {
    /// The head at the front of `bytes` and its length; `None` while it is incomplete. Lenient: what is no header
    /// line becomes a header without value.
    pub fn parse(bytes: &[u8]) -> Option<(Head, usize)> {
        let end = find(bytes, b"\r\n\r\n")? + 4;
        let mut lines = bytes[..end - 4].split(|&b| b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        let line = lines.next().unwrap_or_default().to_vec();
        Some((Head { line, headers: lines.map(header).collect() }, end))
    }

    /// Parses header lines alone (trailers), up to and with the empty line.
    pub fn parse_lines(bytes: &[u8]) -> Option<(Headers, usize)> {
        if bytes.starts_with(b"\r\n") {
            return Some((Headers::new(), 2));
        }
        let end = find(bytes, b"\r\n\r\n")? + 4;
        let lines = bytes[..end - 4].split(|&b| b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        Some((lines.map(header).collect(), end))
    }

    /// The first value of a header, by case-insensitive name.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        value(&self.headers, name)
    }

    /// Whether the comma-separated header `name` lists `token`.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        let values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        values
            .flat_map(|(_, v)| v.split(|&b| b == b','))
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The `n`th word of the start line.
    pub fn word(&self, n: usize) -> &[u8] {
        self.line.split(|&b| b == b' ').nth(n).unwrap_or_default()
    }
}

/// The first value of a header, by case-insensitive name.
pub fn value<'a>(headers: &'a Headers, name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.as_slice())
}

fn header(line: &[u8]) -> (Vec<u8>, Vec<u8>) {
    match line.iter().position(|&b| b == b':') {
        Some(colon) => (line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()),
        None => (line.to_vec(), Vec::new()),
    }
}

/// Where `needle` begins in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|w| w == needle)
}

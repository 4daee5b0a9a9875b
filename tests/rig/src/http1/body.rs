//! Reading bodies by their framing.

use super::head::{Head, Headers};
use super::wire::{Arrived, Wire};
use std::time::Instant;

/// How a message's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// `Content-Length`.
    Length(usize),
    /// Chunked coding.
    Chunked,
    /// Until the connection ends.
    ToEnd,
}

impl Framing {
    /// A request's framing.
    pub fn of_request(head: &Head) -> Framing {
        match Framing::declared(head) {
            Some(framing) => framing,
            None => Framing::None,
        }
    }

    /// A response's framing; `method` is the request's.
    pub fn of_response(head: &Head, method: &[u8], status: u16) -> Framing {
        if method == b"HEAD" || status < 200 || status == 204 || status == 304 {
            return Framing::None;
        }
        Framing::declared(head).unwrap_or(Framing::ToEnd)
    }

    fn declared(head: &Head) -> Option<Framing> {
        if head.lists("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        let length = std::str::from_utf8(head.value("content-length")?).ok()?;
        length.trim().parse().ok().map(Framing::Length)
    }
}

/// A body as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The content, codings removed.
    pub bytes: Vec<u8>,
    /// Behind a chunked body.
    pub trailers: Headers,
    /// Sizes of the chunks of a chunked body.
    pub chunks: Vec<usize>,
    /// Why it is incomplete, where it is.
    pub cut: Option<Cut>,
}

/// Why a body is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection ended.
    Ended,
    /// The connection was reset.
    Reset,
    /// The patience ended; the connection is open.
    Patience,
    /// The chunked coding is broken.
    Broken,
}

/// Reads a body, waiting until `by`.
pub fn read(wire: &mut Wire, framing: Framing, by: Instant) -> Body {
    let mut body = Body::default();
    let outcome = match framing {
        Framing::None => Ok(()),
        Framing::Length(n) => exactly(wire, n, by, &mut body.bytes),
        Framing::Chunked => chunked(wire, by, &mut body),
        Framing::ToEnd => to_end(wire, by, &mut body.bytes),
    };
    body.cut = outcome.err();
    body
}

fn more(wire: &mut Wire, by: Instant) -> Result<(), Cut> {
    match wire.fill(by) {
        Arrived::Bytes => Ok(()),
        Arrived::End => Err(Cut::Ended),
        Arrived::Reset => Err(Cut::Reset),
        Arrived::Nothing => Err(Cut::Patience),
    }
}

fn exactly(wire: &mut Wire, n: usize, by: Instant, into: &mut Vec<u8>) -> Result<(), Cut> {
    let goal = into.len() + n;
    loop {
        let missing = goal - into.len();
        into.extend(wire.take(missing));
        if into.len() == goal {
            return Ok(());
        }
        more(wire, by)?;
    }
}

fn to_end(wire: &mut Wire, by: Instant, into: &mut Vec<u8>) -> Result<(), Cut> {
    loop {
        into.extend(wire.take(usize::MAX));
        match more(wire, by) {
            Ok(()) => (),
            Err(Cut::Ended) => return Ok(()),
            Err(other) => return Err(other),
        }
    }
}

fn chunked(wire: &mut Wire, by: Instant, body: &mut Body) -> Result<(), Cut> {
    loop {
        let line = line(wire, by)?;
        let digits = line.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(digits).ok().and_then(|d| usize::from_str_radix(d, 16).ok());
        match size.ok_or(Cut::Broken)? {
            0 => return trailers(wire, by, body),
            size => chunk(wire, size, by, body)?,
        }
    }
}

fn chunk(wire: &mut Wire, size: usize, by: Instant, body: &mut Body) -> Result<(), Cut> {
    exactly(wire, size, by, &mut body.bytes)?;
    body.chunks.push(size);
    if line(wire, by)?.is_empty() { Ok(()) } else { Err(Cut::Broken) }
}

fn trailers(wire: &mut Wire, by: Instant, body: &mut Body) -> Result<(), Cut> {
    loop {
        if let Some((trailers, length)) = Head::parse_lines(&wire.unread) {
            wire.take(length);
            body.trailers = trailers;
            return Ok(());
        }
        more(wire, by)?;
    }
}

fn line(wire: &mut Wire, by: Instant) -> Result<Vec<u8>, Cut> {
    loop {
        if let Some(end) = wire.unread.iter().position(|&b| b == b'\n') {
            let mut line = wire.take(end + 1);
            line.truncate(end);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(line);
        }
        more(wire, by)?;
    }
}

//! Decoding of the chunked transfer coding (RFC 9112 section 7.1), without a buffer.
//!
//! ```text
//!          ┌──────────────── CRLF of data ◀── Data{left=0} ◀─┐
//!          ▼                                                 │ size > 0
//!        Size ──;──▶ Extension ──CR──▶ SizeEnd ──LF──────────┤
//!          └───────────CR────────────────▲                   │ size = 0
//!                                                            ▼
//!                    Done ◀──LF── LastLf ◀──CR── TrailerStart ⇄ Trailer
//! ```

use super::framing::{BodyError, Step};

/// Longest line with a chunk's size and extensions, as in Go.
const MAX_LINE: u32 = 4096;
/// Most framing bytes that do not stand in proportion to data, as in Go.
const MAX_EXCESS: u64 = 16 << 10;
/// Longest trailer section. Trailers are dropped, as daprd drops them (vector http1/chunks/trailer-smuggles-length).
const MAX_TRAILERS: u32 = 16 << 10;

/// Where in the coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size { digits: u8 },
    SizeSpace,
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
}

/// The decoder's state.
#[derive(Clone, Debug)]
pub(super) struct Chunked {
    at: At,
    /// Size being read, then data bytes left.
    left: u64,
    /// Bytes of the current line, or of the trailer section.
    line: u32,
    /// Framing bytes beyond what data justifies.
    excess: u64,
}

impl Chunked {
    pub(super) fn new() -> Chunked {
        Chunked { at: At::Size { digits: 0 }, left: 0, line: 0, excess: 0 }
    }

    /// Skips framing, then takes data; see [`super::framing::Incoming::step`].
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        for (skip, byte) in bytes.iter().enumerate() {
            if self.at == At::Data {
                return Ok(self.data(skip, bytes.len() - skip));
            }
            if self.framing(*byte).map_err(BodyError::Chunked)? {
                return Ok(Step { skip: skip + 1, take: 0, done: true });
            }
        }
        Ok(Step { skip: bytes.len(), take: 0, done: false })
    }

    fn data(&mut self, skip: usize, available: usize) -> Step {
        let take = usize::try_from(self.left).map_or(available, |left| left.min(available));
        self.left -= take as u64;
        if self.left == 0 {
            self.at = At::DataCr;
        }
        Step { skip, take, done: false }
    }

    /// One byte of framing; `true` when it was the last of the body.
    fn framing(&mut self, byte: u8) -> Result<bool, &'static str> {
        self.at = match (self.at, byte) {
            (At::Size { .. } | At::SizeSpace | At::Extension, b'\n') => {
                return Err("chunked line ends with bare LF");
            }
            (At::Size { digits: 0 }, b'\r' | b';' | b' ' | b'\t') => {
                return Err("invalid byte in chunk length");
            }
            (At::Size { .. } | At::SizeSpace | At::Extension, b'\r') => At::SizeEnd,
            (At::Size { .. } | At::SizeSpace, b';') => At::Extension,
            (At::Size { .. } | At::SizeSpace, b' ' | b'\t') => At::SizeSpace,
            (At::Size { digits }, _) => self.digit(digits, byte)?,
            (At::SizeSpace, _) => return Err("invalid byte in chunk length"),
            (At::Extension, b'\t' | b' '..=b'~' | 0x80..) => At::Extension,
            (At::SizeEnd, b'\n') => self.size_known()?,
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { digits: 0 },
            (At::TrailerStart, b'\r') => At::LastLf,
            (At::TrailerStart, b' ' | b'\t' | b':') => return Err("malformed trailer"),
            (At::TrailerStart | At::Trailer, b'\t' | b' '..=b'~' | 0x80..) => At::Trailer,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::LastLf, b'\n') => return Ok(true),
            _ => return Err("malformed chunked encoding"),
        };
        self.line_grows()?;
        Ok(false)
    }

    fn digit(&mut self, digits: u8, byte: u8) -> Result<At, &'static str> {
        let value = char::from(byte).to_digit(16).ok_or("invalid byte in chunk length")?;
        if digits == 16 {
            return Err("http chunk length too large");
        }
        self.left = self.left << 4 | u64::from(value);
        Ok(At::Size { digits: digits + 1 })
    }

    /// The end of a size line. Go's rule: 16 bytes a chunk and twice the data are free.
    fn size_known(&mut self) -> Result<At, &'static str> {
        let free = self.left.saturating_mul(2).saturating_add(16);
        self.excess = (self.excess + u64::from(self.line) + 1).saturating_sub(free);
        if self.excess > MAX_EXCESS {
            return Err("chunked encoding contains too much non-data");
        }
        self.line = 0;
        Ok(if self.left == 0 { At::TrailerStart } else { At::Data })
    }

    fn line_grows(&mut self) -> Result<(), &'static str> {
        let limit = match self.at {
            At::Size { digits: 0 } | At::Data | At::DataCr | At::DataLf => {
                self.line = 0;
                return Ok(());
            }
            At::TrailerStart | At::Trailer | At::TrailerLf | At::LastLf => MAX_TRAILERS,
            _ => MAX_LINE,
        };
        self.line += 1;
        if self.line > limit { Err("header line too long") } else { Ok(()) }
    }
}

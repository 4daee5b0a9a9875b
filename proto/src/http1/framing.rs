//! How long a body is and where it ends (RFC 9112 section 6), in both directions.
//!
//! [`Incoming`] is fed what arrives and says which of it is body; [`Outgoing`] frames what is sent and insists that a
//! declared length is kept. Both are small state machines without buffers.

use super::chunked::Chunked;
use super::head::{Length, Request, Response};
use core::fmt;

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Exactly so many bytes, also none.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

impl Framing {
    /// Whether no body byte can follow.
    pub fn is_empty(self) -> bool {
        matches!(self, Framing::None | Framing::Length(0))
    }

    /// The declared number of body bytes.
    pub fn length(self) -> Option<u64> {
        match self {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }
}

impl Request<'_, '_> {
    /// The request's body: without a declaration there is none.
    pub fn framing(&self) -> Framing {
        match self.length {
            Length::Absent => Framing::None,
            Length::Known(length) => Framing::Length(length),
            Length::Chunked => Framing::Chunked,
        }
    }
}

impl Response<'_, '_> {
    /// The body that follows this head; `to_head`: the request was HEAD.
    pub fn framing(&self, to_head: bool) -> Framing {
        match self.length {
            _ if to_head || bodiless(self.status) => Framing::None,
            Length::Known(length) => Framing::Length(length),
            Length::Chunked => Framing::Chunked,
            Length::Absent => Framing::UntilClose,
        }
    }

    /// `Content-Length` as declared, also where no body follows (HEAD, 304).
    pub fn declared_length(&self) -> Option<u64> {
        match self.length {
            Length::Known(length) => Some(length),
            _ => None,
        }
    }
}

/// Whether answers of this status never have a body (RFC 9112 section 6.3).
pub fn bodiless(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}

/// Where the body is in the bytes given to [`Incoming::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many bytes of framing first.
    pub skip: usize,
    /// Then so many bytes of body.
    pub take: usize,
    /// The body ends here; further bytes belong to what follows on the connection.
    pub done: bool,
}

/// Why a body cannot be read or written as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Broken chunked coding; the text is Go's, which clients of daprd see (vectors http1/chunks/…).
    Chunked(&'static str),
    /// The connection ended inside the body.
    Truncated,
    /// More or fewer bytes than declared.
    Length {
        /// `Content-Length`.
        declared: u64,
        /// What there was, at least.
        actual: u64,
    },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Chunked(why) => f.write_str(why),
            BodyError::Truncated => f.write_str("unexpected EOF"),
            BodyError::Length { declared, actual } => {
                write!(f, "http: ContentLength={declared} with Body length {actual}")
            }
        }
    }
}

impl core::error::Error for BodyError {}

/// A body being received.
///
/// ```text
///   Length{left>0} ──last byte──▶ Done ◀──last chunk, trailers── Chunked      UntilClose ──end of stream──▶ Done
/// ```
#[derive(Clone, Debug)]
pub struct Incoming(Reading);

#[derive(Clone, Debug)]
enum Reading {
    Length { left: u64 },
    Chunked(Chunked),
    UntilClose,
    Done,
}

impl Incoming {
    /// The body of a head with that framing.
    pub fn new(framing: Framing) -> Incoming {
        Incoming(match framing {
            Framing::None | Framing::Length(0) => Reading::Done,
            Framing::Length(left) => Reading::Length { left },
            Framing::Chunked => Reading::Chunked(Chunked::new()),
            Framing::UntilClose => Reading::UntilClose,
        })
    }

    /// Whether the body has been read to its end.
    pub fn is_done(&self) -> bool {
        matches!(self.0, Reading::Done)
    }

    /// Says what the next `bytes` are. Everything before `skip + take` is accounted for; call again with the rest
    /// until `done`, or until nothing is left and more must be received.
    ///
    /// # Errors
    /// Broken chunked coding.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, BodyError> {
        let step = match &mut self.0 {
            Reading::Done => Step { skip: 0, take: 0, done: true },
            Reading::UntilClose => Step { skip: 0, take: bytes.len(), done: false },
            Reading::Length { left } => {
                let take = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= take as u64;
                Step { skip: 0, take, done: *left == 0 }
            }
            Reading::Chunked(chunked) => chunked.step(bytes)?,
        };
        if step.done {
            self.0 = Reading::Done;
        }
        Ok(step)
    }

    /// Moves all body bytes in `bytes` to its front: for bodies in many small chunks.
    ///
    /// # Errors
    /// Broken chunked coding.
    #[allow(clippy::indexing_slicing)] // a step's skip and take lie within the bytes it was given
    pub fn compact(&mut self, bytes: &mut [u8]) -> Result<Compacted, BodyError> {
        let mut at = Compacted { body: 0, used: 0, done: self.is_done() };
        while at.used < bytes.len() && !at.done {
            let step = self.step(&bytes[at.used..])?;
            let from = at.used + step.skip;
            bytes.copy_within(from..from + step.take, at.body);
            at = Compacted { body: at.body + step.take, used: from + step.take, done: step.done };
        }
        Ok(at)
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] unless the body had ended or runs until the connection ends.
    pub fn end_of_stream(&mut self) -> Result<(), BodyError> {
        match self.0 {
            Reading::Done => Ok(()),
            Reading::UntilClose => {
                self.0 = Reading::Done;
                Ok(())
            }
            Reading::Length { .. } | Reading::Chunked(_) => Err(BodyError::Truncated),
        }
    }
}

/// What [`Incoming::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// So many body bytes are now at the front.
    pub body: usize,
    /// So many bytes were used; the rest belongs to what follows.
    pub used: usize,
    /// The body ended.
    pub done: bool,
}

/// A body being sent: adds the framing, keeps a declared length.
#[derive(Clone, Debug)]
pub struct Outgoing {
    framing: Framing,
    sent: u64,
}

impl Outgoing {
    /// A body to be sent with that framing.
    pub fn new(framing: Framing) -> Outgoing {
        Outgoing { framing, sent: 0 }
    }

    /// How it is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Body bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Appends what precedes a piece of `len` body bytes and returns what must follow it. `len` 0 does nothing.
    ///
    /// # Errors
    /// The piece would exceed the declared length; nothing is appended.
    pub fn lead(&mut self, out: &mut Vec<u8>, len: usize) -> Result<&'static [u8], BodyError> {
        let actual = self.sent + len as u64;
        match self.framing {
            Framing::None if len > 0 => return Err(BodyError::Length { declared: 0, actual }),
            Framing::Length(declared) if actual > declared => {
                return Err(BodyError::Length { declared, actual });
            }
            _ => self.sent = actual,
        }
        if self.framing != Framing::Chunked || len == 0 {
            return Ok(b"");
        }
        super::encode::chunk_size(out, len);
        Ok(b"\r\n")
    }

    /// Appends a piece of the body with its framing.
    ///
    /// # Errors
    /// The piece would exceed the declared length; nothing is appended.
    pub fn piece(&mut self, out: &mut Vec<u8>, data: &[u8]) -> Result<(), BodyError> {
        let after = self.lead(out, data.len())?;
        out.extend_from_slice(data);
        out.extend_from_slice(after);
        Ok(())
    }

    /// The body is complete: appends the last chunk where there is one.
    ///
    /// # Errors
    /// Fewer bytes than declared were sent: the connection must be aborted, or the receiver would take the
    /// truncated body for the whole, or wait.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        match self.framing {
            Framing::Chunked => out.extend_from_slice(b"0\r\n\r\n"),
            Framing::Length(declared) if self.sent < declared => {
                return Err(BodyError::Length { declared, actual: self.sent });
            }
            _ => {}
        }
        Ok(())
    }
}

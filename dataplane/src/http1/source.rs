//! The receiving half of a connection: heads are copied out, bodies leave as the chunks they came in.

use super::sealed::Sealed;
use super::wire::{From as Wire, Received};
use crate::http2;
use crate::rt::{self, Chunk, Reader, RecvError, Segment, Tick};
use proto::http1::framing::{BodyError, Framing, Incoming};
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Bytes of further requests that are kept while one is at work.
const MOST_AHEAD: usize = 16 << 10;

/// The receiving half of a connection, with what was received and not yet used.
#[derive(Debug)]
pub(crate) struct Source {
    wire: Wire,
    rest: Rest,
    ended: bool,
}

/// Received bytes that wait for their consumer.
#[derive(Debug, Default)]
enum Rest {
    #[default]
    Empty,
    /// In a receive buffer of the shard: only while its own consumer is at work.
    Chunk(Chunk),
    /// Copied out; the first `at` bytes are used.
    Own { bytes: Vec<u8>, at: usize },
}

/// Why no head came.
#[derive(Debug)]
pub(crate) enum NoHead {
    /// The connection ended between two messages.
    End,
    /// The connection ended inside a head.
    Truncated,
    /// Nothing came in time.
    Deadline,
    /// The connection failed.
    Io(std::io::Error),
}

/// Why a body ended early.
#[derive(Debug)]
pub(crate) enum NoBody {
    /// Broken framing, or the connection ended inside the body.
    Broken(BodyError),
    /// Nothing came in time.
    Deadline,
    /// The connection failed.
    Io(std::io::Error),
}

impl fmt::Display for NoBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoBody::Broken(error) => error.fmt(f),
            NoBody::Deadline => f.write_str("timeout"),
            NoBody::Io(error) => error.fmt(f),
        }
    }
}

impl Source {
    pub(crate) fn new(reader: Reader) -> Source {
        Source { wire: Wire::Socket(reader), rest: Rest::Empty, ended: false }
    }

    /// The same under TLS; `plain` came with the handshake.
    pub(crate) fn sealed(reader: Reader, sealed: Sealed, plain: Vec<u8>) -> Source {
        Source { wire: Wire::Sealed(reader, sealed), rest: Rest::own(plain), ended: false }
    }

    /// The body of one message of a stream, of which `first` was received before.
    pub(crate) fn of_stream(stream: http2::Receiver, first: Vec<u8>) -> Source {
        Source { wire: Wire::Stream(stream), rest: Rest::own(first), ended: false }
    }

    /// The stream, if it is one.
    pub(crate) fn stream(&self) -> Option<&http2::Receiver> {
        match &self.wire {
            Wire::Socket(_) | Wire::Sealed(..) => None,
            Wire::Stream(stream) => Some(stream),
        }
    }

    /// What reads a body that its head declares to be framed so. A stream has a framing of its own.
    pub(crate) fn incoming(&self, framing: Framing) -> Incoming {
        match framing {
            Framing::Chunked if self.wire.is_stream() => Incoming::new(Framing::UntilClose),
            framing => Incoming::new(framing),
        }
    }

    /// The socket, and what was received of it and not used; `None` for a stream, and under TLS.
    pub(crate) fn into_socket(self) -> Option<(Reader, Vec<u8>)> {
        let first = self.rest.bytes().to_vec();
        match self.wire {
            Wire::Socket(reader) => Some((reader, first)),
            Wire::Sealed(..) | Wire::Stream(_) => None,
        }
    }

    /// Nothing unused was received, and the connection shows neither end nor error.
    pub(crate) fn is_quiet(&self) -> bool {
        self.rest.is_empty() && !self.ended && self.wire.is_quiet()
    }

    /// Whether the other end has finished sending, so that it may have left. One that finished a stream's message is
    /// still there.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended && !self.wire.is_stream()
    }

    /// After the other end finished sending: whether its socket is closed altogether. A stream's is its connection's
    /// business.
    pub(crate) fn has_hung_up(&self) -> bool {
        matches!(&self.wire, Wire::Socket(reader) if reader.has_hung_up())
    }

    /// Sends bytes past everything else, if nothing else waits to be sent; whether it did.
    pub(crate) fn interject(&self, bytes: &'static [u8]) -> bool {
        matches!(&self.wire, Wire::Socket(reader) if reader.interject(bytes))
    }

    /// Copies what is in a receive buffer: before a wait for anybody but its consumer.
    pub(crate) fn release(&mut self) {
        if let Rest::Chunk(chunk) = &self.rest {
            self.rest = Rest::Own { bytes: chunk.to_vec(), at: 0 };
        }
    }

    /// Receives the next head into `head`, which then holds exactly it, or more than `limit` bytes. Heads are small
    /// and outlive waits, so they are copied.
    pub(crate) async fn head(
        &mut self,
        head: &mut Vec<u8>,
        limit: usize,
        by: Deadlines,
    ) -> Result<(), NoHead> {
        head.clear();
        let mut deadline = by.first_byte;
        poll_fn(|cx| self.poll_head(head, limit, (&mut deadline, by.rest), cx)).await
    }

    /// One look at what came of a head. `deadline` is moved once by `rest`, at the first byte.
    fn poll_head(
        &mut self,
        head: &mut Vec<u8>,
        limit: usize,
        (deadline, rest): (&mut Tick, Duration),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), NoHead>> {
        loop {
            let began = !head.is_empty();
            if !ready!(self.poll_fill(*deadline, cx)).map_err(NoHead::from)? {
                return Poll::Ready(Err(if began { NoHead::Truncated } else { NoHead::End }));
            }
            if self.move_head(head) || head.len() > limit {
                return Poll::Ready(Ok(()));
            }
            if !began && !head.is_empty() {
                *deadline = rt::now() + rest;
            }
        }
    }

    /// Moves bytes of a head from the rest to `head`; `true` when it is complete.
    fn move_head(&mut self, head: &mut Vec<u8>) -> bool {
        let (bytes, before) = (self.rest.bytes(), head.len());
        let first = head.first().or(bytes.first());
        if matches!(first, Some(b'\r' | b'\n')) {
            head.extend_from_slice(bytes); // refused as it is
            return true;
        }
        let end = if before == 0 {
            head_end(bytes)
        } else {
            let tail = before.saturating_sub(3);
            head.extend_from_slice(bytes);
            let end = head.get(tail..).and_then(head_end).map(|end| tail + end);
            head.truncate(end.unwrap_or(head.len()));
            end.map(|end| end - before)
        };
        if before == 0 {
            head.extend_from_slice(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
        }
        let used = end.unwrap_or(bytes.len());
        self.rest.advance(used);
        end.is_some()
    }

    /// The next piece of a body; `None` at its end.
    pub(crate) async fn piece(&mut self, body: &mut Incoming, by: Tick) -> Result<Option<Segment>, NoBody> {
        loop {
            if body.is_done() {
                return Ok(None);
            }
            if !poll_fn(|cx| self.poll_fill(by, cx)).await.map_err(NoBody::from)? {
                body.end_of_stream().map_err(NoBody::Broken)?;
                return Ok(None);
            }
            if let Some(piece) = self.rest.piece(body).map_err(NoBody::Broken)? {
                return Ok(Some(piece));
            }
        }
    }

    /// Whether [`Source::piece`] could take a step without waiting.
    pub(crate) fn has_rest(&self) -> bool {
        !self.rest.is_empty() || (!self.ended && self.wire.has_more())
    }

    /// Receives unless there are unused bytes; `false` at the end of the stream.
    fn poll_fill(&mut self, by: Tick, cx: &mut Context<'_>) -> Poll<Result<bool, RecvError>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(true));
        }
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        match ready!(self.wire.poll_recv(by, cx))? {
            Some(Received::Chunk(chunk)) => self.rest = Rest::Chunk(chunk),
            Some(Received::Own(bytes)) => self.rest = Rest::own(bytes),
            None => self.ended = true,
        }
        Poll::Ready(Ok(!self.ended))
    }

    /// Watches the connection while somebody else is at work: ready with the error when it failed. What comes meanwhile
    /// is kept, copied, up to [`MOST_AHEAD`]; after that, and after the other end finished sending, never ready.
    pub(crate) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Error> {
        if let Some(failed) = self.wire.poll_stream_failed(cx) {
            return failed; // what comes meanwhile stays in the stream's window
        }
        self.release();
        while !self.ended && self.rest.bytes().len() < MOST_AHEAD {
            match ready!(self.wire.poll_recv(Tick::NEVER, cx)) {
                Ok(Some(Received::Chunk(chunk))) => self.rest.keep(&chunk),
                Ok(Some(Received::Own(bytes))) => self.rest.keep(&bytes),
                Ok(None) => self.ended = true,
                Err(RecvError::Io(error)) => return Poll::Ready(error),
                Err(RecvError::Deadline) => {}
            }
        }
        Poll::Pending
    }
}

/// When a head must have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Its first byte.
    pub(crate) first_byte: Tick,
    /// How long the rest may take after its first byte.
    pub(crate) rest: Duration,
}

impl Rest {
    fn own(bytes: Vec<u8>) -> Rest {
        if bytes.is_empty() { Rest::Empty } else { Rest::Own { bytes, at: 0 } }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Rest::Empty => &[],
            Rest::Chunk(chunk) => chunk,
            Rest::Own { bytes, at } => bytes.get(*at..).unwrap_or_default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    fn advance(&mut self, by: usize) {
        match self {
            Rest::Empty => {}
            Rest::Chunk(chunk) => chunk.advance(by),
            Rest::Own { at, .. } => *at += by,
        }
        if self.is_empty() {
            *self = Rest::Empty;
        }
    }

    /// Appends a copy of bytes that came before their consumer.
    fn keep(&mut self, more: &[u8]) {
        let bytes = [self.bytes(), more].concat();
        *self = Rest::Own { bytes, at: 0 };
    }

    /// The body bytes at the beginning; `None` where there was only framing.
    fn piece(&mut self, body: &mut Incoming) -> Result<Option<Segment>, BodyError> {
        let found = match self {
            Rest::Empty => return Ok(None),
            Rest::Chunk(chunk) => body.compact(chunk)?,
            Rest::Own { bytes, at } => body.compact(bytes.get_mut(*at..).unwrap_or_default())?,
        };
        let piece = match self {
            Rest::Chunk(chunk) if found.body > 0 => Some(Segment::from(chunk.split_to(found.body))),
            Rest::Own { bytes, at: 0 } if found.body == bytes.len() => {
                return Ok(Some(Segment::from(std::mem::take(bytes)))); // an empty rest is none
            }
            Rest::Own { bytes, at } if found.body > 0 => {
                let piece = bytes.get(*at..*at + found.body).unwrap_or_default().to_vec();
                *at += found.body;
                Some(Segment::from(piece))
            }
            _ => None,
        };
        self.advance(found.used - found.body);
        Ok(piece)
    }
}

impl From<RecvError> for NoHead {
    fn from(error: RecvError) -> NoHead {
        match error {
            RecvError::Deadline => NoHead::Deadline,
            RecvError::Io(error) => NoHead::Io(error),
        }
    }
}

impl From<RecvError> for NoBody {
    fn from(error: RecvError) -> NoBody {
        match error {
            RecvError::Deadline => NoBody::Deadline,
            RecvError::Io(error) => NoBody::Io(error),
        }
    }
}

/// Where a head ends: behind the first empty line. A bare line feed counts as a line end here, so that the parser
/// sees it and refuses it.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = line_feed(bytes, from) {
        match (bytes.get(at + 1), bytes.get(at + 2)) {
            (Some(b'\n'), _) => return Some(at + 2),
            (Some(b'\r'), Some(b'\n')) => return Some(at + 3),
            _ => from = at + 1,
        }
    }
    None
}

/// The first line feed at or after `from`, eight bytes at a time.
fn line_feed(bytes: &[u8], from: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let tail = bytes.get(from..)?;
    let mut at = from;
    let words = tail.chunks_exact(8);
    let last = words.remainder();
    for word in words {
        let word = word.try_into().map_or(0, u64::from_le_bytes) ^ (ONES * 0x0a);
        let zero = word.wrapping_sub(ONES) & !word & HIGHS;
        if zero != 0 {
            return Some(at + (zero.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    last.iter().position(|b| *b == b'\n').map(|i| at + i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::http1::framing::Framing;

    #[test]
    fn a_head_ends_behind_its_first_empty_line() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest\r\n\r\n";
        assert_eq!(head_end(head), Some(head.len() - 8));
        for end in 0..head.len() - 8 {
            assert_eq!(head_end(&head[..end]), None, "{end}");
        }
        assert_eq!(head_end(b"GET / HTTP/1.1\nHost: a\n\nrest"), Some(24), "left to the parser to refuse");
    }

    #[test]
    fn line_feeds_are_found_at_every_place() {
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![b'\x0b'; length];
                bytes[at] = b'\n';
                for from in 0..=length {
                    assert_eq!(line_feed(&bytes, from), (from <= at).then_some(at), "{length} {at} {from}");
                }
            }
        }
    }

    #[test]
    fn own_memory_yields_the_same_pieces_as_a_chunk() {
        let bytes = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET ".to_vec();
        let mut rest = Rest::Own { bytes, at: 0 };
        let mut body = Incoming::new(Framing::Chunked);
        let piece = rest.piece(&mut body).unwrap().unwrap();
        assert_eq!(&piece[..], b"abcde");
        assert!(body.is_done());
        assert_eq!(rest.bytes(), b"GET ");
    }
}

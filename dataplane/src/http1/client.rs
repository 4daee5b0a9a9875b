//! A connection to a server, the local app or one outside the mesh, as the client of one request after the other.

use super::sealed::{NoSession, handshake};
use super::sink::Sink;
use super::source::{Deadlines, NoBody, NoHead, Source};
use super::wire::To;
use crate::http2::{self, StreamError};
use crate::rt::{Segment, Stream, Tick};
use crate::tls::Session;
use proto::http1::framing::{Framing, Incoming};
use proto::http2::Code;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

/// Interim answers that are swallowed before one answer, as in Go.
const MOST_INTERIM: usize = 5;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    source: Source,
    to: To,
    /// The response head of the present exchange.
    head: Vec<u8>,
    /// It carried a request before.
    pub(crate) reused: bool,
}

impl Connection {
    /// A fresh connection, in the clear.
    pub(crate) fn plain(stream: Stream) -> Connection {
        let (reader, writer) = stream.split();
        let to = To::Socket(writer);
        Connection { source: Source::new(reader), to, head: Vec::new(), reused: false }
    }

    /// Speaks TLS on a fresh connection.
    ///
    /// # Errors
    /// The handshake fails, or is not finished in time.
    pub(crate) async fn secure(
        mut stream: Stream,
        session: Session,
        by: Tick,
    ) -> Result<Connection, NoSession> {
        let (sealed, plain) = handshake(&mut stream, session, by).await?;
        let (reader, writer) = stream.split();
        let source = Source::sealed(reader, sealed.clone(), plain);
        Ok(Connection { source, to: To::Sealed(writer, sealed), head: Vec::new(), reused: false })
    }

    /// A stream that is started by the first bytes of its request. `reused`: its connection was there before.
    pub(crate) fn of_stream(
        (receiver, sender): (http2::Receiver, http2::Sender),
        reused: bool,
    ) -> Connection {
        let source = Source::of_stream(receiver, Vec::new());
        Connection { source, to: To::Stream(sender), head: Vec::new(), reused }
    }

    /// Fit for another request: nothing came unasked, no end, no error.
    pub(crate) fn is_quiet(&self) -> bool {
        self.source.is_quiet()
    }

    /// The halves for one exchange.
    pub(crate) fn exchange(&mut self) -> (Sink<'_>, Answer<'_>) {
        let answer = Answer {
            source: &mut self.source,
            head: &mut self.head,
            incoming: Incoming::new(Framing::None),
            uppercase: false,
        };
        (Sink::new(&mut self.to), answer)
    }

    /// Closes a connection in the middle of an exchange: the app sees that the request is void.
    pub(crate) fn abort(self) {
        self.to.abort(Code::CANCEL);
    }
}

/// The answer to one request: first its head, then its body.
#[derive(Debug)]
pub(crate) struct Answer<'c> {
    source: &'c mut Source,
    head: &'c mut Vec<u8>,
    incoming: Incoming,
    /// Letters of the body become capital ones.
    uppercase: bool,
}

/// Why there is no usable answer head.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The connection ended before a byte of an answer.
    Closed,
    /// It failed before a byte of an answer, or ended within the head.
    Io(io::Error),
    /// Interim answers without an end.
    TooManyInterim,
    /// Nothing came in time.
    Deadline,
    /// The app provably did nothing for the request: it refused the stream.
    Refused,
    /// The app reset the stream.
    Reset(String),
}

impl Answer<'_> {
    /// Waits for the final answer's head; interim ones are swallowed. [`Answer::head_bytes`] then holds it, or more than
    /// `limit` bytes of it.
    pub(crate) async fn receive_head(&mut self, limit: usize, by: Tick) -> Result<(), NoAnswer> {
        if let Some(stream) = self.source.stream() {
            self.head.clear();
            return poll_fn(|cx| stream.poll_response(self.head, by, cx)).await.map_err(NoAnswer::from);
        }
        let deadlines = Deadlines { first_byte: by, rest: Duration::from_secs(30) };
        for _ in 0..=MOST_INTERIM {
            if let Err(error) = self.source.head(self.head, limit, deadlines).await {
                return Err(no_answer(error, self.head));
            }
            if !is_interim(self.head) {
                return Ok(());
            }
        }
        Err(NoAnswer::TooManyInterim)
    }

    /// The head.
    pub(crate) fn head_bytes(&self) -> &[u8] {
        self.head
    }

    /// The head, to be looked at while the body is received; [`Answer::give_head`] returns the memory.
    pub(crate) fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(self.head)
    }

    /// Returns what [`Answer::take_head`] took.
    pub(crate) fn give_head(&mut self, head: Vec<u8>) {
        *self.head = head;
    }

    /// The letters `a` to `z` of the body become capital ones, if `on`.
    pub(crate) fn uppercase(&mut self, on: bool) {
        self.uppercase = on;
    }

    /// The head is understood: a body framed so follows.
    pub(crate) fn begin_body(&mut self, framing: Framing) {
        self.incoming = self.source.incoming(framing);
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn piece(&mut self, by: Tick) -> Result<Option<Segment>, NoBody> {
        let piece = self.source.piece(&mut self.incoming, by).await?;
        Ok(piece.map(|piece| if self.uppercase { Segment::Vec(piece.to_ascii_uppercase()) } else { piece }))
    }

    /// Frees receive buffers before a wait for somebody else.
    pub(crate) fn release(&mut self) {
        self.source.release();
    }

    /// Whether the body has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.incoming.is_done()
    }

    /// Whether body bytes are at hand already.
    pub(crate) fn has_more_at_hand(&self) -> bool {
        self.source.has_rest() && !self.is_done()
    }
}

/// A 1xx other than 101: its status stands behind `HTTP/1.x `.
fn is_interim(head: &[u8]) -> bool {
    let status = head.get(9..12).unwrap_or_default();
    status.first() == Some(&b'1') && status != b"101"
}

impl From<StreamError> for NoAnswer {
    fn from(error: StreamError) -> NoAnswer {
        match error {
            StreamError::Unprocessed => NoAnswer::Refused,
            StreamError::Deadline => NoAnswer::Deadline,
            StreamError::Reset(_) => NoAnswer::Reset(error.to_string()),
            error => NoAnswer::Io(error.into()),
        }
    }
}

fn no_answer(error: NoHead, head: &[u8]) -> NoAnswer {
    match error {
        NoHead::End => NoAnswer::Closed,
        // TLS tells an end that it was not told of as an error
        NoHead::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof && head.is_empty() => {
            NoAnswer::Closed
        }
        NoHead::Truncated => NoAnswer::Io(io::ErrorKind::UnexpectedEof.into()),
        NoHead::Deadline => NoAnswer::Deadline,
        NoHead::Io(error) => NoAnswer::Io(error),
    }
}

/// Rust's text of a system error as Go writes it: `Connection refused (os error 111)` is `connection refused`.
pub(crate) fn system_text(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

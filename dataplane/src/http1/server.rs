//! The connection of a local client: one request after the other, each with its body and its one answer.

use super::left::Ends;
use super::sink::Sink;
use super::source::{Deadlines, NoBody, NoHead, Source};
use super::wire::To;
use crate::http2;
use crate::rt::{self, Address, Reader, Segment, SendError, Stream, Tick, Writer};
use proto::http1::framing::{Framing, Incoming};
use proto::http1::head::{Request, SLACK, Version};
use proto::http2::Code;
use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a head may take from its first byte, as in daprd (spec/invocation 1.1).
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);

/// Unread body bytes that are thrown away to save the connection, as Go does (vector request-bodies/unread-on-error-…).
const DISCARDED: u64 = 256 << 10;

/// How long a connection that is given up may take to take its last answer.
const LINGER: Duration = Duration::from_secs(2);

/// What of HTTP/2's preface reads as a head (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// A client's connection between two requests.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What the client sends.
    pub(crate) source: Source,
    /// What the client gets.
    pub(crate) to: To,
    /// The present request's head.
    pub(crate) head: Vec<u8>,
    /// Both ends; a stream's client says itself that it leaves.
    pub(crate) ends: Option<Ends>,
    /// The client's address; `None` on a Unix domain socket.
    pub(crate) client: Option<IpAddr>,
    served: bool,
}

/// What becomes of a connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Another request may come.
    Next,
    /// The answer is complete and the last one.
    Close,
    /// The answer is not complete: the client must see that.
    Abort,
    /// Nothing was answered: the client asks for HTTP/2 on this connection.
    Upgrade,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Connection {
        let peer = stream.peer();
        let client = peer.as_ref().and_then(Address::ip);
        let ends = Some(Ends::of(peer, stream.local()));
        let (reader, writer) = stream.split();
        let to = To::Socket(writer);
        Connection { source: Source::new(reader), to, head: Vec::new(), ends, client, served: false }
    }

    /// One stream of a client that speaks HTTP/2, with the head of its request and what is there of its body. It
    /// carries one exchange.
    pub(crate) fn of_stream(
        (receiver, sender): (http2::Receiver, http2::Sender),
        head: Vec<u8>,
        first: Vec<u8>,
        client: Option<IpAddr>,
    ) -> Connection {
        let source = Source::of_stream(receiver, first);
        Connection { source, to: To::Stream(sender), head, ends: None, client, served: true }
    }

    /// Whether the client began with HTTP/2's preface: it has prior knowledge.
    pub(crate) fn begins_http2(&self) -> bool {
        self.head == PREFACE
    }

    /// The socket, and what was received of it and not used; `None` for a stream.
    pub(crate) fn into_socket(self) -> Option<(Reader, Writer, Vec<u8>)> {
        match (self.source.into_socket(), self.to) {
            (Some((reader, first)), To::Socket(writer)) => Some((reader, writer, first)),
            _ => None,
        }
    }

    /// Waits for the next request's head; afterwards `head` holds it, or more than the limit of it.
    pub(crate) async fn next_head(&mut self, max_head: usize, now: Tick) -> Result<(), NoHead> {
        let first_byte = if self.served { Tick::NEVER } else { now + HEAD_TIME };
        self.served = true;
        if self.head.capacity() > 4096 {
            self.head = Vec::new();
        }
        let deadlines = Deadlines { first_byte, rest: HEAD_TIME };
        self.source.head(&mut self.head, max_head.saturating_add(SLACK), deadlines).await
    }

    /// Ends the connection as the last exchange demands. What came of an answer goes out before it is cut off: a
    /// connection that is reset without a byte of an answer makes some clients ask again by themselves.
    pub(crate) async fn end(mut self, after: After) {
        match after {
            After::Abort => {
                let _ = self.to.sent(rt::now() + LINGER).await; // it is cut off either way
                self.to.abort(Code::INTERNAL_ERROR);
            }
            After::Close => self.to.close(LINGER),
            After::Upgrade => {} // never at an end
            After::Next => {}    // nothing is under way: dropping it closes it
        }
    }
}

/// Why a request body does not go on.
#[derive(Debug)]
pub(crate) enum BodyFailure {
    /// Larger than `--max-body-size`.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Cut short, badly framed, or the connection failed.
    Client(NoBody),
}

impl fmt::Display for BodyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyFailure::TooLarge { limit } => {
                write!(f, "stream too large: the body is larger than --max-body-size ({limit} bytes)")
            }
            BodyFailure::Client(error) => error.fmt(f),
        }
    }
}

/// The body of a client's request.
#[derive(Debug)]
pub(crate) struct Body<'c> {
    source: &'c mut Source,
    incoming: Incoming,
    framing: Framing,
    limit: Option<u64>,
    taken: u64,
    /// The client waits for `100 Continue`.
    uninvited: bool,
    ends: Option<Ends>,
    /// Its letters become capital ones.
    uppercase: bool,
    /// The client knows interim answers.
    current: bool,
}

impl<'c> Body<'c> {
    /// The body of `request`, limited to `limit` bytes.
    pub(crate) fn new(
        source: &'c mut Source,
        request: &Request<'_, '_>,
        limit: Option<u64>,
        ends: Option<Ends>,
    ) -> Body<'c> {
        let framing = request.framing();
        let incoming = source.incoming(framing);
        let (uninvited, current) = (request.expects_continue(), request.version != Version::Http10);
        Body { source, incoming, framing, limit, taken: 0, uninvited, ends, uppercase: false, current }
    }

    /// Its letters `a` to `z` become capital ones, if `on`.
    pub(crate) fn uppercase(&mut self, on: bool) {
        self.uppercase = on;
    }

    /// Whether the body has no declared length: it cannot be kept for a retry.
    pub(crate) fn is_streaming(&self) -> bool {
        self.framing == Framing::Chunked
    }

    /// The declared length; 0 where there is no body.
    pub(crate) fn declared(&self) -> Option<u64> {
        match self.framing {
            Framing::None => Some(0),
            framing => framing.length(),
        }
    }

    /// Whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        self.incoming.is_done()
    }

    /// Bytes read so far.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the declared length is beyond the limit.
    pub(crate) fn exceeds_limit(&self) -> Option<u64> {
        let limit = self.limit?;
        self.declared().is_some_and(|length| length > limit).then_some(limit)
    }

    /// Tells a client that waits for it that its body is wanted.
    pub(crate) async fn invite(&mut self, answer: &mut Sink<'_>) -> Result<(), SendError> {
        if std::mem::take(&mut self.uninvited) && !self.is_done() {
            answer.interim(100, b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        Ok(())
    }

    /// The next piece; `None` at the end. Nothing beyond the limit is handed out.
    pub(crate) async fn piece(&mut self, by: Tick) -> Result<Option<Segment>, BodyFailure> {
        let piece = self.source.piece(&mut self.incoming, by).await.map_err(BodyFailure::Client)?;
        let Some(piece) = piece else { return Ok(None) };
        self.taken += piece.len() as u64;
        match self.limit {
            Some(limit) if self.taken > limit => Err(BodyFailure::TooLarge { limit }),
            _ if self.uppercase => Ok(Some(Segment::Vec(piece.to_ascii_uppercase()))),
            _ => Ok(Some(piece)),
        }
    }

    /// Everything that comes from here on is body, to the end of the connection: it speaks another protocol.
    pub(crate) fn become_stream(&mut self) {
        self.framing = Framing::UntilClose;
        self.incoming = Incoming::new(Framing::UntilClose);
        self.limit = None;
    }

    /// Whether the rest is there already, so that [`Body::piece`] need not wait.
    pub(crate) fn has_more_at_hand(&self) -> bool {
        self.source.has_rest() && !self.is_done()
    }

    /// Frees receive buffers before a wait for somebody else.
    pub(crate) fn release(&mut self) {
        self.source.release();
    }

    /// Ready when the client's connection failed while its request was at work.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Error> {
        self.source.poll_broken(cx)
    }

    /// Whether the client has finished sending, beyond its body.
    pub(crate) fn client_ended(&self) -> bool {
        self.source.has_ended()
    }

    /// The client finished sending: returns when it has left altogether, as far as that can be known. `status`: what it
    /// was told; 0 before.
    pub(crate) async fn client_left(&self, status: &Cell<u16>) {
        match self.ends {
            Some(ends) => ends.client_left(self.source, || self.current && status.get() == 0).await,
            None => std::future::pending().await,
        }
    }

    /// Reads what is there already of a body that nobody wants, so that the connection can be kept.
    pub(crate) async fn discard_at_hand(&mut self) {
        let limit = self.taken + DISCARDED;
        while self.has_more_at_hand() && self.taken <= limit && self.piece(Tick::NEVER).await.is_ok() {}
    }

    /// Whether the connection should end with this answer, because too much of the body is unread.
    pub(crate) fn is_left_unread(&self) -> bool {
        let left = self.declared().map(|length| length.saturating_sub(self.taken));
        !self.is_done() && (self.uninvited || left.is_none_or(|left| left > DISCARDED))
    }

    /// After the answer: reads what is left of a body that nobody wanted. `false`: too much, or broken.
    pub(crate) async fn discard(&mut self, by: Tick) -> bool {
        let limit = self.taken + DISCARDED;
        self.limit = None;
        while !self.is_done() {
            if self.uninvited || self.taken > limit || !matches!(self.piece(by).await, Ok(Some(_) | None)) {
                return false;
            }
        }
        true
    }
}

/// Decides about the connection when the exchange is over. `keep`: what the answer's head announced.
pub(crate) async fn settle(mut body: Body<'_>, answer: &Sink<'_>, keep: bool, now: Tick) -> After {
    if !answer.is_done() {
        return After::Abort;
    }
    if keep && body.discard(now + LINGER).await { After::Next } else { After::Close }
}

//! What a message is received from and sent to: a socket of its own, or a stream of an HTTP/2 connection.

use super::sealed::Sealed;
use crate::http2;
use crate::rt::{Chunk, Reader, RecvError, Segments, SendError, Tick, Writer};
use proto::http2::Code;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Bytes that were received.
#[derive(Debug)]
pub(crate) enum Received {
    /// In a receive buffer of the shard.
    Chunk(Chunk),
    /// In memory of their own.
    Own(Vec<u8>),
}

/// The receiving half.
#[derive(Debug)]
pub(crate) enum From {
    /// HTTP/1.
    Socket(Reader),
    /// HTTP/1 under TLS.
    Sealed(Reader, Sealed),
    /// Body bytes alone: its head is no bytes on the wire.
    Stream(http2::Receiver),
}

impl From {
    /// What came next; `None` at the end.
    pub(crate) fn poll_recv(
        &mut self,
        by: Tick,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Received>, RecvError>> {
        match self {
            From::Socket(reader) => reader.poll_recv_by(by, cx).map_ok(|chunk| chunk.map(Received::Chunk)),
            From::Sealed(reader, sealed) => loop {
                if sealed.is_closed() {
                    return Poll::Ready(Ok(None));
                }
                let chunk = ready!(reader.poll_recv_by(by, cx))?;
                if let Some(opened) = open(sealed, chunk)? {
                    return Poll::Ready(Ok(Some(opened)));
                }
            },
            From::Stream(stream) => match ready!(stream.poll_recv(by, cx)) {
                Ok(piece) => Poll::Ready(Ok(piece.map(Received::Own))),
                Err(http2::StreamError::Deadline) => Poll::Ready(Err(RecvError::Deadline)),
                Err(error) => Poll::Ready(Err(RecvError::Io(error.into()))),
            },
        }
    }

    /// Nothing waits to be received, and there is neither end nor error. A stream carries one message only.
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            From::Socket(reader) => reader.is_quiet(),
            From::Sealed(reader, sealed) => reader.is_quiet() && !sealed.is_closed(),
            From::Stream(_) => false,
        }
    }

    /// Ready with the error of a failed stream; `None` for a socket, where only receiving tells.
    pub(crate) fn poll_stream_failed(&self, cx: &Context<'_>) -> Option<Poll<io::Error>> {
        match self {
            From::Socket(_) | From::Sealed(..) => None,
            From::Stream(stream) => Some(stream.poll_failed(cx).map(io::Error::from)),
        }
    }

    /// Whether bytes or the end are there already.
    pub(crate) fn has_more(&self) -> bool {
        matches!(self, From::Stream(stream) if stream.has_more())
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, From::Stream(_))
    }
}

/// What arrived under TLS; `None`: nothing that is for us. An end that TLS did not announce is a cut.
fn open(sealed: &Sealed, chunk: Option<Chunk>) -> Result<Option<Received>, RecvError> {
    let mut chunk = chunk.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let plain = sealed.open(&mut chunk)?;
    Ok((!plain.is_empty()).then_some(Received::Own(plain)))
}

/// The sending half.
#[derive(Debug)]
pub(crate) enum To {
    /// HTTP/1.
    Socket(Writer),
    /// HTTP/1 under TLS.
    Sealed(Writer, Sealed),
    /// Heads become fields, bodies are framed by HTTP/2.
    Stream(http2::Sender),
}

impl To {
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, To::Stream(_))
    }

    /// Ready when more can be sent without waiting.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        match self {
            To::Socket(writer) | To::Sealed(writer, _) => writer.poll_can_send(cx),
            To::Stream(stream) => stream.poll_room(cx).map_err(|error| SendError::Io(error.into())),
        }
    }

    /// Ends our side of a connection behind what was sent; a stream's message has its own end.
    pub(crate) fn end_side(&mut self) {
        match self {
            To::Socket(writer) | To::Sealed(writer, _) => writer.shutdown_write(),
            To::Stream(_) => {}
        }
    }

    /// Sends bytes where nothing has to be waited for; `None`: they are still there. [`To::send`] does the same, but every
    /// future on the way moves them.
    pub(crate) fn send_at_once(&mut self, what: &mut Segments) -> Option<Result<(), SendError>> {
        match self {
            To::Socket(writer) if writer.can_send() => Some(writer.send_nowait(std::mem::take(what))),
            _ => None,
        }
    }

    /// Sends bytes; waits only while an earlier send is blocked.
    pub(crate) async fn send(&mut self, what: Segments) -> Result<(), SendError> {
        match self {
            To::Socket(writer) => writer.send(what).await,
            To::Sealed(writer, sealed) => writer.send(sealed.seal(&what)?).await,
            To::Stream(_) => self.message(None, &what, false).await,
        }
    }

    /// Sends a part of a stream's message: its head, body bytes, its end. Waits while much of it is unsent. A socket
    /// takes the bytes as they are.
    pub(crate) async fn message(
        &mut self,
        head: Option<Vec<u8>>,
        body: &Segments,
        end: bool,
    ) -> Result<(), SendError> {
        let To::Stream(stream) = self else { return Ok(()) };
        let bodiless = body.iter().all(|piece| piece.is_empty());
        if let Some(head) = head {
            stream.head(head, end && bodiless);
        }
        poll_fn(|cx| stream.poll_room(cx)).await.map_err(|error| SendError::Io(error.into()))?;
        if end || !bodiless {
            stream.data(body, end);
        }
        Ok(())
    }

    /// Sends an informational answer.
    pub(crate) async fn interim(&mut self, status: u16, bytes: &'static [u8]) -> Result<(), SendError> {
        match self {
            To::Socket(_) | To::Sealed(..) => self.send(bytes.into()).await,
            To::Stream(stream) => {
                stream.interim(status);
                Ok(())
            }
        }
    }

    /// Waits until what was sent has left this process. A stream's bytes are its connection's business.
    pub(crate) async fn sent(&mut self, by: Tick) -> Result<(), SendError> {
        match self {
            To::Socket(writer) | To::Sealed(writer, _) => writer.sent(by).await,
            To::Stream(_) => Ok(()),
        }
    }

    /// Ends in peace.
    pub(crate) fn close(self, grace: Duration) {
        if let To::Socket(writer) | To::Sealed(writer, _) = self {
            writer.close(grace);
        }
    }

    /// The other end must see that the message is not whole: a reset of the connection, or of the stream with `code`.
    pub(crate) fn abort(self, code: Code) {
        match self {
            To::Socket(writer) | To::Sealed(writer, _) => writer.abort(),
            To::Stream(mut stream) => stream.abort(code),
        }
    }
}

//! The sending half of a connection while one message is written: head and body go out together where they are
//! ready together.

use super::wire::To;
use crate::rt::{self, Segment, Segments, SendError};
use proto::http1::framing::{BodyError, Framing, Outgoing};
use proto::http1::head::Version;
use std::future::poll_fn;

/// Data up to this size is copied behind what is pending; larger pieces keep a segment of their own.
const COPIED: usize = 1024;

/// Writes one message: first its head, then pieces of its body, then its end.
///
/// ```text
///   Head ──begin(framing)──▶ Body ──finish──▶ Done      dropped before Done: the connection must be aborted
/// ```
#[derive(Debug)]
pub(crate) struct Sink<'c> {
    to: &'c mut To,
    /// The head of a stream's message, until it goes out.
    fields: Option<Vec<u8>>,
    /// The end of a stream's message is still to be sent.
    ends: bool,
    /// Accepted pieces in order; `tail` follows them.
    pending: Segments,
    tail: Vec<u8>,
    state: State,
    /// The client speaks HTTP/1.0, and is answered in it.
    old: bool,
    /// Letters of the body become capital ones.
    uppercase: bool,
}

#[derive(Debug)]
enum State {
    Head,
    Body(Outgoing),
    Done { sent: u64 },
}

impl<'c> Sink<'c> {
    pub(crate) fn new(to: &'c mut To) -> Sink<'c> {
        Sink {
            to,
            fields: None,
            ends: false,
            pending: Segments::new(),
            tail: Vec::new(),
            state: State::Head,
            old: false,
            uppercase: false,
        }
    }

    /// Answers are written for a client of that version.
    pub(crate) fn speaks(&mut self, version: Version) {
        self.old = version == Version::Http10;
    }

    /// The letters `a` to `z` of the body become capital ones, if `on`.
    pub(crate) fn uppercase(&mut self, on: bool) {
        self.uppercase = on;
    }

    /// Where the head is to be appended.
    pub(crate) fn head(&mut self) -> &mut Vec<u8> {
        if self.tail.capacity() == 0 {
            self.tail = rt::turn_buffer();
        }
        &mut self.tail
    }

    /// The head is complete; a body framed so follows.
    pub(crate) fn begin(&mut self, framing: Framing) {
        debug_assert!(matches!(self.state, State::Head), "one head a message");
        if self.old
            && let Some(minor) = self.tail.get_mut("HTTP/1.".len())
        {
            *minor = b'0';
        }
        if !self.to.is_stream() {
            self.state = State::Body(Outgoing::new(framing));
            return;
        }
        self.fields = Some(std::mem::take(&mut self.tail));
        let framing = if framing == Framing::Chunked { Framing::UntilClose } else { framing };
        self.state = State::Body(Outgoing::new(framing));
    }

    /// What was appended to the head is a whole message, with its body.
    pub(crate) fn whole(&mut self) {
        if self.uppercase {
            let end = end_of_head(&self.tail);
            self.tail.iter_mut().skip(end).for_each(|byte| byte.make_ascii_uppercase());
        }
        if self.to.is_stream() {
            let body = self.tail.split_off(end_of_head(&self.tail));
            self.fields = Some(std::mem::replace(&mut self.tail, body));
            self.ends = true;
        }
    }

    /// Whether a head was written, so that no other answer can stand in its place.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.state, State::Head)
    }

    /// Whether the message was written to its end.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// Body bytes accepted so far.
    pub(crate) fn body_bytes(&self) -> u64 {
        match &self.state {
            State::Head => 0,
            State::Body(outgoing) => outgoing.sent(),
            State::Done { sent } => *sent,
        }
    }

    /// How the body is framed, once the head is complete.
    pub(crate) fn framing(&self) -> Option<Framing> {
        match &self.state {
            State::Body(outgoing) => Some(outgoing.framing()),
            _ => None,
        }
    }

    /// Accepts body bytes by copying them.
    ///
    /// # Errors
    /// More bytes than the framing allows.
    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), BodyError> {
        match &mut self.state {
            State::Body(outgoing) if self.uppercase => {
                outgoing.piece(&mut self.tail, &data.to_ascii_uppercase())
            }
            State::Body(outgoing) => outgoing.piece(&mut self.tail, data),
            _ => Err(BodyError::Length { declared: 0, actual: data.len() as u64 }),
        }
    }

    /// Accepts a piece of the body; large ones are not copied.
    ///
    /// # Errors
    /// More bytes than the framing allows.
    pub(crate) fn push_segment(&mut self, piece: Segment) -> Result<(), BodyError> {
        if piece.len() <= COPIED {
            return self.push(&piece);
        }
        let State::Body(outgoing) = &mut self.state else {
            return Err(BodyError::Length { declared: 0, actual: piece.len() as u64 });
        };
        let after = outgoing.lead(&mut self.tail, piece.len())?;
        if !self.tail.is_empty() {
            self.pending.push(Segment::Vec(std::mem::take(&mut self.tail)));
        }
        self.pending.push(if self.uppercase { Segment::Vec(piece.to_ascii_uppercase()) } else { piece });
        self.tail.extend_from_slice(after);
        Ok(())
    }

    /// The body is complete.
    ///
    /// # Errors
    /// Fewer bytes than declared.
    pub(crate) fn finish(&mut self) -> Result<(), BodyError> {
        if let State::Body(outgoing) = &mut self.state {
            outgoing.finish(&mut self.tail)?;
            self.ends = true;
            self.state = State::Done { sent: outgoing.sent() };
        }
        Ok(())
    }

    /// Sends what is pending; waits only while an earlier send is blocked.
    ///
    /// # Errors
    /// That the connection has failed.
    pub(crate) async fn flush(&mut self) -> Result<(), SendError> {
        if !self.tail.is_empty() {
            self.pending.push(Segment::Vec(std::mem::take(&mut self.tail)));
        }
        if self.to.is_stream() {
            let (pending, end) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.ends));
            return self.to.message(self.fields.take(), &pending, end).await;
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        if let Some(sent) = self.to.send_at_once(&mut self.pending) {
            return sent;
        }
        self.to.send(std::mem::take(&mut self.pending)).await
    }

    /// Waits until the receiver has taken what was sent: before anything is received that would have to be kept.
    /// `release` frees receive buffers when it has to wait.
    ///
    /// # Errors
    /// That the connection has failed.
    pub(crate) async fn room(&mut self, mut release: impl FnMut()) -> Result<(), SendError> {
        poll_fn(|cx| {
            let room = self.to.poll_room(cx);
            if room.is_pending() {
                release();
            }
            room
        })
        .await
    }

    /// Ends our side of the connection behind what was sent.
    pub(crate) fn end_side(&mut self) {
        self.to.end_side();
    }

    /// Sends an informational answer, given in both forms, before the message.
    ///
    /// # Errors
    /// That the connection has failed.
    pub(crate) async fn interim(&mut self, status: u16, bytes: &'static [u8]) -> Result<(), SendError> {
        self.to.interim(status, bytes).await
    }
}

/// Where the body of a whole message begins.
fn end_of_head(message: &[u8]) -> usize {
    message.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.len(), |at| at + 4)
}

//! Frames of the local channel: the length of a message as a protobuf varint, then the message.

use core::fmt;
use prost::Message;

/// Longest message in bytes. A longer one ends the connection: its sender does not keep the protocol.
pub const MAX_FRAME: usize = 4 << 20;

/// Capacity that is kept for the next message; what one large message needed beyond is given back.
const KEEP: usize = 64 << 10;

/// What is wrong with the bytes of a peer. The connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// More than [`MAX_FRAME`] bytes were announced, or are to be sent.
    TooLong {
        /// How many.
        bytes: u64,
    },
    /// The length is not a varint.
    Length,
    /// The message is not protobuf.
    Malformed(String),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong { bytes } => {
                write!(f, "a message of {bytes} bytes is longer than {MAX_FRAME}")
            }
            FrameError::Length => f.write_str("the length of a message is not a varint"),
            FrameError::Malformed(why) => write!(f, "a message cannot be read: {why}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Appends `message` as one frame. Nothing is appended on error.
pub fn encode(message: &impl Message, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let length = message.encoded_len();
    if length > MAX_FRAME {
        return Err(FrameError::TooLong { bytes: length as u64 });
    }
    out.reserve(length + 10);
    prost::encoding::encode_varint(length as u64, out);
    message.encode_raw(out);
    Ok(())
}

/// Collects bytes as they arrive and hands out whole messages. Memory grows with what arrived, never with what was
/// announced.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
}

impl Decoder {
    /// A decoder at the beginning of a connection.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reclaim();
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` if more bytes are needed.
    pub fn take<M: Message + Default>(&mut self) -> Result<Option<M>, FrameError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((length, head)) = length(rest)? else { return Ok(None) };
        let Some(body) = rest.get(head..).and_then(|rest| rest.get(..length)) else { return Ok(None) };
        let message = M::decode(body).map_err(|e| FrameError::Malformed(e.to_string()))?;
        self.start += head + length;
        Ok(Some(message))
    }

    /// Whether a frame has begun and is not complete.
    pub fn is_mid_frame(&self) -> bool {
        self.buffer.len() > self.start
    }

    fn reclaim(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.is_empty() {
            self.buffer.shrink_to(KEEP);
        }
    }
}

/// The announced length and how many bytes it takes; `None` if it is not complete.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let (mut value, mut shift) = (0_u64, 0);
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if value > MAX_FRAME as u64 {
            return Err(FrameError::TooLong { bytes: value });
        }
        if byte & 0x80 == 0 {
            return Ok(Some((value as usize, at + 1)));
        }
    }
    if bytes.len() < 5 { Ok(None) } else { Err(FrameError::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Ack, FromDataplane, Report, from_dataplane};

    fn ack(version: u64) -> FromDataplane {
        FromDataplane { message: Some(from_dataplane::Message::Ack(Ack { version })) }
    }

    #[test]
    fn frames_survive_being_torn_anywhere() {
        let mut bytes = Vec::new();
        (0..40).for_each(|n| encode(&ack(1 << n), &mut bytes).unwrap());
        for step in [1, 2, 3, 7, 1000] {
            let (mut decoder, mut seen) = (Decoder::new(), Vec::new());
            for piece in bytes.chunks(step) {
                decoder.push(piece);
                while let Some(message) = decoder.take::<FromDataplane>().unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!(seen, (0..40).map(|n| ack(1 << n)).collect::<Vec<_>>());
            assert!(!decoder.is_mid_frame());
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_the_message_arrives() {
        let mut decoder = Decoder::new();
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(MAX_FRAME as u64 + 1, &mut bytes);
        decoder.push(&bytes);
        let refused = decoder.take::<FromDataplane>();
        assert_eq!(refused, Err(FrameError::TooLong { bytes: MAX_FRAME as u64 + 1 }));
    }

    #[test]
    fn an_endless_length_is_refused() {
        let mut decoder = Decoder::new();
        decoder.push(&[0x80; 4]);
        assert_eq!(decoder.take::<FromDataplane>(), Ok(None));
        decoder.push(&[0x80]);
        assert_eq!(decoder.take::<FromDataplane>(), Err(FrameError::Length));
    }

    #[test]
    fn bytes_that_are_not_protobuf_are_refused() {
        let mut decoder = Decoder::new();
        decoder.push(&[3, 0xff, 0xff, 0xff]);
        assert!(matches!(decoder.take::<FromDataplane>(), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn a_message_above_the_limit_is_not_sent_and_leaves_nothing_behind() {
        let report = Report { warnings: vec!["x".repeat(MAX_FRAME)], ..Report::default() };
        let message = FromDataplane { message: Some(from_dataplane::Message::Report(report)) };
        let mut out = vec![7];
        assert!(matches!(encode(&message, &mut out), Err(FrameError::TooLong { .. })));
        assert_eq!(out, [7]);
    }

    #[test]
    fn the_largest_message_passes_and_its_memory_is_given_back() {
        let warnings = vec!["x".repeat(MAX_FRAME - 16)];
        let report = Report { warnings, ..Report::default() };
        let message = FromDataplane { message: Some(from_dataplane::Message::Report(report)) };
        let (mut bytes, mut decoder) = (Vec::new(), Decoder::new());
        encode(&message, &mut bytes).unwrap();
        decoder.push(&bytes);
        assert_eq!(decoder.take(), Ok(Some(message)));
        decoder.push(&[]);
        assert!(decoder.buffer.capacity() <= KEEP);
    }

    #[test]
    fn an_unknown_kind_of_message_and_unknown_fields_are_skipped() {
        let mut decoder = Decoder::new();
        // Field 99 with an empty message; then an Ack with field 99 beside its version.
        decoder.push(&[3, 0x9a, 0x06, 0x00]);
        assert_eq!(decoder.take(), Ok(Some(FromDataplane { message: None })));
        decoder.push(&[7, 0x12, 0x05, 0x08, 0x07, 0x98, 0x06, 0x01]);
        assert_eq!(decoder.take(), Ok(Some(ack(7))));
    }
}

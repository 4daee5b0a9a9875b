//! Body bytes on the mesh hop: `StreamPayload`, numbered from 0, and the check of the numbers.

use super::OpenError;
use super::wire::{self, Field, Fields};
use crate::grpc::frame;

/// A piece of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Body bytes; may be empty.
    pub data: &'a [u8],
    /// Its number, from 0.
    pub seq: u64,
}

impl<'a> Payload<'a> {
    pub(super) fn open(message: &'a [u8]) -> Result<Payload<'a>, OpenError> {
        let (mut fields, mut payload) = (Fields::new(message), Payload::default());
        while let Some(field) = fields.next()? {
            match field {
                Field::Bytes(1, data) => payload.data = data,
                Field::Varint(2, seq) => payload.seq = seq,
                _ => {}
            }
        }
        Ok(payload)
    }
}

/// Appends a later message of either direction: only a payload, with the gRPC prefix.
#[inline]
pub fn frame(out: &mut Vec<u8>, seq: u64, data: &[u8]) {
    out.reserve(data.len() + 32);
    let at = frame::open(out);
    put(out, seq, data);
    frame::close(out, at);
}

/// The most bytes that [`lead`] appends.
pub const MAX_LEAD: usize = frame::PREFIX + 32;

/// Appends everything of a later message but its data: for senders that pass the `len` data bytes on as they came.
/// The data must follow at once.
pub fn lead(out: &mut Vec<u8>, seq: u64, len: usize) {
    let at = frame::open(out);
    let number = if seq == 0 { 0 } else { 1 + wire::varint_len(seq) };
    wire::put_head(out, 2, number + wire::field_len(len));
    if seq > 0 {
        out.push(wire::varint_tag(2));
        wire::put_varint(out, seq);
    }
    wire::put_head(out, 1, len);
    let length = u32::try_from(out.len() - at + len).unwrap_or(u32::MAX);
    if let Some(prefix) = out.get_mut(at - 4..at) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
}

/// Field 2 of either stream message.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, seq: u64, data: &[u8]) {
    let content = if data.is_empty() { 0 } else { wire::field_len(data.len()) };
    let number = if seq == 0 { 0 } else { 1 + wire::varint_len(seq) };
    wire::put_head(out, 2, content + number);
    wire::put_nonempty(out, 1, data);
    if seq > 0 {
        out.push(wire::varint_tag(2));
        wire::put_varint(out, seq);
    }
}

/// The numbers of a body's payloads, as received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    due: u64,
}

impl Sequence {
    /// The number due next, which is the number of payloads accepted.
    pub fn due(&self) -> u64 {
        self.due
    }

    /// Accepts the payload that is due and yields its bytes.
    ///
    /// # Errors
    /// Any other number: nothing of that payload may be delivered, and the call is over.
    #[inline]
    pub fn accept<'a>(&mut self, payload: Payload<'a>) -> Result<&'a [u8], OpenError> {
        if payload.seq != self.due {
            return Err(OpenError::Sequence { received: payload.seq, expected: self.due });
        }
        self.due += 1;
        Ok(payload.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_numbers_is_not_delivered() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.accept(Payload { data: b"one", seq: 0 }), Ok(&b"one"[..]));
        let error = sequence.accept(Payload { data: b"three", seq: 2 }).unwrap_err();
        assert_eq!(error.to_string(), "invalid sequence number received: 2 (expected: 1)");
        assert_eq!(sequence.due(), 1);
    }

    #[test]
    fn a_lead_and_its_data_are_a_frame() {
        for (seq, data) in [(0, &b"abc"[..]), (1, b"x"), (300, &[7; 70_000])] {
            let mut whole = Vec::new();
            lead(&mut whole, seq, data.len());
            assert!(whole.len() <= MAX_LEAD);
            whole.extend_from_slice(data);
            let split = frame::split(&whole, 1 << 20).unwrap().unwrap();
            assert_eq!(split.used, whole.len());
            let Ok(Some(Field::Bytes(2, message))) = Fields::new(split.message).next() else { panic!() };
            assert_eq!(Payload::open(message), Ok(Payload { data, seq }));
        }
    }
}

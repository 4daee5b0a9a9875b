//! Large messages on their way out of a call's buffer: whoever sends them on does so from the memory they arrived in.

use crate::rt::{Segment, Shared};
use proto::grpc::frame::{self, PREFIX};
use std::ops::{Deref, Range};

/// Bytes of whole messages from which on they are taken without a copy.
const LARGE: usize = 4096;
/// Received bytes up to which they are. More has piled up because its reader is slow, whose buffer should shrink as it is
/// read.
const MOST: usize = 320 << 10;

/// Bytes of the whole messages at the beginning of `received`, if taking them out together is worth it: what is behind
/// them is copied.
pub(super) fn all(received: &[u8], limit: usize) -> Option<usize> {
    let mut whole = 0;
    while let Ok(Some(first)) = frame::split(received.get(whole..).unwrap_or_default(), limit) {
        whole += first.used;
    }
    worthwhile(whole, received)
}

/// Bytes of the first one, likewise.
pub(super) fn first(received: &[u8], limit: usize) -> Option<usize> {
    worthwhile(frame::split(received, limit).ok().flatten()?.used, received)
}

fn worthwhile(whole: usize, received: &[u8]) -> Option<usize> {
    (whole >= LARGE && whole >= received.len() / 2 && received.len() <= MOST).then_some(whole)
}

/// Whole messages that left their call's buffer together.
#[derive(Debug)]
pub struct Messages {
    bytes: Shared,
    rest: Range<usize>,
    limit: usize,
}

impl Messages {
    pub(super) fn new(bytes: Vec<u8>, rest: Range<usize>, limit: usize) -> Messages {
        Messages { bytes: Shared::new(bytes), rest, limit }
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let first = frame::split(self.bytes.get(self.rest.clone())?, self.limit).ok().flatten()?;
        let end = self.rest.start + first.used;
        let content = self.rest.start + PREFIX..end;
        self.rest.start = end;
        Some(Message { bytes: self.bytes.clone(), content })
    }
}

/// A whole message, in memory that it shares.
#[derive(Debug)]
pub struct Message {
    bytes: Shared,
    content: Range<usize>,
}

impl Message {
    /// Its bytes with the prefix, for [`super::Call::passed`].
    pub fn used(&self) -> usize {
        self.content.len() + PREFIX
    }

    /// Some bytes of the message, as a segment of the same memory.
    pub fn part(&self, bytes: &[u8]) -> Segment {
        self.bytes.part(bytes)
    }
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.content.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(sizes: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            let at = frame::open(&mut out);
            out.extend(vec![n as u8; *size]);
            frame::close(&mut out, at);
        }
        out
    }

    #[test]
    fn whole_messages_are_taken_together_and_a_part_of_one_stays() {
        let mut received = framed(&[3000, 0, 3000]);
        let whole = received.len();
        received.extend_from_slice(&framed(&[4000])[..1000]);
        assert_eq!(all(&received, 5000), Some(whole));
        assert_eq!(first(&received, 5000), None, "too small");
        assert_eq!(all(&received, 2000), None, "nothing beyond the limit");
        let sizes: Vec<usize> = Messages::new(received, 0..whole, 5000).map(|m| m.len()).collect();
        assert_eq!(sizes, [3000, 0, 3000]);
    }

    #[test]
    fn little_before_much_is_not_worth_it() {
        let mut received = framed(&[5000]);
        assert_eq!(first(&received, 1 << 20), Some(5005));
        received.extend_from_slice(&framed(&[60_000])[..6000]);
        assert_eq!((first(&received, 1 << 20), all(&received, 1 << 20)), (None, None));
        assert_eq!(all(&framed(&[200_000, 200_000]), 1 << 20), None, "a slow reader's");
    }

    #[test]
    fn parts_of_a_message_are_in_its_memory() {
        let mut messages = Messages::new(framed(&[5000, 6000]), 0..11_010, 1 << 20);
        let (one, two) = (messages.next().unwrap(), messages.next().unwrap());
        assert_eq!((one.used(), two.used(), two[0]), (5005, 6005, 1));
        let part = two.part(&two[100..200]);
        drop((one, messages));
        assert_eq!(part.as_ptr(), two[100..].as_ptr());
    }
}

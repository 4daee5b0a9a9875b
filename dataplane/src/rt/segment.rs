//! What can be sent: owned pieces of memory, several in one call.

use super::pool::Chunk;
use super::spare;
use bytes::Bytes;
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// One owned piece of what is sent.
#[derive(Debug)]
pub enum Segment {
    /// Received bytes passed on; the buffer goes back when the kernel has taken them.
    Chunk(Chunk),
    /// Shared bytes.
    Bytes(Bytes),
    /// Constant bytes.
    Static(&'static [u8]),
    /// Bytes built here. The allocation is kept for [`super::turn_buffer`] afterwards.
    Vec(Vec<u8>),
    /// Some of the bytes of shared memory.
    Part(Part),
}

impl Deref for Segment {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Segment::Chunk(chunk) => chunk,
            Segment::Bytes(bytes) => bytes,
            Segment::Static(bytes) => bytes,
            Segment::Vec(bytes) => bytes,
            Segment::Part(part) => part,
        }
    }
}

/// Memory built here that several segments share. The allocation is kept for [`super::turn_buffer`] when the last is gone.
#[derive(Clone, Debug)]
pub struct Shared(Rc<Buffer>);

#[derive(Debug)]
struct Buffer(Vec<u8>);

impl Drop for Buffer {
    fn drop(&mut self) {
        spare::give_back(std::mem::take(&mut self.0));
    }
}

impl Shared {
    /// Shares `bytes` from here on.
    pub fn new(bytes: Vec<u8>) -> Shared {
        Shared(Rc::new(Buffer(bytes)))
    }

    /// `bytes`, which must be some of this memory's, as a segment without a copy; others are copied.
    pub fn part(&self, bytes: &[u8]) -> Segment {
        let from = bytes.as_ptr().addr().wrapping_sub(self.as_ptr().addr());
        let to = from.wrapping_add(bytes.len());
        match self.get(from..to) {
            Some(_) => Segment::Part(Part { of: self.clone(), from, to }),
            None => Segment::Vec(bytes.to_vec()),
        }
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.0
    }
}

/// A range of shared memory.
#[derive(Debug)]
pub struct Part {
    of: Shared,
    from: usize,
    to: usize,
}

impl Deref for Part {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.of.get(self.from..self.to).unwrap_or_default()
    }
}

impl From<Chunk> for Segment {
    fn from(chunk: Chunk) -> Segment {
        Segment::Chunk(chunk)
    }
}

impl From<Bytes> for Segment {
    fn from(bytes: Bytes) -> Segment {
        Segment::Bytes(bytes)
    }
}

impl From<&'static [u8]> for Segment {
    fn from(bytes: &'static [u8]) -> Segment {
        Segment::Static(bytes)
    }
}

impl<const N: usize> From<&'static [u8; N]> for Segment {
    fn from(bytes: &'static [u8; N]) -> Segment {
        Segment::Static(bytes)
    }
}

impl From<&'static str> for Segment {
    fn from(text: &'static str) -> Segment {
        Segment::Static(text.as_bytes())
    }
}

impl From<Vec<u8>> for Segment {
    fn from(bytes: Vec<u8>) -> Segment {
        Segment::Vec(bytes)
    }
}

/// Copies received chunks to the heap: what waits for a peer that does not read must not hold the shard's buffers.
pub(super) fn move_out(segments: &mut [Segment]) {
    for segment in segments {
        if let Segment::Chunk(chunk) = segment {
            *segment = Segment::Vec(chunk.to_vec());
        }
    }
}

/// Segments that go out one after the other, in one system call where the socket takes them.
#[derive(Debug, Default)]
pub struct Segments(SmallVec<[Segment; 4]>);

impl Segments {
    /// None yet.
    pub fn new() -> Segments {
        Segments::default()
    }

    /// All bytes of all segments.
    pub fn total(&self) -> usize {
        self.0.iter().map(|segment| segment.len()).sum()
    }
}

impl Deref for Segments {
    type Target = SmallVec<[Segment; 4]>;

    fn deref(&self) -> &SmallVec<[Segment; 4]> {
        &self.0
    }
}

impl DerefMut for Segments {
    fn deref_mut(&mut self) -> &mut SmallVec<[Segment; 4]> {
        &mut self.0
    }
}

macro_rules! one_segment {
    ($($from:ty),*) => {$(
        impl From<$from> for Segments {
            fn from(one: $from) -> Segments {
                Segments(SmallVec::from_iter([Segment::from(one)]))
            }
        }
    )*};
}

one_segment!(Segment, Chunk, Bytes, Vec<u8>, &'static [u8], &'static str);

impl<const N: usize> From<&'static [u8; N]> for Segments {
    fn from(bytes: &'static [u8; N]) -> Segments {
        Segments::from(Segment::Static(bytes))
    }
}

impl From<SmallVec<[Segment; 4]>> for Segments {
    fn from(segments: SmallVec<[Segment; 4]>) -> Segments {
        Segments(segments)
    }
}

impl<const N: usize> From<[Segment; N]> for Segments {
    fn from(segments: [Segment; N]) -> Segments {
        Segments(SmallVec::from_iter(segments))
    }
}

impl FromIterator<Segment> for Segments {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Segments {
        Segments(SmallVec::from_iter(segments))
    }
}

impl IntoIterator for Segments {
    type Item = Segment;
    type IntoIter = smallvec::IntoIter<[Segment; 4]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_shared_memory_are_its_own_bytes_and_others_are_copied() {
        let shared = Shared::new((0..100).collect());
        let part = shared.part(&shared[10..20]);
        assert!(matches!(&part, Segment::Part(part) if part.as_ptr() == shared[10..].as_ptr()));
        assert_eq!(&part[..], &shared[10..20]);
        assert_eq!(&shared.part(&[])[..], b"");
        assert_eq!(&shared.part(&shared[100..])[..], b"");
        let other = vec![7; 200];
        assert!(matches!(shared.part(&other), Segment::Vec(bytes) if bytes == other));
        drop(shared);
        assert_eq!(part[0], 10, "it lives as long as its last part");
    }
}

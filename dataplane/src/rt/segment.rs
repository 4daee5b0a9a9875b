//! What can be sent: owned pieces of memory, several in one call.

use super::pool::Chunk;
use bytes::Bytes;
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut};

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
}

impl Deref for Segment {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Segment::Chunk(chunk) => chunk,
            Segment::Bytes(bytes) => bytes,
            Segment::Static(bytes) => bytes,
            Segment::Vec(bytes) => bytes,
        }
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

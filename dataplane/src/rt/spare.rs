//! Send buffers of a turn, kept from one turn to the next.

use super::local;

/// Buffers kept: one a message under way, for some hundreds of calls at a time.
const KEPT: usize = 1024;
/// Bytes of all of them.
const KEPT_IN_ALL: usize = 1 << 20;
/// A buffer that grew beyond this many bytes is a large one.
const KEPT_BYTES: usize = 64 * 1024;
/// Large buffers kept, for turns full of bodies.
const KEPT_LARGE: usize = 8;
/// One that grew beyond this many bytes is not kept.
const KEPT_LARGE_BYTES: usize = 256 * 1024;

/// The buffers that wait for their next use; the one used last is the next, while it is warm.
#[derive(Default)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    large: Vec<Vec<u8>>,
}

impl Spare {
    fn pop(&mut self) -> Option<Vec<u8>> {
        let buffer = self.buffers.pop()?;
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    fn push(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > KEPT_BYTES {
            if buffer.capacity() <= KEPT_LARGE_BYTES && self.large.len() < KEPT_LARGE {
                self.large.push(buffer);
            }
            return;
        }
        let bytes = self.bytes + buffer.capacity();
        if self.buffers.len() < KEPT && bytes <= KEPT_IN_ALL {
            self.bytes = bytes;
            self.buffers.push(buffer);
        }
    }
}

/// An empty vector, with the capacity it had when it was last sent. Sent as [`super::Segment::Vec`] it comes back by
/// itself.
pub fn turn_buffer() -> Vec<u8> {
    local::try_with(|local| local.spare.borrow_mut().pop()).flatten().unwrap_or_default()
}

/// [`turn_buffer`] for so many bytes: large ones are kept apart.
pub fn turn_buffer_for(bytes: usize) -> Vec<u8> {
    let large = || local::try_with(|local| local.spare.borrow_mut().large.pop()).flatten();
    match bytes > KEPT_BYTES {
        true => large().unwrap_or_default(),
        false => turn_buffer(),
    }
}

/// Gives a vector back that was not sent.
pub fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    local::try_with(|local| local.spare.borrow_mut().push(buffer));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_kept_up_to_a_number_and_up_to_a_size_in_all() {
        let mut small = Spare::default();
        (0..2000).for_each(|_| small.push(Vec::with_capacity(100)));
        assert_eq!(small.buffers.len(), KEPT);
        let mut large = Spare::default();
        (0..100).for_each(|_| large.push(Vec::with_capacity(KEPT_BYTES)));
        assert_eq!((large.buffers.len(), large.bytes), (16, KEPT_IN_ALL));
        while large.pop().is_some() {}
        assert_eq!(large.bytes, 0);
        (1..100).for_each(|n| large.push(Vec::with_capacity(KEPT_BYTES + n * 8192)));
        assert_eq!((large.buffers.len(), large.large.len()), (0, KEPT_LARGE));
        large.large.clear();
        large.push(Vec::with_capacity(KEPT_LARGE_BYTES + 1));
        assert!(large.large.is_empty());
    }
}

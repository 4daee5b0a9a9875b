//! Send buffers of a turn, kept from one turn to the next.

use super::local;

/// Buffers kept.
const KEPT: usize = 32;
/// A buffer that grew beyond this many bytes is not kept.
const KEPT_BYTES: usize = 64 * 1024;

/// An empty vector, with the capacity it had when it was last sent. Sent as [`super::Segment::Vec`] it comes back by
/// itself.
pub fn turn_buffer() -> Vec<u8> {
    local::try_with(|local| local.spare.borrow_mut().pop()).flatten().unwrap_or_default()
}

/// Gives a vector back that was not sent.
pub fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > KEPT_BYTES {
        return;
    }
    buffer.clear();
    local::try_with(|local| {
        let mut spare = local.spare.borrow_mut();
        if spare.len() < KEPT {
            spare.push(buffer);
        }
    });
}

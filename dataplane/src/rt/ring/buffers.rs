//! The provided-buffer ring: a few hot buffers lie there for the kernel to take, the rest stay on the pool's stack.
//!
//! The kernel takes buffers in ring order, so with all of them in the ring every page would be touched in turn.

use crate::rt::pool::Pool;
use crate::rt::sys;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// The one buffer group.
pub(in crate::rt) const GROUP: u16 = 0;

/// Buffers on their way to the kernel.
pub(in crate::rt) struct BufferRing {
    entries: NonNull<BufRingEntry>,
    mask: u16,
    tail: u16,
    /// Put down and not yet named by a completion.
    lying: u16,
    hot: u16,
}

impl BufferRing {
    /// Registers a ring for up to `hot` buffers. Its memory is never unmapped.
    pub(in crate::rt) fn register(ring: &IoUring, hot: u16) -> io::Result<BufferRing> {
        let count = hot.next_power_of_two();
        let entries =
            sys::map_forever(usize::from(count) * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let address = entries.as_ptr() as u64;
        // SAFETY: the mapping is page-aligned, holds `count` entries, and stays for ever.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0) }?;
        Ok(BufferRing { entries, mask: count - 1, tail: 0, lying: 0, hot })
    }

    /// Buffers that lie there.
    pub(in crate::rt) fn lying(&self) -> usize {
        usize::from(self.lying)
    }

    /// A completion named a buffer: it is not the kernel's any more.
    pub(in crate::rt) fn picked_up(&mut self) {
        debug_assert!(self.lying > 0, "the kernel names only buffers that were put down");
        self.lying -= 1;
    }

    /// Puts free buffers down up to the hot number, and says how many lie there.
    pub(in crate::rt) fn top_up(&mut self, pool: &Pool) -> usize {
        let before = self.tail;
        while self.lying < self.hot {
            let Some(buffer) = pool.take() else { break };
            self.put_down(pool, buffer);
        }
        if self.tail != before {
            self.publish();
        }
        usize::from(self.lying)
    }

    fn put_down(&mut self, pool: &Pool, buffer: u16) {
        // SAFETY: the masked index is within the ring's entries. At most `hot` buffers lie there, so the entry at the
        // tail is not one the kernel has still to read; the kernel never writes entries.
        let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(self.tail & self.mask)) };
        entry.set_addr(pool.address(buffer).as_ptr() as u64);
        entry.set_len(pool.size() as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        self.lying += 1;
    }

    /// Shows the kernel the new tail.
    fn publish(&self) {
        // SAFETY: the address of the first entry gives the address of the tail, which lies in the first entry's padding
        // and is aligned for 16 bits.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

//! The shard's receive buffers.
//!
//! A buffer is owned by exactly one side at a time: the pool's stack, the kernel (from "in the buffer ring" to the
//! completion that names it), or the [`Chunk`]s on it. Dropping a chunk only pushes a number on the pool's stack: it
//! never touches the ring or the driver, which fills the ring up at its next turn. Pools live as long as the process,
//! because a chunk may outlive its connection, its task and its shard.

use super::handle::Handle;
use super::segment::Segment;
use super::sys;
use bytes::Bytes;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What other threads may touch of a pool: where they give buffers back.
pub(super) struct Home {
    returned: Mutex<Vec<u16>>,
    any: AtomicBool,
    /// The shard has connections that wait for a buffer.
    starving: AtomicBool,
    /// Weak, because pools live for ever and handles own descriptors.
    handle: Weak<Handle>,
}

impl Home {
    fn give_back(&self, buffer: u16) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        self.any.store(true, Ordering::SeqCst);
        if self.starving.load(Ordering::SeqCst)
            && let Some(handle) = self.handle.upgrade()
        {
            handle.ring_bell();
        }
    }
}

/// Buffers of one shard: `count` of `size` bytes in one mapping, and up to `extra_limit` from the heap.
pub(super) struct Pool {
    base: NonNull<u8>,
    size: usize,
    count: u16,
    free: RefCell<Vec<u16>>,
    /// Buffers from the heap, numbered from `count` on.
    extra: RefCell<Vec<Option<NonNull<u8>>>>,
    extra_limit: u16,
    /// How many chunks stand on each buffer.
    holders: Box<[Cell<u16>]>,
    home: Home,
}

// Buffer numbers come from `free`, which holds 0..count and the numbers of live extra buffers, and are passed around
// inside chunks.
#[allow(clippy::indexing_slicing)]
impl Pool {
    /// Maps the buffers. They are never unmapped.
    pub(super) fn new(
        count: u16,
        extra_limit: u16,
        size: usize,
        handle: &Arc<Handle>,
    ) -> io::Result<&'static Pool> {
        let base = sys::map_forever(usize::from(count) * size)?;
        let home = Home {
            returned: Mutex::default(),
            any: AtomicBool::new(false),
            starving: AtomicBool::new(false),
            handle: Arc::downgrade(handle),
        };
        Ok(Box::leak(Box::new(Pool {
            base,
            size,
            count,
            free: RefCell::new((0..count).rev().collect()),
            extra: RefCell::default(),
            extra_limit,
            holders: (0..count.saturating_add(extra_limit)).map(|_| Cell::new(0)).collect(),
            home,
        })))
    }

    /// Bytes of one buffer.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Buffers on the stack.
    pub(super) fn free(&self) -> usize {
        self.free.borrow().len()
    }

    /// Takes a buffer from the stack, for the kernel or for a chunk.
    pub(super) fn take(&self) -> Option<u16> {
        self.free.borrow_mut().pop()
    }

    /// Gives back a buffer that nobody holds and the kernel does not know.
    fn put(&self, buffer: u16) {
        debug_assert_eq!(self.holders[usize::from(buffer)].get(), 0, "a held buffer is not free");
        if buffer < self.count {
            return self.free.borrow_mut().push(buffer);
        }
        let place = self.extra.borrow_mut().get_mut(usize::from(buffer - self.count)).and_then(Option::take);
        if let Some(memory) = place {
            // SAFETY: allocated in `grow` with this layout; its number is in no chunk, not on the stack and not with the
            // kernel, and is forgotten here.
            unsafe { dealloc(memory.as_ptr(), self.layout()) };
        }
    }

    /// Where a buffer lies.
    pub(super) fn address(&self, buffer: u16) -> NonNull<u8> {
        if buffer < self.count {
            // SAFETY: `buffer < count`, so the offset is inside the mapping of `count * size` bytes.
            return unsafe { self.base.add(usize::from(buffer) * self.size) };
        }
        let extra = self.extra.borrow();
        match extra.get(usize::from(buffer - self.count)) {
            Some(Some(memory)) => *memory,
            _ => unreachable!("an extra buffer lives as long as its number is out"),
        }
    }

    /// Borrows up to `wanted` buffers from the heap and puts them on the stack.
    pub(super) fn grow(&self, wanted: usize) {
        let mut extra = self.extra.borrow_mut();
        for _ in 0..wanted {
            let vacant = extra.iter().position(Option::is_none).unwrap_or(extra.len());
            if vacant >= usize::from(self.extra_limit) {
                return;
            }
            // SAFETY: the layout's size is not zero (checked when shards start).
            let Some(memory) = NonNull::new(unsafe { alloc_zeroed(self.layout()) }) else { return };
            match extra.get_mut(vacant) {
                Some(place) => *place = Some(memory),
                None => extra.push(Some(memory)),
            }
            self.free.borrow_mut().push(self.count + vacant as u16);
        }
    }

    /// Buffers from the heap at the moment.
    pub(super) fn extra(&self) -> usize {
        self.extra.borrow().iter().flatten().count()
    }

    /// Are buffers short, with `lying` ones with the kernel? From less than half of the mapped buffers' number on, until
    /// three quarters are back.
    pub(super) fn is_pressed(&self, was: bool, lying: usize) -> bool {
        let (ready, count) = (self.free() + lying, usize::from(self.count));
        ready < if was { count * 3 / 4 } else { count / 2 }
    }

    fn layout(&self) -> Layout {
        // SAFETY: the alignment is a power of two, and a size below 64 KiB does not overflow when rounded up to it.
        unsafe { Layout::from_size_align_unchecked(self.size, 64) }
    }

    /// Makes the first `length` bytes of a buffer that has no holder into a chunk.
    pub(super) fn chunk(&'static self, buffer: u16, length: usize) -> Chunk {
        debug_assert!(length <= self.size && self.holders[usize::from(buffer)].get() == 0);
        self.holders[usize::from(buffer)].set(1);
        Chunk { pool: self, buffer, at: 0, length: length.min(self.size) as u16 }
    }

    /// Takes in what other threads gave back.
    pub(super) fn collect_returned(&self) {
        if !self.home.any.load(Ordering::SeqCst) {
            return;
        }
        self.home.any.store(false, Ordering::SeqCst);
        let mut returned = self.home.returned.lock().unwrap_or_else(PoisonError::into_inner);
        for buffer in returned.drain(..) {
            self.let_go(buffer);
        }
    }

    /// Says whether connections wait for a buffer; then a buffer given back by another thread wakes the shard.
    pub(super) fn set_starving(&self, starving: bool) {
        self.home.starving.store(starving, Ordering::SeqCst);
    }

    fn hold(&self, buffer: u16) {
        let holders = &self.holders[usize::from(buffer)];
        holders.set(holders.get() + 1);
    }

    fn let_go(&self, buffer: u16) {
        let holders = &self.holders[usize::from(buffer)];
        holders.set(holders.get() - 1);
        if holders.get() == 0 {
            self.put(buffer);
        }
    }
}

/// What arrived: an owned, mutable view on buffer memory of this shard.
///
/// It keeps its buffer until it is dropped, wherever its connection has gone, and a shard has only so many
/// (`Shards::buffers`): copy out what must wait for something else. It cannot leave its thread;
/// [`Chunk::into_bytes`] can.
pub struct Chunk {
    pool: &'static Pool,
    buffer: u16,
    at: u16,
    length: u16,
}

impl Chunk {
    /// Drops the first `n` bytes from the view (all of it if there are fewer).
    pub fn advance(&mut self, n: usize) {
        let n = n.min(usize::from(self.length)) as u16;
        self.at += n;
        self.length -= n;
    }

    /// Shortens the view to `n` bytes; no effect if it is shorter already.
    pub fn truncate(&mut self, n: usize) {
        self.length = self.length.min(n.min(usize::from(u16::MAX)) as u16);
    }

    /// Splits off the first `n` bytes (all of it if there are fewer); `self` keeps the rest. No copy: both stand on the
    /// same buffer, which goes back when the last is dropped.
    #[must_use]
    pub fn split_to(&mut self, n: usize) -> Chunk {
        let n = n.min(usize::from(self.length)) as u16;
        self.pool.hold(self.buffer);
        let head = Chunk { pool: self.pool, buffer: self.buffer, at: self.at, length: n };
        self.at += n;
        self.length -= n;
        head
    }

    /// The same bytes as a value that may go to other threads. No copy; the buffer stays taken until the last clone is
    /// dropped.
    pub fn into_bytes(self) -> Bytes {
        let travelling = Travelling {
            start: self.start(),
            length: self.length,
            buffer: self.buffer,
            home: &self.pool.home,
        };
        TRAVELLING.fetch_add(1, Ordering::Relaxed);
        std::mem::forget(self); // its hold on the buffer goes on in `travelling`
        Bytes::from_owner(travelling)
    }

    fn start(&self) -> NonNull<u8> {
        // SAFETY: `at` only grows by what `length` shrinks, so it stays within the buffer.
        unsafe { self.pool.address(self.buffer).add(usize::from(self.at)) }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies in a buffer, which was zeroed when made and stays at least until its last chunk is gone;
        // the kernel does not hold it (it left the ring with the completion that made the first chunk), and other chunks
        // on the buffer cover other ranges.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), usize::from(self.length)) }
    }
}

impl DerefMut for Chunk {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; ranges of different chunks are disjoint and this one is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), usize::from(self.length)) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.pool.let_go(self.buffer);
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.length)
    }
}

/// A chunk on its way through other threads.
struct Travelling {
    start: NonNull<u8>,
    length: u16,
    buffer: u16,
    home: &'static Home,
}

// SAFETY: the memory stays until this value has given it back, and is only read from here on; `Home` is made of a mutex,
// atomics and a weak `Arc`.
unsafe impl Send for Travelling {}

impl AsRef<[u8]> for Travelling {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as in `Chunk::deref`; this value took over the chunk's hold on the range.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), usize::from(self.length)) }
    }
}

impl Drop for Travelling {
    fn drop(&mut self) {
        TRAVELLING.fetch_sub(1, Ordering::Relaxed);
        self.home.give_back(self.buffer);
    }
}

/// Chunks of this process that are `Bytes` at the moment.
static TRAVELLING: AtomicUsize = AtomicUsize::new(0);

/// Might these segments hold buffers of another shard, which may be waiting for them?
pub(super) fn may_travel(segments: &[Segment]) -> bool {
    TRAVELLING.load(Ordering::Relaxed) > 0
        && segments.iter().any(|segment| matches!(segment, Segment::Bytes(_)))
}

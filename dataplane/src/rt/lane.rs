//! Futures whose state is there only while they run: a connection that waits for its next request need not have room
//! for the request's state, and a request does not go to the allocator for it.

use super::local;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

/// Most blocks kept for reuse, of all sizes together.
const KEPT: usize = 256;
/// A larger block is not kept.
const KEPT_BYTES: usize = 16 * 1024;

/// Blocks of a shard that wait for their next use; the one used last is the next, while it is warm.
#[derive(Default)]
pub(super) struct Blocks(Vec<Block>);

struct Block {
    memory: NonNull<u8>,
    layout: Layout,
}

impl Block {
    fn new(layout: Layout) -> Block {
        // SAFETY: callers pass no layout of size zero.
        let memory = NonNull::new(unsafe { alloc(layout) });
        Block { memory: memory.unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the memory came from `alloc` with this layout, and a block is its only owner.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

impl Blocks {
    fn take(&mut self, layout: Layout) -> Option<Block> {
        let at = self.0.iter().rposition(|block| block.layout == layout)?;
        Some(self.0.swap_remove(at))
    }

    fn keep(&mut self, block: Block) {
        if self.0.len() < KEPT && block.layout.size() <= KEPT_BYTES {
            self.0.push(block);
        }
    }
}

/// A future in a block of its own; see [`lane`].
pub struct Lane<F> {
    future: NonNull<F>,
    block: Option<Block>,
}

/// Puts a future into a block of the shard's, which goes back when the future ends or is dropped.
pub fn lane<F: Future>(make: impl FnOnce() -> F) -> Lane<F> {
    let layout = Layout::new::<F>();
    if layout.size() == 0 {
        return empty(make());
    }
    let kept = local::try_with(|local| local.blocks.borrow_mut().take(layout)).flatten();
    let block = kept.unwrap_or_else(|| Block::new(layout));
    let future = block.memory.cast::<F>();
    // SAFETY: the block has the layout of an `F` and holds nothing.
    unsafe { future.write(make()) };
    Lane { future, block: Some(block) }
}

/// A future without state needs no memory.
fn empty<F>(future: F) -> Lane<F> {
    std::mem::forget(future);
    Lane { future: NonNull::dangling(), block: None }
}

impl<F: Future> Future for Lane<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future was written by `lane`, is dropped only with the lane, and never moves: the block stays
        // where it is.
        let future = unsafe { Pin::new_unchecked(self.future.as_mut()) };
        future.poll(cx)
    }
}

impl<F> Drop for Lane<F> {
    fn drop(&mut self) {
        // SAFETY: as in `poll`; this is the only place that drops it, once.
        unsafe { self.future.drop_in_place() };
        if let Some(block) = self.block.take() {
            let mut block = Some(block);
            // outside of a shard, and when the shard has ended, the block is freed
            local::try_with(|local| block.take().map(|block| local.blocks.borrow_mut().keep(block)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Waker;

    fn polled<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_lane_gives_what_its_future_gives_and_drops_it_once() {
        let dropped = Rc::new(Cell::new(0));
        struct Count(Rc<Cell<u32>>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let count = Count(dropped.clone());
        let mut waits = true;
        {
            let mut lane = pin!(lane(|| async move {
                let _count = count;
                std::future::poll_fn(|_| {
                    if std::mem::take(&mut waits) { Poll::Pending } else { Poll::Ready(()) }
                })
                .await;
                [7u8; 100]
            }));
            assert!(polled(lane.as_mut()).is_pending());
            assert_eq!(polled(lane.as_mut()), Poll::Ready([7; 100]));
        }
        assert_eq!(dropped.get(), 1);
        assert!(polled(pin!(lane(|| std::future::ready(())))).is_ready(), "without state");
        drop(lane(std::future::pending::<()>));
    }

    #[test]
    fn blocks_are_found_by_their_layout_and_kept_up_to_a_number() {
        let (small, large) = (Layout::new::<[u8; 64]>(), Layout::new::<[u64; 64]>());
        let mut blocks = Blocks::default();
        blocks.keep(Block::new(small));
        blocks.keep(Block::new(large));
        assert!(blocks.take(Layout::new::<u64>()).is_none());
        assert_eq!(blocks.take(small).unwrap().layout, small);
        assert!(blocks.take(small).is_none());
        (0..2 * KEPT).for_each(|_| blocks.keep(Block::new(large)));
        assert_eq!(blocks.0.len(), KEPT);
        blocks.keep(Block::new(Layout::new::<[u8; 2 * KEPT_BYTES]>()));
        assert!(blocks.0.iter().all(|block| block.layout == large));
    }
}

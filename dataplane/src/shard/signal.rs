//! Something that tasks of one shard wait for.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Wakes all its waiters at each [`Signal::notify`]; who has not seen it yet sees it later.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    count: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// It happened (again).
    pub(crate) fn notify(&self) {
        self.count.set(self.count.get() + 1);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// How often it has happened.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Waits until it has happened more than `seen` times.
    pub(crate) async fn after(&self, seen: u64) {
        std::future::poll_fn(|cx| self.poll_after(cx, seen)).await;
    }

    fn poll_after(&self, cx: &mut Context<'_>, seen: u64) -> Poll<()> {
        if self.count.get() > seen {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|w| w.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

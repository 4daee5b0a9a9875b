//! Who waits for room on a peer's connections: first come, first woken, and nobody is forgotten.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Waker};

/// Waiting tasks by ticket, in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    last: Cell<u64>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Takes a place at the end, or keeps the one of `ticket` (0 is none). Returns the ticket.
    pub(super) fn enter(&self, ticket: u64, cx: &Context<'_>) -> u64 {
        let mut waiting = self.waiting.borrow_mut();
        if let Ok(at) = waiting.binary_search_by_key(&ticket, |place| place.0)
            && let Some((_, waker)) = waiting.get_mut(at)
        {
            waker.clone_from(cx.waker());
            return ticket;
        }
        self.last.set(self.last.get() + 1);
        waiting.push_back((self.last.get(), cx.waker().clone()));
        self.last.get()
    }

    /// Gives up the place. False if it had been woken.
    pub(super) fn leave(&self, ticket: u64) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let found = waiting.binary_search_by_key(&ticket, |place| place.0);
        found.is_ok_and(|at| waiting.remove(at).is_some())
    }

    /// Wakes the first `count`.
    pub(super) fn wake(&self, count: usize) {
        for _ in 0..count {
            let Some((_, waker)) = self.waiting.borrow_mut().pop_front() else { return };
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_first_to_come_are_woken_first_and_those_who_left_are_not() {
        let all: Vec<Arc<Counted>> = (0..4).map(|_| Arc::default()).collect();
        let queue = Queue::default();
        let enter = |i: usize, ticket| {
            let waker = Waker::from(all[i].clone());
            queue.enter(ticket, &Context::from_waker(&waker))
        };
        let tickets: Vec<u64> = (0..4).map(|i| enter(i, 0)).collect();
        assert_eq!(enter(2, tickets[2]), tickets[2], "the place is kept");
        assert!(queue.leave(tickets[1]));
        queue.wake(2);
        let woken: Vec<usize> = all.iter().map(|c| c.0.load(Ordering::Relaxed)).collect();
        assert_eq!(woken, [1, 0, 1, 0]);
        assert!(!queue.leave(tickets[0]), "woken before");
        assert_ne!(enter(0, tickets[0]), tickets[0], "a new place behind the others");
        queue.wake(9);
        assert_eq!((all[3].0.load(Ordering::Relaxed), queue.len()), (1, 0));
    }
}

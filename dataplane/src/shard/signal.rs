//! Something that tasks of one shard wait for.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Wakes all its waiters at each [`Signal::notify`]; who has not seen it yet sees it later.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    count: Cell<u64>,
    waiting: RefCell<Waiting>,
}

/// Who waits. A place is taken and left in a step or two, whatever the number of waiters: every idle connection is one.
#[derive(Debug, Default)]
struct Waiting {
    places: Vec<Option<Waker>>,
    vacant: Vec<usize>,
}

impl Waiting {
    fn take_place(&mut self, waker: Waker) -> usize {
        let at = self.vacant.pop().unwrap_or(self.places.len());
        match self.places.get_mut(at) {
            Some(place) => *place = Some(waker),
            None => self.places.push(Some(waker)),
        }
        at
    }

    fn keep_place(&mut self, at: usize, waker: &Waker) {
        match self.places.get_mut(at) {
            Some(Some(known)) if known.will_wake(waker) => {}
            Some(place) => *place = Some(waker.clone()),
            None => {}
        }
    }

    fn leave_place(&mut self, at: usize) {
        if let Some(place) = self.places.get_mut(at) {
            *place = None;
            self.vacant.push(at);
        }
    }
}

impl Signal {
    /// It happened (again).
    pub(crate) fn notify(&self) {
        self.count.set(self.count.get() + 1);
        let all = self.waiting.take();
        all.places.into_iter().flatten().for_each(Waker::wake);
    }

    /// How often it has happened.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Waits until it has happened more than `seen` times.
    pub(crate) fn after(&self, seen: u64) -> After<'_> {
        After { signal: self, seen, place: None }
    }
}

/// See [`Signal::after`].
#[derive(Debug)]
pub(crate) struct After<'s> {
    signal: &'s Signal,
    seen: u64,
    /// The place in the list, and the count when it was taken: each notification empties the list.
    place: Option<(usize, u64)>,
}

impl After<'_> {
    fn place(&self) -> Option<usize> {
        self.place.filter(|(_, taken_at)| *taken_at == self.signal.count()).map(|(at, _)| at)
    }
}

impl Future for After<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let count = self.signal.count();
        if count > self.seen {
            return Poll::Ready(());
        }
        let mut waiting = self.signal.waiting.borrow_mut();
        match self.place() {
            Some(at) => waiting.keep_place(at, cx.waker()),
            None => self.place = Some((waiting.take_place(cx.waker().clone()), count)),
        }
        Poll::Pending
    }
}

impl Drop for After<'_> {
    fn drop(&mut self) {
        if let Some(at) = self.place() {
            self.signal.waiting.borrow_mut().leave_place(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
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

    fn polled(after: Pin<&mut After<'_>>, by: &Arc<Counted>) -> bool {
        let waker = Waker::from(by.clone());
        after.poll(&mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn everybody_who_waits_is_woken_once_and_who_left_is_not() {
        let (signal, [a, b]) = (Signal::default(), [(); 2].map(|()| Arc::<Counted>::default()));
        let mut stays = pin!(signal.after(0));
        {
            let mut leaves = pin!(signal.after(0));
            assert!(!polled(stays.as_mut(), &a) && !polled(leaves.as_mut(), &b));
            assert!(!polled(stays.as_mut(), &a), "polled again, waiting still");
        }
        signal.notify();
        assert_eq!((a.0.load(Ordering::Relaxed), b.0.load(Ordering::Relaxed)), (1, 0));
        assert!(polled(stays.as_mut(), &a));
        assert!(polled(pin!(signal.after(0)), &a), "what has happened is seen later");
        let mut next = pin!(signal.after(1));
        assert!(!polled(next.as_mut(), &b));
        signal.notify();
        assert!(polled(next, &b));
    }

    #[test]
    fn places_are_used_again() {
        let (signal, waker) = (Signal::default(), Arc::<Counted>::default());
        for _ in 0..1000 {
            let (mut one, mut two) = (pin!(signal.after(0)), pin!(signal.after(0)));
            assert!(!polled(one.as_mut(), &waker) && !polled(two.as_mut(), &waker));
        }
        assert!(signal.waiting.borrow().places.len() <= 2);
    }
}

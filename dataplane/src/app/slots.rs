//! `--app-max-concurrency`: slots that all shards share (spec/invocation 4.3).
//!
//! Taking a free slot is one atomic operation; only calls that must wait meet at a lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Most calls that wait for a slot; further ones are refused.
pub(crate) const MOST_WAITING: usize = 4096;

/// Stands for "unlimited".
const UNLIMITED: u32 = u32::MAX;

/// The slots of the local app.
#[derive(Debug)]
pub struct Slots {
    limit: AtomicU32,
    taken: AtomicU32,
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Place>>>,
}

/// A place in the queue.
#[derive(Debug, Default)]
struct Place {
    state: Mutex<PlaceState>,
}

#[derive(Debug, Default)]
enum PlaceState {
    #[default]
    New,
    Waiting(Waker),
    /// A slot was handed over.
    Called,
    Left,
}

/// The right to have one call in the app; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

/// Too many calls wait already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl Default for Slots {
    fn default() -> Slots {
        Slots {
            limit: AtomicU32::new(UNLIMITED),
            taken: AtomicU32::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
        }
    }
}

impl Slots {
    /// Sets the limit; `None` is unlimited. Calls beyond a lower limit finish.
    pub(crate) fn set_limit(&self, limit: Option<u32>) {
        self.limit.store(limit.filter(|l| *l > 0).unwrap_or(UNLIMITED), SeqCst);
        while self.waiting.load(SeqCst) > 0 && self.try_take() {
            if !self.hand_over() {
                self.taken.fetch_sub(1, SeqCst);
                break;
            }
        }
    }

    /// A slot if one is free and nobody waits for it.
    pub(crate) fn try_acquire(self: &Arc<Self>) -> Option<Slot> {
        (self.waiting.load(SeqCst) == 0 && self.try_take()).then(|| Slot(self.clone()))
    }

    /// Queues up for a slot, first come first served.
    pub(crate) fn queue(self: &Arc<Self>) -> Result<Queued, QueueFull> {
        if self.waiting.fetch_add(1, SeqCst) >= MOST_WAITING {
            self.waiting.fetch_sub(1, SeqCst);
            return Err(QueueFull);
        }
        let place = Arc::new(Place::default());
        self.lock().push_back(place.clone());
        // A slot may have become free between the first try and the queue.
        if self.try_take() && !self.hand_over() {
            self.taken.fetch_sub(1, SeqCst);
        }
        Ok(Queued { slots: self.clone(), place, done: false })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Place>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_take(&self) -> bool {
        let limit = self.limit.load(SeqCst);
        self.taken.fetch_update(SeqCst, SeqCst, |taken| (taken < limit).then_some(taken + 1)).is_ok()
    }

    /// Gives the slot in hand to the first that waits; `false` when nobody does.
    fn hand_over(&self) -> bool {
        loop {
            let Some(place) = self.lock().pop_front() else { return false };
            if place.call() {
                self.waiting.fetch_sub(1, SeqCst);
                return true;
            }
        }
    }

    fn give_back(&self) {
        let over = self.taken.load(SeqCst) > self.limit.load(SeqCst);
        if over || self.waiting.load(SeqCst) == 0 || !self.hand_over() {
            self.taken.fetch_sub(1, SeqCst);
            // Somebody may have queued up since the look at the queue.
            if self.waiting.load(SeqCst) > 0 && self.try_take() && !self.hand_over() {
                self.taken.fetch_sub(1, SeqCst);
            }
        }
    }
}

impl Place {
    fn lock(&self) -> std::sync::MutexGuard<'_, PlaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` when the waiter has left.
    fn call(&self) -> bool {
        let mut state = self.lock();
        if matches!(*state, PlaceState::Left) {
            return false;
        }
        if let PlaceState::Waiting(waker) = std::mem::replace(&mut *state, PlaceState::Called) {
            waker.wake();
        }
        true
    }
}

/// A place in the queue for a slot. Dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Queued {
    slots: Arc<Slots>,
    place: Arc<Place>,
    done: bool,
}

impl Future for Queued {
    type Output = Slot;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        let called = {
            let mut state = self.place.lock();
            let called = matches!(*state, PlaceState::Called);
            if !called {
                *state = PlaceState::Waiting(cx.waker().clone());
            }
            called
        };
        if !called {
            return Poll::Pending;
        }
        self.done = true;
        Poll::Ready(Slot(self.slots.clone()))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let before = std::mem::replace(&mut *self.place.lock(), PlaceState::Left);
        if matches!(before, PlaceState::Called) {
            self.slots.give_back();
        } else {
            self.slots.waiting.fetch_sub(1, SeqCst);
            self.slots.lock().retain(|place| !Arc::ptr_eq(place, &self.place));
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;

    fn slots(limit: u32) -> Arc<Slots> {
        let slots = Arc::new(Slots::default());
        slots.set_limit(Some(limit));
        slots
    }

    fn poll(queued: &mut Queued) -> Option<Slot> {
        match Pin::new(queued).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slot) => Some(slot),
            Poll::Pending => None,
        }
    }

    #[test]
    fn slots_are_unlimited_unless_told() {
        let slots = Arc::new(Slots::default());
        let all: Vec<_> = (0..1000).filter_map(|_| slots.try_acquire()).collect();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn a_slot_goes_to_the_first_that_waits() {
        let slots = slots(1);
        let held = slots.try_acquire().unwrap();
        let (mut first, mut second) = (slots.queue().unwrap(), slots.queue().unwrap());
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
        drop(held);
        assert!(slots.try_acquire().is_none(), "nobody overtakes the queue");
        assert!(poll(&mut second).is_none());
        let slot = poll(&mut first).unwrap();
        drop(slot);
        assert!(poll(&mut second).is_some());
    }

    #[test]
    fn leaving_the_queue_passes_a_slot_on() {
        let slots = slots(1);
        let held = slots.try_acquire().unwrap();
        let (first, mut second) = (slots.queue().unwrap(), slots.queue().unwrap());
        drop(held); // called, but it never looks
        drop(first);
        drop(poll(&mut second).unwrap());
        assert!(slots.try_acquire().is_some(), "nothing is lost");
    }

    #[test]
    fn a_waiter_that_left_is_passed_over() {
        let slots = slots(1);
        let held = slots.try_acquire().unwrap();
        let (first, mut second) = (slots.queue().unwrap(), slots.queue().unwrap());
        drop(first);
        drop(held);
        assert!(poll(&mut second).is_some());
    }

    #[test]
    fn the_queue_has_an_end() {
        let slots = slots(1);
        let _held = slots.try_acquire().unwrap();
        let queue: Vec<_> = (0..MOST_WAITING).map(|_| slots.queue().unwrap()).collect();
        assert_eq!(slots.queue().err(), Some(QueueFull));
        drop(queue);
        assert!(slots.queue().is_ok());
    }

    #[test]
    fn a_higher_limit_calls_those_that_wait_and_a_lower_one_lets_calls_finish() {
        let slots = slots(1);
        let held = slots.try_acquire().unwrap();
        let mut waiting = slots.queue().unwrap();
        assert!(poll(&mut waiting).is_none());
        slots.set_limit(Some(2));
        let second = poll(&mut waiting).unwrap();
        slots.set_limit(Some(1));
        drop(second);
        assert!(slots.try_acquire().is_none());
        drop(held);
        assert!(slots.try_acquire().is_some());
    }

    #[test]
    fn threads_never_exceed_the_limit_and_nobody_waits_for_ever() {
        let slots = slots(2);
        let inside = Arc::new(AtomicU32::new(0));
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let (slots, inside) = (slots.clone(), inside.clone());
                std::thread::spawn(move || {
                    for _ in 0..200 {
                        let slot = slots.try_acquire().unwrap_or_else(|| {
                            let mut queued = slots.queue().unwrap();
                            loop {
                                if let Some(slot) = poll(&mut queued) {
                                    return slot;
                                }
                                std::thread::yield_now();
                            }
                        });
                        assert!(inside.fetch_add(1, SeqCst) < 2);
                        inside.fetch_sub(1, SeqCst);
                        drop(slot);
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|w| w.join().unwrap());
        assert_eq!(slots.taken.load(SeqCst), 0);
    }
}

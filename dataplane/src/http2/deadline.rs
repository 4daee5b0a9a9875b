//! Who waits on which stream, and until when: stored with the connection, looked at when its one timer fires.

use crate::rt::Tick;
use proto::http2::Slot;
use std::task::{Context, Waker};

#[derive(Debug)]
struct Waiter {
    waker: Option<Waker>,
    by: Tick,
}

/// The waiting calls of one connection, by slot.
#[derive(Debug)]
pub(crate) struct Waiters {
    slots: Vec<Waiter>,
    /// No deadline of a waiter is earlier than this.
    earliest: Tick,
}

impl Waiters {
    pub(crate) fn new() -> Waiters {
        Waiters { slots: Vec::new(), earliest: Tick::NEVER }
    }

    /// The moment at which [`Waiters::expire`] must be called; never too late, perhaps too early.
    pub(crate) fn earliest(&self) -> Tick {
        self.earliest
    }

    /// Notes that a call waits. True if its deadline is the earliest now.
    pub(crate) fn wait(&mut self, slot: Slot, by: Tick, cx: &Context<'_>) -> bool {
        let at = slot.index();
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || Waiter { waker: None, by: Tick::NEVER });
        }
        let Some(waiter) = self.slots.get_mut(at) else { return false };
        waiter.by = waiter.by.min(by);
        match &mut waiter.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            waker => *waker = Some(cx.waker().clone()),
        }
        let earlier = by < self.earliest;
        self.earliest = self.earliest.min(by);
        earlier
    }

    /// Whoever waits on the stream.
    pub(crate) fn take(&mut self, slot: Slot) -> Option<Waker> {
        let waiter = self.slots.get_mut(slot.index())?;
        waiter.by = Tick::NEVER;
        waiter.waker.take()
    }

    /// Everybody whose deadline has come.
    pub(crate) fn expire(&mut self, now: Tick) -> Vec<Waker> {
        let mut due = Vec::new();
        self.earliest = Tick::NEVER;
        for waiter in &mut self.slots {
            if waiter.by <= now {
                waiter.by = Tick::NEVER;
                due.extend(waiter.waker.take());
            }
            self.earliest = self.earliest.min(waiter.by);
        }
        due
    }

    /// Everybody.
    pub(crate) fn all(&mut self) -> Vec<Waker> {
        self.expire(Tick::NEVER)
    }
}

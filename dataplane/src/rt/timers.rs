//! Waiting for time.

use super::local::{self, with_net};
use super::net::Due;
use super::now;
use super::tick::Tick;
use super::wheel::TimerId;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

/// One wheel entry that wakes the task it is polled in; taken out when dropped.
struct Alarm {
    when: Tick,
    id: TimerId,
}

impl Alarm {
    fn new(when: Tick) -> Alarm {
        Alarm { when, id: TimerId::NONE }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.when <= now() {
            return Poll::Ready(());
        }
        if self.when == Tick::NEVER {
            return Poll::Pending;
        }
        with_net(|net| match net.timers.peek_mut(self.id) {
            Some(Due::Wake(waker)) if waker.will_wake(cx.waker()) => {}
            Some(Due::Wake(waker)) => *waker = cx.waker().clone(),
            _ => self.id = net.sleep(self.when, cx),
        });
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.id != TimerId::NONE {
            // what it kept, a waker, is dropped when the borrow has ended
            drop(local::try_with(|local| local.net.borrow_mut().timers.cancel(self.id)));
        }
    }
}

/// Waits until `when`; at most about a millisecond longer, plus what the shard is busy with.
///
/// # Panics
/// Outside of a shard.
pub async fn sleep_until(when: Tick) {
    let mut alarm = Alarm::new(when);
    std::future::poll_fn(|cx| alarm.poll(cx)).await;
}

/// The result of `future`, or `None` if `by` came first. What the future had not finished is dropped.
///
/// # Panics
/// Outside of a shard.
pub async fn within<F: Future>(by: Tick, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut alarm = Alarm::new(by);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        alarm.poll(cx).map(|()| None)
    })
    .await
}

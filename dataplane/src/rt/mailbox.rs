//! Messages from other threads and shards to a task.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Messages a mailbox holds unless told otherwise.
pub const MAILBOX_LIMIT: usize = 65_536;

/// Makes channels into a shard: [`Mailbox::new`].
pub struct Mailbox<T: Send>(PhantomData<T>);

impl<T: Send> Mailbox<T> {
    /// Both ends of a mailbox for [`MAILBOX_LIMIT`] messages.
    #[allow(clippy::new_ret_no_self)] // a mailbox is its two ends
    pub fn new() -> (Sender<T>, Receiver<T>) {
        Mailbox::with_limit(MAILBOX_LIMIT)
    }

    /// Both ends of a mailbox for `limit` messages.
    pub fn with_limit(limit: usize) -> (Sender<T>, Receiver<T>) {
        let state = State { queue: VecDeque::new(), waiting: None, senders: 1, open: true };
        let shared = Arc::new(Shared { state: Mutex::new(state), limit });
        (Sender(shared.clone()), Receiver(shared))
    }
}

struct State<T> {
    queue: VecDeque<T>,
    waiting: Option<Waker>,
    senders: usize,
    open: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    limit: usize,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending end; any thread, any number of clones.
pub struct Sender<T: Send>(Arc<Shared<T>>);

impl<T: Send> Sender<T> {
    /// Puts a message in and wakes the receiving shard.
    ///
    /// # Errors
    /// Gives the message back if the receiver is gone or the mailbox is full.
    pub fn send(&self, message: T) -> Result<(), T> {
        let mut state = self.0.lock();
        if !state.open || state.queue.len() >= self.0.limit {
            return Err(message);
        }
        state.queue.push_back(message);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
        Ok(())
    }

    /// Has the receiver gone?
    pub fn is_closed(&self) -> bool {
        !self.0.lock().open
    }
}

impl<T: Send> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.lock().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T: Send> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        let waiting = if state.senders == 0 { state.waiting.take() } else { None };
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<T: Send> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

/// The receiving end; one task waits on it at a time. It may be made anywhere and moved to its shard.
pub struct Receiver<T: Send>(Arc<Shared<T>>);

impl<T: Send> Receiver<T> {
    /// The next message; `None` when all senders are gone and everything was received.
    pub async fn recv(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next message if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        self.0.lock().queue.pop_front()
    }

    /// The same as [`Receiver::recv`] for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        if let Some(message) = state.queue.pop_front() {
            return Poll::Ready(Some(message));
        }
        if state.senders == 0 {
            return Poll::Ready(None);
        }
        super::net::keep(&mut state.waiting, cx);
        Poll::Pending
    }
}

impl<T: Send> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open = false;
        let left = (std::mem::take(&mut state.queue), state.waiting.take());
        drop(state);
        drop(left); // outside of the lock: dropping runs foreign code
    }
}

impl<T: Send> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

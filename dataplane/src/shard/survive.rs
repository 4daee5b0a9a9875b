//! A bug in the treatment of one connection must not end the others.

use crate::log::{self, RUNTIME};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs a connection's task; a panic in it ends this task only and is written down.
///
/// What the task shares with others is behind cells whose borrows end with the unwinding; each of them is left between
/// two operations.
pub(crate) struct Survive<F>(Pin<Box<F>>);

impl<F: Future<Output = ()>> Survive<F> {
    pub(crate) fn new(task: F) -> Survive<F> {
        Survive(Box::pin(task))
    }
}

impl<F: Future<Output = ()>> Future for Survive<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.0.as_mut();
        catch_unwind(AssertUnwindSafe(|| task.poll(cx))).unwrap_or_else(|panic| {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            log::error(RUNTIME, format_args!("a connection was given up because of a bug: {why}"));
            Poll::Ready(())
        })
    }
}

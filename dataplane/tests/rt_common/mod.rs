//! What the tests of the seam share: every one runs on both backends.
#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

use dataplane::rt::{self, Backend, BackendChoice, Shards};
use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

/// Runs `test` with readiness, and with completion where it works; says so loudly where it does not.
pub(crate) fn on_both(test: impl Fn(Backend)) {
    test(rt::preflight(BackendChoice::Readiness).unwrap());
    match rt::preflight(BackendChoice::Completion) {
        Ok(backend) => test(backend),
        Err(reason) => eprintln!("SKIPPED on the completion backend: {reason}"),
    }
}

/// Runs `body` on one shard with default limits.
pub(crate) fn run<F: Future<Output = ()> + 'static>(
    backend: Backend,
    body: impl Fn() -> F + Clone + Send + 'static,
) {
    run_with(Shards { backend, ..Shards::default() }, body);
}

/// Runs `body` on every shard; a panic of a task or a minute without end fails the test.
pub(crate) fn run_with<F: Future<Output = ()> + 'static>(
    shards: Shards,
    body: impl Fn() -> F + Clone + Send + 'static,
) {
    let running = rt::start_shards(shards, move |_| body()).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(running.join()));
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error}"),
        Err(_) => panic!("the shards did not end within a minute"),
    }
}

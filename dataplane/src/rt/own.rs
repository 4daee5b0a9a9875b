//! The executor of the readiness backend: rounds of the task table, then a beat.

use super::local::Local;
use super::pulse::Pulse;
use super::tasks;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;

/// Runs a shard on this thread until its body has ended or it is stopped.
pub(super) fn run(local: &Local, body: impl Future<Output = ()> + 'static) -> io::Result<()> {
    let ended = Rc::new(Cell::new(false));
    tasks::spawn(ending(body, ended.clone()));
    let mut pulse = Pulse::new();
    loop {
        tasks::run_round(local);
        if pulse.beat(local, ended.get())? {
            return Ok(());
        }
    }
}

/// Runs the body and says that it has ended.
pub(super) async fn ending(body: impl Future<Output = ()>, ended: Rc<Cell<bool>>) {
    body.await;
    ended.set(true);
}

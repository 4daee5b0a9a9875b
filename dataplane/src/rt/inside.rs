//! The completion backend's executor: glommio, with a task of ours that waits in our ring from inside it.
//!
//! glommio 0.9.0 gives the thread, its placement and the task queue. Our driver task is polled once in every round of
//! that queue, because the queue is first-in-first-out and the driver wakes itself whenever it runs; when a whole round
//! has passed in which no other task ran, it blocks in our ring, so glommio itself never sleeps. Its sockets, timers,
//! files and wakes from other threads are not used: they would only be looked at on its preemption tick, which is set to
//! an hour. The wakers that our tasks hand out are our own (see `tasks`), so glommio's reference-counted ones stay on
//! their thread, one for each task.

use super::handle::{Handle, ShardId};
use super::local;
use super::net::Port;
use super::own::ending;
use super::pulse::Pulse;
use super::ring::Ring;
use super::shards::{Shards, new_local, processor};
use super::tasks::{self, Hosted};
use glommio::{Latency, LocalExecutor, LocalExecutorBuilder, Placement, TaskQueueHandle};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// glommio's tick: how often it looks at its own rings. Nothing of ours depends on it.
const TICK: Duration = Duration::from_secs(3600);
/// Memory glommio registers for files, which we do not use; its smallest.
const IO_MEMORY: usize = 64 * 1024;
/// Entries of glommio's own rings, which stay empty.
const RING_DEPTH: usize = 8;

thread_local! {
    static QUEUE: Cell<Option<TaskQueueHandle>> = const { Cell::new(None) };
}

/// Puts a task into the shard's queue.
pub(super) fn host<F: Future<Output = ()> + 'static>(task: Hosted<F>) {
    let Some(queue) = QUEUE.get() else { return }; // the shard ends: the task is dropped, which frees its place
    if let Ok(task) = glommio::spawn_local_into(task, queue) {
        task.detach();
    }
}

/// Runs a shard on this thread until its body has ended or it is stopped.
pub(super) fn run(
    shards: &Shards,
    id: ShardId,
    handle: Arc<Handle>,
    group: Arc<[Arc<Handle>]>,
    body: impl Future<Output = ()> + 'static,
) -> io::Result<()> {
    let executor = executor(shards, id)?;
    let port = Port::Ring(Box::new(Ring::new(shards, &handle)?));
    let local = new_local(shards, id, handle, group, port)?;
    let entered = local::enter(&local);
    let result = executor.run(drive(body));
    QUEUE.set(None);
    drop(executor); // and with it what is left of tasks, which still find their shard
    drop(entered);
    result
}

fn executor(shards: &Shards, id: ShardId) -> io::Result<LocalExecutor> {
    let placement = processor(shards, id).map_or(Placement::Unbound, Placement::Fixed);
    let builder =
        LocalExecutorBuilder::new(placement).io_memory(IO_MEMORY).ring_depth(RING_DEPTH).preempt_timer(TICK);
    // preflight keeps us from getting here where io_uring is refused; glommio panics there
    match catch_unwind(AssertUnwindSafe(|| builder.make())) {
        Ok(Ok(executor)) => Ok(executor),
        Ok(Err(error)) => Err(io::Error::other(format!("glommio does not start: {error}"))),
        Err(_) => Err(io::Error::other("glommio does not start: io_uring is refused")),
    }
}

async fn drive(body: impl Future<Output = ()> + 'static) -> io::Result<()> {
    let queue =
        glommio::executor().create_task_queue(glommio::Shares::default(), Latency::Matters(TICK), "shard");
    QUEUE.set(Some(queue));
    let ended = Rc::new(Cell::new(false));
    tasks::spawn(ending(body, ended.clone()));
    let mut pulse = Pulse::new();
    let driver = poll_fn(move |cx| match local::with(|local| pulse.beat(local, ended.get())) {
        Ok(false) => {
            cx.waker().wake_by_ref(); // to the back of the queue, behind everything that is runnable now
            Poll::Pending
        }
        Ok(true) => Poll::Ready(Ok(())),
        Err(error) => Poll::Ready(Err(error)),
    });
    match glommio::spawn_local_into(driver, queue) {
        Ok(driver) => driver.await,
        Err(error) => Err(io::Error::other(format!("glommio's task queue: {error}"))),
    }
}

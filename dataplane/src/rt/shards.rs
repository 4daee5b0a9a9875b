//! Starting and ending shards.

use super::congestion::Congestion;
use super::handle::{Handle, ShardId};
use super::local::{self, Local};
use super::net::{Epoll, Net, Port};
use super::pool::Pool;
use super::preflight::Backend;
use super::tick::Tick;
use super::{inside, own, sys};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;

/// Receive buffers of a shard.
pub const BUFFERS: u16 = 128;
/// Receive buffers that a shard may borrow from the heap when connections starve for one.
pub const EXTRA_BUFFERS: u16 = 896;
/// Bytes of a receive buffer: a full TLS record and what stands around it.
pub const BUFFER_SIZE: usize = 16_896;
/// Buffers that are with the kernel at a time. With 32, a turn of some hundred connections found none left for most of
/// them, and each of those was armed anew for every message.
pub const HOT_BUFFERS: u16 = 64;
/// Entries of the submission queue; the completion queue has four times as many.
pub const RING_ENTRIES: u32 = 512;

/// What to start.
#[derive(Clone, Debug)]
pub struct Shards {
    /// How many, at least one.
    pub count: usize,
    /// On what; see [`super::preflight`].
    pub backend: Backend,
    /// Receive buffers of each shard, at least one.
    pub buffers: u16,
    /// Receive buffers that each shard may borrow from the heap when connections starve for one.
    pub extra_buffers: u16,
    /// Bytes of each, 512 to 65,535.
    pub buffer_size: usize,
    /// Buffers of each shard that are with the kernel at a time (completion).
    pub hot_buffers: u16,
    /// Entries of each shard's submission queue, a power of two (completion).
    pub ring_entries: u32,
    /// Processors to pin the shards to, in turn; empty: wherever the kernel runs them.
    pub processors: Vec<usize>,
    /// How TCP sockets decide how fast they send.
    pub tcp_congestion: Congestion,
}

impl Default for Shards {
    fn default() -> Shards {
        Shards {
            count: 1,
            backend: Backend::Readiness { reason: "not probed".into() },
            buffers: BUFFERS,
            extra_buffers: EXTRA_BUFFERS,
            buffer_size: BUFFER_SIZE,
            hot_buffers: HOT_BUFFERS,
            ring_entries: RING_ENTRIES,
            processors: Vec::new(),
            tcp_congestion: Congestion::default(),
        }
    }
}

impl Shards {
    fn check(&self) -> io::Result<()> {
        let fine = (1..=usize::from(u16::MAX)).contains(&self.count)
            && self.buffers > 0
            && self.buffers.checked_add(self.extra_buffers).is_some()
            && (512..=usize::from(u16::MAX)).contains(&self.buffer_size)
            && self.hot_buffers > 0
            && self.hot_buffers <= 1 << 14
            && self.ring_entries.is_power_of_two();
        let what =
            "shards: count, buffers or hot_buffers is zero, or buffer_size is not within 512 to 65,535";
        if fine { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, what)) }
    }
}

/// Shards that run. Dropping it lets them run on.
pub struct Running {
    group: Arc<[Arc<Handle>]>,
    outcomes: mpsc::Receiver<Outcome>,
    left: usize,
}

enum Outcome {
    Ready,
    Ended(io::Result<()>),
}

impl Running {
    /// Waits until all shards have ended. When one fails, the others are stopped.
    ///
    /// # Errors
    /// The first failure: an error of the kernel, or a panic of a task, which ends its shard.
    pub fn join(mut self) -> io::Result<()> {
        let mut result = Ok(());
        while self.left > 0 {
            match self.outcomes.recv() {
                Ok(Outcome::Ready) => {}
                Ok(Outcome::Ended(ended)) => {
                    self.left -= 1;
                    if ended.is_err() {
                        self.stop();
                    }
                    result = result.and(ended);
                }
                Err(_) => break,
            }
        }
        result
    }

    /// Ends all shards, from any thread: as [`super::stop`].
    pub fn stop(&self) {
        self.group.iter().for_each(|handle| handle.stop());
    }
}

/// Starts shards one after the other, each on a thread of its own, running `body`. A shard ends when its body does, or
/// when it is stopped; its tasks are dropped then.
///
/// # Errors
/// That a setting is out of range, or what the kernel says about threads, memory or the backend. Then nothing runs.
pub fn start_shards<F: Future<Output = ()> + 'static>(
    shards: Shards,
    body: impl Fn(ShardId) -> F + Clone + Send + 'static,
) -> io::Result<Running> {
    shards.check()?;
    let group: Arc<[Arc<Handle>]> =
        (0..shards.count).map(|_| Handle::new()).collect::<io::Result<Vec<_>>>()?.into();
    let (sender, outcomes) = mpsc::channel();
    let mut running = Running { group: group.clone(), outcomes, left: 0 };
    for number in 0..shards.count {
        let id = ShardId::new(number as u16);
        let started =
            start_one(&shards, id, &group, sender.clone(), body.clone()).and_then(|()| running.wait_ready());
        if let Err(error) = started {
            group.iter().skip(number).for_each(|handle| handle.end());
            running.stop();
            let _ = running.join(); // the error that counts is the one of the shard that did not start
            return Err(error);
        }
        running.left += 1;
    }
    Ok(running)
}

impl Running {
    fn wait_ready(&mut self) -> io::Result<()> {
        loop {
            match self.outcomes.recv() {
                Ok(Outcome::Ready) => return Ok(()),
                Ok(Outcome::Ended(Err(error))) => return Err(error),
                // an earlier shard whose body was short
                Ok(Outcome::Ended(Ok(()))) => self.left -= 1,
                Err(_) => return Err(io::Error::other("the shard's thread ended before it started")),
            }
        }
    }
}

fn start_one<F: Future<Output = ()> + 'static>(
    shards: &Shards,
    id: ShardId,
    group: &Arc<[Arc<Handle>]>,
    outcomes: mpsc::Sender<Outcome>,
    body: impl Fn(ShardId) -> F + Send + 'static,
) -> io::Result<()> {
    let (shards, group) = (shards.clone(), group.clone());
    let Some(handle) = group.get(id.index()).cloned() else { return Ok(()) };
    let main = move || {
        let early = outcomes.clone();
        let ready = move || drop(early.send(Outcome::Ready)); // nobody waits any more: it goes on all the same
        let run = AssertUnwindSafe(|| run(&shards, id, handle.clone(), group, ready, body));
        let ended = catch_unwind(run).unwrap_or_else(|panic| Err(io::Error::other(describe(panic.as_ref()))));
        handle.end();
        let _ = outcomes.send(Outcome::Ended(ended));
    };
    std::thread::Builder::new().name(format!("shard-{id}")).spawn(main).map(drop)
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a task panicked: {}", text.unwrap_or_else(|| "no message".into()))
}

fn run<F: Future<Output = ()> + 'static>(
    shards: &Shards,
    id: ShardId,
    handle: Arc<Handle>,
    group: Arc<[Arc<Handle>]>,
    ready: impl FnOnce() + 'static,
    body: impl Fn(ShardId) -> F + 'static,
) -> io::Result<()> {
    let start = async move {
        ready();
        body(id).await;
    };
    match shards.backend {
        Backend::Completion => inside::run(shards, id, handle, group, start),
        Backend::Readiness { .. } => {
            if let Some(cpu) = processor(shards, id) {
                sys::pin_to(cpu)?;
            }
            let port = Port::Epoll(Epoll::new(handle.bell())?);
            let local = new_local(shards, id, handle, group, port)?;
            let entered = local::enter(&local);
            let result = own::run(&local, start);
            drop(entered);
            result
        }
    }
}

pub(super) fn processor(shards: &Shards, id: ShardId) -> Option<usize> {
    let processors = &shards.processors;
    processors.get(id.index().checked_rem(processors.len())?).copied()
}

pub(super) fn new_local(
    shards: &Shards,
    id: ShardId,
    handle: Arc<Handle>,
    group: Arc<[Arc<Handle>]>,
    port: Port,
) -> io::Result<Local> {
    let pool = Pool::new(shards.buffers, shards.extra_buffers, shards.buffer_size, &handle)?;
    let hosted = shards.backend == Backend::Completion;
    let mut net = Net::new(port, pool, handle.clone());
    net.congestion.clone_from(&shards.tcp_congestion);
    Ok(Local {
        id,
        group,
        hosted,
        net: RefCell::new(net),
        handle,
        tasks: RefCell::default(),
        now: Cell::new(Tick::read()),
        hooks: RefCell::default(),
        spare: RefCell::default(),
        blocks: RefCell::default(),
    })
}

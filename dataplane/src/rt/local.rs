//! What one shard owns, and how code on its thread reaches it.

use super::handle::{Handle, ShardId};
use super::lane::Blocks;
use super::net::{Counts, Net};
use super::spare::Spare;
use super::tasks::Tasks;
use super::tick::Tick;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// Something to be done once per turn, when nothing is runnable any more.
pub trait TurnEnd {
    /// Called once for each registration. May send; may register again for the next turn.
    fn turn_end(self: Rc<Self>);
}

/// One shard.
pub(super) struct Local {
    pub(super) id: ShardId,
    pub(super) handle: Arc<Handle>,
    /// All shards started together, by number.
    pub(super) group: Arc<[Arc<Handle>]>,
    /// Tasks run inside the other executor, sockets on the ring.
    pub(super) hosted: bool,
    pub(super) net: RefCell<Net>,
    pub(super) tasks: RefCell<Tasks>,
    pub(super) now: Cell<Tick>,
    pub(super) hooks: RefCell<Vec<Rc<dyn TurnEnd>>>,
    pub(super) spare: RefCell<Spare>,
    pub(super) blocks: RefCell<Blocks>,
}

impl Local {
    /// Wakes the tasks that the sockets collected, outside of their borrow: waking may drop a task, and with it streams.
    pub(super) fn wake_collected(&self) {
        loop {
            let mut net = self.net.borrow_mut();
            if net.wakers.is_empty() {
                return;
            }
            let spare = std::mem::take(&mut net.spare_wakers);
            let mut wakers = std::mem::replace(&mut net.wakers, spare);
            drop(net);
            wakers.drain(..).for_each(Waker::wake);
            self.net.borrow_mut().spare_wakers = wakers;
        }
    }
}

thread_local! {
    static LOCAL: Cell<Option<NonNull<Local>>> = const { Cell::new(None) };
}

/// Makes a local the current thread's, until it is dropped.
pub(super) struct Entered<'a>(std::marker::PhantomData<&'a Local>);

pub(super) fn enter(local: &Local) -> Entered<'_> {
    assert!(LOCAL.get().is_none(), "one shard a thread");
    LOCAL.set(Some(NonNull::from(local)));
    Entered(std::marker::PhantomData)
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        LOCAL.set(None);
    }
}

/// Runs `f` on the current shard; `None` outside of a shard.
pub(super) fn try_with<R>(f: impl FnOnce(&Local) -> R) -> Option<R> {
    let local = LOCAL.try_with(Cell::get).ok().flatten()?;
    // SAFETY: `enter` borrowed the local for as long as the cell holds it, on this thread; `f` cannot keep the reference
    // (its lifetime is of the call's making) and cannot make `Entered` end, which the thread's main function holds
    // below us on the stack.
    Some(f(unsafe { local.as_ref() }))
}

/// Runs `f` on the current shard.
///
/// # Panics
/// Outside of a shard: sockets, tasks and timers belong to one.
pub(super) fn with<R>(f: impl FnOnce(&Local) -> R) -> R {
    match try_with(f) {
        Some(result) => result,
        None => outside(),
    }
}

#[cold]
#[allow(clippy::panic)] // a mistake in our own code, not an event: shards' things are used on shards
fn outside() -> ! {
    panic!("sockets, tasks and timers are used on a shard only")
}

/// Runs `f` on the sockets of the current shard. `f` runs no foreign code.
pub(super) fn with_net<R>(f: impl FnOnce(&mut Net) -> R) -> R {
    with(|local| {
        let result = f(&mut local.net.borrow_mut());
        local.wake_collected();
        result
    })
}

/// The same for values that may be dropped after their shard has ended.
pub(super) fn try_with_net(f: impl FnOnce(&mut Net)) {
    try_with(|local| {
        f(&mut local.net.borrow_mut());
        local.wake_collected();
    });
}

/// The shard this runs on; `None` outside of shards.
pub fn shard() -> Option<ShardId> {
    try_with(|local| local.id)
}

/// How many shards were started together with this one.
///
/// # Panics
/// Outside of a shard.
pub fn shard_count() -> usize {
    with(|local| local.group.len())
}

/// The shard's clock, read once a turn; outside of a shard the clock itself.
pub fn now() -> Tick {
    try_with(|local| local.now.get()).unwrap_or_else(Tick::read)
}

/// Has `hook` called once, at the end of this turn: when nothing is runnable and before the shard looks at the kernel.
/// What it sends goes out with this turn.
///
/// # Panics
/// Outside of a shard.
pub fn at_turn_end(hook: Rc<dyn TurnEnd>) {
    with(|local| local.hooks.borrow_mut().push(hook));
}

/// Ends all shards that were started together with this one: their tasks are dropped, what was accepted for sending is
/// sent as far as a second allows.
///
/// # Panics
/// Outside of a shard.
pub fn stop() {
    with(|local| local.group.iter().for_each(|handle| handle.stop()));
}

/// Tasks of this shard that have not ended.
///
/// # Panics
/// Outside of a shard.
pub fn tasks() -> usize {
    with(|local| local.tasks.borrow().alive())
}

/// What this shard's sockets have done so far.
///
/// # Panics
/// Outside of a shard.
pub fn counts() -> Counts {
    with_net(|net| net.counts())
}

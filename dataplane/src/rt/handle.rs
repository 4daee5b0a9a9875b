//! What other threads know of a shard: its bell and its inbox.

use super::listener::Accepted;
use super::sys;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

/// One shard of a running set, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(u16);

impl ShardId {
    /// The `n`th shard.
    pub const fn new(n: u16) -> ShardId {
        ShardId(n)
    }

    /// Its number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Connections handed to a shard that it has not taken yet; one more is refused.
const ADOPTION_LIMIT: usize = 1024;

/// What waits for the shard to look: filled by other threads, emptied at the bell.
#[derive(Default)]
pub(super) struct Inbox {
    /// Numbers of tasks to wake.
    pub(super) wakes: Vec<u64>,
    /// Connections handed over without the ring.
    pub(super) adopted: Vec<Accepted>,
}

/// One shard as other threads see it.
pub(super) struct Handle {
    /// Process-wide number; part of every waker.
    pub(super) uid: u16,
    bell: OwnedFd,
    /// The bell was rung and the shard has not looked yet.
    rung: AtomicBool,
    inbox: Mutex<Inbox>,
    /// A copy of the shard's ring descriptor, so that its number stays valid for senders.
    pub(super) ring: OnceLock<OwnedFd>,
    ended: AtomicBool,
    stopping: AtomicBool,
    handed: AtomicUsize,
}

impl Handle {
    /// Makes the handle of a shard and registers it under a process-wide number.
    pub(super) fn new() -> io::Result<Arc<Handle>> {
        let bell = sys::eventfd()?;
        let mut all = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
        let vacant = all.iter().position(Option::is_none).unwrap_or(all.len());
        let uid =
            u16::try_from(vacant).map_err(|_| io::Error::other("more than 65,535 shards in one process"))?;
        add_bell(bell.as_raw_fd());
        let handle = Arc::new(Handle {
            uid,
            bell,
            rung: AtomicBool::new(false),
            inbox: Mutex::default(),
            ring: OnceLock::new(),
            ended: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            handed: AtomicUsize::new(0),
        });
        match all.get_mut(vacant) {
            Some(place) => *place = Some(handle.clone()),
            None => all.push(Some(handle.clone())),
        }
        Ok(handle)
    }

    /// The descriptor the shard waits on.
    pub(super) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Wakes the shard, from any thread.
    pub(super) fn ring_bell(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            sys::signal_eventfd(self.bell());
        }
    }

    /// The shard heard the bell: what was put in before now is in the result, what comes later rings again.
    pub(super) fn answer_bell(&self) -> Inbox {
        self.rung.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wakes one of the shard's tasks by number.
    pub(super) fn wake_task(&self, number: u64) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).wakes.push(number);
        self.ring_bell();
    }

    /// Puts an accepted connection into the inbox.
    pub(super) fn hand_over(&self, accepted: Accepted) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).adopted.push(accepted);
        self.ring_bell();
    }

    /// Reserves a place among the connections on their way to this shard.
    pub(super) fn reserve_adoption(&self) -> bool {
        if self.ended.load(Ordering::SeqCst) {
            return false;
        }
        let before = self.handed.fetch_add(1, Ordering::SeqCst);
        if before >= ADOPTION_LIMIT {
            self.handed.fetch_sub(1, Ordering::SeqCst);
        }
        before < ADOPTION_LIMIT
    }

    /// A connection on its way was taken, or will never come.
    pub(super) fn adoption_done(&self) {
        self.handed.fetch_sub(1, Ordering::SeqCst);
    }

    /// Asks the shard to end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.ring_bell();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// The shard has ended: no wake and no connection reaches it any more.
    pub(super) fn end(&self) {
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        remove_bell(self.bell());
        let mut all = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.get_mut(usize::from(self.uid)) {
            *place = None;
        }
        drop(all);
        drop(self.answer_bell());
    }
}

static REGISTRY: RwLock<Vec<Option<Arc<Handle>>>> = RwLock::new(Vec::new());

/// The shard with this process-wide number, if it runs.
pub(super) fn find(uid: u16) -> Option<Arc<Handle>> {
    REGISTRY.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(uid)).cloned().flatten()
}

/// Bells a signal handler may ring: it can take no lock.
static BELLS: [AtomicI32; 64] = [const { AtomicI32::new(-1) }; 64];

fn add_bell(fd: RawFd) {
    let free =
        |place: &&AtomicI32| place.compare_exchange(-1, fd, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    let _ = BELLS.iter().find(free); // shards beyond the table are not needed to hear of a signal
}

fn remove_bell(fd: RawFd) {
    for place in &BELLS {
        let _ = place.compare_exchange(fd, -1, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// Wakes all shards. Async-signal-safe.
pub(super) fn ring_all() {
    for place in &BELLS {
        let fd = place.load(Ordering::SeqCst);
        if fd >= 0 {
            sys::signal_eventfd(fd);
        }
    }
}

//! The shard's tasks. [`spawn`] is the only way to start one.
//!
//! A waker is a plain number (shard, generation, slot of the task table): cloning and dropping it costs nothing and
//! touches nothing, and the number may be used on any thread at any time, also after the task or the shard has ended.
//! On its own shard a wake makes the task runnable; from elsewhere it goes to the shard's inbox and rings its bell.
//! Both backends use the same table. With readiness the table also holds the futures and runs them; with completion the
//! futures live in the executor of `inside`, and the table keeps what that executor wakes them by, which therefore never
//! leaves its thread.

use super::local::{self, Local};
use super::{handle, inside};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

const _: () = assert!(size_of::<usize>() == 8, "wakers carry 64-bit numbers");

/// A running task. Dropping the value lets it run on.
#[derive(Debug)]
pub struct Task {
    id: TaskId,
    _here: std::marker::PhantomData<*const ()>,
}

impl Task {
    /// Stops the task: its future is dropped before the shard's next turn, at the latest when the task that calls this
    /// next waits. Nothing happens if it has ended.
    pub fn cancel(self) {
        local::try_with(|local| {
            local.tasks.borrow_mut().cancel(self.id);
        });
    }

    /// Has the task ended?
    pub fn is_finished(&self) -> bool {
        local::try_with(|local| local.tasks.borrow().find(self.id).is_none()).unwrap_or(true)
    }
}

/// Starts a task on this shard. It runs when the present task next waits.
///
/// # Panics
/// Outside of a shard.
pub fn spawn(future: impl Future<Output = ()> + 'static) -> Task {
    local::with(|local| {
        let id = if local.hosted {
            let id = local.tasks.borrow_mut().reserve(Body::Foreign(None));
            inside::host(Hosted { future: Some(future), id });
            id
        } else {
            local.tasks.borrow_mut().reserve_runnable(Box::pin(future))
        };
        Task { id, _here: std::marker::PhantomData }
    })
}

/// Lets every other runnable task run first.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A place in the task table and which use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TaskId {
    at: u32,
    generation: u32,
}

const PART: u32 = (1 << 24) - 1;

impl TaskId {
    fn number(self, uid: u16) -> u64 {
        u64::from(uid) << 48 | u64::from(self.generation) << 24 | u64::from(self.at)
    }

    fn waker(self, uid: u16) -> Waker {
        // SAFETY: the functions of the table treat the pointer as a number and never as an address.
        unsafe { Waker::from_raw(raw(std::ptr::without_provenance(self.number(uid) as usize))) }
    }
}

fn split(number: u64) -> (u16, TaskId) {
    let id = TaskId { at: number as u32 & PART, generation: (number >> 24) as u32 & PART };
    ((number >> 48) as u16, id)
}

const fn raw(number: *const ()) -> RawWaker {
    RawWaker::new(number, &VTABLE)
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(raw, wake, wake, |_| {});

fn wake(number: *const ()) {
    let number = number.addr() as u64;
    let (uid, id) = split(number);
    let here = local::try_with(|local| local.handle.uid == uid && { local.tasks.borrow_mut().wake(id) });
    if here != Some(true)
        && let Some(handle) = handle::find(uid)
    {
        handle.wake_task(number);
    }
}

/// Wakes tasks of this shard that other threads asked for.
pub(super) fn wake_numbers(local: &Local, numbers: Vec<u64>) {
    let mut tasks = local.tasks.borrow_mut();
    for number in numbers {
        tasks.wake(split(number).1);
    }
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Where a task's future is.
enum Body {
    /// Nowhere: the place is free, or the task is running.
    None,
    /// Here.
    Own(Boxed),
    /// In the other executor, which is told by this waker; unknown before its first poll.
    Foreign(Option<Waker>),
}

struct Place {
    generation: u32,
    live: bool,
    cancelled: bool,
    queued: bool,
    body: Body,
}

/// The task table of a shard.
#[derive(Default)]
pub(super) struct Tasks {
    places: Vec<Place>,
    vacant: Vec<u32>,
    ready: VecDeque<TaskId>,
    /// Polls so far: whoever compares two readings knows whether anything ran between them.
    pub(super) polls: u64,
}

impl Tasks {
    /// Tasks that have not ended.
    pub(super) fn alive(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    /// Cancels every task.
    pub(super) fn cancel_all(&mut self) {
        let all: Vec<TaskId> = (0u32..)
            .zip(&self.places)
            .filter(|(_, place)| place.live)
            .map(|(at, place)| TaskId { at, generation: place.generation })
            .collect();
        for id in all {
            self.cancel(id);
        }
    }

    fn find(&self, id: TaskId) -> Option<&Place> {
        self.places.get(id.at as usize).filter(|place| place.live && place.generation == id.generation)
    }

    fn find_mut(&mut self, id: TaskId) -> Option<&mut Place> {
        self.places.get_mut(id.at as usize).filter(|place| place.live && place.generation == id.generation)
    }

    // `at` is below the length in both branches.
    #[allow(clippy::indexing_slicing)]
    fn reserve(&mut self, body: Body) -> TaskId {
        let at = self.vacant.pop().unwrap_or_else(|| {
            let blank =
                Place { generation: 0, live: false, cancelled: false, queued: false, body: Body::None };
            self.places.push(blank);
            self.places.len() as u32 - 1
        });
        assert!(at <= PART, "16 million tasks on one shard");
        let place = &mut self.places[at as usize];
        let generation = (place.generation + 1) & PART;
        *place = Place { generation, live: true, cancelled: false, queued: false, body };
        TaskId { at, generation }
    }

    fn reserve_runnable(&mut self, future: Boxed) -> TaskId {
        let id = self.reserve(Body::Own(future));
        self.wake(id);
        id
    }

    /// Frees the place of a task whose future is gone.
    fn release(&mut self, id: TaskId) {
        if let Some(place) = self.find_mut(id) {
            place.live = false;
            place.queued = false;
            place.body = Body::None;
            self.vacant.push(id.at);
        }
    }

    /// True, so that callers can tell this shard's numbers from others'.
    fn wake(&mut self, id: TaskId) -> bool {
        let Some(place) = self.find_mut(id) else { return true };
        match &place.body {
            Body::Foreign(Some(waker)) => waker.wake_by_ref(),
            Body::Foreign(None) => {}
            Body::None | Body::Own(_) if place.queued => {}
            Body::None | Body::Own(_) => {
                place.queued = true;
                self.ready.push_back(id);
            }
        }
        true
    }

    fn cancel(&mut self, id: TaskId) {
        if let Some(place) = self.find_mut(id) {
            place.cancelled = true;
            self.wake(id);
        }
    }

    /// The next runnable task's future, taken out for polling, and whether it was cancelled.
    fn next(&mut self) -> Option<(TaskId, Boxed, bool)> {
        loop {
            let id = self.ready.pop_front()?;
            let Some(place) = self.find_mut(id) else { continue };
            place.queued = false;
            let cancelled = place.cancelled;
            if let Body::Own(future) = std::mem::replace(&mut place.body, Body::None) {
                return Some((id, future, cancelled));
            }
        }
    }
}

/// Polls every task that is runnable now, once. Tasks that become runnable meanwhile wait for the next round.
pub(super) fn run_round(local: &Local) {
    let tasks: &RefCell<Tasks> = &local.tasks;
    let runnable = tasks.borrow().ready.len();
    for _ in 0..runnable {
        let Some((id, mut future, cancelled)) = tasks.borrow_mut().next() else { return };
        tasks.borrow_mut().polls += 1;
        let waker = id.waker(local.handle.uid);
        let ended = cancelled || future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if ended {
            drop(future); // before the place is free, and outside of the borrow: dropping runs foreign code
            tasks.borrow_mut().release(id);
        } else if let Some(place) = tasks.borrow_mut().find_mut(id) {
            place.body = Body::Own(future);
        }
    }
}

/// A task inside the other executor.
pub(super) struct Hosted<F> {
    future: Option<F>,
    id: TaskId,
}

impl<F: Future<Output = ()>> Future for Hosted<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let id = self.id;
        // SAFETY: the future inside is never moved out: it is polled in place and dropped in place.
        let mut future = unsafe { self.map_unchecked_mut(|hosted| &mut hosted.future) };
        let (waker, cancelled) = local::with(|local| {
            let mut tasks = local.tasks.borrow_mut();
            tasks.polls += 1;
            let cancelled = tasks.find_mut(id).is_none_or(|place| {
                if matches!(place.body, Body::Foreign(None)) {
                    place.body = Body::Foreign(Some(cx.waker().clone()));
                }
                place.cancelled
            });
            (id.waker(local.handle.uid), cancelled)
        });
        let ended = cancelled
            || match future.as_mut().as_pin_mut() {
                Some(inner) => inner.poll(&mut Context::from_waker(&waker)).is_ready(),
                None => true,
            };
        if !ended {
            return Poll::Pending;
        }
        future.set(None);
        Poll::Ready(()) // the place is freed when this is dropped, right after
    }
}

impl<F> Drop for Hosted<F> {
    fn drop(&mut self) {
        // its waker is dropped outside of the borrow
        let body = local::try_with(|local| {
            let mut tasks = local.tasks.borrow_mut();
            let body = tasks.find_mut(self.id).map(|place| std::mem::replace(&mut place.body, Body::None));
            tasks.release(self.id);
            body
        });
        drop(body);
    }
}

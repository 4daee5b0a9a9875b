//! A shard's rhythm: run tasks until none is runnable, call the end-of-turn hooks, look at the kernel, again.
//!
//! Both executors call [`Pulse::beat`] once after each round of runnable tasks. It decides whether another round comes
//! first, or the hooks, or the kernel; only when a whole round has passed in which nothing ran does the shard sleep.
//!
//! ```text
//! Running ──body ended or stop──▶ Cancelling ──no task left──▶ Draining ──nothing open, or time over──▶ ended
//! ```

use super::local::Local;
use super::tasks;
use super::tick::Tick;
use super::{handle, signals};
use std::io;
use std::time::Duration;

/// Rounds of runnable tasks before the shard looks at the kernel all the same: a long chain of wakes must not keep the
/// network waiting.
const ROUNDS: u32 = 16;
/// How long an ending shard sends what it had accepted.
const END_GRACE: Duration = Duration::from_secs(1);

enum Stage {
    Running,
    Cancelling,
    Draining(Tick),
}

/// The state between two beats.
pub(super) struct Pulse {
    seen: u64,
    rounds: u32,
    stage: Stage,
}

impl Pulse {
    pub(super) fn new() -> Pulse {
        Pulse { seen: 0, rounds: 0, stage: Stage::Running }
    }

    /// One beat. True when the shard has ended.
    pub(super) fn beat(&mut self, local: &Local, body_ended: bool) -> io::Result<bool> {
        let polls = local.tasks.borrow().polls;
        let ran = polls != self.seen;
        self.seen = polls;
        if ran && self.rounds < ROUNDS {
            self.rounds += 1;
            return Ok(false);
        }
        let hooked = run_hooks(local);
        if hooked && !ran && self.rounds < ROUNDS {
            self.rounds += 1; // tasks that the hooks woke run before the shard may sleep
            return Ok(false);
        }
        self.rounds = 0;
        let wait = !ran && !hooked;
        let wait = match self.move_on(local, body_ended || local.handle.is_stopping()) {
            Next::Ended => return Ok(true),
            Next::Moved => false,
            Next::Stayed => wait,
        };
        turn(local, wait)?;
        Ok(false)
    }

    fn move_on(&mut self, local: &Local, ending: bool) -> Next {
        match self.stage {
            Stage::Running if !ending => return Next::Stayed,
            Stage::Running => {
                local.tasks.borrow_mut().cancel_all();
                self.stage = Stage::Cancelling;
            }
            Stage::Cancelling if local.tasks.borrow().alive() > 0 => local.tasks.borrow_mut().cancel_all(),
            Stage::Cancelling => {
                let until = Tick::read() + END_GRACE;
                local.net.borrow_mut().close_all(until);
                self.stage = Stage::Draining(until + END_GRACE);
            }
            Stage::Draining(_) if local.net.borrow_mut().is_all_closed() => return Next::Ended,
            Stage::Draining(end) if Tick::read() > end => return Next::Ended,
            // only to tell the kernel; nothing will come of it, so there is nothing to wait for
            Stage::Draining(_) if local.net.borrow_mut().holds_nothing() => {}
            Stage::Draining(_) => return Next::Stayed,
        }
        Next::Moved
    }
}

enum Next {
    Stayed,
    Moved,
    Ended,
}

fn run_hooks(local: &Local) -> bool {
    if local.hooks.borrow().is_empty() {
        return false;
    }
    let mut hooks = std::mem::take(&mut *local.hooks.borrow_mut());
    for hook in hooks.drain(..) {
        hook.turn_end();
    }
    let mut registered = local.hooks.borrow_mut();
    if registered.is_empty() {
        *registered = hooks; // keeps the allocation
    }
    true
}

/// Looks at the kernel, then wakes whom that concerns.
fn turn(local: &Local, wait: bool) -> io::Result<()> {
    let (bell, handed_back) = {
        let mut net = local.net.borrow_mut();
        net.turn(wait)?;
        local.now.set(net.now);
        (std::mem::take(&mut net.bell), std::mem::take(&mut net.handed_back))
    };
    local.wake_collected();
    for (accepted, to) in handed_back {
        // the other ring did not take it (its queue was full, it has just ended): the slow way round
        if let Some(handle) = local.group.get(to.index()) {
            handle.hand_over(accepted);
        }
    }
    if bell {
        answer(local);
    }
    Ok(())
}

fn answer(local: &Local) {
    let handle::Inbox { wakes, adopted } = local.handle.answer_bell();
    tasks::wake_numbers(local, wakes);
    let mut net = local.net.borrow_mut();
    for accepted in adopted {
        net.adopt(accepted);
    }
    drop(net);
    local.wake_collected();
    signals::deliver();
}

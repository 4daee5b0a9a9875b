//! Waiting for facts, always with a bound.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a fact that cannot be subscribed to is asked for.
const TURN: Duration = Duration::from_millis(5);

/// Waits until `fact` yields something; panics with `what` when `limit` passes first.
pub fn some<T>(limit: Duration, what: &str, fact: impl FnMut() -> Option<T>) -> T {
    within(limit, fact).unwrap_or_else(|| panic!("not within {limit:?}: {what}"))
}

/// Waits until `fact` holds; panics with `what` when `limit` passes first.
pub fn until(limit: Duration, what: &str, mut fact: impl FnMut() -> bool) {
    some(limit, what, || fact().then_some(()));
}

/// Waits until `fact` yields something, `None` when `limit` passes first.
pub fn within<T>(limit: Duration, mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let by = Instant::now() + limit;
    loop {
        if let Some(found) = fact() {
            return Some(found);
        }
        if Instant::now() >= by {
            return None;
        }
        sleep(TURN);
    }
}

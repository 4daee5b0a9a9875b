//! Limits that were reached: each is counted, and said in a line that names it, at once and then at most once a second.

use super::{Shard, now};
use crate::log;
use proto::http2::Violation;
use proto::time::Tick;
use std::cell::RefCell;
use std::fmt::Display;
use std::time::Duration;

/// Time between two lines about the same limit, on one shard.
const PAUSE: Duration = Duration::from_secs(1);

/// What was said last about each limit; there are as many as there are limits.
#[derive(Debug, Default)]
pub(super) struct Reached(RefCell<Vec<Said>>);

#[derive(Debug)]
struct Said {
    limit: &'static str,
    at: Tick,
    /// Times it was reached since.
    silent: u64,
}

impl Reached {
    /// Once more; how often it was reached silently before, when it is time for a line.
    fn again(&self, limit: &'static str, now: Tick) -> Option<u64> {
        let mut all = self.0.borrow_mut();
        let Some(said) = all.iter_mut().find(|said| said.limit == limit) else {
            all.push(Said { limit, at: now, silent: 0 });
            return Some(0);
        };
        if now.since(said.at) < PAUSE {
            said.silent += 1;
            return None;
        }
        said.at = now;
        Some(std::mem::take(&mut said.silent))
    }
}

impl Shard {
    /// A limit of this name was reached (ARCHITECTURE.md, "Limits").
    #[cold]
    pub(crate) fn reached(&self, limit: &'static str, what: impl Display) {
        self.metrics.limit(limit);
        match self.reached.again(limit, now()) {
            None => {}
            Some(0) => log::warn(log::RUNTIME, format_args!("limit {limit} reached: {what}")),
            Some(more) => {
                log::warn(
                    log::RUNTIME,
                    format_args!("limit {limit} reached: {what} ({more} times more before)"),
                );
            }
        }
    }

    /// As [`Shard::reached`], if it is a limit that a peer's HTTP/2 went beyond.
    pub(crate) fn broke(&self, violation: &Violation) {
        if let Some(limit) = violation.section.strip_prefix("limit ") {
            self.reached(limit, violation.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_said_once_a_second_and_how_often_it_was_not() {
        let reached = Reached::default();
        let at = |ms: u64| Tick::from_micros(ms * 1000);
        assert_eq!(reached.again("a", at(0)), Some(0));
        assert_eq!(reached.again("b", at(1)), Some(0));
        assert_eq!(reached.again("a", at(500)), None);
        assert_eq!(reached.again("a", at(999)), None);
        assert_eq!(reached.again("a", at(1000)), Some(2));
        assert_eq!(reached.again("a", at(2500)), Some(0));
    }
}

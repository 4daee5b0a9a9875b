//! When a child that ended is started again: at once, then after a growing delay, and after too many ends not at all.

use std::collections::VecDeque;
use std::time::Duration;

/// Ends within [`WINDOW`] after which the supervisor gives up.
const MOST_ENDS: usize = 10;
/// How long an end is remembered.
const WINDOW: Duration = Duration::from_secs(300);
/// Ends after which the supervisor gives up while the sidecar has never been ready.
const MOST_ENDS_AT_START: usize = 3;
/// A child that ran this long was well: its next start is immediate again.
const WELL_AFTER: Duration = Duration::from_secs(10);
/// Delay of the second start in a row; it doubles from there.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// Longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// The recent starts and ends of one child. Time is what the supervisor's clock shows.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    started: Duration,
    ends: VecDeque<Duration>,
    /// Ends in a row of a child that was not well.
    streak: u32,
}

impl Restarts {
    /// The child was started.
    pub(super) fn started(&mut self, now: Duration) {
        self.started = now;
    }

    /// Whether the child ends in its first run, before it was well: trying again would show the same.
    pub(super) fn is_first_try(&self, now: Duration) -> bool {
        self.ends.is_empty() && !self.was_well(now)
    }

    fn was_well(&self, now: Duration) -> bool {
        now.saturating_sub(self.started) >= WELL_AFTER
    }

    /// The child ended unasked: how long to wait before the next start; `None` is never.
    #[must_use]
    pub(super) fn ended(&mut self, now: Duration, was_ready: bool) -> Option<Duration> {
        while self.ends.front().is_some_and(|end| now.saturating_sub(*end) > WINDOW) {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
        let most = if was_ready { MOST_ENDS } else { MOST_ENDS_AT_START };
        if self.ends.len() >= most {
            return None;
        }
        self.streak = if self.was_well(now) { 1 } else { self.streak + 1 };
        Some(delay(self.streak))
    }
}

fn delay(streak: u32) -> Duration {
    match streak {
        0 | 1 => Duration::ZERO,
        n => FIRST_DELAY.saturating_mul(1 << (n - 2).min(16)).min(LONGEST_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_restart_is_immediate_and_the_next_ones_wait_longer_and_longer() {
        let mut restarts = Restarts::default();
        let mut now = S;
        let mut waits = Vec::new();
        while let Some(wait) = restarts.ended(now, true) {
            waits.push(wait.as_millis());
            now += wait;
            restarts.started(now);
            now += S;
        }
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn a_child_that_was_well_starts_at_once_again() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.ended(S, true), Some(Duration::ZERO));
        restarts.started(S);
        assert_eq!(restarts.ended(2 * S, true), Some(FIRST_DELAY));
        restarts.started(2 * S);
        assert_eq!(restarts.ended(13 * S, true), Some(Duration::ZERO));
    }

    #[test]
    fn old_ends_are_forgotten() {
        let mut restarts = Restarts::default();
        for n in 0..100u32 {
            let now = n * 60 * S;
            assert_eq!(restarts.ended(now, true), Some(Duration::ZERO), "{n}");
            restarts.started(now);
        }
    }

    #[test]
    fn a_child_that_never_made_the_sidecar_ready_is_given_up_soon() {
        let mut restarts = Restarts::default();
        assert!(restarts.ended(S, false).is_some());
        assert!(restarts.ended(S, false).is_some());
        assert_eq!(restarts.ended(S, false), None);
    }
}

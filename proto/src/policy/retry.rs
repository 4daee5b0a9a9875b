//! Whether and when a failed attempt is tried again (spec/resolution 2, compat.md "Better than daprd").
//!
//! ```text
//!                       start
//!                         │
//!                         ▼
//!   ┌──────────▶ attempt n (n = 1..=4) ──── answered ───▶ done
//!   │                     │
//!   │                  failed(cause)
//!   │        ┌────────────┴───────────────┐
//!   └─ Again{wait}                     Stop(why)
//! ```
//!
//! The built-in policy: `Unavailable` and `Unauthenticated` are tried up to three more times, one second apart. An
//! attempt that provably was not processed moves to another live endpoint at once where there is one; a call that a
//! peer refused on an open connection goes out again at once, the first time.

use crate::invoke::classify::Retry;
use crate::time::Tick;
use core::time::Duration;

/// How often and how far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// Time between two attempts.
    pub interval: Duration,
}

impl RetryPolicy {
    /// daprd's `DaprBuiltInServiceRetries` (spec/resolution 2.1).
    pub const BUILT_IN: RetryPolicy = RetryPolicy { retries: 3, interval: Duration::from_secs(1) };

    /// One attempt only.
    pub const NEVER: RetryPolicy = RetryPolicy { retries: 0, interval: Duration::ZERO };
}

/// What is known about an attempt that failed before the response began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// What another attempt would be ([`crate::invoke::classify::retry`]).
    pub retry: Retry,
    /// The request can be sent again: its body is kept, or nothing of it was read yet.
    pub replayable: bool,
    /// A live endpoint exists that this call has not tried.
    pub fresh_endpoint: bool,
    /// The peer is there and refused the call on an open connection (REFUSED_STREAM, GOAWAY).
    pub refused: bool,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after `wait`.
    Again {
        /// Zero: at once.
        wait: Duration,
    },
    /// Give the failure to the caller.
    Stop(Stop),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The failure is an answer: nothing else would come of another attempt.
    Final,
    /// All attempts of the policy were made.
    Exhausted,
    /// The body cannot be sent again.
    NotReplayable,
    /// The shard's retry budget is empty.
    Budget,
}

/// The attempts of one call.
#[derive(Debug)]
pub struct Attempts {
    policy: RetryPolicy,
    made: u32,
    repeats: u32,
    refused_before: bool,
}

impl Attempts {
    /// Before the first attempt.
    pub fn new(policy: RetryPolicy) -> Attempts {
        Attempts { policy, made: 0, repeats: 0, refused_before: false }
    }

    /// An attempt begins; returns its number, from 1.
    pub fn begin(&mut self) -> u32 {
        self.made = self.made.saturating_add(1);
        self.made
    }

    /// Attempts made so far.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Retries made although the peer may have processed the request before.
    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    /// The attempt failed: what now? Draws on `budget` when it says `Again`.
    pub fn failed(&mut self, attempt: FailedAttempt, budget: &mut Budget, now: Tick) -> Verdict {
        if attempt.retry == Retry::No {
            return Verdict::Stop(Stop::Final);
        }
        if self.made > self.policy.retries {
            return Verdict::Stop(Stop::Exhausted);
        }
        if !attempt.replayable {
            return Verdict::Stop(Stop::NotReplayable);
        }
        if !budget.withdraw(now) {
            return Verdict::Stop(Stop::Budget);
        }
        self.repeats += u32::from(attempt.retry == Retry::Unsafe);
        let first_refusal = attempt.refused && !core::mem::replace(&mut self.refused_before, true);
        let at_once = attempt.retry == Retry::Safe && (attempt.fresh_endpoint || first_refusal);
        Verdict::Again { wait: if at_once { Duration::ZERO } else { self.policy.interval } }
    }
}

/// Stops retry storms: retries may be at most a fifth of the calls, and at least [`Budget::FLOOR_PER_SECOND`].
/// A bucket of tokens; one retry takes a token, a call puts in a fifth of one, time puts in the floor.
#[derive(Clone, Debug)]
pub struct Budget {
    /// In thousandths of a token.
    balance: u64,
    refilled: Tick,
}

impl Budget {
    /// Retries a second that are always allowed.
    pub const FLOOR_PER_SECOND: u64 = 10;
    /// Thousandths of a token that each call puts in: 20 %.
    const PER_CALL: u64 = 200;
    /// Most that accumulates: ten seconds of the floor.
    const CAPACITY: u64 = Budget::FLOOR_PER_SECOND * 10 * 1000;

    /// A full bucket.
    pub const fn new(now: Tick) -> Budget {
        Budget { balance: Budget::CAPACITY, refilled: now }
    }

    /// A call began.
    pub fn deposit(&mut self) {
        self.balance = (self.balance + Budget::PER_CALL).min(Budget::CAPACITY);
    }

    /// Takes one retry out; `false` when the bucket is empty.
    pub fn withdraw(&mut self, now: Tick) -> bool {
        self.refill(now);
        let left = self.balance.checked_sub(1000);
        self.balance = left.unwrap_or(self.balance);
        left.is_some()
    }

    fn refill(&mut self, now: Tick) {
        let millis = u64::try_from(now.since(self.refilled).as_millis()).unwrap_or(u64::MAX);
        let gained = millis.saturating_mul(Budget::FLOOR_PER_SECOND);
        if gained > 0 {
            self.balance = self.balance.saturating_add(gained).min(Budget::CAPACITY);
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNAVAILABLE: FailedAttempt =
        FailedAttempt { retry: Retry::Safe, replayable: true, fresh_endpoint: false, refused: false };
    const SECOND: Duration = Duration::from_secs(1);

    fn run(policy: RetryPolicy, attempt: FailedAttempt) -> Vec<Verdict> {
        let (mut attempts, mut budget) = (Attempts::new(policy), Budget::new(Tick::default()));
        let mut verdicts = Vec::new();
        loop {
            attempts.begin();
            verdicts.push(attempts.failed(attempt, &mut budget, Tick::default()));
            if let Some(Verdict::Stop(_)) = verdicts.last() {
                return verdicts;
            }
        }
    }

    #[test]
    fn unavailable_gets_three_more_attempts_one_second_apart() {
        let verdicts = run(RetryPolicy::BUILT_IN, UNAVAILABLE);
        assert_eq!(verdicts[..3], [Verdict::Again { wait: SECOND }; 3]);
        assert_eq!(verdicts[3..], [Verdict::Stop(Stop::Exhausted)]);
    }

    #[test]
    fn what_would_end_the_same_way_is_final() {
        let verdicts = run(RetryPolicy::BUILT_IN, FailedAttempt { retry: Retry::No, ..UNAVAILABLE });
        assert_eq!(verdicts, [Verdict::Stop(Stop::Final)]);
    }

    #[test]
    fn another_live_endpoint_is_tried_at_once_unless_the_peer_may_have_processed_the_request() {
        let fresh = FailedAttempt { fresh_endpoint: true, ..UNAVAILABLE };
        assert_eq!(run(RetryPolicy::BUILT_IN, fresh)[0], Verdict::Again { wait: Duration::ZERO });
        let processed = FailedAttempt { retry: Retry::Unsafe, ..fresh };
        assert_eq!(run(RetryPolicy::BUILT_IN, processed)[0], Verdict::Again { wait: SECOND });
    }

    #[test]
    fn the_first_refusal_of_a_peer_that_is_there_costs_no_wait() {
        let refused = FailedAttempt { refused: true, ..UNAVAILABLE };
        let verdicts = run(RetryPolicy::BUILT_IN, refused);
        let waits = [Duration::ZERO, SECOND, SECOND].map(|wait| Verdict::Again { wait });
        assert_eq!(verdicts[..3], waits);
    }

    #[test]
    fn a_retry_that_may_execute_twice_is_counted() {
        let (mut attempts, mut budget) = (Attempts::new(RetryPolicy::BUILT_IN), Budget::new(Tick::default()));
        attempts.begin();
        attempts.failed(FailedAttempt { retry: Retry::Unsafe, ..UNAVAILABLE }, &mut budget, Tick::default());
        assert_eq!((attempts.made(), attempts.repeats()), (1, 1));
    }

    #[test]
    fn a_body_that_is_gone_ends_the_attempts() {
        let verdicts = run(RetryPolicy::BUILT_IN, FailedAttempt { replayable: false, ..UNAVAILABLE });
        assert_eq!(verdicts, [Verdict::Stop(Stop::NotReplayable)]);
    }

    #[test]
    fn an_empty_budget_stops_retries_until_calls_or_time_fill_it() {
        let mut budget = Budget::new(Tick::default());
        let mut withdrawn = 0;
        while budget.withdraw(Tick::default()) {
            withdrawn += 1;
        }
        assert_eq!(withdrawn, 100);
        (0..5).for_each(|_| budget.deposit());
        assert!(budget.withdraw(Tick::default()), "five calls pay for one retry");
        assert!(!budget.withdraw(Tick::default()));
        let later = Tick::from_micros(1_000_000);
        assert_eq!((0..20).filter(|_| budget.withdraw(later)).count(), 10, "the floor");
    }
}

//! The end of a data plane: when to stop what (compat.md "shutdown"; spec/invocation 6.6).
//!
//! ```text
//!   Serving ── terminate ──▶ Leaving ── quiet for QUIET, or half of the grace ──▶ Draining ── no call left ──▶ Done
//!                              │  names withdrawn, readiness fails,                 │  GOAWAY, no new
//!                              │  everything is still served                        │  connections
//!                              └──────────────── deadline (grace) ──────────────────┴──────────────────────▶ Done
//! ```
//!
//! One deadline, counted from `terminate`.

use crate::time::Tick;
use core::time::Duration;

/// No new call for this long means that the peers have noticed.
pub const QUIET: Duration = Duration::from_millis(500);

/// Where the shutdown stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// Normal life.
    #[default]
    Serving,
    /// The name is withdrawn; peers that still know it are served.
    Leaving {
        /// Begin of the shutdown.
        since: Tick,
        /// Its hard end.
        deadline: Tick,
    },
    /// No new work; calls in flight finish.
    Draining {
        /// The hard end.
        deadline: Tick,
    },
    /// Close what is left and exit.
    Done {
        /// Calls that were cut off.
        cut: usize,
    },
}

impl Drain {
    /// SIGTERM or SIGINT. A second signal changes nothing.
    pub fn terminate(&mut self, now: Tick, grace: Duration) {
        if *self == Drain::Serving {
            *self = Drain::Leaving { since: now, deadline: now + grace };
        }
    }

    /// Looks at the clock, the number of live calls and when the last one began. Returns when to look again;
    /// `None` in a state that only an event leaves.
    pub fn tick(&mut self, now: Tick, calls: usize, last_call: Tick) -> Option<Tick> {
        match *self {
            Drain::Serving | Drain::Done { .. } => None,
            Drain::Leaving { deadline, .. } | Drain::Draining { deadline } if now >= deadline => {
                *self = Drain::Done { cut: calls };
                None
            }
            Drain::Leaving { since, deadline } => {
                let quiet = since.max(last_call) + QUIET;
                let latest = since + deadline.since(since) / 2;
                let leave = quiet.min(latest);
                if now < leave {
                    return Some(leave);
                }
                *self = Drain::Draining { deadline };
                self.tick(now, calls, last_call)
            }
            Drain::Draining { deadline } => {
                if calls > 0 {
                    return Some(deadline);
                }
                *self = Drain::Done { cut: 0 };
                None
            }
        }
    }

    /// Whether healthz may say yes.
    pub fn is_ready(&self) -> bool {
        *self == Drain::Serving
    }

    /// Whether connections should end after their present request.
    pub fn is_draining(&self) -> bool {
        matches!(self, Drain::Draining { .. } | Drain::Done { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn at(millis: u64) -> Tick {
        Tick::from_micros(millis * 1000)
    }

    fn leaving() -> Drain {
        let mut drain = Drain::default();
        drain.terminate(at(0), GRACE);
        drain
    }

    #[test]
    fn readiness_fails_with_the_signal_but_calls_are_served_until_peers_are_quiet() {
        let mut drain = leaving();
        assert!(!drain.is_ready() && !drain.is_draining());
        assert_eq!(drain.tick(at(100), 1, at(50)), Some(at(550)));
        assert_eq!(drain.tick(at(600), 1, at(580)), Some(at(1080)), "a late call keeps it open");
        assert_eq!(drain.tick(at(1080), 1, at(580)), Some(at(5000)), "now only the call in flight counts");
        assert!(drain.is_draining());
    }

    #[test]
    fn peers_that_never_stop_are_cut_off_at_half_of_the_grace() {
        let mut drain = leaving();
        assert_eq!(drain.tick(at(2400), 3, at(2399)), Some(at(2500)));
        drain.tick(at(2500), 3, at(2499));
        assert!(drain.is_draining());
    }

    #[test]
    fn the_last_call_ends_the_drain() {
        let mut drain = leaving();
        drain.tick(at(600), 1, at(0));
        assert_eq!(drain.tick(at(700), 0, at(0)), None);
        assert_eq!(drain, Drain::Done { cut: 0 });
    }

    #[test]
    fn the_deadline_ends_everything_and_says_what_was_cut() {
        let mut drain = leaving();
        drain.tick(at(600), 2, at(0));
        drain.tick(at(5000), 2, at(0));
        assert_eq!(drain, Drain::Done { cut: 2 });
    }

    #[test]
    fn a_second_signal_does_not_move_the_deadline() {
        let mut drain = leaving();
        drain.terminate(at(4000), GRACE);
        drain.tick(at(5000), 1, at(0));
        assert_eq!(drain, Drain::Done { cut: 1 });
    }

    #[test]
    fn nothing_happens_without_a_signal() {
        let mut drain = Drain::default();
        assert_eq!(drain.tick(at(9000), 0, at(0)), None);
        assert_eq!(drain, Drain::Serving);
    }
}

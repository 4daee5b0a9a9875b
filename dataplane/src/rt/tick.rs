//! Time as the shards see it: microseconds on one monotonic clock, read once a turn.

use std::ops::{Add, Sub};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A moment on the process's monotonic clock, in microseconds since an arbitrary start. Never wall-clock time.
/// Ticks of different shards compare with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// A moment that never comes: "no deadline".
    pub const NEVER: Tick = Tick(u64::MAX);

    /// The moment `micros` microseconds after the clock's start.
    pub const fn from_micros(micros: u64) -> Tick {
        Tick(micros)
    }

    /// Microseconds since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn since(self, earlier: Tick) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// [`Tick::since`] in milliseconds, as metrics have it.
    pub fn millis_since(self, earlier: Tick) -> f64 {
        self.since(earlier).as_secs_f64() * 1000.0
    }

    /// The clock, read now. On a shard [`super::now`] costs nothing and is the same for a whole turn.
    pub fn read() -> Tick {
        static START: OnceLock<Instant> = OnceLock::new();
        let start = START.get_or_init(Instant::now);
        Tick(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX - 1).saturating_add(1))
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;

    fn add(self, wait: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Tick> for Tick {
    type Output = Duration;

    fn sub(self, earlier: Tick) -> Duration {
        self.since(earlier)
    }
}

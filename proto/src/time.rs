//! Time as an argument.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment on a shard's monotonic clock, in microseconds since an arbitrary start. Never wall-clock time.
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

/// A whole number of milliseconds as Go prints a duration: `500ms`, `1.5s`, `1m0s`, `1h0m0s`.
#[must_use]
pub fn go_text(time: Duration) -> String {
    let (total, ms) = (time.as_secs(), time.subsec_millis());
    if total == 0 {
        return if ms == 0 { "0s".into() } else { format!("{ms}ms") };
    }
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    let mut text = match (hours, minutes) {
        (0, 0) => String::new(),
        (0, _) => format!("{minutes}m"),
        _ => format!("{hours}h{minutes}m"),
    };
    text.push_str(&seconds.to_string());
    if ms > 0 {
        text.push_str(format!(".{ms:03}").trim_end_matches('0'));
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_go_prints_them() {
        let cases = [
            (500, "500ms"),
            (5000, "5s"),
            (1500, "1.5s"),
            (60_000, "1m0s"),
            (3_661_000, "1h1m1s"),
            (0, "0s"),
        ];
        for (ms, text) in cases {
            assert_eq!(go_text(Duration::from_millis(ms)), text);
        }
    }
}

//! When an app counts as healthy (spec/invocation 4.6).
//!
//! ```
//! use proto::policy::health::Health;
//!
//! let mut health = Health::new(2);
//! assert!(!health.is_healthy());
//! assert!(health.probed(true)); // a change: healthy
//! assert!(!health.probed(false) && health.is_healthy());
//! assert!(health.probed(false) && !health.is_healthy());
//! ```

/// What the probes of an app came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    threshold: u32,
    /// Failed probes in a row, at most the threshold.
    failures: u32,
}

impl Health {
    /// An app that was not probed yet: not healthy. `threshold` failed probes in a row make it so again; 0 counts as 1.
    pub fn new(threshold: u32) -> Health {
        let threshold = threshold.max(1);
        Health { threshold, failures: threshold }
    }

    /// Whether calls may go to it.
    pub fn is_healthy(self) -> bool {
        self.failures < self.threshold
    }

    /// A probe went well, or not; whether that changed anything.
    pub fn probed(&mut self, well: bool) -> bool {
        let before = self.is_healthy();
        self.failures = if well { 0 } else { self.failures.saturating_add(1).min(self.threshold) };
        before != self.is_healthy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_in_a_row() {
        let mut health = Health::new(3);
        health.probed(true);
        for _ in 0..5 {
            assert!(!health.probed(false) && !health.probed(false) && !health.probed(true));
            assert!(health.is_healthy());
        }
    }

    #[test]
    fn one_good_probe_is_enough() {
        let mut health = Health::new(0);
        assert!(!health.probed(false));
        assert!(health.probed(true) && health.probed(false));
    }
}

//! When to renew, and when to try again. Pure: times are Unix seconds, or durations.

use core::time::Duration;
use proto::rng::Rng;

/// Shortest wait before another try, and the first one.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest wait before another try, daprd's only one.
const LONGEST: Duration = Duration::from_secs(10);

/// Half of the validity, back-dating included, as daprd computes it; up to 5 % of what is left earlier, so that
/// sidecars that started together do not renew together. A certificate whose half is already over is renewed at half
/// of what is left of it, at least a second from now.
pub(super) fn renewal_at(not_before: i64, not_after: i64, now: i64, rng: &mut Rng) -> i64 {
    let half = not_before.saturating_add(not_after.saturating_sub(not_before) / 2);
    let at = if half > now { half } else { now.saturating_add(not_after.saturating_sub(now) / 2) };
    let jitter = u64::try_from(at.saturating_sub(now)).unwrap_or(0) / 20;
    let earlier = i64::try_from(rng.below(jitter + 1)).unwrap_or(0);
    at.saturating_sub(earlier).max(now.saturating_add(1))
}

/// How long to wait after `failures` failed tries in a row: 1, 2, 4, 8, then always 10 seconds.
pub(super) fn retry_after(failures: u32) -> Duration {
    let doubled = SHORTEST.saturating_mul(1 << failures.saturating_sub(1).min(8));
    doubled.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_800_000_000;

    fn at(not_before: i64, not_after: i64) -> i64 {
        renewal_at(T + not_before, T + not_after, T, &mut Rng::new(3)) - T
    }

    #[test]
    fn renewal_stands_at_half_the_validity_with_the_back_dating() {
        // 24 h with 15 min of back-dating: 11 h 52 min 30 s (spec/security 3.1), up to 5 % earlier
        assert!((40_612..=42_750).contains(&at(-900, 86_400)));
        assert_eq!(at(-2, 10), 4, "a life of 10 s as the tests use it");
        // vectors/mtls renew/ttl-12 and renew/ttl-12-backdated-4
        assert_eq!((at(0, 12), at(-4, 12)), (6, 4));
    }

    #[test]
    fn a_half_that_is_over_does_not_make_a_hot_loop() {
        assert_eq!(at(-900, 25), 12);
        assert_eq!((at(-900, 1), at(-900, 0), at(-900, -50)), (1, 1, 1));
    }

    #[test]
    fn jitter_is_never_late_and_never_more_than_a_twentieth() {
        let mut rng = Rng::new(1);
        let moments: Vec<_> = (0..200).map(|_| renewal_at(T, T + 2000, T, &mut rng) - T).collect();
        assert!(moments.iter().all(|m| (950..=1000).contains(m)));
        assert!(moments.iter().any(|m| *m < 1000));
    }

    #[test]
    fn tries_become_rarer_up_to_daprds_ten_seconds() {
        let waits: Vec<_> = (1..8).map(|n| retry_after(n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10, 10]);
        assert_eq!(retry_after(u32::MAX).as_secs(), 10);
    }
}

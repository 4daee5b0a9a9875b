//! How busy the machine is with others than the test, so that a bound in time can be judged on a shared one.

use crate::sidecar::descendants;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Ticks of the kernel's accounting a second (`USER_HZ`, the same on every Linux we run on).
const HZ: f64 = 100.0;

/// A moment in the accounts of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    at: Instant,
    /// Processor seconds that somebody used, or that a hypervisor kept.
    all: f64,
    /// Those of this process and all below it.
    own: f64,
}

impl Account {
    /// The accounts now. Processes that ended meanwhile count as ours once their parent has asked for them.
    pub fn now() -> Account {
        let own = descendants(std::process::id()).into_iter().map(used).sum();
        Account { at: Instant::now(), all: busy(), own }
    }

    /// The part of the machine that others took since, 0 to 1.
    pub fn taken_by_others(&self) -> f64 {
        let now = Account::now();
        let cores = thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        let time = (now.at - self.at).as_secs_f64() * cores;
        let others = (now.all - self.all) - (now.own - self.own);
        if time > 0.0 { (others / time).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The part of the machine that anybody used since, this process too, 0 to 1.
    pub fn used(&self) -> f64 {
        let now = Account::now();
        let cores = thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        let time = (now.at - self.at).as_secs_f64() * cores;
        if time > 0.0 { ((now.all - self.all) / time).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// What a bound amounts to on a machine of which others take their part: as much longer as what is left is smaller,
    /// ten times at most. On a machine of one's own it is the bound itself.
    pub fn stretched(&self, bound: Duration) -> Duration {
        bound.div_f64((1.0 - self.taken_by_others()).max(0.1))
    }
}

/// Processor seconds used on the whole machine, time stolen by a hypervisor included, idle time not.
fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<f64> =
        stat.lines().next().unwrap_or_default().split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    (ticks.iter().take(8).sum::<f64>() - idle) / HZ
}

/// Processor seconds of one process and its children that ended.
fn used(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4);
    fields.filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / HZ
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_does_is_not_others_doing() {
        let before = Account::now();
        let until = Instant::now() + Duration::from_millis(300);
        let mut n = 0_u64;
        while Instant::now() < until {
            n = n.wrapping_mul(31).wrapping_add(1);
        }
        let now = Account::now();
        assert!(now.own - before.own >= 0.01, "{before:?} {now:?} {n}");
        assert!((0.0..=1.0).contains(&before.taken_by_others()));
        assert!(before.stretched(Duration::from_secs(1)) >= Duration::from_secs(1));
    }
}

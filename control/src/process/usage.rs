//! What the processes of this sidecar use, from `/proc`.

use super::House;
use std::fs;
use std::iter::Sum;

/// Fields of `/proc/PID/stat` are in clock ticks; Linux fixes them at 100 a second for user space.
const TICKS: f64 = 100.0;

/// What one or several processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Virtual memory in bytes.
    pub virtual_size: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Usage {
    /// What the process uses now; `None` if it is gone.
    pub fn of(process: u32) -> Option<Usage> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).map_or(0, |all| all.count() as u64);
        Some(Usage {
            cpu_seconds: cpu_seconds(&stat)?,
            resident: bytes(&status, "VmRSS:"),
            virtual_size: bytes(&status, "VmSize:"),
            descriptors,
        })
    }
}

/// User and system time: fields 14 and 15, counted behind the name, which may hold anything but ends with the last
/// parenthesis (proc(5)).
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((f64::from(user) + f64::from(system)) / TICKS)
}

/// A line such as `VmRSS:      1024 kB`; a process that ended and was not waited for has none.
fn bytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Usage>>(all: I) -> Usage {
        all.fold(Usage::default(), |a, b| Usage {
            cpu_seconds: a.cpu_seconds + b.cpu_seconds,
            resident: a.resident + b.resident,
            virtual_size: a.virtual_size + b.virtual_size,
            descriptors: a.descriptors + b.descriptors,
        })
    }
}

impl House {
    /// The processes of this sidecar by name.
    pub(crate) fn processes(&self) -> Vec<(&'static str, u32)> {
        let mut all = vec![("control", std::process::id())];
        if self.supervised {
            all.insert(0, ("supervisor", std::os::unix::process::parent_id()));
        }
        all.extend(self.planes.newest().map(|plane| ("data plane", plane.peer.pid)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_an_odd_name_is_read() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 99 8192 5 18446744073709551615";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a"), None);
        assert_eq!(bytes("VmPeak:\t9 kB\nVmRSS:\t    20 kB\n", "VmRSS:"), 20_480);
        assert_eq!(bytes("State:\tZ (zombie)\n", "VmRSS:"), 0);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident > 0 && usage.virtual_size > usage.resident && usage.descriptors > 0);
    }
}

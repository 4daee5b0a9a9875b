//! What the kernel says of processes: CPU time, memory, system calls, instructions.

use rig::sidecar::descendants;
use serde::Serialize;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process of ours; it and everything below it ends with this value.
pub(crate) struct Guard {
    child: Child,
}

impl Guard {
    pub(crate) fn start(command: &mut Command) -> Result<Guard, String> {
        let child =
            command.spawn().map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
        Ok(Guard { child })
    }

    /// The process and all below it.
    pub(crate) fn all(&self) -> Vec<u32> {
        descendants(self.child.id())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let all = self.all();
        rig::sidecar::send_signal(i32::try_from(self.child.id()).unwrap_or(0), 15);
        if rig::wait::within(Duration::from_secs(8), || self.has_ended().then_some(())).is_none() {
            for id in all {
                rig::sidecar::send_signal(i32::try_from(id).unwrap_or(0), 9);
            }
            // a killed process is reaped at once
            let _ = self.child.wait();
        }
    }
}

/// CPU time of all threads of these processes, nanoseconds.
pub(crate) fn cpu_ns(ids: &[u32]) -> u64 {
    let tasks =
        ids.iter().flat_map(|id| fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten());
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// Memory of these processes, KiB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// Shared pages divided among those that share them.
    pub(crate) pss_kib: u64,
    /// Shared pages counted in full for each process.
    pub(crate) rss_kib: u64,
}

pub(crate) fn memory(ids: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for id in ids {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
        sum.pss_kib += field(&text, "Pss:");
        sum.rss_kib += field(&text, "Rss:");
    }
    sum
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Counts the system calls of processes from its start to its end.
pub(crate) struct Strace {
    child: Child,
    out: std::path::PathBuf,
}

impl Strace {
    /// `None` where strace is missing or may not attach.
    pub(crate) fn attach(ids: &[u32], out: std::path::PathBuf) -> Option<Strace> {
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-q", "-o"]).arg(&out).stdout(Stdio::null()).stderr(Stdio::null());
        for id in ids {
            command.args(["-p", &id.to_string()]);
        }
        let mut child = command.spawn().ok()?;
        let traced = || {
            ids.iter().all(|id| {
                field(&fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default(), "TracerPid:")
                    != 0
            })
        };
        let attached = rig::wait::within(Duration::from_secs(5), || traced().then_some(())).is_some();
        if !attached {
            // already ended, or not allowed: nothing to count either way
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        Some(Strace { child, out })
    }

    /// How many calls were made.
    pub(crate) fn calls(mut self) -> Option<u64> {
        rig::sidecar::send_signal(i32::try_from(self.child.id()).ok()?, 2);
        self.child.wait().ok()?;
        let text = fs::read_to_string(&self.out).ok()?;
        let total = text.lines().rev().find(|l| l.trim_end().ends_with("total"))?;
        total.split_whitespace().nth(3)?.parse().ok()
    }
}

/// Whether `perf stat` counts instructions on this machine.
pub(crate) fn counts_instructions() -> bool {
    let run = Command::new("perf").args(["stat", "-x,", "-e", "instructions", "true"]).output();
    run.is_ok_and(|out| first_number(&String::from_utf8_lossy(&out.stderr)).is_some())
}

fn first_number(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split(',').next()?.parse().ok())
}

/// Counts the instructions of processes from its start to its end.
pub(crate) struct Instructions {
    child: Child,
}

impl Instructions {
    pub(crate) fn attach(ids: &[u32]) -> Option<Instructions> {
        let list = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let mut command = Command::new("perf");
        command
            .args(["stat", "-x,", "-e", "instructions", "-p", &list])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().ok().map(|child| Instructions { child })
    }

    pub(crate) fn count(self) -> Option<u64> {
        rig::sidecar::send_signal(i32::try_from(self.child.id()).ok()?, 2);
        first_number(&String::from_utf8_lossy(&self.child.wait_with_output().ok()?.stderr))
    }
}

/// Pins this process, and what it starts from now on, to one core.
pub(crate) fn pin_to_one_core() -> Result<usize, String> {
    let core = std::thread::available_parallelism().map_or(0, |n| n.get() - 1);
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).map_err(|e| format!("pinning to core {core}: {e}"))?;
    Ok(core)
}

/// One line about this machine, for the head of a table.
pub(crate) fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("", |l| l.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    format!("{cores} cores of {model}, kernel {}, congestion control {}", kernel.trim(), congestion.trim())
}

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

/// CPU time of each of these processes, nanoseconds, with a name for people.
pub(crate) fn cpu_by_process(ids: &[u32]) -> Vec<(u32, String, u64)> {
    ids.iter().map(|id| (*id, role(*id), cpu_ns(&[*id]))).collect()
}

/// What a process is: the executable's name and, where it has verbs, its verb.
fn role(id: u32) -> String {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let mut words = line.split(|b| *b == 0).map(String::from_utf8_lossy);
    let name = words.next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
    match words.next().filter(|word| !word.starts_with('-') && !word.is_empty()) {
        Some(verb) => format!("{name} {verb}"),
        None => name,
    }
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

/// What was counted of some processes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) system_calls: u64,
    /// `None` where the machine has no such counters.
    pub(crate) instructions_user: Option<u64>,
    pub(crate) instructions_kernel: Option<u64>,
}

/// Counts from its start to its end: with perf where the kernel lets it, which hardly disturbs; else with strace, which slows what
/// it counts and knows no instructions.
pub(crate) enum Counter {
    Perf(Perf),
    Strace(Strace),
}

impl Counter {
    /// `None` where neither may look at these processes.
    pub(crate) fn attach(ids: &[u32], out: std::path::PathBuf) -> Option<Counter> {
        let perf = Perf::attach(ids, out.clone()).map(Counter::Perf);
        perf.or_else(|| Strace::attach(ids, out).map(Counter::Strace))
    }

    pub(crate) fn counts(self) -> Option<Counts> {
        match self {
            Counter::Perf(perf) => perf.counts(),
            Counter::Strace(strace) => Some(Counts { system_calls: strace.calls()?, ..Counts::default() }),
        }
    }
}

/// A running `perf stat`.
pub(crate) struct Perf {
    child: Child,
    out: std::path::PathBuf,
}

impl Perf {
    /// How long perf may take to open its counters for all threads.
    const OPENING: Duration = Duration::from_millis(300);

    fn attach(ids: &[u32], out: std::path::PathBuf) -> Option<Perf> {
        let list: Vec<String> = ids.iter().map(u32::to_string).collect();
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter,instructions:u,instructions:k"]);
        command.args(["-p", &list.join(",")]).arg("-o").arg(&out);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let ended =
            rig::wait::within(Perf::OPENING, || matches!(child.try_wait(), Ok(Some(_))).then_some(()));
        // ended at once: no right to these events
        ended.is_none().then_some(Perf { child, out })
    }

    fn counts(mut self) -> Option<Counts> {
        rig::sidecar::send_signal(i32::try_from(self.child.id()).ok()?, 2);
        self.child.wait().ok()?;
        let text = fs::read_to_string(&self.out).ok()?;
        let value = |event: &str| {
            let line = text.lines().find(|line| line.split(',').nth(2) == Some(event))?;
            line.split(',').next()?.parse::<u64>().ok()
        };
        Some(Counts {
            system_calls: value("raw_syscalls:sys_enter")?,
            instructions_user: value("instructions:u"),
            instructions_kernel: value("instructions:k"),
        })
    }
}

/// Counts the system calls of processes from its start to its end.
pub(crate) struct Strace {
    child: Child,
    out: std::path::PathBuf,
}

impl Strace {
    /// `None` where strace is missing or may not attach.
    fn attach(ids: &[u32], out: std::path::PathBuf) -> Option<Strace> {
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
    fn calls(mut self) -> Option<u64> {
        rig::sidecar::send_signal(i32::try_from(self.child.id()).ok()?, 2);
        self.child.wait().ok()?;
        let text = fs::read_to_string(&self.out).ok()?;
        let total = text.lines().rev().find(|l| l.trim_end().ends_with("total"))?;
        total.split_whitespace().nth(3)?.parse().ok()
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

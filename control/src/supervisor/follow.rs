//! Dying with the supervisor: what its children do at their start, and the keeper that ends the app's processes.

use rustix::process::{Pid, Signal, getppid, kill_process_group, set_parent_process_death_signal};
use std::ffi::CString;
use std::io::BufRead;

/// Names this process for `ps` and `top`, makes it die with its parent, and checks that the parent is still the one that
/// started it. Call it before anything else: it needs no cleaning up after an error.
///
/// # Errors
/// The parent is gone already, or the kernel refuses.
pub fn follow(name: &str, parent: Option<u32>) -> Result<(), String> {
    let Some(parent) = parent else { return Ok(()) };
    let named = CString::new(name).unwrap_or_default();
    rustix::thread::set_name(&named).map_err(|e| format!("this process cannot be named {name}: {e}"))?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| format!("the kernel refuses to end this process with its supervisor: {e}"))?;
    let now = getppid().map(|pid| pid.as_raw_nonzero().get());
    if now == i32::try_from(parent).ok() {
        return Ok(());
    }
    Err(format!("the supervisor (process {parent}) that started this process is gone"))
}

/// Reads process groups from standard input, one a line, and kills them when it ends: that is when the supervisor is
/// gone, however it went. A group that ended meanwhile is no error.
pub fn keep() -> i32 {
    if let Ok(name) = CString::new("outrigger-keep") {
        let _ = rustix::thread::set_name(&name);
    }
    let groups: Vec<Pid> = std::io::stdin()
        .lock()
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.trim().parse().ok().and_then(Pid::from_raw))
        .collect();
    for group in groups {
        let _ = kill_process_group(group, Signal::KILL);
    }
    0
}

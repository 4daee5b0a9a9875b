//! The supervisor: opens the listening sockets, starts control, data plane and app, keeps them running, ends them.

pub mod probe;

use crate::cli::SuperviseArgs;

/// Runs a sidecar until it ends; returns the exit code.
pub fn run(_arguments: &SuperviseArgs) -> i32 {
    crate::cli::complain("the supervisor is not complete yet")
}

/// Makes this process die with its parent, and checks that the parent is still the one that started it.
///
/// # Errors
/// The parent is gone already, or the kernel refuses.
pub fn follow(name: &str, parent: Option<u32>) -> Result<(), String> {
    let Some(parent) = parent else { return Ok(()) };
    let named = std::ffi::CString::new(name).unwrap_or_default();
    rustix::thread::set_name(&named).map_err(|e| format!("this process cannot be named {name}: {e}"))?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|e| format!("the kernel refuses to end this process with its supervisor: {e}"))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now == i32::try_from(parent).ok() {
        return Ok(());
    }
    Err(format!("the supervisor (process {parent}) that started this process is gone"))
}

/// Waits for the end of standard input and then kills the process groups that were named there.
pub fn keep() -> i32 {
    0
}

//! Dying with the supervisor: what its children do at their start, and the keeper that ends the app's processes.

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::ffi::CString;

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

/// Waits for the end of standard input, which is when the supervisor is gone, however it went; then kills this process
/// group, in which the app was started. A signal to the group before that is the app's business.
pub fn keep() -> i32 {
    let _ = rustix::thread::set_name(c"outrigger-keep");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Without handlers a TERM meant for the app would end the keeper too; it has nothing else to lose.
    let _handlers = runtime.as_ref().map(deaf);
    let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    let _ = rustix::process::kill_current_process_group(Signal::KILL);
    0
}

/// Handlers that do nothing, kept as long as the keeper lives.
fn deaf(runtime: &tokio::runtime::Runtime) -> Vec<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    let _context = runtime.enter();
    [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()]
        .into_iter()
        .filter_map(|kind| signal(kind).ok())
        .collect()
}

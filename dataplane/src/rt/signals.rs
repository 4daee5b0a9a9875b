//! Termination signals as messages.

use super::handle;
use super::mailbox::Sender;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// A request to end the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminate {
    /// `SIGTERM`.
    Term,
    /// `SIGINT`.
    Interrupt,
}

static TERMS: AtomicU32 = AtomicU32::new(0);
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
static INSTALLED: AtomicBool = AtomicBool::new(false);
static LISTENERS: Mutex<Vec<Sender<Terminate>>> = Mutex::new(Vec::new());

/// Sends a message for each `SIGTERM` and `SIGINT` of the process from now on, as long as a shard runs. The signals'
/// default effect is gone. Any number of receivers may listen; one that is dropped is forgotten.
///
/// # Errors
/// What the kernel says.
pub fn on_terminate(to: Sender<Terminate>) -> io::Result<()> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner).push(to);
    if !INSTALLED.swap(true, Ordering::SeqCst) {
        install(libc::SIGTERM)?;
        install(libc::SIGINT)?;
    }
    Ok(())
}

fn install(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: all-zero is a valid action (default, no flags, empty mask).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is a live variable and its handler does async-signal-safe things only: atomics and write(2).
    if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "C" fn handler(signal: libc::c_int) {
    // SAFETY: errno is the thread's own; what the handler interrupts must find it unchanged.
    let (errno, saved) = unsafe { (libc::__errno_location(), *libc::__errno_location()) };
    let count = if signal == libc::SIGINT { &INTERRUPTS } else { &TERMS };
    count.fetch_add(1, Ordering::SeqCst);
    handle::ring_all();
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Sends on what the handler counted; called by whichever shard hears the bell first.
pub(super) fn deliver() {
    for (count, what) in [(&TERMS, Terminate::Term), (&INTERRUPTS, Terminate::Interrupt)] {
        for _ in 0..count.swap(0, Ordering::SeqCst) {
            let mut listeners = LISTENERS.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.retain(|listener| listener.send(what).is_ok() || !listener.is_closed());
        }
    }
}

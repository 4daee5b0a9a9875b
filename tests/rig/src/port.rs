//! Ports that are free now.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Held while a port is found and while a process is started: a child has copies of all sockets between fork and exec,
/// and a port that looks free again would still be bound.
pub(crate) static FORK: Mutex<()> = Mutex::new(());

/// `n` different TCP ports on loopback that nobody listened on a moment ago.
///
/// They come from the kernel, held until all are known; five digits where the ephemeral range has five.
pub fn free(n: usize) -> Vec<u16> {
    let _alone = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    let held: Vec<TcpListener> =
        (0..n).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
    held.iter().map(|l| l.local_addr().expect("its address").port()).collect()
}

/// One free port.
pub fn one() -> u16 {
    free(1)[0]
}

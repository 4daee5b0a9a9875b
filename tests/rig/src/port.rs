//! Ports that are free now.

use std::net::{Ipv4Addr, TcpListener};

/// `n` different TCP ports on loopback that nobody listened on a moment ago.
///
/// They come from the kernel, held until all are known; five digits where the ephemeral range has five.
pub fn free(n: usize) -> Vec<u16> {
    let held: Vec<TcpListener> =
        (0..n).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
    held.iter().map(|l| l.local_addr().expect("its address").port()).collect()
}

/// One free port.
pub fn one() -> u16 {
    free(1)[0]
}

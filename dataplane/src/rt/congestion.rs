//! Which TCP congestion control a shard's sockets use, where that is not the host's default.

use super::net::Net;
use super::sys;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Where the kernel tells what it has.
const AVAILABLE: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

/// Whether this process may use the algorithm: [`super::Shards::tcp_congestion`] refers to one that it may.
///
/// # Errors
/// Why not, in one line with what the host has.
pub fn check_congestion(algorithm: &str) -> io::Result<()> {
    let socket = sys::socket(libc::AF_INET, false)?;
    sys::congestion(socket.as_raw_fd(), algorithm).map_err(|error| {
        let available = std::fs::read_to_string(AVAILABLE).unwrap_or_default();
        let why = match error.raw_os_error() {
            Some(libc::EPERM) => "needs the right CAP_NET_ADMIN",
            _ => "is not available",
        };
        let text = format!(
            "TCP congestion control '{algorithm}' {why} on this host; it has: {}",
            available.trim_end()
        );
        io::Error::new(error.kind(), text)
    })
}

impl Net {
    /// What every TCP socket of the shard is set to.
    pub(super) fn tune(&self, fd: RawFd) -> io::Result<()> {
        sys::no_delay(fd)?;
        self.congestion.as_deref().map_or(Ok(()), |algorithm| sys::congestion(fd, algorithm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_that_is_not_there_is_named_with_those_that_are() {
        let text = check_congestion("carrier-pigeon").unwrap_err().to_string();
        assert!(
            text.starts_with("TCP congestion control 'carrier-pigeon' is not available on this host"),
            "{text}"
        );
        assert!(text.contains("reno"), "{text}");
        check_congestion("reno").unwrap();
    }
}

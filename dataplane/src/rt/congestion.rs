//! Which TCP congestion control a shard's sockets use.
//!
//! Where both ends are on this machine there is no path to probe and nobody to be fair to, and what a host chose for its
//! network (bbr with its model and its pacing) only costs: such connections get [`CHEAPEST`] unless told otherwise.

use super::address::Address;
use super::net::Net;
use super::sys;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// Where the kernel tells what it has.
const AVAILABLE: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";

/// The kernel's plainest algorithm: it is always built in, and everybody may choose it.
const CHEAPEST: &str = "reno";

/// How the TCP sockets of a shard decide how fast they send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// Where both ends are on this machine the kernel's plainest algorithm, elsewhere the host's.
    #[default]
    Auto,
    /// The host's.
    Host,
    /// This one, by the kernel's name; [`Congestion::check`] says whether it can be had.
    Named(Arc<str>),
}

impl Congestion {
    /// `auto`, `host`, or the kernel's name of an algorithm.
    pub fn new(name: &str) -> Congestion {
        match name {
            "auto" => Congestion::Auto,
            "host" => Congestion::Host,
            name => Congestion::Named(name.into()),
        }
    }

    /// As [`Congestion::new`] reads it.
    pub fn name(&self) -> &str {
        match self {
            Congestion::Auto => "auto",
            Congestion::Host => "host",
            Congestion::Named(name) => name,
        }
    }

    /// Whether this process may use the algorithm.
    ///
    /// # Errors
    /// Why not, in one line with what the host has.
    pub fn check(&self) -> io::Result<()> {
        let Congestion::Named(algorithm) = self else { return Ok(()) };
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
}

impl Net {
    /// What every TCP socket is set to before it is connected or listens; `at`: where it will be connected to, or
    /// listens. What a listener is set to, its connections inherit, and then the host's algorithm never began on them.
    pub(super) fn tune(&self, fd: RawFd, at: Option<&Address>) -> io::Result<()> {
        sys::no_delay(fd)?;
        match &self.congestion {
            Congestion::Named(algorithm) => sys::congestion(fd, algorithm),
            Congestion::Auto if at.is_some_and(is_loopback) => {
                make_cheapest(fd);
                Ok(())
            }
            Congestion::Auto | Congestion::Host => Ok(()),
        }
    }

    /// What a TCP connection is set to once both its ends are known.
    pub(super) fn tune_connected(&self, fd: RawFd) {
        if self.congestion == Congestion::Auto && is_within_machine(fd) {
            make_cheapest(fd);
        }
    }
}

/// A kernel that refuses keeps the host's algorithm: it is slower, and nothing else.
fn make_cheapest(fd: RawFd) {
    let _ = sys::congestion(fd, CHEAPEST);
}

/// Whether both ends of a connection are on this machine, whatever addresses they use.
fn is_within_machine(fd: RawFd) -> bool {
    let ip = |address: io::Result<Option<Address>>| address.ok().flatten().as_ref().and_then(Address::ip);
    let peer = ip(sys::peer_address(fd));
    peer.is_some_and(|peer| peer.is_loopback() || ip(sys::local_address(fd)) == Some(peer))
}

pub(super) fn is_loopback(address: &Address) -> bool {
    address.ip().is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn an_algorithm_that_is_not_there_is_named_with_those_that_are() {
        let text = Congestion::new("carrier-pigeon").check().unwrap_err().to_string();
        assert!(
            text.starts_with("TCP congestion control 'carrier-pigeon' is not available on this host"),
            "{text}"
        );
        assert!(text.contains("reno"), "{text}");
        ["reno", "auto", "host"].iter().for_each(|name| Congestion::new(name).check().unwrap());
    }

    #[test]
    fn a_connection_within_the_machine_is_known_by_its_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(is_within_machine(stream.as_raw_fd()));
        assert!(!is_within_machine(listener.as_raw_fd()), "it has no other end");
        make_cheapest(stream.as_raw_fd());
        assert_eq!(sys::congestion_of(stream.as_raw_fd()).unwrap(), CHEAPEST);
    }

    #[test]
    fn addresses_of_this_machine_are_known_in_every_spelling() {
        let within = |text: &str| is_loopback(&Address::Tcp(text.parse().unwrap()));
        assert!(
            within("127.0.0.1:1")
                && within("127.8.9.1:1")
                && within("[::1]:1")
                && within("[::ffff:127.0.0.1]:1")
        );
        assert!(!within("0.0.0.0:1") && !within("[::]:1") && !within("10.0.0.1:1"));
    }
}

//! Sockets of which the kernel keeps little while nobody reads.
//!
//! A socket on loopback takes what is written to it up to `net.ipv4.tcp_wmem` (4 MiB, often more), whatever its receiver
//! takes: so much for each answer that a client does not read, in the app's socket and in ours. A thousand of them bring
//! the host's TCP memory (`net.ipv4.tcp_mem`) under pressure, and then all its connections are slow.

use super::address::Address;
use super::congestion::is_loopback;
use super::sys;
use std::io;
use std::os::fd::RawFd;

/// Bytes that a socket towards a client takes beyond what the client's window does (`TCP_NOTSENT_LOWAT`). What is on its
/// way is not counted, so that long paths are as fast as without.
const UNSENT: i32 = 256 << 10;

/// The segment size that is announced to a server on loopback, where it would be 64 KiB (`TCP_MAXSEG`). The sender's
/// socket has room for ten segments and more from its first byte on (`tcp_sndbuf_expand` in the kernel), each of which
/// is reckoned as a power of two with its overhead: 4 KiB here. From there it grows with what is taken, as long as the
/// host's TCP memory is below the first of its three marks. Segments travel together, so few are felt.
const SEGMENT: i32 = 3400;

/// For a listener: what it accepts takes few bytes that the other end does not read.
pub(super) fn towards_client(listener: RawFd) -> io::Result<()> {
    sys::unsent_limit(listener, UNSENT)
}

/// Before connecting to a server: its socket takes few bytes that we do not read, where it is on loopback. Elsewhere
/// the network's segments are small anyway.
pub(super) fn towards_server(fd: RawFd, to: &Address) -> io::Result<()> {
    if is_loopback(to) { sys::segment_size(fd, SEGMENT) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};

    /// How much `from` takes while nobody reads.
    fn taken(mut from: &TcpStream) -> usize {
        from.set_nonblocking(true).unwrap();
        let mut all = 0;
        while let Ok(n) = from.write(&[7; 16 << 10]) {
            all += n;
        }
        all
    }

    fn pair(prepared: impl FnOnce(RawFd, &Address) -> io::Result<()>) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at: SocketAddr = listener.local_addr().unwrap();
        let socket = sys::socket(libc::AF_INET, false).unwrap();
        let to = Address::Tcp(at);
        prepared(socket.as_raw_fd(), &to).unwrap();
        sys::connect(socket.as_raw_fd(), &super::super::address::RawAddress::new(&to).unwrap()).unwrap();
        // SAFETY: the descriptor is given away by its owner.
        (unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) }, listener.accept().unwrap().0)
    }

    #[test]
    fn a_server_on_loopback_cannot_write_megabytes_that_nobody_reads() {
        let (_usual, server) = pair(|_, _| Ok(()));
        let (_thrifty, sparing) = pair(towards_server);
        let (usual, sparing) = (taken(&server), taken(&sparing));
        assert!(sparing * 2 <= usual, "{sparing}, {usual} without");
    }

    #[test]
    fn a_client_that_does_not_read_leaves_little_in_our_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        towards_client(listener.as_raw_fd()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let taken = taken(&ours);
        assert!(taken <= (512 << 10) + 2 * UNSENT as usize, "{taken}");
    }
}

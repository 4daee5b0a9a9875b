//! Whether a client that ended its side has left altogether, or only finished sending.
//!
//! On the wire both are a FIN. A client that only finished sending gets its answer (compat.md, "client half-closes"); one
//! that closed its socket will never read it, and its call should be cancelled. Of a client on this host the kernel
//! knows: the client's own socket is in its table, and without an owner once it was closed. One elsewhere is asked: it
//! is sent an interim answer after a while, which a socket that was closed answers with a reset. (That is legal without
//! being asked for, RFC 9110 section 15.2; HTTP/1.0 knows none; there the answer is awaited.)

use super::source::Source;
use crate::rt::{self, Address};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Time between two looks at the same client.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long a client elsewhere that finished sending waits for its answer before it is asked whether it is there.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// What it is asked with.
const STILL_THERE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The ends of a client's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    /// Both are on this host.
    Here {
        /// The client's.
        client: SocketAddr,
        /// The sidecar's.
        ours: SocketAddr,
    },
    /// The client is elsewhere.
    Apart,
    /// A Unix domain socket, whose closing can be seen.
    Unix,
}

impl Ends {
    /// The ends of a connection.
    pub(crate) fn of(client: Option<Address>, ours: Option<Address>) -> Ends {
        match (client, ours) {
            (Some(Address::Tcp(client)), Some(Address::Tcp(ours))) if is_here(client.ip(), ours.ip()) => {
                Ends::Here { client, ours }
            }
            (Some(Address::Tcp(_)), _) => Ends::Apart,
            _ => Ends::Unix,
        }
    }

    /// Returns when nobody owns the client's socket any more, as far as that can be found out. `may_ask`: no answer has
    /// begun, and the client knows interim ones.
    pub(crate) async fn client_left(self, source: &Source, may_ask: impl Fn() -> bool) {
        let ask_at = rt::now() + ASK_AFTER;
        let mut asked = !matches!(self, Ends::Apart);
        loop {
            if source.has_hung_up() || self.is_orphaned().await {
                return;
            }
            if !asked && rt::now() >= ask_at && may_ask() {
                asked = source.interject(STILL_THERE);
            }
            rt::sleep_until(rt::now() + LOOK_AGAIN).await;
        }
    }

    /// Whether the kernel's table says that nobody holds the client's socket.
    async fn is_orphaned(self) -> bool {
        let Ends::Here { client, ours } = self else { return false };
        rt::blocking(move || forms(client, ours).all(|(client, ours)| !is_held(client, ours))).await
    }
}

/// The two addresses as the kernel's tables may have them: an IPv4 connection can be of a socket for IPv6.
fn forms(client: SocketAddr, ours: SocketAddr) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
    let plain = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let mapped = |at: SocketAddr| match plain(at) {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    };
    [(plain(client), plain(ours)), (mapped(client), mapped(ours))].into_iter()
}

/// Whether a process holds the socket. What cannot be looked up is taken to be held.
fn is_held(client: SocketAddr, ours: SocketAddr) -> bool {
    let file = if client.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let is_mapped = client.ip() != client.ip().to_canonical(); // there may be no table for IPv6 at all
    std::fs::read_to_string(file).map_or(!is_mapped, |table| is_owned(&table, client, ours))
}

/// Whether both addresses are this host's: what comes from an address to the same one has not left it.
fn is_here(client: IpAddr, ours: IpAddr) -> bool {
    client.to_canonical().is_loopback() || client == ours
}

/// Whether the kernel's table has a socket from `local` to `remote` that a process holds.
fn is_owned(table: &str, local: SocketAddr, remote: SocketAddr) -> bool {
    let (local, remote) = (written(local), written(remote));
    let entry = table.lines().find(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        columns.next() == Some(&*local) && columns.next() == Some(&*remote)
    });
    let inode = entry.and_then(|line| line.split_ascii_whitespace().nth(9));
    inode.is_some_and(|inode| inode != "0")
}

/// An address as the kernel's table has it: 32-bit words in the machine's order, in hexadecimal.
fn written(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut text = String::with_capacity(40);
    for word in octets.chunks_exact(4) {
        let word = word.try_into().map_or(0, u32::from_ne_bytes);
        let _ = write!(text, "{word:08X}");
    }
    let _ = write!(text, ":{:04X}", address.port());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn pair(at: &str) -> Option<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind(at).ok()?;
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Some((client, listener.accept().unwrap().0))
    }

    fn table(address: SocketAddr) -> String {
        let file = if address.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
        std::fs::read_to_string(file).unwrap()
    }

    #[test]
    fn a_client_that_finished_sending_still_owns_its_socket_and_one_that_closed_does_not() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Some((client, ours)) = pair(at) else { continue };
            let (from, to) = (client.local_addr().unwrap(), ours.local_addr().unwrap());
            assert!(is_owned(&table(from), from, to), "{at}");
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(is_owned(&table(from), from, to), "{at}: half closed");
            drop(client);
            assert!(!is_owned(&table(from), from, to), "{at}: closed");
        }
    }

    #[test]
    fn the_socket_of_a_mapped_address_is_found() {
        let Some((client, ours)) = pair("127.0.0.1:0") else { return };
        let mapped = |at: SocketAddr| match at {
            SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            v6 => v6,
        };
        let (from, to) = (mapped(client.local_addr().unwrap()), mapped(ours.local_addr().unwrap()));
        assert!(forms(from, to).any(|(from, to)| is_held(from, to)));
        drop(client);
        assert!(!forms(from, to).any(|(from, to)| is_held(from, to)));
    }

    #[test]
    fn what_has_not_left_this_host_is_known() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (client, ours, here) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.2", "127.0.0.1", true),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
            ("192.0.2.2", "192.0.2.2", true),
            ("192.0.2.3", "192.0.2.2", false),
            ("fd00::2", "fd00::2", true),
        ] {
            assert_eq!(is_here(ip(client), ip(ours)), here, "{client} {ours}");
        }
    }

    #[test]
    fn addresses_are_written_as_the_kernel_does() {
        if cfg!(target_endian = "little") {
            assert_eq!(written("127.0.0.1:80".parse().unwrap()), "0100007F:0050");
            assert_eq!(written("[::1]:80".parse().unwrap()), "00000000000000000000000001000000:0050");
        }
    }
}

//! Whether a client that ended its side has left altogether, or only finished sending.
//!
//! On the wire both are a FIN. A client that only finished sending gets its answer (compat.md, "client half-closes"); one
//! that closed its socket will never read it, and its call should be cancelled. On loopback the kernel knows: the
//! client's own socket is in its table, and without an owner once it was closed. For other clients nothing is known,
//! and the answer is awaited.

use crate::rt::{self, Address};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Time between two looks at the same client.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The two ends of a client's connection, where the kernel can tell about the client's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    client: SocketAddr,
    ours: SocketAddr,
}

impl Ends {
    /// The ends of a connection over loopback; `None` for any other.
    pub(crate) fn of(client: Option<Address>, ours: Option<Address>) -> Option<Ends> {
        match (client, ours) {
            (Some(Address::Tcp(client)), Some(Address::Tcp(ours)))
                if client.ip().to_canonical().is_loopback() =>
            {
                Some(Ends { client, ours })
            }
            _ => None,
        }
    }

    /// Returns when nobody owns the client's socket any more; never, if that cannot be found out.
    pub(crate) async fn client_left(self) {
        let file = if self.client.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
        loop {
            match rt::blocking(move || std::fs::read_to_string(file)).await {
                Ok(table) if !is_owned(&table, self.client, self.ours) => return,
                Ok(_) => rt::sleep_until(rt::now() + LOOK_AGAIN).await,
                Err(_) => std::future::pending().await,
            }
        }
    }
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
    fn addresses_are_written_as_the_kernel_does() {
        if cfg!(target_endian = "little") {
            assert_eq!(written("127.0.0.1:80".parse().unwrap()), "0100007F:0050");
            assert_eq!(written("[::1]:80".parse().unwrap()), "00000000000000000000000001000000:0050");
        }
    }
}

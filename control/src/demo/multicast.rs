//! Whether names can be found by multicast DNS on this host's loopback interface: hosts and containers differ.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// How long a packet to oneself may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// Sends itself a packet through the group, and looks whether the port of mDNS can be shared.
pub(super) fn works() -> bool {
    heard_itself().unwrap_or(false) && bound(PORT).is_ok()
}

fn bound(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    Ok(socket)
}

fn heard_itself() -> io::Result<bool> {
    let socket = bound(0)?;
    socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST)?;
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let port = socket.local_addr()?.as_socket().map_or(0, |address| address.port());
    // Not a DNS message, and to a port of our own: nobody else hears it.
    socket.send_to(b"outrigger", &SocketAddr::from((GROUP, port)).into())?;
    let mut buffer = [MaybeUninit::uninit(); 16];
    Ok(socket.recv(&mut buffer)? == b"outrigger".len())
}

//! The sockets of mDNS: one a family, joined to the group on every interface in scope (spec/resolution 1.2.3).

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Mutex, PoisonError};
use tokio::net::UdpSocket;

/// The port of mDNS.
pub(super) const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Largest packet taken; RFC 6762 §17 allows 9000 bytes.
pub(super) const LARGEST: usize = 9216;

/// On which interfaces names are announced and asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The loopback interface only: sidecars of this machine.
    Loopback,
    /// Every interface that is up and can do multicast, and loopback: daprd leaves loopback out, so that sidecars of a machine without a
    /// network do not find each other.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interface {
    index: u32,
    v4: Option<Ipv4Addr>,
    v6: bool,
}

/// What a sidecar sends and receives mDNS with. At least one family works, else opening fails.
#[derive(Debug)]
pub(super) struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    scope: Scope,
    interfaces: Mutex<Vec<Interface>>,
}

/// The interfaces in scope, each once, in the order of their index.
fn interfaces(scope: Scope) -> io::Result<Vec<Interface>> {
    let mut found: BTreeMap<u32, Interface> = BTreeMap::new();
    for it in if_addrs::get_if_addrs()? {
        let Some(index) = it.index else { continue };
        if (scope == Scope::Loopback && !it.is_loopback()) || !(it.is_oper_up() || it.is_loopback()) {
            continue;
        }
        let entry = found.entry(index).or_insert(Interface { index, v4: None, v6: false });
        match it.ip() {
            IpAddr::V4(a) => entry.v4 = entry.v4.or(Some(a)),
            IpAddr::V6(_) => entry.v6 |= !it.is_loopback(),
        }
    }
    Ok(found.into_values().collect())
}

impl Sockets {
    /// Binds port 5353 beside whoever holds it already and joins the groups.
    ///
    /// # Errors
    /// When no interface in scope joins a group in either family.
    pub(super) fn open(scope: Scope) -> io::Result<Sockets> {
        let interfaces = interfaces(scope)?;
        let (v4, v6) = (open_v4(&interfaces), open_v6(&interfaces));
        match (&v4, &v6) {
            (Err(e), Err(_)) => {
                Err(io::Error::new(e.kind(), format!("no interface joins the mDNS group: {e}")))
            }
            _ => Ok(Sockets { v4: v4.ok(), v6: v6.ok(), scope, interfaces: Mutex::new(interfaces) }),
        }
    }

    fn interfaces(&self) -> Vec<Interface> {
        self.interfaces.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for interfaces that came, went or changed their address since the last look, and joins on them. True if
    /// there is one on which this sidecar has not been announced.
    pub(super) fn look_again(&self) -> bool {
        let Ok(now) = interfaces(self.scope) else { return false };
        let before = self.interfaces();
        let fresh: Vec<Interface> = now.iter().filter(|it| !before.contains(it)).copied().collect();
        for it in &fresh {
            // joined already, under another address: fine; not joinable: sending on it will fail as well
            let _ = self.v4.as_ref().map(|s| join_v4(&SockRef::from(s), it));
            let _ = self.v6.as_ref().map(|s| join_v6(&SockRef::from(s), it));
        }
        *self.interfaces.lock().unwrap_or_else(PoisonError::into_inner) = now;
        !fresh.is_empty()
    }

    /// Sends one packet to the group on every interface. Interfaces that refuse are left out: another may carry it.
    ///
    /// # Errors
    /// When no interface took it; the last refusal.
    pub(super) async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let mut result = Err(io::ErrorKind::NetworkUnreachable.into());
        for it in &self.interfaces() {
            for sent in [self.send_v4(it, packet).await, self.send_v6(it, packet).await].into_iter().flatten()
            {
                result = if sent.is_ok() || result.is_ok() { Ok(()) } else { sent };
            }
        }
        result
    }

    async fn send_v4(&self, it: &Interface, packet: &[u8]) -> Option<io::Result<()>> {
        let (socket, address) = (self.v4.as_ref()?, it.v4?);
        if let Err(e) = SockRef::from(socket).set_multicast_if_v4(&address) {
            return Some(Err(e));
        }
        Some(socket.send_to(packet, (GROUP_V4, PORT)).await.map(drop))
    }

    async fn send_v6(&self, it: &Interface, packet: &[u8]) -> Option<io::Result<()>> {
        let socket = self.v6.as_ref().filter(|_| it.v6)?;
        if let Err(e) = SockRef::from(socket).set_multicast_if_v6(it.index) {
            return Some(Err(e));
        }
        let group = SocketAddrV6::new(GROUP_V6, PORT, 0, it.index);
        Some(socket.send_to(packet, SocketAddr::V6(group)).await.map(drop))
    }

    /// Sends one packet to one asker.
    ///
    /// # Errors
    /// What the socket says.
    pub(super) async fn send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let Some(socket) = socket else { return Err(io::ErrorKind::AddrNotAvailable.into()) };
        socket.send_to(packet, to).await.map(drop)
    }

    /// The next packet of either family.
    ///
    /// # Errors
    /// What the socket says; the caller goes on.
    pub(super) async fn receive(
        &self,
        v4: &mut [u8],
        v6: &mut [u8],
    ) -> io::Result<(Family, usize, SocketAddr)> {
        tokio::select! {
            got = receive_on(self.v4.as_ref(), v4) => got.map(|(n, from)| (Family::V4, n, from)),
            got = receive_on(self.v6.as_ref(), v6) => got.map(|(n, from)| (Family::V6, n, from)),
        }
    }
}

/// Which of the two buffers a packet lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// The first.
    V4,
    /// The second.
    V6,
}

async fn receive_on(socket: Option<&UdpSocket>, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(into).await,
        None => std::future::pending().await,
    }
}

fn bound(domain: Domain, at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    // without it, daprd, avahi and a second sidecar on this host would collide
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

/// Joins on every interface that `join` accepts; an error if none does.
fn join_each(
    interfaces: &[Interface],
    join: impl Fn(&Interface) -> Option<io::Result<()>>,
) -> io::Result<()> {
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "no interface in scope"));
    for joined in interfaces.iter().filter_map(join) {
        result = if joined.is_ok() || result.is_ok() { Ok(()) } else { joined };
    }
    result
}

fn join_v4(socket: &SockRef<'_>, it: &Interface) -> Option<io::Result<()>> {
    let index = InterfaceIndexOrAddress::Index(it.index);
    it.v4.map(|_| socket.join_multicast_v4_n(&GROUP_V4, &index))
}

fn join_v6(socket: &SockRef<'_>, it: &Interface) -> Option<io::Result<()>> {
    it.v6.then(|| socket.join_multicast_v6(&GROUP_V6, it.index))
}

fn open_v4(interfaces: &[Interface]) -> io::Result<UdpSocket> {
    let socket = bound(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, PORT).into())?;
    join_each(interfaces, |it| join_v4(&SockRef::from(&socket), it))?;
    UdpSocket::from_std(socket.into())
}

fn open_v6(interfaces: &[Interface]) -> io::Result<UdpSocket> {
    let socket = bound(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, PORT).into())?;
    join_each(interfaces, |it| join_v6(&SockRef::from(&socket), it))?;
    UdpSocket::from_std(socket.into())
}

//! Addresses of stream sockets, and their form in the kernel's interface.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where a stream socket listens or connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix domain socket in the file system; at most 107 bytes.
    Unix(PathBuf),
}

impl Address {
    /// The IP address; `None` for a Unix domain socket.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Tcp(address) => Some(address.ip().to_canonical()),
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Address {
        Address::Unix(path)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address as the kernel wants it. Stays where it is while an operation uses it: box it.
pub(super) enum RawAddress {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
    Unix(libc::sockaddr_un, libc::socklen_t),
}

impl RawAddress {
    pub(super) fn new(address: &Address) -> io::Result<RawAddress> {
        match address {
            Address::Tcp(SocketAddr::V4(v4)) => Ok(RawAddress::V4(raw_v4(v4))),
            Address::Tcp(SocketAddr::V6(v6)) => Ok(RawAddress::V6(raw_v6(v6))),
            Address::Unix(path) => raw_unix(path.as_os_str().as_bytes()),
        }
    }

    pub(super) fn family(&self) -> libc::c_int {
        match self {
            RawAddress::V4(_) => libc::AF_INET,
            RawAddress::V6(_) => libc::AF_INET6,
            RawAddress::Unix(..) => libc::AF_UNIX,
        }
    }

    /// Pointer and length for the kernel; valid as long as `self` is not moved or dropped.
    pub(super) fn as_raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        match self {
            RawAddress::V4(a) => ((&raw const *a).cast(), size_of::<libc::sockaddr_in>() as libc::socklen_t),
            RawAddress::V6(a) => ((&raw const *a).cast(), size_of::<libc::sockaddr_in6>() as libc::socklen_t),
            RawAddress::Unix(a, length) => ((&raw const *a).cast(), *length),
        }
    }
}

fn raw_v4(v4: &SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: v4.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
        sin_zero: [0; 8],
    }
}

fn raw_v6(v6: &SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: v6.port().to_be(),
        sin6_flowinfo: v6.flowinfo(),
        sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
        sin6_scope_id: v6.scope_id(),
    }
}

fn raw_unix(path: &[u8]) -> io::Result<RawAddress> {
    let mut raw = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
    if path.is_empty() || path.len() >= raw.sun_path.len() || path.contains(&0) {
        let what = "the path of a Unix socket has 1 to 107 bytes and no zero byte";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    for (to, from) in raw.sun_path.iter_mut().zip(path) {
        *to = *from as libc::c_char;
    }
    let length = size_of::<libc::sa_family_t>() + path.len() + 1;
    Ok(RawAddress::Unix(raw, length as libc::socklen_t))
}

/// Reads back what `getsockname` or `getpeername` filled in. `None` for a family we do not speak.
pub(super) fn decode(bytes: &[u8]) -> Option<Address> {
    let family = u16::from_ne_bytes(*bytes.first_chunk::<2>()?);
    let port = || Some(u16::from_be_bytes(*bytes.get(2..)?.first_chunk::<2>()?));
    match i32::from(family) {
        libc::AF_INET => {
            let ip = Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?);
            Some(Address::Tcp(SocketAddr::V4(SocketAddrV4::new(ip, port()?))))
        }
        libc::AF_INET6 => {
            let flow = u32::from_ne_bytes(*bytes.get(4..)?.first_chunk::<4>()?);
            let ip = Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?);
            let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk::<4>()?);
            Some(Address::Tcp(SocketAddr::V6(SocketAddrV6::new(ip, port()?, flow, scope))))
        }
        libc::AF_UNIX => {
            let path = bytes.get(2..)?.split(|b| *b == 0).next()?;
            Some(Address::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(path))))
        }
        _ => None,
    }
}

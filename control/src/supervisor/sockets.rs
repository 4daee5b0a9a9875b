//! The listening sockets. The supervisor opens them before anything else and keeps them, so that a port in use stops the
//! start at once, and a restarted data plane loses no connection attempt.

use super::holder;
use crate::settings::{At, Binding, Refusal, Role, WhenTaken};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Connection attempts that may wait while a data plane restarts.
const BACKLOG: i32 = 1024;

/// An open listening socket.
#[derive(Debug)]
pub(crate) struct Bound {
    /// What it serves.
    pub(crate) role: Role,
    /// Host as in the flag and port after binding, or the path: as daprd logs it.
    pub(crate) label: String,
    /// Where it listens.
    pub(crate) place: Place,
    fd: OwnedFd,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Bound {
    /// The number that an heir sees.
    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The same socket under a number of its own.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// TCP port; `None` on a Unix socket.
    pub(crate) fn port(&self) -> Option<u16> {
        match &self.place {
            Place::Tcp(address) => Some(address.port()),
            Place::Unix(_) => None,
        }
    }

    /// Whether children started from now on inherit it.
    pub(crate) fn inherit(&self, on: bool) -> io::Result<()> {
        use rustix::io::{FdFlags, fcntl_setfd};
        let flags = if on { FdFlags::empty() } else { FdFlags::CLOEXEC };
        Ok(fcntl_setfd(self.fd.as_fd(), flags)?)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Place::Unix(path) = &self.place {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Opens all sockets, or none.
///
/// # Errors
/// A port that must be had is taken: the message names it, its flag and, where the system tells, its holder.
pub(crate) fn open(bindings: &[Binding]) -> Result<Vec<Bound>, Refusal> {
    let mut open: Vec<Bound> = Vec::new();
    for binding in bindings {
        // Several addresses of one role share a port, also one that was any free one.
        let shared = open.iter().find(|bound| bound.role == binding.role).and_then(Bound::port);
        match one(binding, shared) {
            Ok(bound) => open.push(bound),
            Err(_) if binding.when_taken == WhenTaken::Skip => {}
            Err(error) => return Err(refusal(binding, &error)),
        }
    }
    if open.iter().any(|bound| bound.role == Role::Http) {
        return Ok(open);
    }
    let first = bindings.iter().find(|binding| binding.role == Role::Http);
    Err(first.map_or_else(
        || Refusal("no address for the HTTP API; give one with --dapr-listen-addresses".into()),
        |binding| refusal(binding, &io::Error::from(io::ErrorKind::AddrInUse)),
    ))
}

fn one(binding: &Binding, shared: Option<u16>) -> io::Result<Bound> {
    match &binding.at {
        At::Unix(path) => unix(binding.role, path),
        At::Tcp { host, port } => {
            let wanted = match *port {
                0 => shared.unwrap_or(0),
                port => port,
            };
            let fd = match tcp(host, wanted) {
                Err(error)
                    if binding.when_taken == WhenTaken::AnyPort
                        && error.kind() == io::ErrorKind::AddrInUse =>
                {
                    tcp(host, 0)?
                }
                other => other?,
            };
            let address = fd.local_addr()?.as_socket().ok_or_else(|| io::Error::other("no address"))?;
            Ok(Bound {
                role: binding.role,
                label: format!("{host}:{}", address.port()),
                place: Place::Tcp(address),
                fd: fd.into(),
            })
        }
    }
}

fn tcp(host: &str, port: u16) -> io::Result<Socket> {
    if host.is_empty() {
        let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        return match listen(everywhere) {
            // A host without IPv6.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
                listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            }
            other => other,
        };
    }
    listen(resolve(host, port)?)
}

fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    (bare, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")))
}

fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn unix(role: Role, path: &Path) -> io::Result<Bound> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    Ok(Bound {
        role,
        label: path.display().to_string(),
        place: Place::Unix(path.to_owned()),
        fd: listener.into(),
    })
}

/// A socket file that nobody listens on any more would make binding fail.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn refusal(binding: &Binding, error: &io::Error) -> Refusal {
    let flag = binding.flag;
    let at = match &binding.at {
        At::Tcp { host, port } => format!("{host}:{port}"),
        At::Unix(path) => path.display().to_string(),
    };
    let why = match (error.kind(), &binding.at) {
        (io::ErrorKind::AddrInUse, At::Tcp { port, .. }) => match holder::of_port(*port) {
            Some(holder) => format!("is in use by {holder}; end it, or choose another port with --{flag}"),
            None => {
                format!(
                    "is in use by a process that the system does not name; choose another port with --{flag}"
                )
            }
        },
        (io::ErrorKind::AddrInUse, At::Unix(_)) => "is in use by another process".into(),
        (io::ErrorKind::PermissionDenied, _) => {
            format!("may not be used by this user ({error}); choose another with --{flag}")
        }
        _ => format!("cannot be listened on: {error}"),
    };
    Refusal(format!("--{flag}: {at} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn binding(host: &str, port: u16, when_taken: WhenTaken) -> Binding {
        let at = At::Tcp { host: host.into(), port };
        Binding { role: Role::Http, flag: "dapr-http-port", at, when_taken }
    }

    #[test]
    fn a_port_in_use_is_named_with_its_flag_and_its_holder() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let said = open(&[binding("127.0.0.1", port, WhenTaken::Fail)]).unwrap_err().0;
        assert!(said.contains(&format!("--dapr-http-port: 127.0.0.1:{port} is in use by process")), "{said}");
        assert!(said.contains(&std::process::id().to_string()), "{said}");
    }

    #[test]
    fn a_port_that_nobody_asked_for_is_replaced_by_a_free_one() {
        let taken = TcpListener::bind("[::]:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let bound = open(&[binding("", port, WhenTaken::AnyPort)]).unwrap();
        assert_ne!(bound[0].port(), Some(port));
    }

    #[test]
    fn several_addresses_share_one_port_and_a_missing_one_is_skipped() {
        let bound = open(&[
            binding("127.0.0.1", 0, WhenTaken::Fail),
            binding("127.0.0.2", 0, WhenTaken::Skip),
            binding("203.0.113.1", 0, WhenTaken::Skip),
        ])
        .unwrap();
        assert_eq!(bound.len(), 2);
        assert_eq!(bound[0].port(), bound[1].port());
        for address in ["127.0.0.1", "127.0.0.2"] {
            TcpStream::connect((address, bound[0].port().unwrap())).unwrap();
        }
    }

    #[test]
    fn without_any_address_for_the_api_there_is_no_start() {
        let said = open(&[binding("203.0.113.1", 3500, WhenTaken::Skip)]).unwrap_err().0;
        assert!(said.contains("--dapr-http-port"), "{said}");
    }

    #[test]
    fn all_addresses_means_both_families() {
        let bound = open(&[binding("", 0, WhenTaken::Fail)]).unwrap();
        TcpStream::connect(("127.0.0.1", bound[0].port().unwrap())).unwrap();
        assert_eq!(bound[0].label, format!(":{}", bound[0].port().unwrap()));
    }

    #[test]
    fn a_stale_socket_file_is_replaced_a_live_one_is_not_and_ours_goes_with_us() {
        let path = std::env::temp_dir().join(format!("outrigger-sock-{}", std::process::id()));
        drop(UnixListener::bind(&path).unwrap());
        let at = Binding {
            role: Role::Http,
            flag: "unix-domain-socket",
            at: At::Unix(path.clone()),
            when_taken: WhenTaken::Fail,
        };
        let bound = open(std::slice::from_ref(&at)).unwrap();
        assert!(open(std::slice::from_ref(&at)).unwrap_err().0.contains("in use"));
        drop(bound);
        assert!(!path.exists());
    }
}

//! A network namespace of the test's own: its own loopback, its own ports, multicast that reaches nobody else.
//!
//! A namespace belongs to a thread; threads and processes started by it inherit it. It vanishes with the last of them.

mod neighbour;

pub use neighbour::Neighbour;

use std::ffi::CString;
use std::fs;
use std::io::{self, Error};
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Moves the calling thread into a new network namespace whose loopback interface is up and carries multicast.
///
/// Needs the right to make one; without it use [`become_root_inside`] first, in a process with a single thread.
pub fn enter() -> io::Result<()> {
    unshare(libc::CLONE_NEWNET)?;
    raise_loopback()?;
    route_multicast()
}

/// As [`enter`], with a host name of its own as well.
pub fn enter_as_host(name: &str) -> io::Result<()> {
    unshare(libc::CLONE_NEWUTS)?;
    // SAFETY: the pointer and the length describe the bytes of `name`, which the call only reads.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })?;
    enter()
}

/// Makes the process root inside a user namespace of its own, so that it may make network namespaces. Does nothing
/// for root. The process must have one thread.
pub fn become_root_inside() -> io::Result<()> {
    // SAFETY: both calls take nothing and only return numbers.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    if user == 0 {
        return Ok(());
    }
    unshare(libc::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// Gives the loopback interface of this namespace one more address.
pub fn add_address(address: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut request = interface_request("lo:1")?;
    request.ifr_ifru.ifru_addr = plain_address(address);
    ioctl(&socket, libc::SIOCSIFADDR, &mut request)
}

fn raise_loopback() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut request = interface_request("lo")?;
    request.ifr_ifru.ifru_flags =
        (libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_LOOPBACK | libc::IFF_MULTICAST) as libc::c_short;
    ioctl(&socket, libc::SIOCSIFFLAGS, &mut request)
}

fn route_multicast() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let device = CString::new("lo")?;
    // SAFETY: rtentry is plain data for which all zeroes is a valid value.
    let mut route: libc::rtentry = unsafe { zeroed() };
    route.rt_dst = plain_address(Ipv4Addr::new(224, 0, 0, 0));
    route.rt_genmask = plain_address(Ipv4Addr::new(240, 0, 0, 0));
    route.rt_flags = libc::RTF_UP;
    route.rt_dev = device.as_ptr().cast_mut();
    ioctl(&socket, libc::SIOCADDRT, &mut route)
}

fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(Error::other("interface name too long"));
    }
    request.ifr_name.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from as libc::c_char);
    Ok(request)
}

fn plain_address(address: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: sockaddr is plain data for which all zeroes is a valid value.
    let mut plain: libc::sockaddr = unsafe { zeroed() };
    plain.sa_family = libc::AF_INET as libc::sa_family_t;
    // The bytes 2.. of a sockaddr_in's data part are the address (0 and 1 are the port).
    plain.sa_data.iter_mut().skip(2).zip(address.octets()).for_each(|(to, from)| *to = from as libc::c_char);
    plain
}

fn ioctl<T>(socket: &UdpSocket, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: `argument` is the structure that each of the three requests above is documented to take.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), request, argument as *mut T) })
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: unshare takes an integer; it changes this thread's namespaces only.
    check(unsafe { libc::unshare(flags) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn loopback_of_a_new_namespace_carries_connections() {
        let outcome = std::thread::spawn(|| {
            enter().ok()?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
            Some(TcpStream::connect(listener.local_addr().expect("its address")).is_ok())
        });
        match outcome.join().expect("the thread ends") {
            None => eprintln!("SKIPPED: this user may not make network namespaces"),
            Some(connected) => assert!(connected),
        }
    }
}

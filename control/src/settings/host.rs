//! This host: its name, the address that is advertised (spec/resolution 1.1.3), private directories.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// Where the kernel's route to the world is asked for; no packet is sent (RFC 5737, RFC 3849 addresses).
const FAR_AWAY: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 80),
];

/// The operating system's host name.
pub(crate) fn name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".into(), |n| n.trim().into())
}

/// The address other hosts reach this one by: the one the kernel would send from, else the best of the interfaces.
pub(crate) fn address() -> Option<IpAddr> {
    FAR_AWAY.into_iter().find_map(source_towards).or_else(best_interface)
}

fn source_towards(far: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(far).ok()?;
    let source = socket.local_addr().ok()?.ip();
    (!is_clat(source) && !source.is_unspecified()).then_some(source)
}

fn best_interface() -> Option<IpAddr> {
    let all = if_addrs::get_if_addrs().ok()?;
    all.into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| !ip.is_loopback() && !is_clat(*ip))
        .min_by_key(|ip| class(*ip))
}

/// Lower is better: public IPv4, global IPv6, private IPv4, unique local IPv6, link-local.
fn class(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(v4) if v4.is_link_local() => 99,
        IpAddr::V4(v4) if v4.is_private() || is_shared(v4) => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => 99,
        IpAddr::V6(v6) if v6.is_unique_local() => 3,
        IpAddr::V6(_) => 1,
    }
}

/// 100.64.0.0/10, carrier-grade NAT.
fn is_shared(v4: Ipv4Addr) -> bool {
    let [first, second, ..] = v4.octets();
    first == 100 && second & 0xc0 == 64
}

/// 192.0.0.0/29: the phone's own side of 464XLAT, of no use to anybody else.
fn is_clat(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => matches!(v4.octets(), [192, 0, 0, last] if last < 8),
        IpAddr::V6(_) => false,
    }
}

/// Bytes of memory that the process's cgroup, or one around it, grants; `None` without a limit.
pub(crate) fn granted_memory() -> Option<u64> {
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = cgroups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let around = Path::new(unified).ancestors().map(|group| {
        Path::new("/sys/fs/cgroup").join(group.strip_prefix("/").unwrap_or(group)).join("memory.max")
    });
    let first_version = PathBuf::from("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    around.chain([first_version]).filter_map(|file| granted_in(&std::fs::read_to_string(file).ok()?)).min()
}

/// A limit as the kernel writes it: `max`, or a number, of which one beyond any machine is none.
fn granted_in(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

/// Base of the private runtime directories: `$XDG_RUNTIME_DIR/outrigger`, else `/tmp/outrigger-<uid>`.
pub(crate) fn runtime_base(variable: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    match variable("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty() && PathBuf::from(dir).is_dir()) {
        Some(dir) => PathBuf::from(dir).join("outrigger"),
        None => PathBuf::from(format!("/tmp/outrigger-{}", rustix::process::geteuid().as_raw())),
    }
}

/// Where the certificate authority of first use lives: `$XDG_STATE_HOME/outrigger`, `~/.local/state/outrigger`, or beside the
/// runtime directories when this user has no home.
pub(crate) fn state_dir(variable: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let set = |name| variable(name).filter(|dir| dir.starts_with('/'));
    if let Some(dir) = set("XDG_STATE_HOME") {
        return PathBuf::from(dir).join("outrigger");
    }
    match set("HOME") {
        Some(home) => PathBuf::from(home).join(".local/state/outrigger"),
        None => runtime_base(variable).join("state"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ranked_public_global_private_unique_local_link_local() {
        let ranked: Vec<u8> =
            ["8.8.8.8", "2a00::1", "10.0.0.1", "100.64.0.1", "fd00::1", "fe80::1", "169.254.1.1"]
                .iter()
                .map(|ip| class(ip.parse().unwrap()))
                .collect();
        assert_eq!(ranked, [0, 1, 2, 2, 3, 99, 99]);
    }

    #[test]
    fn the_phone_side_of_464xlat_is_no_address_for_others() {
        assert!(is_clat("192.0.0.4".parse().unwrap()));
        assert!(!is_clat("192.0.0.8".parse().unwrap()));
    }

    #[test]
    fn a_cgroup_grants_a_number_or_everything() {
        assert_eq!(granted_in("536870912\n"), Some(512 << 20));
        assert_eq!(granted_in("max\n"), None);
        assert_eq!(granted_in("9223372036854771712\n"), None, "the first version's way of saying so");
    }

    #[test]
    fn state_lives_in_the_home_directory_unless_configured() {
        let home = |name: &str| (name == "HOME").then(|| "/home/x".to_owned());
        assert_eq!(state_dir(&home), PathBuf::from("/home/x/.local/state/outrigger"));
        let xdg = |name: &str| (name == "XDG_STATE_HOME").then(|| "/state".to_owned());
        assert_eq!(state_dir(&xdg), PathBuf::from("/state/outrigger"));
    }
}

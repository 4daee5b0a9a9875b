//! A second host: another namespace with a cable to this thread's.

use std::fs::{self, File};
use std::io::{self, Error};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for the namespace to be made.
const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace that is connected with the one in which it was started; it vanishes on drop.
#[derive(Debug)]
pub struct Neighbour(Child);

impl Neighbour {
    /// Makes one with these addresses at the two ends of the cable, such as `10.99.0.1` here and `10.99.0.2` there.
    ///
    /// # Errors
    /// This user may not, or the host has no `ip`, `unshare` or `nsenter`.
    pub fn start(here: &str, there: &str) -> io::Result<Neighbour> {
        let holder = Command::new("unshare").args(["-n", "sleep", "600"]).stdin(Stdio::null()).spawn()?;
        let neighbour = Neighbour(holder);
        let own = fs::read_link("/proc/thread-self/ns/net")?;
        let made = || fs::read_link(neighbour.path()).is_ok_and(|its| its != own).then_some(());
        crate::wait::within(PATIENCE, made).ok_or_else(|| Error::other("no second namespace"))?;
        let id = neighbour.0.id().to_string();
        run("ip", &["link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", &id])?;
        run("ip", &["addr", "add", &format!("{here}/24"), "dev", "cable0"])?;
        run("ip", &["link", "set", "cable0", "up"])?;
        let inside = |args: &[&str]| run("nsenter", &[&["-t", &id, "-n", "ip"], args].concat());
        inside(&["addr", "add", &format!("{there}/24"), "dev", "cable1"])?;
        inside(&["link", "set", "cable1", "up"])?;
        Ok(neighbour)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Moves the calling thread there.
    ///
    /// # Errors
    /// This user may not.
    pub fn enter(&self) -> io::Result<()> {
        let namespace = File::open(self.path())?;
        // SAFETY: setns takes two numbers; it changes this thread's namespace only.
        super::check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, args: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::other(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr))))
}

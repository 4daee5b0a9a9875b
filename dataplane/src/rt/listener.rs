//! Listening and accepting. A connection is placed on a shard before a byte of it is read.

use super::address::Address;
use super::handle::ShardId;
use super::local::{self, try_with_net, with_net};
use super::stream::Stream;
use super::tick::Tick;
use super::{net::Port, now, sleep_until, sys, thrift};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Connections that wait in the kernel to be accepted.
pub const BACKLOG: i32 = 1024;
/// How long accepting rests after an error that is not of one connection (no descriptors, no memory).
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// A listening socket of this shard. One task at a time accepts from it. Dropping it closes it (other processes that
/// have it open keep it alive).
pub struct Listener {
    at: u32,
    _here: std::marker::PhantomData<*const ()>,
}

impl Listener {
    /// Binds and listens. `SO_REUSEADDR` is set; the file of a Unix socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// What the kernel says, the address in use foremost.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn bind(address: &Address) -> io::Result<Listener> {
        let bound = match sys::listen(address, BACKLOG, false) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => replace_stale(address, e),
            bound => bound,
        };
        Listener::adopt(bound?)
    }

    /// Takes over a socket that listens already, such as one inherited from the supervisor.
    ///
    /// # Errors
    /// `InvalidInput` if the descriptor is not a listening stream socket.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn adopt(fd: OwnedFd) -> io::Result<Listener> {
        if !sys::is_listening(fd.as_raw_fd())? {
            let what = "not a listening stream socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let unix = sys::is_unix(fd.as_raw_fd())?;
        with_net(|net| {
            if !unix {
                net.tune(fd.as_raw_fd(), sys::local_address(fd.as_raw_fd())?.as_ref())?;
            }
            sys::set_nonblocking(fd.as_raw_fd(), matches!(net.port, Port::Epoll(_)))?;
            let at = net.open_listener(fd, unix)?;
            Ok(Listener { at, _here: std::marker::PhantomData })
        })
    }

    /// [`Listener::adopt`] for a descriptor that this process inherited and knows by number. The number itself stays
    /// open.
    ///
    /// # Errors
    /// There is no such descriptor, or it is not a listening stream socket.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn inherit(fd: RawFd) -> io::Result<Listener> {
        Listener::adopt(sys::duplicate(fd)?)
    }

    /// What it accepts from here on takes few bytes that the other end does not read: 256 KiB beyond what is on its way.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn be_thrifty(&self) -> io::Result<()> {
        let fd = with_net(|net| net.raw_fd(self.at));
        if sys::is_unix(fd)? { Ok(()) } else { thrift::towards_client(fd) }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local(&self) -> io::Result<Address> {
        let fd = with_net(|net| net.raw_fd(self.at));
        sys::local_address(fd)?.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// The next connection. Dropping the future loses none.
    ///
    /// # Errors
    /// What keeps the process from accepting at all (descriptors or memory are out); a short pause has passed already,
    /// so that trying again at once is right. Connections that went away before they were accepted are no error.
    pub async fn accept(&self) -> io::Result<Accepted> {
        let result = std::future::poll_fn(|cx| with_net(|net| net.poll_accept(self.at, cx))).await;
        if result.is_err() {
            sleep_until(now() + PAUSE_AFTER_ERROR).await;
        }
        result
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        try_with_net(|net| net.release(self.at));
    }
}

fn replace_stale(address: &Address, error: io::Error) -> io::Result<OwnedFd> {
    let Address::Unix(path) = address else { return Err(error) };
    match std::os::unix::net::UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => return Err(error),
    }
    std::fs::remove_file(path)?;
    sys::listen(address, BACKLOG, false)
}

/// An accepted connection, untouched: it can still go to any shard. Dropping it closes it.
#[derive(Debug)]
pub struct Accepted {
    fd: OwnedFd,
    unix: bool,
}

impl Accepted {
    pub(super) fn new(fd: OwnedFd, unix: bool) -> Accepted {
        Accepted { fd, unix }
    }

    pub(super) fn into_parts(self) -> (OwnedFd, bool) {
        (self.fd, self.unix)
    }

    /// The address at the other end; `None` in the Unix domain and for a connection that is gone again. Asks the kernel.
    pub fn peer(&self) -> Option<SocketAddr> {
        match sys::peer_address(self.fd.as_raw_fd()) {
            Ok(Some(Address::Tcp(address))) => Some(address),
            _ => None,
        }
    }

    /// Serves it on this shard. It receives from here on.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn here(self) -> io::Result<Stream> {
        Stream::open(self.fd, self.unix)
    }

    /// Hands it to another shard, whose [`adopted`] returns it.
    ///
    /// # Errors
    /// Gives it back if that shard has ended, does not exist, or has too many waiting: serve it here, or drop it.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn to(self, shard: ShardId) -> Result<(), Accepted> {
        local::with(|local| {
            let Some(handle) = local.group.get(shard.index()).filter(|handle| handle.reserve_adoption())
            else {
                return Err(self);
            };
            if shard == local.id {
                local.net.borrow_mut().adopt(self);
                local.wake_collected();
            } else {
                local.net.borrow_mut().hand_over(handle, shard, self);
            }
            Ok(())
        })
    }
}

/// The next connection handed to this shard. One task at a time waits for it.
///
/// # Panics
/// Outside of a shard.
pub async fn adopted() -> Accepted {
    std::future::poll_fn(|cx| with_net(|net| net.poll_adopted(cx))).await
}

/// Connects. `TCP_NODELAY` is set.
///
/// # Errors
/// What the kernel says, refused foremost; `TimedOut` when `by` came first, and then nothing is left behind.
///
/// # Panics
/// Outside of a shard.
pub async fn connect(to: &Address, by: Tick) -> io::Result<Stream> {
    dial(to, false, by).await
}

/// Connects to a server whose answers may stay unread for long: a server on loopback has its bytes taken by its own
/// socket only as far as they are read here, and a few hundred KiB more (elsewhere the network's segments see to that).
///
/// # Errors
/// As [`connect`].
///
/// # Panics
/// Outside of a shard.
pub async fn connect_thrifty(to: &Address, by: Tick) -> io::Result<Stream> {
    dial(to, true, by).await
}

async fn dial(to: &Address, thrifty: bool, by: Tick) -> io::Result<Stream> {
    match super::within(by, Stream::dial(to, thrifty)).await {
        Some(result) => result,
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

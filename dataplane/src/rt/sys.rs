//! The system calls of `rt` that are not the ring's, each wrapped once.

use super::address::{self, Address, RawAddress};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The error number behind `error`; `EIO` where there is none.
pub(super) fn code(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// A stream socket, close-on-exec.
pub(super) fn socket(family: libc::c_int, nonblocking: bool) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM | flags, 0) })?;
    // SAFETY: the call has just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_option<T>(fd: RawFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer covers `size` readable bytes for the whole call.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), size) }).map(drop)
}

fn option(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to live variables and `size` says how much of the first may be written.
    check(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut size) })?;
    Ok(value)
}

/// Names the algorithm that decides how fast a TCP socket sends (`TCP_CONGESTION`). On a listener it is inherited by what
/// it accepts.
pub(super) fn congestion(fd: RawFd, algorithm: &str) -> io::Result<()> {
    let size = algorithm.len() as libc::socklen_t;
    // SAFETY: the pointer covers `size` readable bytes for the whole call.
    let done = unsafe {
        libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, algorithm.as_ptr().cast(), size)
    };
    check(done).map(drop)
}

/// The algorithm that decides how fast a TCP socket sends.
#[cfg(test)]
pub(super) fn congestion_of(fd: RawFd) -> io::Result<String> {
    let mut name = [0u8; 16];
    let mut size = size_of_val(&name) as libc::socklen_t;
    let to = name.as_mut_ptr().cast();
    // SAFETY: both pointers are to live variables and `size` says how much of the first may be written.
    check(unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, to, &raw mut size) })?;
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned())
}

/// Sends small segments at once (`TCP_NODELAY`). On a listener it is inherited by what it accepts.
pub(super) fn no_delay(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1i32)
}

/// Bounds what a TCP socket accepts beyond what the peer's window takes (`TCP_NOTSENT_LOWAT`). On a listener it is
/// inherited by what it accepts.
pub(super) fn unsent_limit(fd: RawFd, bytes: i32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &bytes)
}

/// Largest segment that the other end may send, from the connect on (`TCP_MAXSEG`).
pub(super) fn segment_size(fd: RawFd, bytes: i32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, &bytes)
}

/// Makes the coming close a reset (`SO_LINGER` with zero seconds), so that truncation is visible to the peer.
pub(super) fn reset_on_close(fd: RawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger)
}

/// The pending error of a socket, zero if none; reading it clears it.
pub(super) fn pending_error(fd: RawFd) -> i32 {
    option(fd, libc::SOL_SOCKET, libc::SO_ERROR).unwrap_or_else(|e| code(&e))
}

/// Is this a listening stream socket?
pub(super) fn is_listening(fd: RawFd) -> io::Result<bool> {
    let stream = option(fd, libc::SOL_SOCKET, libc::SO_TYPE)? == libc::SOCK_STREAM;
    Ok(stream && option(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0)
}

/// Is this socket in the Unix domain?
pub(super) fn is_unix(fd: RawFd) -> io::Result<bool> {
    Ok(option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)? == libc::AF_UNIX)
}

/// Sets or clears `O_NONBLOCK`. The ring wants it clear (with it the kernel fails instead of waiting), epoll set.
pub(super) fn set_nonblocking(fd: RawFd, on: bool) -> io::Result<()> {
    // SAFETY: no memory is passed.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    let wanted = if on { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    if wanted == flags {
        return Ok(());
    }
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, wanted) }).map(drop)
}

/// A copy of a descriptor, close-on-exec.
pub(super) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let copy = check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: the call has just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// No more sends; the peer reads to the end (FIN).
pub(super) fn shutdown_write(fd: RawFd) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::shutdown(fd, libc::SHUT_WR) }).map(drop)
}

/// A socket bound to `address` and listening.
pub(super) fn listen(address: &Address, backlog: i32, nonblocking: bool) -> io::Result<OwnedFd> {
    let raw = RawAddress::new(address)?;
    let socket = socket(raw.family(), nonblocking)?;
    if matches!(address, Address::Tcp(_)) {
        set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, &1i32)?;
    }
    let (pointer, length) = raw.as_raw();
    // SAFETY: pointer and length are those of `raw`, which lives until the end of this function.
    check(unsafe { libc::bind(socket.as_raw_fd(), pointer, length) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) })?;
    Ok(socket)
}

/// Starts or makes a connection; `EINPROGRESS` on a non-blocking socket means started.
pub(super) fn connect(fd: RawFd, to: &RawAddress) -> io::Result<()> {
    let (pointer, length) = to.as_raw();
    // SAFETY: pointer and length are those of `to`, which is borrowed for the whole call.
    check(unsafe { libc::connect(fd, pointer, length) }).map(drop)
}

/// The next waiting connection of a non-blocking listener.
pub(super) fn accept(listener: RawFd) -> io::Result<OwnedFd> {
    let (none, size) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: null pointers ask for no address.
    let fd = check(unsafe { libc::accept4(listener, none, size, libc::SOCK_CLOEXEC) })?;
    // SAFETY: the call has just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

type NameCall = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn name(fd: RawFd, call: NameCall) -> io::Result<Option<Address>> {
    let mut storage = [0u64; size_of::<libc::sockaddr_storage>() / 8];
    let mut length = size_of_val(&storage) as libc::socklen_t;
    // SAFETY: the storage is aligned for and as large as any address, and `length` says so.
    check(unsafe { call(fd, storage.as_mut_ptr().cast(), &raw mut length) })?;
    let length = (length as usize).min(size_of_val(&storage));
    // SAFETY: `length` is within the storage, whose bytes are all initialised.
    let bytes = unsafe { std::slice::from_raw_parts(storage.as_ptr().cast::<u8>(), length) };
    Ok(address::decode(bytes))
}

/// The address a socket is bound to.
pub(super) fn local_address(fd: RawFd) -> io::Result<Option<Address>> {
    name(fd, libc::getsockname)
}

/// The address at the other end.
pub(super) fn peer_address(fd: RawFd) -> io::Result<Option<Address>> {
    name(fd, libc::getpeername)
}

/// Receives into `buffer` without waiting. Zero is the end of the stream.
pub(super) fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of the exclusive slice.
    count(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) })
}

/// Is there something to receive, an end or an error? Takes nothing away.
pub(super) fn has_something(fd: RawFd) -> bool {
    let mut byte = 0u8;
    // SAFETY: one byte may be written, and it is there.
    let got =
        count(unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT | libc::MSG_PEEK) });
    !matches!(got, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
}

/// Sends a message without waiting.
///
/// # Safety
/// The message's vectors must point to readable memory for the whole call.
pub(super) unsafe fn send(fd: RawFd, message: &libc::msghdr) -> io::Result<usize> {
    // SAFETY: the caller vouches for the memory; no address and no control data are set.
    count(unsafe { libc::sendmsg(fd, message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) })
}

/// Sends bytes without waiting.
pub(super) fn send_bytes(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of the slice.
    count(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Is the socket closed by both sides, or failed?
pub(super) fn has_hung_up(fd: RawFd) -> bool {
    let mut asked = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one entry, which is a live variable.
    let found = unsafe { libc::poll(&raw mut asked, 1, 0) };
    found > 0 && asked.revents & (libc::POLLHUP | libc::POLLERR) != 0
}

/// A message header without address and control data, pointing to nothing yet.
pub(super) fn empty_message() -> libc::msghdr {
    // SAFETY: all-zero is a valid message header (null pointers with zero lengths).
    unsafe { std::mem::zeroed() }
}

/// A counter that wakes whoever polls or reads it.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })?;
    // SAFETY: the call has just made this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds one to an eventfd. Async-signal-safe.
pub(super) fn signal_eventfd(fd: RawFd) {
    let one = 1u64;
    // SAFETY: eight readable bytes, as an eventfd wants.
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
}

/// Takes an eventfd's count, waiting for one if it is zero.
pub(super) fn drain_eventfd(fd: RawFd) {
    let mut taken = 0u64;
    // SAFETY: eight writable bytes, as an eventfd wants.
    unsafe { libc::read(fd, (&raw mut taken).cast(), 8) };
}

/// Runs the calling thread on one processor only.
pub(super) fn pin_to(cpu: usize) -> io::Result<()> {
    // SAFETY: all-zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: `cpu` is below the set's size.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: pointer and size are those of the set.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}

/// Anonymous zeroed memory that lives until the process ends. Page-aligned, and not widened to huge pages, so that
/// only what is used becomes resident.
pub(super) fn map_forever(bytes: usize) -> io::Result<std::ptr::NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is the mapping just made; the advice changes no contents. Failure costs memory only.
    unsafe { libc::madvise(at, bytes, libc::MADV_NOHUGEPAGE) };
    std::ptr::NonNull::new(at.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Bytes of memory that the process may lock.
pub(super) fn locked_memory_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live variable of the right type.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    limit.rlim_cur
}

/// Gives memory that is free inside the allocator back to the system; nothing where the allocator is another one.
pub(super) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number, and locks what it touches itself.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Makes a socket full after a few KiB.
pub(super) fn shrink_send_buffer(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &4096i32)
}

//! What the completion backend relies on, tried on a ring and a socket pair of its own.

use crate::rt::pool::Pool;
use crate::rt::ring::{self, BufferRing};
use crate::rt::{handle::Handle, sys};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Locked memory that glommio wants to be allowed.
const LOCKED_MEMORY: u64 = 512 * 1024;
/// How long an answer of the kernel may take.
const PATIENCE: Duration = Duration::from_secs(1);

const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const MESSAGE: u64 = 3;

/// `Err` is one line: what is missing, and the remedy.
pub(super) fn probe() -> Result<(), String> {
    check_locked_memory()?;
    let ring = ring::build(8).map_err(|e| refused(&e))?;
    Probe::new(ring)?.run()
}

fn check_locked_memory() -> Result<(), String> {
    let limit = sys::locked_memory_limit();
    if limit >= LOCKED_MEMORY {
        return Ok(());
    }
    Err(format!(
        "only {} KiB of memory may be locked and 512 are needed; raise the limit (ulimit -l, LimitMEMLOCK=, \
         --ulimit memlock=)",
        limit / 1024
    ))
}

/// Why making a ring fails.
fn refused(error: &io::Error) -> String {
    let switch = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match (error.raw_os_error(), switch.trim()) {
        (Some(libc::EPERM), "2") => {
            "io_uring is switched off on this machine; set kernel.io_uring_disabled to 0".into()
        }
        (Some(libc::EPERM), "1") => {
            "io_uring is reserved for a group on this machine; set kernel.io_uring_disabled to 0 or join the group of \
             kernel.io_uring_group"
                .into()
        }
        (Some(libc::EPERM | libc::EACCES), _) => {
            "io_uring is refused, by a seccomp filter most likely; allow io_uring_setup, io_uring_enter and \
             io_uring_register in the container's seccomp profile"
                .into()
        }
        (Some(libc::ENOSYS), _) => {
            "there is no io_uring (ENOSYS): the kernel is built without it or a seccomp filter hides it; allow \
             io_uring_setup, io_uring_enter and io_uring_register"
                .into()
        }
        (Some(libc::EINVAL), _) => format!("Linux {} is too old for it; 6.1 or later is needed", release()),
        (Some(libc::ENOMEM), _) => "memory for a ring may not be locked; raise the limit (ulimit -l)".into(),
        _ => format!("io_uring does not start: {error}"),
    }
}

fn release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

struct Probe {
    ring: IoUring,
    buffers: BufferRing,
    pool: &'static Pool,
    ours: OwnedFd,
    theirs: OwnedFd,
}

type Seen = (u64, i32, u32);

impl Probe {
    fn new(ring: IoUring) -> Result<Probe, String> {
        let buffers = BufferRing::register(&ring, 2).map_err(|e| failed("a buffer ring", &e))?;
        let handle = Handle::new().map_err(|e| e.to_string())?;
        handle.end();
        let pool = Pool::new(2, 0, 4096, &handle).map_err(|e| e.to_string())?;
        let (ours, theirs) = pair().map_err(|e| format!("no socket pair to try io_uring on: {e}"))?;
        Ok(Probe { ring, buffers, pool, ours, theirs })
    }

    fn run(mut self) -> Result<(), String> {
        self.receives()?;
        self.sends_silently()?;
        self.reports_a_short_send()?;
        self.messages_itself()
    }

    /// A multishot receive delivers into a provided buffer and goes on.
    fn receives(&mut self) -> Result<(), String> {
        self.buffers.top_up(self.pool);
        let receive = opcode::RecvMulti::new(Fd(self.ours.as_raw_fd()), ring::GROUP).build();
        self.submit(receive.user_data(RECEIVE))?;
        write(&self.theirs, b"probe").map_err(|e| unexpected("the socket pair", &e.to_string()))?;
        let (result, flags) =
            self.wait_for(RECEIVE)?.ok_or_else(|| unexpected("a multishot receive", "no answer"))?;
        let Some(buffer) = cqueue::buffer_select(flags).filter(|_| result == 5 && cqueue::more(flags)) else {
            return Err(unexpected("a multishot receive", &format!("result {result}, flags {flags:#x}")));
        };
        self.buffers.picked_up();
        if &*self.pool.chunk(buffer, 5) == b"probe" {
            Ok(())
        } else {
            Err(unexpected("a buffer ring", "wrong bytes"))
        }
    }

    /// A whole send inside the call says nothing.
    fn sends_silently(&mut self) -> Result<(), String> {
        self.send_now(b"x")?;
        match self.seen().into_iter().find(|(data, ..)| *data == SEND) {
            None => Ok(()),
            Some((_, result, _)) => Err(unexpected("a send without completion", &format!("result {result}"))),
        }
    }

    /// A send that the socket does not take whole is reported inside the call, with the count.
    fn reports_a_short_send(&mut self) -> Result<(), String> {
        sys::shrink_send_buffer(self.ours.as_raw_fd()).map_err(|e| e.to_string())?;
        let large = vec![0u8; 8 << 20];
        self.send_now(&large)?;
        let seen = self.seen();
        match seen.iter().find(|(data, ..)| *data == SEND) {
            Some((_, short, _))
                if *short == -libc::EAGAIN || (*short >= 0 && (*short as usize) < large.len()) =>
            {
                Ok(())
            }
            Some((_, result, _)) => Err(unexpected("a short send", &format!("result {result}"))),
            None => Err(unexpected("a short send", "not reported")),
        }
    }

    /// A message from a ring arrives with its number.
    fn messages_itself(&mut self) -> Result<(), String> {
        let own = Fd(self.ring.as_raw_fd());
        let message = opcode::MsgRingData::new(own, 42, MESSAGE, None).build();
        self.submit(message.flags(squeue::Flags::SKIP_SUCCESS).user_data(0))?;
        match self.wait_for(MESSAGE)? {
            Some((42, _)) => Ok(()),
            other => Err(unexpected("a message between rings", &format!("{other:?}"))),
        }
    }

    fn send_now(&mut self, bytes: &[u8]) -> Result<(), String> {
        let length = bytes.len() as u32;
        let send = opcode::Send::new(Fd(self.ours.as_raw_fd()), bytes.as_ptr(), length)
            .flags(ring::SEND_NOW)
            .build();
        // the bytes outlive the operation: with MSG_DONTWAIT it is over when the submitting call returns
        self.submit(send.flags(squeue::Flags::SKIP_SUCCESS).user_data(SEND))
    }

    fn submit(&mut self, entry: squeue::Entry) -> Result<(), String> {
        // SAFETY: callers see to the memory: buffers are never unmapped, sent bytes are done with inside this call.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| unexpected("a submission", "no room"))?;
        let length = self.ring.submission().len() as u32;
        // SAFETY: no argument is passed.
        let entered =
            unsafe { self.ring.submitter().enter::<libc::sigset_t>(length, 0, ring::GETEVENTS, None) };
        entered.map(drop).map_err(|e| failed("a submission", &e))
    }

    fn seen(&mut self) -> Vec<Seen> {
        self.ring.completion().map(|c| (c.user_data(), c.result(), c.flags())).collect()
    }

    /// Result and flags of the first completion with this user data.
    fn wait_for(&mut self, data: u64) -> Result<Option<(i32, u32)>, String> {
        let time = Timespec::from(PATIENCE);
        for _ in 0..8 {
            if let Some((_, result, flags)) = self.seen().into_iter().find(|seen| seen.0 == data) {
                return Ok(Some((result, flags)));
            }
            let args = SubmitArgs::new().timespec(&time);
            match self.ring.submitter().submit_with_args(1, &args) {
                Err(e) if e.raw_os_error() == Some(libc::ETIME) => return Ok(None),
                Err(e) if e.raw_os_error() != Some(libc::EINTR) => {
                    return Err(failed("waiting with a time limit", &e));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// A call that fails where a ring could be made.
fn failed(what: &str, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::ENOMEM) => refused(error),
        _ => unexpected(what, &error.to_string()),
    }
}

fn unexpected(what: &str, how: &str) -> String {
    format!("io_uring of Linux {} does not do {what} as needed ({how}); 6.1 or later is needed", release())
}

/// Two connected sockets: over loopback, which is what we serve, or in the Unix domain where there is none.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let over_loopback = || {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let ours = TcpStream::connect(listener.local_addr()?)?;
        Ok((OwnedFd::from(ours), OwnedFd::from(listener.accept()?.0)))
    };
    over_loopback().or_else(|_: io::Error| UnixStream::pair().map(|(a, b)| (a.into(), b.into())))
}

fn write(to: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    std::fs::File::from(to.try_clone()?).write_all(bytes)
}

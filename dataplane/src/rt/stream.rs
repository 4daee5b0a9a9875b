//! Connected stream sockets: TCP and Unix domain.

use super::address::{Address, RawAddress};
use super::congestion::is_loopback;
use super::local::{try_with_net, with_net};
use super::net::Port;
use super::pool::Chunk;
use super::segment::{Segments, move_out};
use super::tick::Tick;
use super::{now, sleep_until, sys, thrift, within};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

/// Why nothing was received.
#[derive(Debug)]
pub enum RecvError {
    /// The deadline came first. The connection is as it was.
    Deadline,
    /// The connection failed.
    Io(io::Error),
}

/// Why nothing more is sent.
#[derive(Debug)]
pub enum SendError {
    /// The deadline came first. What was accepted is still on its way.
    Deadline,
    /// The connection failed.
    Io(io::Error),
}

macro_rules! io_error {
    ($name:ident, $verb:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $name::Deadline => f.write_str(concat!("deadline passed while ", $verb)),
                    $name::Io(error) => error.fmt(f),
                }
            }
        }

        impl std::error::Error for $name {}

        impl From<io::Error> for $name {
            fn from(error: io::Error) -> $name {
                $name::Io(error)
            }
        }

        impl From<$name> for io::Error {
            fn from(error: $name) -> io::Error {
                match error {
                    $name::Deadline => io::ErrorKind::TimedOut.into(),
                    $name::Io(error) => error,
                }
            }
        }
    };
}

io_error!(RecvError, "receiving");
io_error!(SendError, "sending");

/// How long a Unix socket whose listener has no room waits before it tries again (readiness backend).
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// A connection. Dropping it sends what was accepted (five seconds at most) and closes it; [`Stream::close`] is gentler,
/// [`Stream::abort`] harder. It holds no receive buffer while nothing has arrived.
#[derive(Debug)]
pub struct Stream {
    reader: Reader,
    writer: Writer,
}

/// The receiving half of a [`Stream`]. Dropping it stops receiving; the connection closes when both halves are gone.
#[derive(Debug)]
pub struct Reader {
    at: u32,
    _here: std::marker::PhantomData<*const ()>,
}

/// The sending half of a [`Stream`]. The connection closes when both halves are gone.
#[derive(Debug)]
pub struct Writer {
    at: u32,
    _here: std::marker::PhantomData<*const ()>,
}

impl Stream {
    fn of(at: u32) -> Stream {
        let _here = std::marker::PhantomData;
        Stream { reader: Reader { at, _here }, writer: Writer { at, _here } }
    }

    pub(super) fn open(fd: OwnedFd, unix: bool) -> io::Result<Stream> {
        with_net(|net| {
            if !unix {
                net.tune_connected(fd.as_raw_fd());
            }
            net.open_stream(fd, unix)
        })
        .map(Stream::of)
    }

    /// Takes over a connected stream socket, such as one end of a socket pair.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn adopt(fd: OwnedFd) -> io::Result<Stream> {
        sys::set_nonblocking(fd.as_raw_fd(), false)?;
        let unix = sys::is_unix(fd.as_raw_fd())?;
        Stream::open(fd, unix)
    }

    pub(super) async fn dial(to: &Address, thrifty: bool) -> io::Result<Stream> {
        loop {
            match Stream::dial_once(to, thrifty).await {
                // a Unix listener's backlog is full, which only the ring waits for by itself
                Err(e) if e.raw_os_error() == Some(libc::EAGAIN) && matches!(to, Address::Unix(_)) => {}
                result => return result,
            }
            sleep_until(now() + BACKLOG_PAUSE).await;
        }
    }

    async fn dial_once(to: &Address, thrifty: bool) -> io::Result<Stream> {
        let raw = RawAddress::new(to)?;
        let stream = with_net(|net| {
            let socket = sys::socket(raw.family(), matches!(net.port, Port::Epoll(_)))?;
            if matches!(to, Address::Tcp(_)) {
                net.tune(socket.as_raw_fd(), Some(to))?;
            }
            if thrifty {
                thrift::towards_server(socket.as_raw_fd(), to)?;
            }
            net.open_dial(socket, raw).map(Stream::of)
        })?;
        std::future::poll_fn(|cx| with_net(|net| net.poll_connect(stream.reader.at, cx))).await?;
        if matches!(to, Address::Tcp(_)) && !is_loopback(to) {
            with_net(|net| {
                let fd = net.raw_fd(stream.reader.at);
                net.tune_connected(fd);
            });
        }
        Ok(stream)
    }

    /// What arrived next; `None` when the peer has ended its side. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`RecvError::Deadline`] at `by`, and then the connection can be used on.
    pub async fn recv(&mut self, by: Tick) -> Result<Option<Chunk>, RecvError> {
        self.reader.recv(by).await
    }

    /// The same without a deadline, for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, RecvError>> {
        self.reader.poll_recv(cx)
    }

    /// Accepts segments for sending; they go out at the end of the turn. Waits only while an earlier send is blocked, or
    /// while 64 KiB and more were accepted within this turn. If the future is dropped while it waits, nothing of it
    /// was accepted.
    ///
    /// # Errors
    /// That the connection has failed, at this send or an earlier one; what was not sent is dropped.
    pub async fn send(&mut self, what: impl Into<Segments>) -> Result<(), SendError> {
        self.writer.send(what).await
    }

    /// Would [`Stream::send`] accept without waiting?
    pub fn can_send(&self) -> bool {
        self.writer.can_send()
    }

    /// Accepts segments without waiting, for end-of-turn hooks. Call it only if [`Stream::can_send`]: what is accepted
    /// beyond that is kept too, and there is no bound on it.
    ///
    /// # Errors
    /// That the connection has failed; the segments are dropped.
    pub fn send_nowait(&mut self, what: impl Into<Segments>) -> Result<(), SendError> {
        self.writer.send_nowait(what)
    }

    /// Ready when [`Stream::send`] would not wait, for hand-written futures.
    pub fn poll_can_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.writer.poll_can_send(cx)
    }

    /// Waits until the kernel has everything that was accepted.
    ///
    /// # Errors
    /// That the connection has failed, or [`SendError::Deadline`] at `by`.
    pub async fn sent(&mut self, by: Tick) -> Result<(), SendError> {
        self.writer.sent(by).await
    }

    /// Nothing received, no end, no error, nothing left to send: fit to be used for another request.
    pub fn is_quiet(&self) -> bool {
        self.reader.is_quiet()
    }

    /// Chunks that may queue up while nobody receives, 16 unless told. At least 1.
    pub fn limit(&mut self, chunks: u8) {
        self.reader.limit(chunks);
    }

    /// The halves, each with its own methods.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// Sends what was accepted, ends our side (FIN), throws away what still arrives until the peer ends its side, and
    /// closes; all of it within `grace`. What could not be sent by then is cut off with a reset.
    pub fn close(self, grace: Duration) {
        self.writer.close(grace);
    }

    /// Closes at once with a reset: the peer sees an error, not an end. (In the Unix domain there is no reset.)
    pub fn abort(self) {
        self.writer.abort();
    }

    /// Ends our side (FIN) after what was accepted. Receiving goes on.
    pub fn shutdown_write(&mut self) {
        self.writer.shutdown_write();
    }

    /// The address at the other end. Asks the kernel.
    pub fn peer(&self) -> Option<Address> {
        let fd = with_net(|net| net.raw_fd(self.reader.at));
        sys::peer_address(fd).ok().flatten()
    }

    /// Our own address. Asks the kernel.
    pub fn local(&self) -> Option<Address> {
        let fd = with_net(|net| net.raw_fd(self.reader.at));
        sys::local_address(fd).ok().flatten()
    }
}

impl Reader {
    /// As [`Stream::recv`].
    ///
    /// # Errors
    /// As there.
    pub async fn recv(&mut self, by: Tick) -> Result<Option<Chunk>, RecvError> {
        std::future::poll_fn(|cx| self.poll_recv_by(by, cx)).await
    }

    /// As [`Stream::poll_recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, RecvError>> {
        self.poll_recv_by(Tick::NEVER, cx)
    }

    /// [`Stream::recv`] for hand-written futures.
    pub fn poll_recv_by(&mut self, by: Tick, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, RecvError>> {
        with_net(|net| net.poll_recv(self.at, by, cx))
    }

    /// As [`Stream::is_quiet`].
    pub fn is_quiet(&self) -> bool {
        with_net(|net| net.is_quiet(self.at))
    }

    /// Whether both directions are over, by the other end's closing or by an error: what an end alone does not tell. Asks
    /// the kernel.
    pub fn has_hung_up(&self) -> bool {
        with_net(|net| sys::has_hung_up(net.raw_fd(self.at)))
    }

    /// Has the kernel send a few bytes at once, if nothing else waits to be sent and our side is open; whether it took
    /// them. What was accepted before is before them.
    pub fn interject(&self, bytes: &'static [u8]) -> bool {
        with_net(|net| net.interject(self.at, bytes))
    }

    /// As [`Stream::limit`].
    pub fn limit(&mut self, chunks: u8) {
        with_net(|net| net.slots.at(self.at).limit = chunks.max(1));
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        try_with_net(|net| net.drop_reader(self.at));
    }
}

impl Writer {
    /// As [`Stream::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&mut self, what: impl Into<Segments>) -> Result<(), SendError> {
        let mut what = what.into();
        std::future::poll_fn(|cx| {
            with_net(|net| match net.poll_can_send(self.at, cx)? {
                Poll::Ready(()) => Poll::Ready(net.send_nowait(self.at, std::mem::take(&mut what))),
                Poll::Pending => {
                    move_out(&mut what);
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// As [`Stream::can_send`].
    pub fn can_send(&self) -> bool {
        with_net(|net| net.can_send(self.at))
    }

    /// As [`Stream::send_nowait`].
    ///
    /// # Errors
    /// As there.
    pub fn send_nowait(&mut self, what: impl Into<Segments>) -> Result<(), SendError> {
        let what = what.into();
        with_net(|net| net.send_nowait(self.at, what))
    }

    /// As [`Stream::poll_can_send`].
    pub fn poll_can_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        with_net(|net| net.poll_can_send(self.at, cx))
    }

    /// As [`Stream::sent`].
    ///
    /// # Errors
    /// As there.
    pub async fn sent(&mut self, by: Tick) -> Result<(), SendError> {
        let sent = std::future::poll_fn(|cx| with_net(|net| net.poll_sent(self.at, cx)));
        within(by, sent).await.unwrap_or(Err(SendError::Deadline))
    }

    /// As [`Stream::shutdown_write`].
    pub fn shutdown_write(&mut self) {
        with_net(|net| net.shutdown_write(self.at));
    }

    /// As [`Stream::close`]; the reader, if it still exists, gets an error from here on.
    pub fn close(self, grace: Duration) {
        with_net(|net| net.close(self.at, grace));
    }

    /// As [`Stream::abort`]; the reader, if it still exists, gets an error from here on.
    pub fn abort(self) {
        with_net(|net| net.abort(self.at));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        try_with_net(|net| net.release(self.at));
    }
}

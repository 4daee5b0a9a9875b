//! Making a connection to a peer: TCP, TLS, SETTINGS; and why that can fail.

use super::limits::MeshLimits;
use super::pool::{Peer, PeerKey};
use crate::http2::LinkLimits;
use crate::http2::drive::drive;
use crate::http2::link::{Blocks, Link, LinkEnd, clock};
use crate::rt::{self, Address, Tick};
use crate::tls::{Identity, Rejection, Session, TlsError};
use proto::http2::{Connection, Event};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How far a dial came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The TCP connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The peer's SETTINGS.
    Settings,
    /// All connections are as full as the peer allows.
    Room,
}

/// Why there is no connection to a peer. Nothing of the call was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialError {
    /// The operating system refused the connection.
    Connect {
        /// What kind of refusal.
        kind: io::ErrorKind,
        /// In its words.
        message: String,
    },
    /// The peer must be authenticated, and this sidecar has no identity to do so.
    NoIdentity,
    /// The peer proved to be somebody else.
    WrongIdentity {
        /// The SPIFFE ID it presented.
        presented: String,
    },
    /// The peer did not agree on HTTP/2.
    NoAlpn,
    /// The TLS handshake failed.
    Tls(TlsError),
    /// The peer does not speak HTTP/2, or closed at once.
    Protocol(String),
    /// The deadline came.
    TimedOut {
        /// During this.
        phase: Phase,
    },
    /// Too many calls wait for a connection to this peer already.
    Crowded,
    /// The mesh is closed.
    Closed,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Connect { message, .. } => f.write_str(message),
            DialError::NoIdentity => f.write_str("no identity to authenticate with"),
            DialError::WrongIdentity { presented } => write!(f, "unexpected SPIFFE ID: {presented:?}"),
            DialError::NoAlpn => TlsError::NoAlpn.fmt(f),
            DialError::Tls(error) => write!(f, "authentication handshake failed: {error}"),
            DialError::Protocol(what) => f.write_str(what),
            DialError::TimedOut { phase: Phase::Connect } => f.write_str("timed out connecting"),
            DialError::TimedOut { phase: Phase::Tls } => f.write_str("timed out in the TLS handshake"),
            DialError::TimedOut { phase: Phase::Settings } => {
                f.write_str("timed out waiting for the peer's SETTINGS")
            }
            DialError::TimedOut { phase: Phase::Room } => f.write_str("timed out waiting for a free stream"),
            DialError::Crowded => f.write_str("too many calls wait for a connection to the peer"),
            DialError::Closed => f.write_str("the mesh is closed"),
        }
    }
}

impl std::error::Error for DialError {}

/// One dial, for everybody who waits for it.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) phase: Cell<Phase>,
    pub(super) outcome: RefCell<Option<Result<(), DialError>>>,
}

/// Starts a dial in a task of its own: it outlives whoever wanted it first.
pub(super) fn take_off(
    peer: &Rc<Peer>,
    identity: Option<Arc<Identity>>,
    limits: Rc<MeshLimits>,
    links: Rc<LinkLimits>,
) -> Rc<Flight> {
    let flight = Rc::new(Flight { phase: Cell::new(Phase::Connect), outcome: RefCell::new(None) });
    let (peer, mine) = (Rc::clone(peer), Rc::clone(&flight));
    rt::spawn(async move {
        let by = rt::now() + limits.dial;
        let outcome = match rt::within(by, dial(&peer, identity, &limits, links, &mine, by)).await {
            Some(Ok(link)) => {
                peer.add(link);
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => Err(DialError::TimedOut { phase: mine.phase.get() }),
        };
        *mine.outcome.borrow_mut() = Some(outcome);
        peer.landed();
    });
    flight
}

async fn dial(
    peer: &Rc<Peer>,
    identity: Option<Arc<Identity>>,
    limits: &MeshLimits,
    links: Rc<LinkLimits>,
    flight: &Flight,
    by: Tick,
) -> Result<Rc<Link>, DialError> {
    let key = &peer.key;
    let session = session(key, identity.as_deref())?;
    let stream = rt::connect(&Address::Tcp(key.address), by).await.map_err(|e| refused(key, &e))?;
    flight.phase.set(if session.is_some() { Phase::Tls } else { Phase::Settings });
    let (reader, writer) = stream.split();
    let mut conn = Connection::client(limits.http2.clone(), clock());
    let blocks = blocks(&mut conn, key);
    let link = Link::new(conn, blocks, session, writer, links);
    hello(&link);
    let settled = Rc::new(Settled::default());
    let (driven, told, owner) = (Rc::clone(&link), Rc::clone(&settled), Rc::downgrade(peer));
    let task = rt::spawn(async move {
        let end = drive(driven, reader, |link, event| on_event(link, event, &told, &owner)).await;
        told.set(Err(end));
    });
    let mut unfinished = Abort(Some(task), Rc::clone(&link));
    let outcome = poll_fn(|cx| {
        if link.inner().tls.as_ref().is_none_or(Session::is_ready) {
            flight.phase.set(Phase::Settings);
        }
        settled.poll(cx)
    })
    .await;
    unfinished.0 = None;
    outcome.map_err(|end| failed(end, flight.phase.get()))?;
    Ok(link)
}

/// Stops the driver of a connection that nobody will use: the dial was given up.
struct Abort(Option<rt::Task>, Rc<Link>);

impl Drop for Abort {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.cancel();
            if let Some(writer) = self.1.inner().writer.take() {
                writer.abort();
            }
        }
    }
}

fn session(key: &PeerKey, identity: Option<&Identity>) -> Result<Option<Session>, DialError> {
    let Some(expected) = &key.expected else { return Ok(None) };
    let identity = identity.ok_or(DialError::NoIdentity)?;
    Session::client(identity, expected, key.address).map(Some).map_err(DialError::Tls)
}

/// Sends the ClientHello, or without TLS the preface at the end of this turn.
fn hello(link: &Rc<Link>) {
    let inner = &mut *link.inner();
    if let Some(tls) = &mut inner.tls {
        let mut out = rt::turn_buffer();
        let _ = tls.open(&mut [], &mut out, |_| ());
        inner.send_raw(out);
    }
    link.touch(inner);
}

/// Waits for a connection to be usable, or at its end.
#[derive(Default)]
struct Settled {
    result: RefCell<Option<Result<(), LinkEnd>>>,
    waker: RefCell<Option<Waker>>,
}

impl Settled {
    fn set(&self, result: Result<(), LinkEnd>) {
        self.result.borrow_mut().get_or_insert(result);
        let waker = self.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), LinkEnd>> {
        if let Some(result) = self.result.borrow_mut().take() {
            return Poll::Ready(result);
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn on_event(link: &Rc<Link>, event: Event, settled: &Settled, owner: &Weak<Peer>) {
    match event {
        Event::Ready => settled.set(Ok(())),
        Event::Room => owner.upgrade().into_iter().for_each(|peer| peer.offer()),
        Event::Draining | Event::Over => owner.upgrade().into_iter().for_each(|peer| peer.remove(link)),
        Event::Opened(_) | Event::Progress(_) | Event::Refused(_) => {}
    }
}

fn refused(key: &PeerKey, error: &io::Error) -> DialError {
    if error.kind() == io::ErrorKind::TimedOut {
        return DialError::TimedOut { phase: Phase::Connect };
    }
    let message = format!("dial tcp {}: {error}", key.address);
    DialError::Connect { kind: error.kind(), message }
}

fn failed(end: LinkEnd, phase: Phase) -> DialError {
    match end {
        LinkEnd::Tls(TlsError::Rejected(Rejection::Unexpected(presented))) => {
            DialError::WrongIdentity { presented }
        }
        LinkEnd::Tls(TlsError::NoAlpn) => DialError::NoAlpn,
        LinkEnd::Tls(error) => DialError::Tls(error),
        other if phase == Phase::Tls => DialError::Tls(TlsError::Protocol(other.to_string())),
        other => DialError::Protocol(other.to_string()),
    }
}

/// The constant part of every request on a connection.
fn blocks(conn: &mut Connection, key: &PeerKey) -> Blocks {
    let authority = key.address.to_string();
    let scheme = if key.expected.is_some() { "https" } else { "http" };
    let fields = |path: Option<&'static str>| {
        let pseudo = [(":method", "POST"), (":scheme", scheme)];
        let rest = [
            (":authority", authority.as_str()),
            ("content-type", "application/grpc"),
            ("user-agent", USER_AGENT),
            ("te", "trailers"),
        ];
        let path = path.map(|path| (":path", path));
        pseudo.into_iter().chain(path).chain(rest).collect::<Vec<_>>()
    };
    let head = Some(conn.register(&fields(None)));
    let paths = PATHS.iter().map(|path| ((*path).into(), conn.register(&fields(Some(path))))).collect();
    Blocks { head, ok: None, paths }
}

const USER_AGENT: &str = concat!("outrigger/", env!("CARGO_PKG_VERSION"));
/// The paths that go into the peer's table. Others are literals.
const PATHS: [&str; 2] = [
    "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream",
    "/dapr.proto.internals.v1.ServiceInvocation/CallLocal",
];

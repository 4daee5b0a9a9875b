//! The connections to all peers of a shard, and who waits for one.

use super::call::Call;
use super::dial::{DialError, Flight, Phase, take_off};
use super::limits::MeshLimits;
use super::queue::Queue;
use crate::http2::LinkLimits;
use crate::http2::link::{Features, Link};
use crate::rt::{self, Tick};
use crate::tls::Identity;
use proto::spiffe::SpiffeId;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

/// Whom a connection leads to. Address and identity together: a warm connection never carries a call for another
/// workload, and a dial that finds the wrong one hinders nobody else.
#[derive(Clone, Debug)]
pub struct PeerKey {
    /// Where its mesh port listens.
    pub address: SocketAddr,
    /// Who must answer there; `None` for plaintext. The trust domain is not compared.
    pub expected: Option<SpiffeId>,
}

impl PeerKey {
    fn is_same_peer(&self, other: &PeerKey) -> bool {
        self.address == other.address
            && match (&self.expected, &other.expected) {
                (None, None) => true,
                (Some(a), Some(b)) => a.is_same_workload(b),
                _ => false,
            }
    }
}

/// What a call begins with.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The full `:path`.
    pub path: &'a str,
    /// Fields of this call only, names in lower case.
    pub literals: &'a [(&'a str, &'a [u8])],
}

/// One line about a peer, for status questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who it is expected to be.
    pub expected: Option<SpiffeId>,
    /// Connections that take calls.
    pub connections: usize,
    /// Calls in progress on them.
    pub calls: usize,
    /// A dial is in flight.
    pub dialing: bool,
    /// It announced itself as an Outrigger.
    pub features: Features,
}

/// The connections of a shard to other sidecars. Clones share them.
#[derive(Clone)]
pub struct Mesh(Rc<Shared>);

pub(super) struct Shared {
    limits: Rc<MeshLimits>,
    links: Rc<LinkLimits>,
    identity: RefCell<Option<Arc<Identity>>>,
    peers: RefCell<BTreeMap<SocketAddr, Vec<Rc<Peer>>>>,
    closed: Cell<bool>,
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("peers", &self.0.peers.borrow().len()).finish_non_exhaustive()
    }
}

impl Mesh {
    /// No connections yet, and no identity: only plaintext peers can be reached.
    pub fn new(limits: MeshLimits) -> Mesh {
        Mesh(Rc::new(Shared {
            links: limits.of_links(),
            limits: Rc::new(limits),
            identity: RefCell::new(None),
            peers: RefCell::new(BTreeMap::new()),
            closed: Cell::new(false),
        }))
    }

    /// The identity that connections made from now on show. Open ones stay as they are.
    pub fn set_identity(&self, identity: Option<Arc<Identity>>) {
        *self.0.identity.borrow_mut() = identity;
    }

    /// Largest message that a peer may send from now on, on open connections too.
    pub fn set_max_message(&self, bytes: usize) {
        self.0.links.max_message.set(bytes);
    }

    /// A connection to the peer with room for one call: an open one, one that is being dialled, or a new one.
    ///
    /// # Errors
    /// The dial failed, or `by` came before there was room. Nothing was sent.
    pub async fn checkout(&self, to: &PeerKey, by: Tick) -> Result<Checkout, DialError> {
        if let Some(checkout) = self.at_hand(to) {
            return Ok(checkout);
        }
        let mut wait = Wait::default();
        let found = rt::within(by, poll_fn(|cx| self.poll_checkout(to, &mut wait, cx))).await;
        found.unwrap_or_else(|| Err(DialError::TimedOut { phase: wait.phase() }))
    }

    fn at_hand(&self, to: &PeerKey) -> Option<Checkout> {
        let peers = self.0.peers.borrow();
        let peer = peers.get(&to.address)?.iter().find(|peer| peer.key.is_same_peer(to))?;
        peer.checkout()
    }

    fn poll_checkout(
        &self,
        to: &PeerKey,
        wait: &mut Wait,
        cx: &Context<'_>,
    ) -> Poll<Result<Checkout, DialError>> {
        if self.0.closed.get() {
            return Poll::Ready(Err(DialError::Closed));
        }
        let failure = wait.failure();
        if let Some(checkout) = self.at_hand(to) {
            wait.over();
            return Poll::Ready(Ok(checkout));
        }
        // before the peer is looked up: one that could not be dialled has been forgotten
        if let Some(error) = failure.filter(|_| wait.has_no_connection()) {
            wait.over();
            return Poll::Ready(Err(error));
        }
        let peer = self.peer(to);
        if wait.failure().is_none() {
            wait.flight = peer.dial(&self.0);
        }
        if wait.is_new(&peer) && peer.queue.len() >= self.0.limits.waiting {
            return Poll::Ready(Err(DialError::Crowded));
        }
        wait.on(peer, cx);
        Poll::Pending
    }

    fn peer(&self, to: &PeerKey) -> Rc<Peer> {
        let mut peers = self.0.peers.borrow_mut();
        let here = peers.entry(to.address).or_default();
        if let Some(peer) = here.iter().find(|peer| peer.key.is_same_peer(to)) {
            return Rc::clone(peer);
        }
        let peer = Rc::new(Peer {
            key: to.clone(),
            links: RefCell::default(),
            flight: RefCell::default(),
            queue: Queue::default(),
            owner: Rc::downgrade(&self.0),
        });
        here.push(Rc::clone(&peer));
        peer
    }

    /// All peers known at the moment.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.0.peers.borrow().values().flatten().map(|peer| peer.status()).collect()
    }

    /// Takes no more calls; connections end once their calls are done.
    pub fn close(&self) {
        self.0.closed.set(true);
        let peers: Vec<Rc<Peer>> = self.0.peers.borrow().values().flatten().cloned().collect();
        for peer in peers {
            let links = peer.links.take();
            links.iter().for_each(|link| link.shutdown());
            peer.wake_all();
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Everything about one peer.
pub(super) struct Peer {
    pub(super) key: PeerKey,
    /// Connections that take calls.
    links: RefCell<Vec<Rc<Link>>>,
    flight: RefCell<Option<Rc<Flight>>>,
    /// Who waits for room or for the dial.
    queue: Queue,
    owner: Weak<Shared>,
}

impl Peer {
    /// Room for one call on an open connection.
    fn checkout(self: &Rc<Self>) -> Option<Checkout> {
        let links = self.links.borrow();
        let link = links.iter().find(|link| link.room() > 0)?;
        link.reserved.set(link.reserved.get() + 1);
        Some(Checkout { link: Some(Rc::clone(link)), peer: Rc::clone(self) })
    }

    /// The dial in flight, or a new one if another connection may be made.
    fn dial(self: &Rc<Self>, shared: &Rc<Shared>) -> Option<Rc<Flight>> {
        let mut flight = self.flight.borrow_mut();
        if flight.is_none() && self.links.borrow().len() < shared.limits.connections {
            let identity = shared.identity.borrow().clone();
            *flight = Some(take_off(self, identity, Rc::clone(&shared.limits), Rc::clone(&shared.links)));
        }
        flight.clone()
    }

    /// Wakes as many of those who wait as there is room for, and sees to it that the next free stream is told.
    pub(super) fn offer(&self) {
        let links = self.links.borrow().clone();
        let room = links.iter().map(|link| link.room()).sum();
        self.queue.wake(room);
        if self.queue.len() > 0 {
            links.iter().for_each(|link| link.inner().conn.watch_room());
        }
    }

    /// Wakes everybody who waits: the situation is another.
    fn wake_all(&self) {
        self.queue.wake(self.queue.len());
    }

    /// A dial succeeded.
    pub(super) fn add(&self, link: Rc<Link>) {
        if self.owner.upgrade().is_some_and(|owner| owner.closed.get()) {
            return link.shutdown();
        }
        if link.takes_calls() {
            self.links.borrow_mut().push(link);
        }
    }

    /// The dial is over, one way or the other.
    pub(super) fn landed(self: &Rc<Self>) {
        let flight = self.flight.take();
        if flight.is_none_or(|flight| *flight.outcome.borrow() != Some(Ok(()))) {
            self.wake_all();
            return self.leave_if_unused();
        }
        self.offer();
        if self.queue.len() > 0
            && let Some(owner) = self.owner.upgrade()
        {
            self.dial(&owner); // the peer takes few streams: another connection for those who still wait
        }
        self.leave_if_unused();
    }

    /// The connection takes no more calls.
    pub(super) fn remove(self: &Rc<Self>, link: &Rc<Link>) {
        self.links.borrow_mut().retain(|other| !Rc::ptr_eq(other, link));
        self.wake_all();
        self.leave_if_unused();
    }

    /// A peer without connections is forgotten: the table does not grow with the peers ever seen.
    fn leave_if_unused(self: &Rc<Self>) {
        let Some(owner) = self.owner.upgrade() else { return };
        if !self.links.borrow().is_empty() || self.flight.borrow().is_some() {
            return;
        }
        let mut peers = owner.peers.borrow_mut();
        if let Some(here) = peers.get_mut(&self.key.address) {
            here.retain(|peer| !Rc::ptr_eq(peer, self));
            if here.is_empty() {
                peers.remove(&self.key.address);
            }
        }
    }

    fn status(&self) -> PeerStatus {
        let links = self.links.borrow();
        PeerStatus {
            address: self.key.address,
            expected: self.key.expected.clone(),
            connections: links.len(),
            calls: links.iter().map(|link| link.inner().conn.open_streams()).sum(),
            dialing: self.flight.borrow().is_some(),
            features: links.first().map(|link| link.features()).unwrap_or_default(),
        }
    }
}

/// One who waits for a connection. Whoever stops waiting after being woken passes the wake on.
#[derive(Default)]
struct Wait {
    peer: Option<Rc<Peer>>,
    ticket: u64,
    /// The dial it waits for too.
    flight: Option<Rc<Flight>>,
}

impl Wait {
    /// Why the dial failed.
    fn failure(&self) -> Option<DialError> {
        self.flight.as_ref()?.outcome.borrow().clone()?.err()
    }

    /// A failed dial is no reason to give up while there are connections that only have no room.
    fn has_no_connection(&self) -> bool {
        self.peer.as_ref().is_none_or(|peer| peer.links.borrow().is_empty())
    }

    fn is_new(&self, peer: &Rc<Peer>) -> bool {
        self.peer.as_ref().is_none_or(|mine| !Rc::ptr_eq(mine, peer))
    }

    fn on(&mut self, peer: Rc<Peer>, cx: &Context<'_>) {
        if self.is_new(&peer) {
            self.over();
        }
        self.ticket = peer.queue.enter(self.ticket, cx);
        self.peer = Some(peer);
    }

    /// Waits no longer.
    fn over(&mut self) {
        if let Some(peer) = self.peer.take() {
            peer.queue.leave(self.ticket);
        }
        self.ticket = 0;
    }

    /// What it was waiting for.
    fn phase(&self) -> Phase {
        match &self.flight {
            Some(flight) if flight.outcome.borrow().is_none() => flight.phase.get(),
            _ => Phase::Room,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(peer) = self.peer.take()
            && !peer.queue.leave(self.ticket)
        {
            peer.offer();
        }
    }
}

/// A connection with room for one call, which is kept for it until this is dropped.
#[derive(Debug)]
#[must_use = "the room is kept until this is dropped"]
pub struct Checkout {
    link: Option<Rc<Link>>,
    peer: Rc<Peer>,
}

impl Checkout {
    /// What the peer announced.
    pub fn features(&self) -> Features {
        self.link.as_ref().map(|link| link.features()).unwrap_or_default()
    }

    /// Starts a call. If the connection has ended meanwhile, the call's first operation says so
    /// ([`super::CallError::Unprocessed`]).
    // The link is taken only here and by drop, and both end the value.
    #[allow(clippy::expect_used)]
    pub fn start(mut self, call: Start<'_>) -> Call {
        let link = self.link.take().expect("a checkout is started once");
        link.reserved.set(link.reserved.get().saturating_sub(1));
        Call::start(link, call.path, call.literals)
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.reserved.set(link.reserved.get().saturating_sub(1));
            self.peer.offer();
        }
    }
}

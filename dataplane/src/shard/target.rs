//! What a shard knows about the apps it calls.

use crate::mesh::PeerKey;
use proto::balance::Balance;
use proto::envelope::{Fixed, Identity};
use proto::snapshot::{AppRef, Route, Snapshot, Workload};
use proto::spiffe::SpiffeId;
use proto::time::Tick;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Most targets a shard remembers; beyond that all are forgotten and looked up again.
const MOST_TARGETS: usize = 4096;

/// One app that calls go to, under the id the clients use.
#[derive(Debug)]
pub(crate) struct Target {
    /// The app.
    pub(crate) app: AppRef,
    /// What the mesh message says about caller and callee.
    pub(crate) fixed: Fixed,
    balance: RefCell<Balance>,
    route: RefCell<Option<Arc<Route>>>,
    seen_version: Cell<u64>,
    peers: RefCell<Vec<Rc<PeerKey>>>,
}

impl Target {
    fn new(app: AppRef, own: &Workload) -> Target {
        let fixed = Fixed::new(&Identity::from(own), &app.app_id);
        Target {
            app,
            fixed,
            balance: RefCell::default(),
            route: RefCell::default(),
            seen_version: Cell::new(u64::MAX),
            peers: RefCell::default(),
        }
    }

    /// The peer at one of the target's endpoints: with mTLS, who must answer there.
    pub(crate) fn peer(&self, address: SocketAddr, own: &Workload) -> Rc<PeerKey> {
        let mut peers = self.peers.borrow_mut();
        if let Some(known) = peers.iter().find(|peer| peer.address == address) {
            return known.clone();
        }
        let expected = own.mtls.then(|| SpiffeId {
            trust_domain: own.trust_domain.clone(),
            namespace: self.app.namespace.clone(),
            app_id: self.app.app_id.clone(),
        });
        let peer = Rc::new(PeerKey { address, expected });
        peers.push(peer.clone());
        peer
    }

    /// Whether the snapshot leads anywhere. Costs nothing while the snapshot stays the same.
    pub(crate) fn is_routed(&self, snapshot: &Snapshot) -> bool {
        if self.seen_version.replace(snapshot.version) != snapshot.version {
            self.learn(snapshot.routes.get(&self.app));
        }
        self.route.borrow().is_some()
    }

    /// Takes over a route, or that there is none any more.
    pub(crate) fn learn(&self, route: Option<&Arc<Route>>) {
        let mut known = self.route.borrow_mut();
        let endpoints = match route.map(|r| &**r) {
            Some(Route::Endpoints(endpoints)) if !endpoints.is_empty() => endpoints,
            _ => {
                *known = None;
                return;
            }
        };
        let same = known.as_ref().zip(route).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
        if !same {
            self.balance.borrow_mut().update(endpoints);
            self.peers.borrow_mut().clear();
            *known = route.cloned();
        }
    }

    /// The endpoint for the next attempt.
    pub(crate) fn pick(&self, tried: &[SocketAddr], now: Tick) -> Option<SocketAddr> {
        self.balance.borrow_mut().pick(tried, now)
    }

    /// Whether there is a live endpoint that was not tried.
    pub(crate) fn has_fresh(&self, tried: &[SocketAddr], now: Tick) -> bool {
        self.balance.borrow().has_fresh(tried, now)
    }

    /// The sidecar at `address` failed.
    pub(crate) fn failed(&self, address: SocketAddr, now: Tick) {
        self.balance.borrow_mut().failed(address, now);
    }

    /// The sidecar at `address` answered.
    pub(crate) fn succeeded(&self, address: SocketAddr) {
        self.balance.borrow_mut().succeeded(address);
    }

    /// How its endpoints stand.
    pub(crate) fn health(&self, now: Tick) -> Vec<proto::balance::Health> {
        self.balance.borrow().health(now).collect()
    }
}

/// All targets of a shard by the id that clients use.
#[derive(Debug, Default)]
pub(crate) struct Targets(RefCell<BTreeMap<Box<str>, Rc<Target>>>);

impl Targets {
    /// The target under `id`, if it was called before.
    pub(crate) fn known(&self, id: &str) -> Option<Rc<Target>> {
        self.0.borrow().get(id).cloned()
    }

    /// Remembers `app` under `id`.
    pub(crate) fn add(&self, id: &str, app: AppRef, own: &Workload) -> Rc<Target> {
        let target = Rc::new(Target::new(app, own));
        let mut all = self.0.borrow_mut();
        if all.len() >= MOST_TARGETS {
            all.clear();
        }
        all.insert(id.into(), target.clone());
        target
    }

    /// The own identity changed: what was encoded with it is void.
    pub(crate) fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// All targets with their ids.
    pub(crate) fn each(&self, mut show: impl FnMut(&str, &Target)) {
        self.0.borrow().iter().for_each(|(id, target)| show(id, target));
    }
}

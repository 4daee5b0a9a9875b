//! Which sidecar of an app takes the next attempt: round robin over live endpoints, passive ejection.
//!
//! ```text
//!            failed (n-th in a row)                    succeeded
//!   live ───────────────────────────▶ ejected(until) ───────────▶ live
//!    ▲                                     │
//!    └───────────── now ≥ until ───────────┘   (the count of failures stays until a success)
//! ```
//!
//! Ejection is advice, never a refusal: where every endpoint is ejected, the one whose ejection ends first is
//! picked. An app with one endpoint is therefore always tried.

use crate::snapshot::Endpoint;
use crate::time::Tick;
use core::time::Duration;
use std::net::SocketAddr;

/// The first ejection; it doubles with every further failure in a row.
pub const FIRST_EJECTION: Duration = Duration::from_secs(2);

/// The longest ejection.
pub const LONGEST_EJECTION: Duration = Duration::from_secs(30);

/// The endpoints of one app, with what one shard learnt about them.
#[derive(Clone, Debug, Default)]
pub struct Balance {
    members: Vec<Member>,
    next: usize,
}

#[derive(Clone, Debug)]
struct Member {
    address: SocketAddr,
    failures: u32,
    ejected_until: Option<Tick>,
}

/// How an endpoint stands, for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Where its mesh port listens.
    pub address: SocketAddr,
    /// Failures since its last success.
    pub failures: u32,
    /// Whether calls avoid it at the moment.
    pub ejected: bool,
}

impl Balance {
    /// Takes over the resolver's list. What is known about addresses that stay is kept.
    pub fn update(&mut self, endpoints: &[Endpoint]) {
        if self.members.len() == endpoints.len()
            && self.members.iter().zip(endpoints).all(|(m, e)| m.address == e.address)
        {
            return;
        }
        let known = core::mem::take(&mut self.members);
        self.members = endpoints.iter().map(|e| Member::known_or_new(e.address, &known)).collect();
    }

    /// The endpoint for the next attempt of a call that already tried `tried`. Prefers, in this order: live and not
    /// tried, ejected and not tried, live, any. `None` only without endpoints.
    pub fn pick(&mut self, tried: &[SocketAddr], now: Tick) -> Option<SocketAddr> {
        let found = self
            .turn(|m| m.is_live(now) && !tried.contains(&m.address))
            .or_else(|| self.soonest(|m| !tried.contains(&m.address)))
            .or_else(|| self.turn(|m| m.is_live(now)))
            .or_else(|| self.soonest(|_| true))?;
        self.next = found.wrapping_add(1);
        self.members.get(found).map(|m| m.address)
    }

    /// Whether there is a live endpoint that a call which tried `tried` has not seen yet.
    pub fn has_fresh(&self, tried: &[SocketAddr], now: Tick) -> bool {
        self.members.iter().any(|m| m.is_live(now) && !tried.contains(&m.address))
    }

    /// An attempt at `address` failed in a way that speaks against the sidecar itself.
    pub fn failed(&mut self, address: SocketAddr, now: Tick) {
        if let Some(member) = self.members.iter_mut().find(|m| m.address == address) {
            member.eject(now);
        }
    }

    /// The sidecar at `address` answered.
    pub fn succeeded(&mut self, address: SocketAddr) {
        if let Some(member) = self.members.iter_mut().find(|m| m.address == address) {
            member.failures = 0;
            member.ejected_until = None;
        }
    }

    /// How all endpoints stand.
    pub fn health(&self, now: Tick) -> impl Iterator<Item = Health> + '_ {
        self.members.iter().map(move |m| Health {
            address: m.address,
            failures: m.failures,
            ejected: !m.is_live(now),
        })
    }

    /// The first member after the last pick that fits.
    fn turn(&self, fits: impl Fn(&Member) -> bool) -> Option<usize> {
        let count = self.members.len();
        let start = if count == 0 { 0 } else { self.next % count };
        (start..count).chain(0..start).find(|&i| self.members.get(i).is_some_and(&fits))
    }

    /// The fitting member whose ejection ends first.
    fn soonest(&self, fits: impl Fn(&Member) -> bool) -> Option<usize> {
        let fitting = self.members.iter().enumerate().filter(|(_, m)| fits(m));
        fitting.min_by_key(|(_, m)| m.ejected_until).map(|(i, _)| i)
    }
}

impl Member {
    fn known_or_new(address: SocketAddr, known: &[Member]) -> Member {
        let old = known.iter().find(|m| m.address == address);
        old.cloned().unwrap_or(Member { address, failures: 0, ejected_until: None })
    }

    fn is_live(&self, now: Tick) -> bool {
        self.ejected_until.is_none_or(|until| until <= now)
    }

    fn eject(&mut self, now: Tick) {
        let doubled = FIRST_EJECTION.saturating_mul(1 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        self.ejected_until = Some(now + doubled.min(LONGEST_EJECTION));
    }
}

#[cfg(test)]
mod tests;

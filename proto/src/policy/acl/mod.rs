//! Access control: the only place where a [`Permit`] comes from (spec/security 5).
//!
//! An app is reached only with a `Permit`, and a `Permit` is made only here: by [`authorize`] for a peer's call, by
//! [`Permit::for_own_app`] for a call that an app makes to itself.
//!
//! A list is written as [`Rules`] and compiled to an [`Acl`], which decides as daprd's does (spec/security 5.4, with
//! its test vectors), except that policies without a `defaultAction` deny the others (compatibility table).

mod findings;
mod rules;
mod tree;

#[cfg(test)]
mod tests;

pub use rules::{Acl, Action, OperationRule, Policy, Rules, RulesError};

use crate::snapshot::{AppRef, Workload};
use crate::spiffe::SpiffeId;
use core::fmt;

/// Who calls, as far as it is proven.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// A peer that a verified handshake named.
    Peer(&'a SpiffeId),
    /// A peer on a plaintext connection of a workload without mTLS.
    Plaintext,
    /// A peer without a name although mTLS is on. Never allowed: it means that a check before this one is missing.
    Unverified,
}

impl<'a> Caller<'a> {
    /// The caller behind a connection: `peer` from its handshake, `mtls` from the workload.
    pub fn of(peer: Option<&'a SpiffeId>, mtls: bool) -> Caller<'a> {
        match peer {
            Some(id) => Caller::Peer(id),
            None if mtls => Caller::Unverified,
            None => Caller::Plaintext,
        }
    }
}

impl fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Peer(id) => id.fmt(f),
            Caller::Plaintext | Caller::Unverified => Ok(()),
        }
    }
}

/// What is called: the normalised method and the verb.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The normalised method, with or without its leading slash.
    pub method: &'a str,
    /// An HTTP verb in capitals; `NONE` where there is none.
    pub verb: &'a str,
    /// Whether the app speaks HTTP; names of gRPC methods are compared case-sensitively and have no verb.
    pub http: bool,
}

impl<'a> Operation<'a> {
    /// A call to an HTTP app.
    pub fn http(method: &'a str, verb: &'a str) -> Operation<'a> {
        Operation { method, verb, http: true }
    }

    /// A call to a gRPC app, and any proxied gRPC call.
    pub fn grpc(method: &'a str) -> Operation<'a> {
        Operation { method, verb: "NONE", http: false }
    }
}

/// Whose rule decided; metrics count by it (spec/security 5.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The list's default action, also for an operation of a policy that has no default of its own.
    Global,
    /// A caller's policy.
    App,
}

/// The right to carry one call to the local app. Made only in this module, consumed by forwarding.
#[derive(Debug)]
#[must_use = "a permit that is not used is a call that was not made"]
pub struct Permit(Level);

impl Permit {
    /// The permit for a call of the own app to itself, which is not subject to the list (spec/security 5.3).
    /// `None` if the target is another app.
    pub fn for_own_app(workload: &Workload, target: &AppRef) -> Option<Permit> {
        let own = target.app_id == workload.app_id && target.namespace == workload.namespace;
        own.then_some(Permit(Level::Global))
    }

    /// Whose rule allowed the call.
    pub fn level(&self) -> Level {
        self.0
    }
}

/// A call that the list refuses. Its text is daprd's (spec/security 5.8); the gRPC status is PermissionDenied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The caller's SPIFFE ID, empty for a plaintext peer.
    pub id: String,
    /// The method as it was asked for.
    pub operation: String,
    /// The verb, `NONE` for gRPC.
    pub verb: String,
    /// Whose rule denied the call.
    pub level: Level,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "access control policy has denied access to id: {} operation: {} verb: {}",
            self.id, self.operation, self.verb
        )
    }
}

impl std::error::Error for Denied {}

/// Decides whether `caller` may do `operation` on the local app.
pub fn authorize(acl: &Acl, caller: Caller<'_>, operation: Operation<'_>) -> Result<Permit, Denied> {
    let (action, level) = match caller {
        Caller::Peer(id) => acl.decide(Some(id), operation),
        Caller::Plaintext => acl.decide(None, operation),
        Caller::Unverified => (Action::Deny, Level::Global),
    };
    match action {
        Action::Allow => Ok(Permit(level)),
        Action::Deny => Err(Denied {
            id: caller.to_string(),
            operation: operation.method.to_owned(),
            verb: operation.verb.to_owned(),
            level,
        }),
    }
}

//! Access control: the only place where a [`Permit`] comes from (spec/security 5).
//!
//! An app is reached only with a `Permit`, and a `Permit` is made only here: by [`authorize`] for a peer's call, by
//! [`Permit::for_own_app`] for a call that an app makes to itself.

use crate::snapshot::{AppRef, Workload};
use crate::spiffe::SpiffeId;
use core::fmt;

/// The access-control list of one workload. The default allows every authenticated peer, as daprd does without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {}

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

/// The right to carry one call to the local app. Made only in this module, consumed by forwarding.
#[derive(Debug)]
#[must_use = "a permit that is not used is a call that was not made"]
pub struct Permit(());

impl Permit {
    /// The permit for a call of the own app to itself, which is not subject to the list (spec/security 5.3).
    /// `None` if the target is another app.
    pub fn for_own_app(workload: &Workload, target: &AppRef) -> Option<Permit> {
        let own = target.app_id == workload.app_id && target.namespace == workload.namespace;
        own.then_some(Permit(()))
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
    if acl.allows(caller, operation) {
        return Ok(Permit(()));
    }
    Err(Denied {
        id: caller.to_string(),
        operation: operation.method.to_owned(),
        verb: operation.verb.to_owned(),
    })
}

impl Acl {
    fn allows(&self, caller: Caller<'_>, _operation: Operation<'_>) -> bool {
        matches!(caller, Caller::Peer(_) | Caller::Plaintext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> SpiffeId {
        SpiffeId::new("public", "default", "caller").unwrap()
    }

    #[test]
    fn the_default_list_allows_every_verified_peer() {
        let id = peer();
        let caller = Caller::of(Some(&id), true);
        assert!(authorize(&Acl::default(), caller, Operation::http("pay", "POST")).is_ok());
    }

    #[test]
    fn a_plaintext_peer_is_allowed_only_while_mtls_is_off() {
        let op = Operation::grpc("/a.B/C");
        assert!(authorize(&Acl::default(), Caller::of(None, false), op).is_ok());
        let denied = authorize(&Acl::default(), Caller::of(None, true), op).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "access control policy has denied access to id:  operation: /a.B/C verb: NONE"
        );
    }

    #[test]
    fn only_the_own_app_in_its_own_namespace_is_a_self_call() {
        let workload = Workload { app_id: "a".into(), namespace: "default".into(), ..Workload::default() };
        let target =
            |app_id: &str, namespace: &str| AppRef { app_id: app_id.into(), namespace: namespace.into() };
        assert!(Permit::for_own_app(&workload, &target("a", "default")).is_some());
        assert!(Permit::for_own_app(&workload, &target("b", "default")).is_none());
        assert!(Permit::for_own_app(&workload, &target("a", "prod")).is_none());
    }
}

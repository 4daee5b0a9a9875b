//! What is the same in every call to one callee: encoded once, spliced into each first message.

use super::wire;
use crate::http1::names::Known;

/// Who the calling sidecar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// `--app-id`.
    pub app_id: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Written into `X-Forwarded-For` and `Forwarded`.
    pub host_address: &'a str,
    /// Written into `X-Forwarded-Host` and `Forwarded`.
    pub host_name: &'a str,
}

impl<'a> From<&'a crate::snapshot::Workload> for Identity<'a> {
    fn from(own: &'a crate::snapshot::Workload) -> Identity<'a> {
        Identity {
            app_id: &own.app_id,
            namespace: &own.namespace,
            host_address: &own.host_address,
            host_name: &own.host_name,
        }
    }
}

/// The metadata entries that the calling sidecar adds (spec/invocation 1.12.3), encoded once per callee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// `destination-app-id`, `dapr-caller-namespace`, `dapr-caller-app-id`, `dapr-callee-app-id`.
    pub(super) identity: Vec<u8>,
    /// `X-Forwarded-For`, `X-Forwarded-Host`, `Forwarded` for clients that sent none of them.
    pub(super) forwarded: Vec<u8>,
    /// Their values, for clients that did.
    pub(super) values: [String; 3],
}

/// The names of [`Fixed::values`].
pub(super) const FORWARDED: [Known; 3] = [Known::XForwardedFor, Known::XForwardedHost, Known::Forwarded];

impl Fixed {
    /// What `own` adds to calls of the app `callee` (without namespace).
    pub fn new(own: &Identity<'_>, callee: &str) -> Fixed {
        let mut identity = Vec::new();
        entry(&mut identity, "destination-app-id", callee);
        entry(&mut identity, "dapr-caller-namespace", own.namespace);
        entry(&mut identity, "dapr-caller-app-id", own.app_id);
        entry(&mut identity, "dapr-callee-app-id", callee);
        let values = [own.host_address.into(), own.host_name.into(), forwarded(own)];
        let mut encoded = Vec::new();
        for (name, value) in FORWARDED.iter().zip(&values) {
            entry(&mut encoded, name.spelling(), value);
        }
        Fixed { identity, forwarded: encoded, values }
    }
}

/// `Forwarded` (RFC 7239); an IPv6 address stands in brackets and quotes.
fn forwarded(own: &Identity<'_>) -> String {
    let Identity { host_address: address, host_name: host, .. } = own;
    let node = if address.contains(':') { format!("\"[{address}]\"") } else { (*address).into() };
    format!("for={node};by={node};host={host}")
}

fn entry(out: &mut Vec<u8>, key: &str, value: &str) {
    let list = wire::field_len(value.len());
    wire::put_head(out, super::metadata::FIELD, wire::field_len(key.len()) + wire::field_len(list));
    wire::put_field(out, 1, key.as_bytes());
    wire::put_head(out, 2, list);
    wire::put_field(out, 1, value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_quoted_in_forwarded() {
        let own = Identity { app_id: "a", namespace: "b", host_address: "fd00::1", host_name: "node1" };
        assert_eq!(forwarded(&own), "for=\"[fd00::1]\";by=\"[fd00::1]\";host=node1");
        assert_eq!(Fixed::new(&own, "c").values[0], "fd00::1");
    }
}

//! Servers outside the mesh that clients call by name (resources of kind HTTPEndpoint, spec/resolution 7.1).

use crate::invoke::url::Url;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All of them by name.
pub type HttpEndpoints = BTreeMap<String, Arc<HttpEndpoint>>;

/// A server outside the mesh.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpEndpoint {
    /// `spec.baseUrl`: methods stand behind its path.
    pub base: Url,
    /// Set on every request, instead of the client's headers of the same name. May hold secrets.
    pub headers: Vec<(String, String)>,
    /// `spec.clientTLS`, for `https://`.
    pub tls: ClientTls,
}

impl core::fmt::Debug for HttpEndpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HttpEndpoint").field("base", &self.base).finish_non_exhaustive()
    }
}

/// What TLS to an external server needs beyond the system's trust, all DER.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificates that servers are verified against, instead of the system's; empty: the system's.
    pub roots: Vec<Vec<u8>>,
    /// The own certificate, leaf first; empty: none is shown.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's private key: PKCS#8, PKCS#1 or SEC1.
    pub key: Vec<u8>,
}

impl core::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ClientTls")
            .field("roots", &self.roots.len())
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}

//! SPIFFE IDs as daprd forms and parses them (spec/security 1.1).

use core::fmt;

/// `spiffe://<trust domain>/ns/<namespace>/<app id>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    /// Lower-case letters, digits, dots, dashes and underscores.
    pub trust_domain: String,
    /// The workload's namespace.
    pub namespace: String,
    /// The workload's app id.
    pub app_id: String,
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/{}", self.trust_domain, self.namespace, self.app_id)
    }
}

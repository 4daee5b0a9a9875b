//! Where certificates come from.

use crate::ca::{Authority, Lifetime};
use proto::snapshot::IdentityMaterial;
use proto::spiffe::SpiffeId;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

/// A future of an issuer; boxed, as the renewer holds issuers of several kinds.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Gives a workload its certificate.
pub trait Issuer: Send + Sync {
    /// Its name in messages, such as the directory of an embedded authority or the address of a Sentry.
    fn name(&self) -> String;

    /// A new key and certificate for `id`.
    ///
    /// # Errors
    /// What is wrong, for the log and for `status`.
    fn obtain<'a>(&'a self, id: &'a SpiffeId) -> Pending<'a, Result<IdentityMaterial, String>>;
}

/// The embedded authority. Its files are read at every renewal, so that a new issuer takes effect by itself.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// The directory with `ca.crt`, `issuer.crt` and `issuer.key`.
    pub dir: PathBuf,
    /// Whether to make them if none of them exists.
    pub make: bool,
    /// How long leaves live.
    pub lifetime: Lifetime,
}

impl Issuer for Embedded {
    fn name(&self) -> String {
        format!("the authority in {}", self.dir.display())
    }

    fn obtain<'a>(&'a self, id: &'a SpiffeId) -> Pending<'a, Result<IdentityMaterial, String>> {
        let (this, id) = (self.clone(), id.clone());
        Box::pin(async move {
            let issued = tokio::task::spawn_blocking(move || this.issue(&id)).await;
            issued.unwrap_or_else(|e| Err(e.to_string()))
        })
    }
}

impl Embedded {
    fn issue(&self, id: &SpiffeId) -> Result<IdentityMaterial, String> {
        let authority =
            if self.make { Authority::load_or_make(&self.dir) } else { Authority::load(&self.dir) };
        authority.and_then(|a| a.issue(id, self.lifetime)).map_err(|e| e.to_string())
    }
}

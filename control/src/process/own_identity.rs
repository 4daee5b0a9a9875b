//! The own identity: where it comes from, and how it gets into the snapshot.

use super::House;
use crate::ca::Lifetime;
use crate::identity::{Embedded, Renewer, Standing};
use crate::settings::{Mtls, Settings};
use crate::supervisor::Voice;
use proto::spiffe::SpiffeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Scope of the lines about it, as in daprd's log.
const SCOPE: &str = "dapr.runtime.security";

/// Obtains the first certificate; `None` without mTLS.
///
/// # Errors
/// The app id is no part of a SPIFFE ID, or the issuer gives nothing: a sidecar with mTLS does not start without.
pub(super) async fn obtain(settings: &Settings, voice: Arc<Voice>) -> Result<Option<Renewer>, String> {
    let (dir, make) = match &settings.mtls {
        Mtls::Off => return Ok(None),
        Mtls::Own { dir } => (dir.clone(), true),
        Mtls::Files { dir } => (dir.clone(), false),
    };
    let id = SpiffeId::new(&settings.trust_domain, &settings.namespace, &settings.app_id);
    let id = id.map_err(|e| format!("no SPIFFE ID for app {:?}: {e}", settings.app_id))?;
    let lifetime = Lifetime::of(Duration::from_secs(settings.leaf_lifetime_seconds));
    let issuer = Arc::new(Embedded { dir, make, lifetime });
    let say = Box::new(move |level, words: &str| voice.line(level, SCOPE, words));
    Renewer::start(issuer, id, say).await.map(Some)
}

/// Puts every renewed identity into the snapshot; ends with the renewer.
pub(super) async fn publish(house: Arc<House>, mut standing: watch::Receiver<Standing>) {
    while standing.changed().await.is_ok() {
        let material = Arc::clone(&standing.borrow_and_update().material);
        house.picture.change(|next| next.identity = Some(material));
    }
}

/// What there is to say about an identity that is not renewed or over.
pub(crate) fn warning(standing: &Standing) -> Option<String> {
    let failure = standing.failure.as_ref();
    let failing =
        failure.map(|f| format!("the own identity is not renewed ({} attempts): {}", f.attempts, f.why));
    let expired = standing.expired.then(|| "the own certificate is over: every peer refuses it".to_owned());
    expired.or(failing)
}

//! Whom to believe outside the mesh: the system's certificate authorities, or those that a resource names.

use super::identity::provider;
use super::unverified::Unverified;
use core::fmt;
use proto::snapshot::ClientTls;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};

/// The only protocol that is spoken to external servers.
const HTTP1: &[u8] = b"http/1.1";

/// Whom to believe, and who to be, towards servers outside the mesh. TLS 1.2 and 1.3; there is no renegotiation.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// What a resource says; without roots of its own the system's count. `show`: whether the own certificate is shown.
    /// Reads files: not on a shard's thread.
    ///
    /// # Errors
    /// In words: what of it cannot be used.
    pub fn load(tls: &ClientTls, show: bool) -> Result<Trust, String> {
        let roots = if tls.roots.is_empty() { system()? } else { Arc::new(own(&tls.roots)?) };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider()));
        let verifier = verifier.build().map_err(|e| format!("root certificates: {e}"))?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|e| e.to_string())?
            .with_webpki_verifier(verifier);
        let mut config = if show && !tls.chain.is_empty() {
            let key = PrivateKeyDer::try_from(tls.key.clone()).map_err(|e| format!("private key: {e}"))?;
            let chain = tls.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
            builder.with_client_auth_cert(chain, key).map_err(|e| format!("certificate: {e}"))?
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![HTTP1.to_vec()];
        Ok(Trust(Arc::new(config)))
    }

    /// Every certificate of the own app is good (see [`Unverified`]); no protocol is asked for, as in Go.
    ///
    /// # Errors
    /// In words: what of TLS cannot be used.
    pub fn own_app() -> Result<Trust, String> {
        let config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|e| e.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified))
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

fn own(certificates: &[Vec<u8>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for der in certificates {
        roots.add(CertificateDer::from(der.clone())).map_err(|e| format!("root certificate: {e}"))?;
    }
    Ok(roots)
}

/// The system's store, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` point, as in Go; read once.
fn system() -> Result<Arc<RootCertStore>, String> {
    static STORE: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(store) = STORE.get() {
        return Ok(Arc::clone(store));
    }
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
        return Err(format!(
            "this system has no certificate authorities to verify servers with{why}; install ca-certificates, or name a \
             root in the HTTPEndpoint"
        ));
    }
    Ok(Arc::clone(STORE.get_or_init(|| Arc::new(roots))))
}

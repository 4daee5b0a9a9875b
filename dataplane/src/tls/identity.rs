//! The own identity: key, chain and trust anchors, checked once and made into TLS configurations.

use super::error::{IdentityError, Rejection};
use super::verify::{Anchors, Verifier};
use core::fmt;
use core::time::Duration;
use proto::snapshot::IdentityMaterial;
use proto::spiffe::SpiffeId;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::cipher_suite as suite;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig};
use std::sync::{Arc, OnceLock};

/// The protocol that both ends must agree on.
pub(super) const ALPN: &[u8] = b"h2";

/// Who this sidecar is towards its peers. Immutable: a renewed certificate is another `Identity`, and sessions that
/// began with the old one keep it.
pub struct Identity {
    id: SpiffeId,
    not_after: i64,
    anchors: Arc<Anchors>,
    certificate: Arc<SingleCertAndKey>,
    client: ClientConfig,
}

impl Identity {
    /// Checks that key, leaf, ID and trust bundle belong together, as a peer would see them. An expired certificate
    /// is accepted here: peers will refuse it and say why, and mTLS must not be lost over it.
    pub fn new(material: &IdentityMaterial) -> Result<Arc<Identity>, IdentityError> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let anchors = Arc::new(Anchors::new(&material.trust_anchors, algorithms)?);
        let chain: Vec<_> = material.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let not_after = check_chain(&anchors, &chain, material)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(material.key.clone()));
        let certified = CertifiedKey::from_der(chain, key, provider);
        let certified = certified.map_err(|e| IdentityError::Key(e.to_string()))?;
        let certificate = Arc::new(SingleCertAndKey::from(certified));
        let client = client_config(&anchors, &certificate)?;
        Ok(Arc::new(Identity { id: material.id.clone(), not_after, anchors, certificate, client }))
    }

    /// The own SPIFFE ID.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// End of the leaf's validity, Unix seconds. Behind it every peer refuses this identity.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    pub(super) fn client_config(&self, verifier: Arc<Verifier>) -> Arc<ClientConfig> {
        let mut config = self.client.clone();
        config.dangerous().set_certificate_verifier(verifier);
        Arc::new(config)
    }

    /// One configuration a session, because the verifier keeps the session's verdict.
    pub(super) fn server_config(&self, verifier: Arc<Verifier>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.certificate));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }

    pub(super) fn verifier(&self, expected: Option<&SpiffeId>) -> Arc<Verifier> {
        Arc::new(Verifier::new(Arc::clone(&self.anchors), expected.cloned()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The own chain as a peer sees it, at a time when the leaf is valid; returns the leaf's end.
fn check_chain(
    anchors: &Anchors,
    chain: &[CertificateDer<'_>],
    material: &IdentityMaterial,
) -> Result<i64, IdentityError> {
    let (leaf, intermediates) =
        chain.split_first().ok_or(IdentityError::Chain(Rejection::Unreadable("there is none".into())))?;
    let now = UnixTime::now();
    let last = UnixTime::since_unix_epoch(Duration::from_secs(material.not_after.try_into().unwrap_or(0)));
    let peer = anchors.verify(leaf, intermediates, now.min(last)).map_err(IdentityError::Chain)?;
    if *peer.id() != material.id || peer.uri().path() != material.id.path() {
        return Err(IdentityError::WrongId(peer.uri().to_string()));
    }
    Ok(peer.not_after())
}

fn client_config(
    anchors: &Arc<Anchors>,
    certificate: &Arc<SingleCertAndKey>,
) -> Result<ClientConfig, IdentityError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|e| IdentityError::Key(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(Arc::clone(anchors), None)))
        .with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(certificate));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    Ok(config)
}

/// ring's algorithms with AES-128-GCM first, as Go offers them: the strongest of them is not worth its cost here.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let cipher_suites = vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ];
        Arc::new(CryptoProvider { cipher_suites, ..rustls::crypto::ring::default_provider() })
    })
}

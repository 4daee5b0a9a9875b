//! A test authority: roots, issuers and leaves that live for the test's folder only.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, PEM and DER.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The key (PKCS#8).
    pub key_pem: String,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The key.
    pub key: PrivatePkcs8KeyDer<'static>,
}

impl Authority {
    /// A self-signed root.
    pub fn new(name: &str) -> Authority {
        let (params, key) = (authority_params(name), KeyPair::generate().expect("a key"));
        Authority { issuer: CertifiedIssuer::self_signed(params, key).expect("a root") }
    }

    /// The root, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The root, DER.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The root's key, PEM (PKCS#8).
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A leaf for host names and addresses.
    pub fn host(&self, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        self.sign(CertificateParams::new(names).expect("valid names"))
    }

    /// A leaf whose only name is this URI (a SPIFFE ID).
    pub fn uri(&self, uri: &str) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI in ASCII")));
        self.sign(params)
    }

    /// A leaf with these parameters.
    pub fn sign(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a leaf");
        Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        }
    }

    /// Writes `ca.crt`, `issuer.crt`, `issuer.key` as daprd's authority keeps them: the root, and an issuer under it.
    pub fn write_issuer(&self, folder: &Path) -> PathBuf {
        std::fs::create_dir_all(folder).expect("the folder for the issuer");
        let write =
            |name: &str, text: String| std::fs::write(folder.join(name), text).expect("an issuer file");
        let (params, key) = (authority_params("an issuer"), KeyPair::generate().expect("a key"));
        let issuer = params.signed_by(&key, &self.issuer).expect("an issuer");
        write("ca.crt", self.pem());
        write("issuer.crt", issuer.pem());
        write("issuer.key", key.serialize_pem());
        folder.to_owned()
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Issued {
    /// Certificate and key in one PEM file, as HAProxy wants it.
    pub fn both_pem(&self) -> String {
        format!("{}{}", self.certificate_pem, self.key_pem)
    }

    /// A TLS server without client authentication.
    pub fn server(&self) -> Arc<rustls::ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        let builder =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("the default versions");
        let config = builder.with_no_client_auth().with_single_cert(vec![self.certificate.clone()], key);
        Arc::new(config.expect("a server configuration"))
    }
}

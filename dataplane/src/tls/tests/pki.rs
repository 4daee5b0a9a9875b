//! Authorities and certificates as the tests need them, good and bad.

use proto::snapshot::IdentityMaterial;
use proto::spiffe::SpiffeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SignatureAlgorithm,
};
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;

pub(crate) const HOUR: i64 = 3600;

pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// A root and an issuer under it.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) issuer_der: Vec<u8>,
    pub(crate) root_der: Vec<u8>,
}

fn ca_params(name: &str, valid: (i64, i64)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.not_before = OffsetDateTime::from_unix_timestamp(now() + valid.0).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(now() + valid.1).unwrap();
    params
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::with(&rcgen::PKCS_ED25519, (-HOUR, HOUR))
    }

    /// Keys of `algorithm`; the root is valid from and to so many seconds from now.
    pub(crate) fn with(algorithm: &'static SignatureAlgorithm, root_valid: (i64, i64)) -> Authority {
        let root_key = KeyPair::generate_for(algorithm).unwrap();
        let root_params = ca_params("root", root_valid);
        let root_der = root_params.self_signed(&root_key).unwrap().der().to_vec();
        let root = Issuer::new(root_params, root_key);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = ca_params("issuer", (-HOUR, HOUR));
        let issuer_der = params.signed_by(&key, &root).unwrap().der().to_vec();
        Authority { issuer: Issuer::new(params, key), issuer_der, root_der }
    }

    /// What `spec` describes, under this authority.
    pub(crate) fn issue(&self, spec: &Leaf) -> IdentityMaterial {
        let key = KeyPair::generate_for(spec.algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names =
            spec.uris.iter().map(|u| SanType::URI(u.as_str().try_into().unwrap())).collect();
        params.key_usages = spec.usages.clone();
        params.extended_key_usages = spec.extended_usages.clone();
        params.is_ca = if spec.ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
        params.not_before = OffsetDateTime::from_unix_timestamp(now() + spec.valid.0).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(now() + spec.valid.1).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let id = spec.uris.first().and_then(|u| SpiffeId::parse(u).ok());
        IdentityMaterial {
            id: id.unwrap_or_else(|| super::id("nobody")),
            chain: if spec.alone { vec![leaf] } else { vec![leaf, self.issuer_der.clone()] },
            key: key.serialize_der(),
            trust_anchors: vec![self.root_der.clone()],
            not_after: now() + spec.valid.1,
        }
    }

    /// A good identity of the app.
    pub(crate) fn app(&self, app_id: &str) -> IdentityMaterial {
        self.issue(&Leaf::of(app_id))
    }
}

/// A leaf to be issued.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) uris: Vec<String>,
    pub(crate) valid: (i64, i64),
    pub(crate) ca: bool,
    pub(crate) usages: Vec<KeyUsagePurpose>,
    pub(crate) extended_usages: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) algorithm: &'static SignatureAlgorithm,
    pub(crate) alone: bool,
}

impl Leaf {
    pub(crate) fn of(app_id: &str) -> Leaf {
        Leaf::named(&[&format!("spiffe://public/ns/default/{app_id}")])
    }

    pub(crate) fn named(uris: &[&str]) -> Leaf {
        Leaf {
            uris: uris.iter().map(|&u| u.to_owned()).collect(),
            valid: (-HOUR, HOUR),
            ca: false,
            usages: vec![KeyUsagePurpose::DigitalSignature],
            extended_usages: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            algorithm: &rcgen::PKCS_ED25519,
            alone: false,
        }
    }
}

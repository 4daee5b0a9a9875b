//! Identities under one authority.

use dataplane::tls::Identity;
use proto::snapshot::IdentityMaterial;
use proto::spiffe::SpiffeId;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use std::sync::Arc;

pub(crate) fn id(app: &str) -> SpiffeId {
    SpiffeId::new("public", "default", app).unwrap()
}

/// Identities of `apps`, all under the same fresh root.
pub(crate) fn identities<const N: usize>(apps: [&str; N]) -> [Arc<Identity>; N] {
    materials(apps).each_ref().map(|material| Identity::new(material).unwrap())
}

/// What [`identities`] are made from.
pub(crate) fn materials<const N: usize>(apps: [&str; N]) -> [IdentityMaterial; N] {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let anchor = root.self_signed(&root_key).unwrap().der().to_vec();
    let issuer = Issuer::new(root, root_key);
    apps.map(|app| {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = vec![SanType::URI(id(app).to_string().try_into().unwrap())];
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let chain = vec![leaf.signed_by(&key, &issuer).unwrap().der().to_vec()];
        IdentityMaterial {
            id: id(app),
            chain,
            key: key.serialize_der(),
            trust_anchors: vec![anchor.clone()],
            not_after: i64::MAX,
        }
    })
}

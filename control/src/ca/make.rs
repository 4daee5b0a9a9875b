//! A new root and an issuer under it, in the profile of a Sentry (spec/security 1.4). The root's key is not kept.

use super::key;
use super::{CaError, moment, random_serial, unix_now};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose};

/// Subject of the root: Sentry's default trust domain.
const ROOT: &str = "localhost";
/// Subject of the issuer: the SPIFFE ID of a Sentry in its default trust domain and namespace.
const ISSUER: &str = "spiffe://localhost/ns/default/dapr-sentry";
/// Life of both, seconds. Ten years where Sentry takes one: nothing rotates these files yet, and an authority that
/// ends by itself ends every call of the host.
const LIFE: i64 = 3652 * 24 * 3600;
/// Back-dating, seconds.
const BACKDATED: i64 = 15 * 60;

/// The three files' contents.
pub(super) struct Made {
    pub(super) anchors: String,
    pub(super) issuer: String,
    pub(super) key: String,
}

pub(super) fn make() -> Result<Made, CaError> {
    let root_key = key::generate().map_err(CaError::crypto)?;
    let root_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    let root_params = params(ROOT, root_usages)?;
    let root_certificate = root_params.self_signed(&root_key).map_err(CaError::crypto)?;
    let root = Issuer::new(root_params, root_key);
    let key = key::generate().map_err(CaError::crypto)?;
    let usages = [KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = params(ISSUER, usages.to_vec())?.signed_by(&key, &root).map_err(CaError::crypto)?;
    Ok(Made { anchors: root_certificate.pem(), issuer: issuer.pem(), key: key.serialize_pem() })
}

fn params(organization: &str, usages: Vec<KeyUsagePurpose>) -> Result<CertificateParams, CaError> {
    let now = unix_now();
    let mut params = CertificateParams::default();
    params.serial_number = Some(random_serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages;
    params.not_before = moment(now - BACKDATED)?;
    params.not_after = moment(now + LIFE)?;
    Ok(params)
}

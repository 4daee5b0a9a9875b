//! The embedded certificate authority: issuer files as the real Sentry keeps them, workload certificates as it issues
//! them (spec/security 1.4, 2.9).
//!
//! `ca.crt` holds the trust anchors, `issuer.crt` the issuer and what stands between it and an anchor, `issuer.key`
//! its key. Files of a Sentry are used as they are; a directory of our own is filled at first use, and a Sentry
//! accepts what we wrote.

mod check;
mod key;
mod make;
mod store;

#[cfg(test)]
mod peers;
#[cfg(test)]
mod tests;

use proto::snapshot::IdentityMaterial;
use proto::spiffe::SpiffeId;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};
use ring::rand::SecureRandom;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;

/// Names that belong to Dapr's control plane: no workload gets a certificate for one of them.
const CONTROL_PLANE: [&str; 5] =
    ["dapr-sentry", "dapr-operator", "dapr-placement", "dapr-injector", "dapr-scheduler"];

/// How long a workload certificate lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From its issuance on.
    pub forward: Duration,
    /// Before its issuance, for peers whose clocks are behind.
    pub backdated: Duration,
}

impl Lifetime {
    /// A life of `forward`, back-dated by daprd's 15 minutes or a fifth of it, whichever is shorter: half of the
    /// validity must lie in the future, or renewal would begin at once (spec/security 3.1).
    pub fn of(forward: Duration) -> Lifetime {
        Lifetime { forward, backdated: Duration::from_secs(15 * 60).min(forward / 5) }
    }
}

impl Default for Lifetime {
    fn default() -> Lifetime {
        Lifetime::of(Duration::from_secs(24 * 3600))
    }
}

/// Issuer files that were read and found good.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The issuer's certificate first, then what leads to an anchor; never an anchor.
    chain: Vec<Vec<u8>>,
    anchors: Vec<Vec<u8>>,
    not_after: i64,
}

impl Authority {
    /// Reads the files of `dir`, which must all be there.
    ///
    /// # Errors
    /// Names the file and what is wrong with it; an expired issuer or anchor is wrong, as it is to a Sentry.
    pub fn load(dir: &Path) -> Result<Authority, CaError> {
        store::load(dir)
    }

    /// Reads the files of `dir`, or makes a root and an issuer if there are none. Several processes that come at
    /// once end up with the same files. A part of the files is never completed and never overwritten.
    ///
    /// # Errors
    /// As `load`, and what kept the directory or its files from being written.
    pub fn load_or_make(dir: &Path) -> Result<Authority, CaError> {
        store::load_or_make(dir)
    }

    /// A new key and its certificate for `id`.
    ///
    /// # Errors
    /// The issuer has expired, or `id` belongs to the control plane.
    pub fn issue(&self, id: &SpiffeId, lifetime: Lifetime) -> Result<IdentityMaterial, CaError> {
        if CONTROL_PLANE.contains(&id.app_id.as_str()) {
            return Err(CaError::Refused(format!("{} is a name of the control plane", id.app_id)));
        }
        let now = unix_now();
        let not_after = now.saturating_add(whole_seconds(lifetime.forward)).min(self.not_after);
        if not_after <= now {
            return Err(CaError::Refused("the issuer has expired".into()));
        }
        let params = leaf_params(id, now.saturating_sub(whole_seconds(lifetime.backdated)), not_after)?;
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(CaError::crypto)?;
        let leaf = params.signed_by(&key, &self.issuer).map_err(CaError::crypto)?;
        let chain = [leaf.der().to_vec()].into_iter().chain(self.chain.iter().cloned()).collect();
        let trust_anchors = self.anchors.clone();
        Ok(IdentityMaterial { id: id.clone(), chain, key: key.serialize_der(), trust_anchors, not_after })
    }

    /// When the issuer, or the anchor it stands under, ends: no leaf lives longer. Unix seconds.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// daprd's profile: one URI, no subject, both extended usages (spec/security 1.4).
fn leaf_params(id: &SpiffeId, not_before: i64, not_after: i64) -> Result<CertificateParams, CaError> {
    let uri = id.to_string().try_into().map_err(CaError::crypto)?;
    let mut params = CertificateParams::default();
    params.serial_number = Some(random_serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.is_ca = IsCa::NoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = moment(not_before)?;
    params.not_after = moment(not_after)?;
    Ok(params)
}

/// 127 random bits: positive, and of 16 bytes at most, as Sentry's.
fn random_serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(CaError::crypto)?;
    bytes[0] &= 0x7f;
    bytes[15] |= 1;
    Ok(SerialNumber::from_slice(&bytes))
}

fn moment(unix: i64) -> Result<OffsetDateTime, CaError> {
    OffsetDateTime::from_unix_timestamp(unix).map_err(CaError::crypto)
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// Unix seconds.
pub(crate) fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, whole_seconds)
}

/// What is wrong with issuer files or a request.
#[derive(Debug)]
pub enum CaError {
    /// The operating system refused something.
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Its answer.
        error: io::Error,
    },
    /// Some of the three files are not there.
    Missing {
        /// Where they were looked for.
        dir: PathBuf,
        /// Their names.
        files: Vec<&'static str>,
        /// Whether others of them are there.
        partly: bool,
    },
    /// A file's content is not what it must be.
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No certificate for this request.
    Refused(String),
    /// The cryptographic library failed.
    Crypto(String),
}

impl CaError {
    fn crypto(error: impl fmt::Display) -> CaError {
        CaError::Crypto(error.to_string())
    }
}

impl fmt::Display for CaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaError::Io { doing, path, error } => write!(f, "{doing} {}: {error}", path.display()),
            CaError::Missing { dir, files, partly: false } => {
                write!(f, "{} has no {}", dir.display(), files.join(", no "))
            }
            CaError::Missing { dir, files, partly: true } => write!(
                f,
                "{} has only a part of an authority: {} missing; restore it, or remove the others to have a new \
                 authority made",
                dir.display(),
                files.join(" and ")
            ),
            CaError::Bad { path, why } => write!(f, "{}: {why}", path.display()),
            CaError::Refused(why) => write!(f, "no certificate: {why}"),
            CaError::Crypto(why) => write!(f, "certificate could not be made: {why}"),
        }
    }
}

impl std::error::Error for CaError {}

//! Who the peer is: the chain must lead to a trust anchor, the leaf must name one workload.
//!
//! The order is that of `x509svid.Verify`: the leaf's name, its form, the chain, and last whether it is the one
//! expected. Extended key usages and DNS names are not looked at (spec/security 1.2–1.3).

use super::error::{IdentityError, Rejection};
use core::cell::Cell;
use core::fmt;
use proto::spiffe::{SpiffeId, SpiffeUri};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::{Arc, OnceLock};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Most certificates a peer may present.
const MAX_CHAIN: usize = 8;

/// A peer that a handshake has verified. Nothing else makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    id: SpiffeId,
    uri: SpiffeUri,
    not_after: i64,
}

impl PeerIdentity {
    /// The workload that the peer is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The ID as the certificate spells it; it may have path segments behind the app id.
    pub fn uri(&self) -> &SpiffeUri {
        &self.uri
    }

    /// End of the peer's certificate, Unix seconds. A connection may outlive it, as with daprd.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

/// The trust bundle, every anchor with its own dates: webpki does not look at them, Go does.
#[derive(Debug)]
pub(super) struct Anchors {
    trusted: Vec<TrustAnchor<'static>>,
    validity: Vec<(i64, i64)>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Anchors {
    pub(super) fn new(
        bundle: &[Vec<u8>],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Anchors, IdentityError> {
        if bundle.is_empty() {
            return Err(IdentityError::Anchors("it is empty".into()));
        }
        let mut anchors = Anchors { trusted: Vec::new(), validity: Vec::new(), algorithms };
        for der in bundle {
            anchors.add(der).map_err(IdentityError::Anchors)?;
        }
        Ok(anchors)
    }

    fn add(&mut self, der: &[u8]) -> Result<(), String> {
        let parsed = parse(der).map_err(|why| why.to_string())?;
        let certificate = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&certificate).map_err(|e| e.to_string())?;
        self.trusted.push(anchor.to_owned());
        self.validity.push(dates(&parsed));
        Ok(())
    }

    /// Checks the chain and says who it belongs to. `now` in Unix seconds.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<PeerIdentity, Rejection> {
        if intermediates.len() >= MAX_CHAIN {
            return Err(Rejection::TooMany(intermediates.len() + 1));
        }
        let parsed = parse(leaf)?;
        let uri = only_uri(&parsed)?;
        if is_authority(&parsed)? {
            return Err(Rejection::Authority);
        }
        self.verify_chain(leaf, intermediates, now)?;
        let id = uri.workload().map_err(Rejection::BadId)?;
        Ok(PeerIdentity { id, uri, not_after: dates(&parsed).1 })
    }

    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let leaf = EndEntityCert::try_from(leaf).map_err(|e| Rejection::Unreadable(e.to_string()))?;
        let stale_anchor = Cell::new(false);
        let check = |path: &VerifiedPath<'_>| self.check_path(path, now, &stale_anchor);
        let algorithms = self.algorithms.all;
        let anchors = &self.trusted;
        leaf.verify_for_usage(algorithms, anchors, intermediates, now, AnyUsage, None, Some(&check))
            .map(drop)
            .map_err(|e| if stale_anchor.get() { Rejection::AnchorOutOfDate } else { chain_error(e) })
    }

    /// What webpki leaves out and Go does: dates of the anchor, key usage of the intermediates.
    fn check_path(
        &self,
        path: &VerifiedPath<'_>,
        now: UnixTime,
        stale_anchor: &Cell<bool>,
    ) -> Result<(), webpki::Error> {
        let now = seconds(now);
        let is_current = |&(from, to): &(i64, i64)| from <= now && now <= to;
        let mut same = self.trusted.iter().zip(&self.validity).filter(|(a, _)| *a == path.anchor());
        if !same.any(|(_, validity)| is_current(validity)) {
            stale_anchor.set(true);
            return Err(webpki::Error::UnknownIssuer);
        }
        stale_anchor.set(false);
        let signs = |der: &[u8]| parse(der).ok().is_some_and(|c| may_sign(&c));
        match path.intermediate_certificates().all(|c| signs(&c.der())) {
            true => Ok(()),
            false => Err(webpki::Error::EndEntityUsedAsCa),
        }
    }
}

/// Extended key usage is not looked at (spec/security 1.3).
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Rejection> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(Rejection::Unreadable("bytes behind its end".into())),
        Err(e) => Err(Rejection::Unreadable(e.to_string())),
    }
}

fn dates(certificate: &X509Certificate<'_>) -> (i64, i64) {
    let validity = certificate.validity();
    (validity.not_before.timestamp(), validity.not_after.timestamp())
}

fn only_uri(leaf: &X509Certificate<'_>) -> Result<SpiffeUri, Rejection> {
    let names = leaf.subject_alternative_name().map_err(|e| Rejection::Unreadable(e.to_string()))?;
    let names = names.map(|n| n.value.general_names.as_slice()).unwrap_or_default();
    let mut uris = names.iter().filter_map(|n| if let GeneralName::URI(u) = n { Some(*u) } else { None });
    let first = uris.next().ok_or(Rejection::NoUri)?;
    match uris.count() {
        0 => SpiffeUri::parse(first).map_err(Rejection::BadId),
        more => Err(Rejection::SeveralUris(more + 1)),
    }
}

/// A leaf must be neither a CA nor allowed to sign certificates or revocation lists.
fn is_authority(leaf: &X509Certificate<'_>) -> Result<bool, Rejection> {
    let unreadable = |e: x509_parser::error::X509Error| Rejection::Unreadable(e.to_string());
    let ca = leaf.basic_constraints().map_err(unreadable)?.is_some_and(|b| b.value.ca);
    let usage = leaf.key_usage().map_err(unreadable)?;
    Ok(ca || usage.is_some_and(|u| u.value.key_cert_sign() || u.value.crl_sign()))
}

/// Whether an intermediate may sign certificates: with a key usage extension it must say so.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    certificate.key_usage().is_ok_and(|u| u.is_none_or(|u| u.value.key_cert_sign()))
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn chain_error(error: webpki::Error) -> Rejection {
    use webpki::Error::{CaUsedAsEndEntity, CertExpired, CertNotValidYet, UnknownIssuer};
    use webpki::Error::{InvalidSignatureForPublicKey, UnsupportedSignatureAlgorithmForPublicKeyContext};
    match error {
        CertExpired { time, not_after } => {
            Rejection::Expired(time.as_secs().saturating_sub(not_after.as_secs()))
        }
        CertNotValidYet { time, not_before } => {
            Rejection::NotYetValid(not_before.as_secs().saturating_sub(time.as_secs()))
        }
        CaUsedAsEndEntity => Rejection::Authority,
        // an authority of the same name with another key is not the one that is trusted
        UnknownIssuer
        | InvalidSignatureForPublicKey
        | UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Rejection::UnknownAuthority,
        other => Rejection::Chain(other.to_string()),
    }
}

/// The verifier of one session: it keeps its verdict, so that the session can say what was wrong and who was right.
pub(super) struct Verifier {
    anchors: Arc<Anchors>,
    expected: Option<SpiffeId>,
    verdict: OnceLock<Result<PeerIdentity, Rejection>>,
}

impl Verifier {
    /// `expected` is the callee that a caller means; `None` accepts every workload under the anchors.
    pub(super) fn new(anchors: Arc<Anchors>, expected: Option<SpiffeId>) -> Verifier {
        Verifier { anchors, expected, verdict: OnceLock::new() }
    }

    /// The verdict, once a certificate was looked at.
    pub(super) fn verdict(&self) -> Option<&Result<PeerIdentity, Rejection>> {
        self.verdict.get()
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let peer = self.anchors.verify(leaf, intermediates, now);
        let verdict = self.verdict.get_or_init(|| peer.and_then(|peer| self.check_expected(peer)));
        // `BadEncoding` is the error whose alert is `bad_certificate`; the reason is in the verdict.
        verdict.as_ref().map(drop).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    /// Namespace and app id must be those meant, and nothing may follow them; trust domains are not compared.
    fn check_expected(&self, peer: PeerIdentity) -> Result<PeerIdentity, Rejection> {
        match &self.expected {
            Some(expected) if peer.uri.path() != expected.path() => {
                Err(Rejection::Unexpected(peer.uri.to_string()))
            }
            _ => Ok(peer),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.anchors.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.anchors.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.anchors.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.anchors.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.anchors.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.anchors.algorithms.supported_schemes()
    }
}

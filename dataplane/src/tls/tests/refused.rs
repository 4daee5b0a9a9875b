//! Peers that are refused, in both directions, and what each end says about it.

use super::pki::{Authority, HOUR, Leaf};
use super::rustls_peer::{self, Peer};
use super::{Pair, id};
use crate::tls::{Identity, Rejection, Session, TlsError};
use proto::snapshot::IdentityMaterial;
use proto::spiffe::SpiffeError;
use rcgen::KeyUsagePurpose;

const BAD_CERTIFICATE: &str = "bad certificate";

/// The bad identity as caller and as callee; returns what our end says, after checking what the other was told.
fn refusals(ca: &Authority, bad: &IdentityMaterial) -> (TlsError, TlsError) {
    let good = Identity::new(&ca.app("good")).unwrap();
    let mut server = Session::server(&good).unwrap();
    let mut peer = Peer::from(rustls_peer::client_of(bad, "good"));
    let as_caller = rustls_peer::shake(&mut peer, &mut server).unwrap_err();
    assert!(server.peer().is_none() && !server.is_ready() && server.is_closed());
    assert_eq!(peer.alert().as_deref(), Some(BAD_CERTIFICATE));
    let mut client = Session::client(&good, &id("bad"), super::ADDRESS).unwrap();
    let mut peer = Peer::from(rustls_peer::server_of(bad));
    let as_callee = rustls_peer::shake(&mut peer, &mut client).unwrap_err();
    assert!(client.peer().is_none() && !client.is_ready());
    assert_eq!(peer.alert().as_deref(), Some(BAD_CERTIFICATE));
    (as_caller, as_callee)
}

fn refused_both_ways(ca: &Authority, bad: &IdentityMaterial, why: &Rejection) {
    let why = TlsError::Rejected(why.clone());
    assert_eq!(refusals(ca, bad), (why.clone(), why));
}

#[test]
fn a_foreign_authority_is_unknown() {
    let (ca, foreign) = (Authority::new(), Authority::new());
    refused_both_ways(&ca, &foreign.app("bad"), &Rejection::UnknownAuthority);
}

#[test]
fn a_leaf_without_its_issuer_is_unknown() {
    let ca = Authority::new();
    let alone = ca.issue(&Leaf { alone: true, ..Leaf::of("bad") });
    refused_both_ways(&ca, &alone, &Rejection::UnknownAuthority);
}

#[test]
fn an_expired_or_early_certificate_is_refused() {
    let ca = Authority::new();
    let expired = ca.issue(&Leaf { valid: (-HOUR, -120), ..Leaf::of("bad") });
    let (caller, callee) = refusals(&ca, &expired);
    for error in [caller, callee] {
        assert!(matches!(error, TlsError::Rejected(Rejection::Expired(119..=180))), "{error}");
        assert!(error.to_string().contains("has expired"));
    }
    let early = ca.issue(&Leaf { valid: (300, HOUR), ..Leaf::of("bad") });
    let (caller, _) = refusals(&ca, &early);
    assert!(matches!(caller, TlsError::Rejected(Rejection::NotYetValid(240..=300))), "{caller}");
}

#[test]
fn an_expired_trust_anchor_is_no_anchor() {
    let ca = Authority::with(&rcgen::PKCS_ED25519, (-2 * HOUR, -HOUR));
    let fresh = Authority::new();
    let mut good = fresh.app("good");
    good.trust_anchors.push(ca.root_der.clone());
    let good = Identity::new(&good).unwrap();
    let mut server = Session::server(&good).unwrap();
    let mut peer = Peer::from(rustls_peer::client_of(&ca.app("bad"), "good"));
    let error = rustls_peer::shake(&mut peer, &mut server).unwrap_err();
    assert_eq!(error, TlsError::Rejected(Rejection::AnchorOutOfDate));
}

#[test]
fn an_authority_is_no_workload() {
    let ca = Authority::new();
    let leaf = Leaf::of("bad");
    refused_both_ways(&ca, &ca.issue(&Leaf { ca: true, ..leaf.clone() }), &Rejection::Authority);
    for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        let usages = vec![KeyUsagePurpose::DigitalSignature, usage];
        refused_both_ways(&ca, &ca.issue(&Leaf { usages, ..leaf.clone() }), &Rejection::Authority);
    }
}

#[test]
fn exactly_one_spiffe_uri_with_a_workload_is_needed() {
    let ca = Authority::new();
    let refused = |uris: &[&str], why| refused_both_ways(&ca, &ca.issue(&Leaf::named(uris)), &why);
    let good = "spiffe://public/ns/default/bad";
    refused(&[], Rejection::NoUri);
    refused(&[good, "spiffe://public/ns/default/other"], Rejection::SeveralUris(2));
    refused(&[good, good, "https://example.com"], Rejection::SeveralUris(3));
    refused(&["https://public/ns/default/bad"], Rejection::BadId(SpiffeError::Scheme));
    refused(&["spiffe://public"], Rejection::BadId(SpiffeError::NoPath));
    refused(&["spiffe://public/ns/default/bad\0x"], Rejection::BadId(SpiffeError::Segment));
    let short = "spiffe://public/ns/default";
    refused(&[short], Rejection::BadId(SpiffeError::Malformed(short.into())));
}

#[test]
fn the_callee_must_be_the_one_that_is_meant() {
    let ca = Authority::new();
    let a = Identity::new(&ca.app("a")).unwrap();
    let expect = |uri: &str| {
        let b = rustls_peer::server_of(&ca.issue(&Leaf::named(&[uri])));
        let mut client = Session::client(&a, &id("b"), super::ADDRESS).unwrap();
        rustls_peer::shake(&mut b.into(), &mut client).err()
    };
    assert_eq!(expect("spiffe://public/ns/default/b"), None);
    assert_eq!(expect("spiffe://elsewhere/ns/default/b"), None, "trust domains are not compared");
    for uri in ["spiffe://public/ns/default/c", "spiffe://public/ns/prod/b", "spiffe://public/ns/default/b/x"]
    {
        let error = expect(uri).unwrap();
        assert_eq!(error.to_string(), format!("unexpected SPIFFE ID: \"{uri}\""));
    }
}

#[test]
fn both_ends_of_an_unexpected_identity_learn_of_it() {
    let ca = Authority::new();
    let (a, b) = (Identity::new(&ca.app("a")).unwrap(), Identity::new(&ca.app("b")).unwrap());
    let mut pair = Pair::new(&a, &b, "c");
    let (client, server) = pair.shake();
    let unexpected = Rejection::Unexpected("spiffe://public/ns/default/b".into());
    assert_eq!(client, Some(TlsError::Rejected(unexpected)));
    assert_eq!(server, Some(TlsError::Alert(BAD_CERTIFICATE.into())));
    assert_eq!(server.unwrap().to_string(), "remote error: tls: bad certificate");
    assert_eq!(pair.client.seal(b"x", &mut Vec::new()), Err(TlsError::Closed));
    assert_eq!(pair.client.open(&mut [], &mut Vec::new(), |_| ()), Err(TlsError::Closed));
}

#[test]
fn a_caller_without_a_certificate_is_refused() {
    let ca = Authority::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let b = Identity::new(&ca.app("b")).unwrap();
        let mut peer = Peer::from(rustls_peer::anonymous_client(&ca.app("a"), version));
        let error = rustls_peer::shake(&mut peer, &mut Session::server(&b).unwrap()).unwrap_err();
        assert_eq!(error, TlsError::NoCertificate);
        assert_eq!(peer.alert().as_deref(), Some("certificate required"));
    }
}

#[test]
fn a_peer_without_alpn_h2_is_refused() {
    let ca = Authority::new();
    let b = Identity::new(&ca.app("b")).unwrap();
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let peer = rustls_peer::client_with(&ca.app("a"), "b", |c| c.alpn_protocols = protocols.clone());
        let mut server = Session::server(&b).unwrap();
        let error = rustls_peer::shake(&mut peer.into(), &mut server).unwrap_err();
        assert_eq!(error, TlsError::NoAlpn);
        assert!(server.peer().is_none() && !server.is_ready());
    }
    let peer = rustls_peer::server_with(&ca.app("a"), |c| c.alpn_protocols = vec![]);
    let mut client = Session::client(&b, &id("a"), super::ADDRESS).unwrap();
    let error = rustls_peer::shake(&mut peer.into(), &mut client).unwrap_err();
    assert_eq!(error, TlsError::NoAlpn);
    assert!(client.peer().is_none() && !client.is_ready());
}

#[test]
fn a_plaintext_peer_is_recognised_in_both_roles() {
    let ca = Authority::new();
    let a = Identity::new(&ca.app("a")).unwrap();
    let mut out = Vec::new();
    let mut server = Session::server(&a).unwrap();
    let mut preface = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(server.open(&mut preface, &mut out, |_| ()), Err(TlsError::NotTls));
    assert!(out.is_empty(), "vectors/mtls port/plaintext: nothing is said");
    let mut client = Session::client(&a, &id("b"), super::ADDRESS).unwrap();
    client.open(&mut [], &mut out, |_| ()).unwrap();
    let error = client.open(&mut [0, 0, 0, 4, 0, 0, 0, 0, 0], &mut out, |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "tls: first record does not look like a TLS handshake");
}

#[test]
fn nonsense_in_tls_clothes_is_answered_with_an_alert_and_ends_the_session() {
    let ca = Authority::new();
    let a = Identity::new(&ca.app("a")).unwrap();
    let (mut server, mut out) = (Session::server(&a).unwrap(), Vec::new());
    let mut nonsense = [22, 3, 3, 0, 4, 99, 0, 0, 0];
    assert!(matches!(server.open(&mut nonsense, &mut out, |_| ()), Err(TlsError::Protocol(_))));
    assert_eq!(out.first(), Some(&21));
    assert!(server.is_closed());
}

#[test]
fn a_changed_byte_ends_the_session_with_bad_record_mac() {
    let ca = Authority::new();
    let (a, b) = (Identity::new(&ca.app("a")).unwrap(), Identity::new(&ca.app("b")).unwrap());
    let mut pair = Pair::new(&a, &b, "b");
    pair.shake();
    let mut bytes = super::seal(&mut pair.client, b"something");
    *bytes.last_mut().unwrap() ^= 1;
    let (mut out, mut plain) = (Vec::new(), 0);
    assert!(pair.server.open(&mut bytes, &mut out, |p| plain += p.len()).is_err());
    assert_eq!(plain, 0);
    let error = pair.client.open(&mut out, &mut Vec::new(), |_| ()).unwrap_err();
    assert_eq!(error, TlsError::Alert("bad record mac".into()));
}

use super::pki::{Authority, HOUR, Leaf, now};
use super::{ADDRESS, Pair, id, open, seal};
use crate::tls::{Identity, IdentityError, Rejection, Session, TlsError};

#[test]
fn both_ends_know_each_other_and_exchange_data() {
    let ca = Authority::new();
    let (a, b) = (Identity::new(&ca.app("a")).unwrap(), Identity::new(&ca.app("b")).unwrap());
    let mut pair = Pair::new(&a, &b, "b");
    assert_eq!(pair.shake(), (None, None));
    assert!(pair.client.is_ready() && pair.server.is_ready());
    assert_eq!(pair.client.peer().unwrap().id(), &id("b"));
    assert_eq!(pair.server.peer().unwrap().id(), &id("a"));
    let bytes = seal(&mut pair.client, b"ping");
    assert_eq!(open(&mut pair.server, bytes), b"ping");
    let bytes = seal(&mut pair.server, b"pong");
    assert_eq!(open(&mut pair.client, bytes), b"pong");
}

#[test]
fn nobody_is_known_and_nothing_is_sealed_before_the_handshake_ends() {
    let ca = Authority::new();
    let a = Identity::new(&ca.app("a")).unwrap();
    let mut session = Session::client(&a, &id("b"), ADDRESS).unwrap();
    let mut out = Vec::new();
    assert_eq!(session.seal(b"x", &mut out), Err(TlsError::NotReady));
    session.close_notify(&mut out);
    assert!(out.is_empty() && session.peer().is_none() && !session.is_closed());
    session.open(&mut [], &mut out, |_| ()).unwrap();
    assert_eq!(out.first(), Some(&22));
    assert!(!session.is_ready());
}

#[test]
fn close_notify_ends_one_direction_only() {
    let ca = Authority::new();
    let (a, b) = (Identity::new(&ca.app("a")).unwrap(), Identity::new(&ca.app("b")).unwrap());
    let mut pair = Pair::new(&a, &b, "b");
    pair.shake();
    let mut bytes = seal(&mut pair.client, b"last");
    pair.client.close_notify(&mut bytes);
    assert_eq!(open(&mut pair.server, bytes), b"last");
    assert!(pair.server.is_closed() && pair.server.is_ready());
    let bytes = seal(&mut pair.server, b"answer");
    assert_eq!(open(&mut pair.client, bytes), b"answer");
    assert_eq!(open(&mut pair.server, vec![0; 100]), b"", "bytes behind close_notify are ignored");
}

#[test]
fn ed25519_p256_and_p384_chains_work_and_may_be_mixed() {
    let authorities = [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384];
    for authority in authorities {
        let ca = Authority::with(authority, (-HOUR, HOUR));
        for leaf in authorities {
            let server = ca.issue(&Leaf { algorithm: leaf, ..Leaf::of("b") });
            let (a, b) = (Identity::new(&ca.app("a")).unwrap(), Identity::new(&server).unwrap());
            assert_eq!(Pair::new(&a, &b, "b").shake(), (None, None));
            assert_eq!(Pair::new(&b, &a, "a").shake(), (None, None));
        }
    }
}

#[test]
fn a_trust_bundle_with_old_and_new_root_accepts_both() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut a = old.app("a");
    let mut b = new.app("b");
    a.trust_anchors.push(new.root_der.clone());
    b.trust_anchors.insert(0, old.root_der.clone());
    let (a, b) = (Identity::new(&a).unwrap(), Identity::new(&b).unwrap());
    assert_eq!(Pair::new(&a, &b, "b").shake(), (None, None));
}

#[test]
fn no_extended_key_usage_is_fine() {
    // vectors/mtls port/no-eku
    let ca = Authority::new();
    let bare = ca.issue(&Leaf { extended_usages: Vec::new(), usages: Vec::new(), ..Leaf::of("a") });
    let (a, b) = (Identity::new(&bare).unwrap(), Identity::new(&ca.app("b")).unwrap());
    assert_eq!(Pair::new(&a, &b, "b").shake(), (None, None));
    assert_eq!(Pair::new(&b, &a, "a").shake(), (None, None));
}

#[test]
fn a_callers_further_path_segments_are_tolerated() {
    // vectors/mtls port/long-path
    let ca = Authority::new();
    let mut long = ca.issue(&Leaf::named(&["spiffe://public/ns/default/a/x"]));
    let refused = Identity::new(&long).unwrap_err();
    assert_eq!(refused, IdentityError::WrongId("spiffe://public/ns/default/a/x".into()));
    long.id = id("a");
    let peer = super::rustls_peer::client_of(&long, "b");
    let b = Identity::new(&ca.app("b")).unwrap();
    let mut server = Session::server(&b).unwrap();
    super::rustls_peer::shake(&mut peer.into(), &mut server).unwrap();
    assert_eq!(server.peer().unwrap().id(), &id("a"));
    assert_eq!(server.peer().unwrap().uri().to_string(), "spiffe://public/ns/default/a/x");
}

#[test]
fn an_identity_must_be_consistent() {
    let (ca, other) = (Authority::new(), Authority::new());
    let good = ca.app("a");
    let mut foreign_key = good.clone();
    foreign_key.key = ca.app("a").key;
    assert!(matches!(Identity::new(&foreign_key), Err(IdentityError::Key(_))));
    let mut foreign_anchor = good.clone();
    foreign_anchor.trust_anchors = vec![other.root_der.clone()];
    let unknown = IdentityError::Chain(Rejection::UnknownAuthority);
    assert_eq!(Identity::new(&foreign_anchor).unwrap_err(), unknown);
    let mut wrong_id = good.clone();
    wrong_id.id = id("b");
    let wrong = IdentityError::WrongId("spiffe://public/ns/default/a".into());
    assert_eq!(Identity::new(&wrong_id).unwrap_err(), wrong);
    let mut no_anchor = good.clone();
    no_anchor.trust_anchors.clear();
    assert!(matches!(Identity::new(&no_anchor), Err(IdentityError::Anchors(_))));
    let mut garbage = good.clone();
    garbage.trust_anchors.push(vec![1, 2, 3]);
    assert!(matches!(Identity::new(&garbage), Err(IdentityError::Anchors(_))));
    let mut no_chain = good.clone();
    no_chain.chain.clear();
    assert!(matches!(Identity::new(&no_chain), Err(IdentityError::Chain(_))));
    let mut bad_key = good;
    bad_key.key = vec![0; 20];
    assert!(matches!(Identity::new(&bad_key), Err(IdentityError::Key(_))));
}

#[test]
fn an_expired_identity_is_still_one_and_says_when_it_ended() {
    let ca = Authority::new();
    let expired = ca.issue(&Leaf { valid: (-HOUR, -60), ..Leaf::of("a") });
    let a = Identity::new(&expired).unwrap();
    assert!(a.not_after() < now());
    assert_eq!(a.id(), &id("a"));
    assert!(!format!("{a:?}").contains("key"));
}

#[test]
fn keys_of_both_pkcs8_versions_are_read() {
    let mut material = Authority::new().app("a");
    let second = material.key.clone();
    material.key = super::openssl::first_version(&second);
    assert_ne!(material.key, second);
    assert!(Identity::new(&material).is_ok());
}

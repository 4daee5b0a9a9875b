//! Why there can be no connection.

use super::common::*;
use super::pki;
use dataplane::mesh::{DialError, Mesh, MeshLimits, PeerKey, Phase};
use dataplane::tls::TlsError;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// A peer that sends `bytes` to everybody and reads to the end.
fn says(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(bytes).unwrap();
        stream.read_to_end(&mut vec![]).ok();
    });
    address
}

async fn dial(mesh: &Mesh, address: SocketAddr, expected: Option<&str>) -> Result<(), DialError> {
    let to = PeerKey { address, expected: expected.map(pki::id) };
    mesh.checkout(&to, soon()).await.map(drop)
}

#[test]
fn a_refused_connection_says_so_to_everybody_who_waits() {
    on_both(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mesh = Mesh::new(MeshLimits::default());
        let (refused, count) = counter();
        for _ in 0..20 {
            let (mesh, count) = (mesh.clone(), count.clone());
            dataplane::rt::spawn(async move {
                let error = dial(&mesh, address, None).await.unwrap_err();
                assert!(
                    matches!(&error, DialError::Connect { kind: ErrorKind::ConnectionRefused, .. }),
                    "{error:?}"
                );
                count();
            });
        }
        until("all refused", || refused.get() == 20).await;
        assert!(mesh.peers().is_empty());
    });
}

#[test]
fn a_peer_that_does_not_speak_http2_is_told_apart_from_one_that_says_nothing() {
    on_both(|| async {
        let mesh = Mesh::new(MeshLimits { dial: Duration::from_millis(200), ..MeshLimits::default() });
        let error = dial(&mesh, says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), None).await.unwrap_err();
        assert!(matches!(&error, DialError::Protocol(_)), "{error:?}");
        let error = dial(&mesh, says(b""), None).await.unwrap_err();
        assert_eq!(error, DialError::TimedOut { phase: Phase::Settings });
        let [me] = pki::identities(["me"]);
        mesh.set_identity(Some(me));
        let error = dial(&mesh, says(b""), Some("you")).await.unwrap_err();
        assert_eq!(error, DialError::TimedOut { phase: Phase::Tls });
        let error = dial(&mesh, says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Some("you")).await.unwrap_err();
        assert_eq!(error, DialError::Tls(TlsError::NotTls));
    });
}

#[test]
fn the_callers_deadline_ends_its_wait_and_the_dial_goes_on() {
    on_both(|| async {
        let mesh = Mesh::new(MeshLimits::default());
        let to = PeerKey { address: says(b""), expected: None };
        let error = mesh.checkout(&to, soon_is(Duration::from_millis(50))).await.unwrap_err();
        assert_eq!(error, DialError::TimedOut { phase: Phase::Settings });
        assert!(mesh.peers()[0].dialing);
    });
}

#[test]
fn the_wrong_workload_is_refused_and_the_right_one_is_not_hindered() {
    on_both(|| async {
        let [me, you] = pki::identities(["me", "you"]);
        let callee = Callee::with(MeshLimits::default(), Some(you), |call| call.finish(0, ""));
        let mesh = Mesh::new(MeshLimits::default());
        assert_eq!(dial(&mesh, callee.address, Some("you")).await, Err(DialError::NoIdentity));
        mesh.set_identity(Some(me));
        let presented = "spiffe://public/ns/default/you".to_owned();
        for _ in 0..2 {
            let wrong = dial(&mesh, callee.address, Some("somebody-else")).await;
            assert_eq!(wrong, Err(DialError::WrongIdentity { presented: presented.clone() }));
            assert_eq!(dial(&mesh, callee.address, Some("you")).await, Ok(()));
        }
        assert_eq!(mesh.peers().len(), 1, "a warm connection to the right one stays its own");
    });
}

#[test]
fn a_callee_refuses_strangers_and_plaintext() {
    on_both(|| async {
        let [you] = pki::identities(["you"]);
        let callee = Callee::with(MeshLimits::default(), Some(you), |_| panic!("a call"));
        let mesh = Mesh::new(MeshLimits::default());
        let error = dial(&mesh, callee.address, None).await.unwrap_err();
        assert!(matches!(&error, DialError::Protocol(_)), "{error:?}");
        let [stranger] = pki::identities(["me"]);
        mesh.set_identity(Some(stranger));
        let error = dial(&mesh, callee.address, Some("you")).await.unwrap_err();
        assert!(matches!(&error, DialError::Tls(TlsError::Rejected(_))), "{error:?}");
        until("the callee closed", || callee.serving.connections() == 0).await;
    });
}

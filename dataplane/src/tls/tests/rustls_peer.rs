//! Buffered rustls as the other end: it trusts everybody, so that only our end refuses.

use super::pki::{Authority, Leaf};
use super::{id, seal};
use crate::tls::unverified::Unverified;
use crate::tls::{Identity, Session, TlsError};
use proto::snapshot::IdentityMaterial;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, DistinguishedName, Error,
    ServerConfig, ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use std::io::{Read, Write};
use std::sync::Arc;

#[derive(Debug)]
struct TrustsEverybody;

impl ClientCertVerifier for TrustsEverybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// The other end of a session.
pub(crate) struct Peer {
    connection: Connection,
    alert: Option<String>,
}

impl From<ClientConnection> for Peer {
    fn from(connection: ClientConnection) -> Peer {
        Peer { connection: connection.into(), alert: None }
    }
}

impl From<ServerConnection> for Peer {
    fn from(connection: ServerConnection) -> Peer {
        Peer { connection: connection.into(), alert: None }
    }
}

impl Peer {
    /// The alert that it received, in words.
    pub(crate) fn alert(&self) -> Option<String> {
        self.alert.clone()
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes).unwrap();
            match self.connection.process_new_packets() {
                Ok(_) => {}
                Err(Error::AlertReceived(alert)) => {
                    let name = format!("{alert:?}");
                    let word =
                        |c: char| if c.is_uppercase() { format!(" {}", c.to_lowercase()) } else { c.into() };
                    self.alert = Some(name.chars().map(word).collect::<String>().trim().to_owned());
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn sends(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn write(&mut self, plain: &[u8]) -> Vec<u8> {
        self.connection.set_buffer_limit(None);
        self.connection.writer().write_all(plain).unwrap();
        self.sends()
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        for piece in bytes.chunks(4096) {
            self.take(piece);
            let mut some = [0; 65536];
            while let Ok(n @ 1..) = self.connection.reader().read(&mut some) {
                plain.extend_from_slice(&some[..n]);
            }
        }
        plain
    }
}

fn certified(m: &IdentityMaterial) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = m.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    (chain, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(m.key.clone())))
}

fn client_config(m: &IdentityMaterial, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let (chain, key) = certified(m);
    let mut config = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified))
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn server_config(m: &IdentityMaterial, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let (chain, key) = certified(m);
    let mut config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(Arc::new(TrustsEverybody))
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn connect(config: ClientConfig, name: &str) -> ClientConnection {
    ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap()
}

pub(crate) fn client_of(m: &IdentityMaterial, server_name: &str) -> ClientConnection {
    client_with(m, server_name, |_| ())
}

pub(crate) fn client_with(
    m: &IdentityMaterial,
    server_name: &str,
    change: impl Fn(&mut ClientConfig),
) -> ClientConnection {
    let mut config = client_config(m, rustls::ALL_VERSIONS);
    change(&mut config);
    connect(config, server_name)
}

pub(crate) fn server_of(m: &IdentityMaterial) -> ServerConnection {
    server_with(m, |_| ())
}

pub(crate) fn server_with(m: &IdentityMaterial, change: impl Fn(&mut ServerConfig)) -> ServerConnection {
    let mut config = server_config(m, rustls::ALL_VERSIONS);
    change(&mut config);
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// A client that has no certificate to show.
pub(crate) fn anonymous_client(
    m: &IdentityMaterial,
    version: &'static SupportedProtocolVersion,
) -> ClientConnection {
    #[derive(Debug)]
    struct Nothing;
    impl ResolvesClientCert for Nothing {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            None
        }

        fn has_certs(&self) -> bool {
            false
        }
    }
    let mut config = client_config(m, &[version]);
    config.client_auth_cert_resolver = Arc::new(Nothing);
    connect(config, "b")
}

/// Exchanges bytes until both are silent; our end's error, after the peer has been told.
pub(crate) fn shake(peer: &mut Peer, session: &mut Session) -> Result<(), TlsError> {
    loop {
        let (mut bytes, mut out) = (peer.sends(), Vec::new());
        let result = session.open(&mut bytes, &mut out, |_| ());
        let silent = bytes.is_empty() && out.is_empty();
        if peer.alert.is_none() {
            peer.take(&out);
        }
        result?;
        if silent {
            return Ok(());
        }
    }
}

/// Both roles of our end, each with its peer, the handshake done.
fn meetings(version: &'static SupportedProtocolVersion, fragment: Option<usize>) -> Vec<(Peer, Session)> {
    let ca = Authority::new();
    let (ours, theirs) = (Identity::new(&ca.app("ours")).unwrap(), ca.app("theirs"));
    let mut config = server_config(&theirs, &[version]);
    config.max_fragment_size = fragment;
    let server = Peer::from(ServerConnection::new(Arc::new(config)).unwrap());
    let mut config = client_config(&theirs, &[version]);
    config.max_fragment_size = fragment;
    let client = Peer::from(connect(config, "ours"));
    let pairs = vec![
        (server, Session::client(&ours, &id("theirs"), super::ADDRESS).unwrap()),
        (client, Session::server(&ours).unwrap()),
    ];
    pairs
        .into_iter()
        .map(|(mut peer, mut session)| {
            shake(&mut peer, &mut session).unwrap();
            assert!(session.is_ready() && session.peer().unwrap().id() == &id("theirs"));
            (peer, session)
        })
        .collect()
}

#[test]
fn both_versions_and_roles_carry_data_with_buffered_rustls() {
    let data: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (mut peer, mut session) in meetings(version, None) {
            for size in [0, 1, 16384, 16385, 100_000] {
                let bytes = seal(&mut session, &data[..size]);
                assert_eq!(peer.read(&bytes), &data[..size]);
                let bytes = peer.write(&data[..size]);
                assert_eq!(super::open(&mut session, bytes), &data[..size]);
            }
        }
    }
}

#[test]
fn handshake_messages_cut_over_many_records_are_put_together() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        meetings(version, Some(64));
    }
}

#[test]
fn key_updates_of_either_side_pass_unnoticed() {
    for (mut peer, mut session) in meetings(&rustls::version::TLS13, None) {
        for round in 0..5_u8 {
            peer.connection.refresh_traffic_keys().unwrap();
            let bytes = peer.write(&[round]);
            assert_eq!(super::open(&mut session, bytes), [round]);
            let bytes = seal(&mut session, b"after the update");
            assert_eq!(peer.read(&bytes), b"after the update");
        }
        // an update without data: the answer goes out with the next data
        peer.connection.refresh_traffic_keys().unwrap();
        let bytes = peer.sends();
        assert_eq!(super::open(&mut session, bytes), b"");
        let mut bytes = seal(&mut session, b"x");
        session.close_notify(&mut bytes);
        assert_eq!(peer.read(&bytes), b"x");
        assert!(session.is_ready());
    }
}

#[test]
fn a_key_update_right_behind_the_handshake_is_answered() {
    let ca = Authority::new();
    let ours = Identity::new(&ca.app("ours")).unwrap();
    let mut peer = Peer::from(connect(client_config(&ca.app("theirs"), &[&rustls::version::TLS13]), "ours"));
    let mut session = Session::server(&ours).unwrap();
    let mut flight = Vec::new();
    session.open(&mut peer.sends(), &mut flight, |_| ()).unwrap();
    peer.take(&flight);
    peer.connection.refresh_traffic_keys().unwrap();
    let mut bytes = peer.write(b"first"); // Finished, KeyUpdate and data in one
    assert_eq!(super::open(&mut session, std::mem::take(&mut bytes)), b"first");
    assert!(session.traffic().is_some());
    for _ in 0..2 {
        let bytes = seal(&mut session, b"answer");
        assert_eq!(peer.read(&bytes), b"answer");
        let bytes = peer.write(b"more");
        assert_eq!(super::open(&mut session, bytes), b"more");
    }
}

#[test]
fn every_cipher_of_tls_1_3_carries_data_in_records_of_our_own() {
    use rustls::crypto::ring::cipher_suite as suite;
    let suites = [
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS13_AES_256_GCM_SHA384,
        suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    let data: Vec<u8> = (0..40_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    for only in suites {
        let ca = Authority::new();
        let (ours, theirs) = (Identity::new(&ca.app("ours")).unwrap(), ca.app("theirs"));
        let provider = rustls::crypto::CryptoProvider {
            cipher_suites: vec![only],
            ..rustls::crypto::ring::default_provider()
        };
        let (chain, key) = certified(&theirs);
        let mut config = ServerConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(TrustsEverybody))
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut peer = Peer::from(ServerConnection::new(Arc::new(config)).unwrap());
        let mut session = Session::client(&ours, &id("theirs"), super::ADDRESS).unwrap();
        shake(&mut peer, &mut session).unwrap();
        assert!(session.traffic().is_some());
        for _ in 0..2 {
            let bytes = seal(&mut session, &data);
            assert_eq!(peer.read(&bytes), data);
            let bytes = peer.write(&data);
            assert_eq!(super::open(&mut session, bytes), data);
            peer.connection.refresh_traffic_keys().unwrap();
        }
    }
}

#[test]
fn only_tls_1_3_has_records_of_our_own_and_rustls_keeps_a_handshake_in_pieces() {
    for (mut peer, mut session) in meetings(&rustls::version::TLS12, None) {
        assert!(session.traffic().is_none());
        let bytes = seal(&mut session, b"x");
        assert_eq!(peer.read(&bytes), b"x");
    }
    for (mut peer, mut session) in meetings(&rustls::version::TLS13, Some(64)) {
        assert!(session.traffic().is_none());
        let bytes = seal(&mut session, b"x");
        assert_eq!(peer.read(&bytes), b"x");
        let bytes = peer.write(b"y");
        assert_eq!(super::open(&mut session, bytes), b"y");
    }
    for (mut peer, mut session) in meetings(&rustls::version::TLS13, None) {
        assert!(session.traffic().is_some());
        let mut bytes = peer.write(b"x");
        *bytes.last_mut().unwrap() ^= 1;
        let mut out = Vec::new();
        let error = session.open(&mut bytes, &mut out, |_| panic!("plaintext")).unwrap_err();
        assert!(matches!(error, TlsError::Protocol(_)), "{error}");
        peer.take(&out);
        assert_eq!(peer.alert().unwrap(), "bad record mac");
    }
}

#[test]
fn no_tickets_are_issued_and_nothing_is_resumed() {
    let ca = Authority::new();
    let b = Identity::new(&ca.app("b")).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(client_config(&ca.app("a"), &[version]));
        for _ in 0..2 {
            let client = ClientConnection::new(Arc::clone(&config), "b".try_into().unwrap()).unwrap();
            let mut peer = Peer::from(client);
            shake(&mut peer, &mut Session::server(&b).unwrap()).unwrap();
            let Connection::Client(client) = &peer.connection else { unreachable!() };
            assert_eq!(client.tls13_tickets_received(), 0);
            assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
}

#[test]
fn no_server_name_is_sent_for_an_address() {
    let ca = Authority::new();
    let a = Identity::new(&ca.app("a")).unwrap();
    let mut peer = Peer::from(server_of(&ca.app("b")));
    shake(&mut peer, &mut Session::client(&a, &id("b"), super::ADDRESS).unwrap()).unwrap();
    let Connection::Server(server) = &peer.connection else { unreachable!() };
    assert_eq!(server.server_name(), None);
    assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn aes_128_is_chosen_where_the_peer_leaves_the_choice() {
    let ca = Authority::new();
    let a = Identity::new(&ca.app("a")).unwrap();
    let mut peer = Peer::from(server_of(&ca.issue(&Leaf::of("b"))));
    shake(&mut peer, &mut Session::client(&a, &id("b"), super::ADDRESS).unwrap()).unwrap();
    let suite = peer.connection.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
}

/// The handshake with our end fed in pieces of so many bytes.
pub(crate) fn shake_in_pieces(peer: &mut Peer, session: &mut Session, piece: usize) {
    let mut out = Vec::new();
    session.open(&mut [], &mut out, |_| ()).unwrap();
    loop {
        peer.take(&std::mem::take(&mut out));
        let mut bytes = peer.sends();
        if bytes.is_empty() {
            return;
        }
        bytes.chunks_mut(piece).for_each(|p| session.open(p, &mut out, |_| ()).unwrap());
    }
}

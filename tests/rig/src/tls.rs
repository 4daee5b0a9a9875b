//! A TLS client of a sidecar's mesh port that believes every server: what matters is whom the server believes.

use crate::ca::Issued;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the server.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server did with a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// What it said, without the layer below.
    pub bytes: Vec<u8>,
    /// `closed`, or the error with which the connection ended.
    pub end: String,
}

/// Says `bytes` in plain text and listens until the server ends the connection.
pub fn say_plainly(to: SocketAddr, bytes: &[u8]) -> Heard {
    listen(connect(to), bytes)
}

/// Shows this identity, if any, says `bytes` and listens until the server ends the connection.
pub fn say(to: SocketAddr, identity: Option<&Issued>, bytes: &[u8]) -> Heard {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().expect("the default versions");
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous(provider)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let key = PrivateKeyDer::Pkcs8(issued.key.clone_key());
            builder.with_client_auth_cert(vec![issued.certificate.clone()], key).expect("a fitting key")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a client session");
    listen(StreamOwned::new(session, connect(to)), bytes)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("a listening mesh port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    stream
}

fn listen(mut stream: impl Read + Write, bytes: &[u8]) -> Heard {
    let mut heard = Heard::default();
    // Why a write failed shows in what is read.
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => heard.end = "closed".to_owned(),
            Ok(n) => heard.bytes.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => heard.end = error.to_string(),
        }
        if !heard.end.is_empty() {
            return heard;
        }
    }
}

#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

//! Sessions against each other, against buffered rustls and against OpenSSL.

mod cut;
mod handshake;
mod openssl;
pub(crate) mod pki;
mod refused;
mod rustls_peer;

use super::{Identity, Session, TlsError};
use proto::spiffe::SpiffeId;
use std::net::SocketAddr;

pub(super) const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

pub(super) fn id(app_id: &str) -> SpiffeId {
    SpiffeId::new("public", "default", app_id).unwrap()
}

/// A caller and a callee.
pub(super) struct Pair {
    pub(super) client: Session,
    pub(super) server: Session,
}

impl Pair {
    /// `expected` is the app that the caller means.
    pub(super) fn new(client: &Identity, server: &Identity, expected: &str) -> Pair {
        let client = Session::client(client, &id(expected), ADDRESS).unwrap();
        Pair { client, server: Session::server(server).unwrap() }
    }

    /// Exchanges bytes until both are silent; each end's error, if it had one.
    pub(super) fn shake(&mut self) -> (Option<TlsError>, Option<TlsError>) {
        let (mut errors, mut to_server, mut to_client) = ((None, None), Vec::new(), Vec::new());
        let mut first = true;
        while first || !to_server.is_empty() || !to_client.is_empty() {
            first = false;
            let mut bytes = std::mem::take(&mut to_client);
            if errors.0.is_none() {
                errors.0 = self.client.open(&mut bytes, &mut to_server, |_| ()).err();
            }
            let mut bytes = std::mem::take(&mut to_server);
            if errors.1.is_none() && !bytes.is_empty() {
                errors.1 = self.server.open(&mut bytes, &mut to_client, |_| ()).err();
            }
        }
        errors
    }
}

/// What `session` reads from `bytes`.
pub(super) fn open(session: &mut Session, mut bytes: Vec<u8>) -> Vec<u8> {
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    session.open(&mut bytes, &mut out, |p| plain.extend_from_slice(p)).unwrap();
    plain
}

pub(super) fn seal(session: &mut Session, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    session.seal(plain, &mut out).unwrap();
    out
}

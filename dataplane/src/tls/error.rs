//! What can be wrong with an identity, a peer's certificate and a session, each in words.

use core::fmt;
use proto::spiffe::SpiffeError;

/// Why a peer's certificate chain was refused. The alert is `bad_certificate` for all of them (corrections 42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The leaf or an intermediate is not a certificate that can be read.
    Unreadable(String),
    /// More certificates than a chain may have.
    TooMany(usize),
    /// The leaf is a certificate authority or may sign certificates.
    Authority,
    /// The leaf has no URI among its names.
    NoUri,
    /// The leaf has several URIs; the one meant cannot be known.
    SeveralUris(usize),
    /// The leaf's only URI is not the SPIFFE ID of a workload.
    BadId(SpiffeError),
    /// A certificate of the chain is past its end, by so many seconds.
    Expired(u64),
    /// A certificate of the chain is not valid yet, for so many seconds.
    NotYetValid(u64),
    /// The chain ends at a trust anchor whose own time is over or has not come.
    AnchorOutOfDate,
    /// No chain leads to a trust anchor.
    UnknownAuthority,
    /// Another reason that no chain could be verified.
    Chain(String),
    /// The chain is good, but it is somebody else's; holds the SPIFFE ID presented.
    Unexpected(String),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Unreadable(why) => write!(f, "the peer's certificate cannot be read: {why}"),
            Rejection::TooMany(n) => {
                write!(f, "the peer presented {n} certificates, more than a chain may have")
            }
            Rejection::Authority => {
                f.write_str("the peer's certificate is that of an authority, not of a workload")
            }
            Rejection::NoUri => f.write_str("the peer's certificate contains no URI SAN"),
            Rejection::SeveralUris(n) => {
                write!(f, "the peer's certificate contains {n} URI SANs instead of one")
            }
            Rejection::BadId(why) => write!(f, "the peer's certificate names no workload: {why}"),
            Rejection::Expired(by) => write!(f, "the peer's certificate has expired, {by} s ago"),
            Rejection::NotYetValid(by) => write!(f, "the peer's certificate becomes valid only in {by} s"),
            Rejection::AnchorOutOfDate => {
                f.write_str("the peer's certificate leads to a trust anchor that is out of date")
            }
            Rejection::UnknownAuthority => {
                f.write_str("the peer's certificate is signed by an unknown authority")
            }
            Rejection::Chain(why) => write!(f, "the peer's certificate cannot be verified: {why}"),
            Rejection::Unexpected(id) => write!(f, "unexpected SPIFFE ID: {id:?}"),
        }
    }
}

impl std::error::Error for Rejection {}

/// Why a session ended. Whatever the peer should be told is in the buffer of bytes to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// The peer's certificate was refused.
    Rejected(Rejection),
    /// The caller presented no certificate.
    NoCertificate,
    /// The peer did not agree on ALPN `h2`.
    NoAlpn,
    /// What arrived first is not TLS, most likely a plaintext peer.
    NotTls,
    /// The peer sent a fatal alert; its name in words.
    Alert(String),
    /// The peer broke the protocol, or offers nothing that both ends support.
    Protocol(String),
    /// Nothing can be sent yet: the handshake has not finished.
    NotReady,
    /// The session has ended before.
    Closed,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Rejected(why) => why.fmt(f),
            TlsError::NoCertificate => f.write_str("tls: the peer presented no certificate"),
            TlsError::NoAlpn => f.write_str("cannot check peer: missing selected ALPN property h2"),
            TlsError::NotTls => f.write_str("tls: first record does not look like a TLS handshake"),
            TlsError::Alert(name) => write!(f, "remote error: tls: {name}"),
            TlsError::Protocol(why) => write!(f, "tls: {why}"),
            TlsError::NotReady => f.write_str("tls: the handshake has not finished"),
            TlsError::Closed => f.write_str("tls: the session is closed"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Why key, certificates and trust anchors do not make an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The private key cannot be used.
    Key(String),
    /// The trust bundle is empty or one of its certificates cannot be read.
    Anchors(String),
    /// The own chain would be refused by a peer with the same trust bundle.
    Chain(Rejection),
    /// The leaf names another workload than the material says; holds the leaf's ID.
    WrongId(String),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityError::Key(why) => write!(f, "own private key: {why}"),
            IdentityError::Anchors(why) => write!(f, "trust bundle: {why}"),
            IdentityError::Chain(why) => write!(f, "own certificate, as a peer sees it: {why}"),
            IdentityError::WrongId(id) => write!(f, "own certificate is issued to {id}"),
        }
    }
}

impl std::error::Error for IdentityError {}

//! TLS between sidecars: both ends prove who they are (spec/security 1.2–1.3, corrections 41–42).
//!
//! Sans-IO on rustls' unbuffered interface: bytes come in as chunks, records go out into a buffer of the caller's.
//!
//! ```text
//!  Identity (own key, chain, trust anchors) ──► Session::client / Session::server
//!                                                 │ open(chunk) ──► plaintext, bytes to send
//!  Handshaking ──verified, ALPN h2──► Open ──close_notify──► PeerClosed
//!       └──────────any error───────────┴──────────► Failed (the alert is in `out`)
//! ```
//!
//! Signatures of tokens are checked here too: all cryptography of the data plane is in this module.
//!
//! Servers outside the mesh are judged by their name and a [`Trust`], as in the web.
//!
//! A [`PeerIdentity`] is made in one place, by the verifier after the chain has been checked, and is shown only once
//! the handshake has proven that the peer holds the key.

mod error;
mod external;
mod identity;
mod records;
mod session;
mod token;
mod traffic;
mod unverified;
mod verify;

#[cfg(test)]
pub(crate) mod tests;

pub use error::{IdentityError, Rejection, TlsError};
pub use external::Trust;
pub use identity::Identity;
pub use session::Session;
pub(crate) use token::verifies;
pub use verify::PeerIdentity;

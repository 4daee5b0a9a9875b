//! The mesh hop: connections between sidecars, and the calls on them.
//!
//! ```text
//!   Mesh ── checkout ──▶ pool of links to one peer (address and identity) ── start ──▶ Call
//!                              │ one dial in flight
//!   serve ── accepted ──▶ link ◀─┘                                          ── opened ──▶ Call
//!                         │  driver task: chunk → TLS → proto::http2 → events → wakers
//!                         └─ end of turn: what the calls wrote → one buffer → TLS → one send
//! ```
//!
//! A call of either role writes whole gRPC frames into its connection's buffer of the turn and reads messages in place.
//! No buffer of the pool is held across a wait, nothing is allocated for a message, a call's deadline costs no timer.

mod call;
mod dial;
mod end;
mod error;
mod limits;
mod messages;
mod pool;
mod queue;
mod serve;

pub use crate::http2::{Features, LinkEnd};
pub use call::{Call, GrpcEnd, Next};
pub use dial::{DialError, Phase};
pub use error::CallError;
pub use limits::MeshLimits;
pub use messages::{Message, Messages};
pub use pool::{Checkout, Mesh, PeerKey, PeerStatus, Start};
pub use serve::{Serving, serve};

#[cfg(test)]
mod tests;

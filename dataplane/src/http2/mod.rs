//! HTTP/2 connections on sockets, and streams of them as HTTP messages.
//!
//! ```text
//!   Link (connection, TLS under it, socket) ◀── driver task: bytes → proto::http2 → events → wakers
//!     ├─ mesh::Call: gRPC between sidecars
//!     └─ Sender, Receiver: one HTTP message each way, for local clients (h2c on the API port) and h2c apps
//! ```
//!
//! A stream's message has the shape of an HTTP/1 one: a head in bytes, body bytes, an end. What reads and writes heads
//! is the same for both versions.

pub(crate) mod client;
pub(crate) mod deadline;
pub(crate) mod drive;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod server;
pub(crate) mod stream;

pub(crate) use limits::LinkLimits;
pub use link::{Features, LinkEnd};
pub(crate) use stream::{Receiver, Sender, StreamError};

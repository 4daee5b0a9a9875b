//! A sans-IO HTTP/2 connection for the mesh hop (RFC 9113, RFC 7541).
//!
//! Both roles, without sockets, clocks or tasks: bytes in, events and bytes out, time as an argument. Built for gRPC
//! between sidecars, and used for local clients and apps too: no header map, no reference-counted bytes, no allocation
//! per frame. It refuses push and everything that RFC 9113 calls an error, with the section that says so, and swallows
//! informational responses; see [`Connection`] for its use, [`Limits`] for every limit and [`http1`] for its heads as
//! HTTP/1 writes them.

mod code;
mod connection;
mod field;
mod flow;
mod frame;
pub mod hpack;
pub mod http1;
mod limits;
mod message;
mod settings;
mod state;
mod stream;

pub use code::{Code, Violation};
pub use connection::{Connection, Event, NotStarted, Role};
pub use field::{Fields, Name, Stored};
pub use hpack::{BlockId, Literal};
pub use limits::Limits;
pub use settings::{OUTRIGGER, OUTRIGGER_UPGRADE, OUTRIGGER_V1, Settings};
pub use stream::{Failure, Slot};

#[cfg(test)]
mod tests;

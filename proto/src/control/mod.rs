//! The local channel between control and data plane: messages, frames and the state machines of both ends. The schema,
//! `proto/schema/control.proto`, documents the protocol; it is public, and foreign control processes may speak it.

pub mod attached;
pub mod convert;
pub mod exit;
pub mod frame;
mod generated;
pub mod report;
pub mod session;

pub use generated::*;

use core::fmt;

/// Protocol version of this build, the highest it understands.
pub const PROTOCOL: u32 = 1;

/// What this build's data plane understands of `Snapshot.requires`.
pub const CAPABILITIES: &[&str] = &["delta", "parts", "pipelines"];

// Written by hand: these messages carry secrets, and a secret is never printed.

impl fmt::Debug for AppChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppChannel")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("unix_path", &self.unix_path)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("tracing", &self.tracing).finish_non_exhaustive()
    }
}

impl fmt::Debug for IdentityMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityMaterial")
            .field("spiffe_id", &self.spiffe_id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEndpoint").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header").field("name", &self.name).finish_non_exhaustive()
    }
}

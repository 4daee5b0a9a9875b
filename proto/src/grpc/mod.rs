//! gRPC over HTTP/2: message framing, status codes, metadata.
//!
//! ```
//! use proto::grpc::{frame, status::Code};
//!
//! let mut out = Vec::new();
//! let at = frame::open(&mut out);
//! out.extend_from_slice(b"message bytes");
//! frame::close(&mut out, at);
//! let first = frame::split(&out, 4 << 20).unwrap().unwrap();
//! assert_eq!((first.message, first.used), (&b"message bytes"[..], out.len()));
//! assert_eq!(Code::UNAVAILABLE.to_string(), "Unavailable");
//! ```

pub mod base64;
pub mod frame;
pub mod metadata;
pub mod status;

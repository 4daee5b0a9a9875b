//! HTTP/1.1: heads, body framing, encoding, hop-by-hop rules (RFC 9110, RFC 9112).
//!
//! A connection reads with [`head`] and [`framing::Incoming`], writes with [`encode`] and [`framing::Outgoing`]:
//!
//! ```
//! use proto::http1::framing::{Framing, Incoming};
//! use proto::http1::head::{Head, Limits, Request, Slots};
//!
//! let received = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET ";
//! let mut slots = Slots::new();
//! let Ok(Head::Complete(request)) = Request::parse(received, &mut slots, &Limits::default()) else { return };
//! assert_eq!(request.framing(), Framing::Chunked);
//! let mut body = Incoming::new(request.framing());
//! let mut rest = &received[request.len..];
//! let mut whole = Vec::new();
//! loop {
//!     let step = body.step(rest).unwrap();
//!     whole.extend_from_slice(&rest[step.skip..step.skip + step.take]); // or: forward that part of the chunk
//!     rest = &rest[step.skip + step.take..];
//!     if step.done {
//!         break;
//!     }
//! }
//! assert_eq!((whole.as_slice(), rest), (&b"hi"[..], &b"GET "[..]));
//! ```

mod chunked;
pub mod encode;
pub mod framing;
pub mod head;
mod headers;
pub mod hop;
pub mod names;
pub mod refusal;
#[cfg(test)]
mod tests;

pub use names::Known;

//! What a call means: target, method, headers, failure and its one answer.
//!
//! Outbound, from the client's head to a call:
//!
//! ```
//! use proto::http1::head::{Head, Limits, Request, Slots};
//! use proto::invoke::{method, target};
//!
//! let bytes = b"GET /v1.0/invoke/orders.prod/method/a%20b//c/?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
//! let mut slots = Slots::new();
//! let Ok(Head::Complete(head)) = Request::parse(bytes, &mut slots, &Limits::default()) else { return };
//! let path = target::split(head.target).unwrap(); // routing to other APIs looks at `path.raw`
//! let target = target::find(&path, &head.headers).unwrap();
//! let app = target::destination(&target.id).unwrap();
//! assert_eq!(app, target::Destination::App { app_id: "orders", namespace: Some("prod") });
//! let method = method::normalise(&target.method).unwrap();
//! assert_eq!((&*method, target.query), ("a b/c", "x=1"));
//! ```

pub mod classify;
pub mod details;
pub mod escape;
pub mod failure;
pub mod headers;
pub mod method;
pub mod quote;
pub mod target;
pub mod url;

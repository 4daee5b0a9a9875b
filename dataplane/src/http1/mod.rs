//! HTTP/1 connections: towards local clients ([`server`]) and towards servers ([`client`]): the local app, and others outside the mesh, with TLS ([`sealed`]).
//!
//! The rules are in `proto::http1`; here are the bytes. Heads are copied out of the receive buffers, bodies leave in
//! the chunks they came in, and no receive buffer is held while anybody but its consumer is waited for.

pub(crate) mod client;
pub(crate) mod idle;
pub(crate) mod left;
pub(crate) mod sealed;
pub(crate) mod server;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod wire;

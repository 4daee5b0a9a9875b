//! The mesh hop over loopback: two ends of ours on both backends, and the h2 crate as the other end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod calls;
mod common;
mod dialling;
mod h2_peer;
mod leaving;
mod pki;
mod pool;
mod trouble;

//! The hard edges: requests and answers that mean different things to different readers, attacks on memory and time,
//! and a long random mix of calls held against a model.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attacks;
mod from_apps;
mod from_clients;
mod from_peers;
mod h2;
mod house;
mod leaving;
mod memory;
mod mix;
mod mix_app;
mod plan;
mod raw;
mod stalls;

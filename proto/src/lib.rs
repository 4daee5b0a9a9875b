//! Outrigger's wire contracts and every decision that needs no system call.
//!
//! Nothing here performs I/O, reads a clock, draws randomness or contains `unsafe`: time and random numbers are
//! arguments. That makes unit tests, simulation and fuzzing possible without sockets.
#![forbid(unsafe_code)]

pub mod api;
pub mod balance;
pub mod control;
pub mod drain;
pub mod envelope;
pub mod grpc;
pub mod http1;
pub mod http2;
pub mod invoke;
pub mod log;
pub mod name;
pub mod policy;
pub mod rng;
pub mod snapshot;
pub mod spiffe;
pub mod time;
pub mod trace;

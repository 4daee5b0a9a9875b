//! The side surface of a sidecar process (`tests/vectors/surface`): metadata, public port, shutdown, exits, logs, health
//! of the app, Unix sockets.

// Test code: a failed assumption is a failed case, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod api_log;
mod app_health;
mod blocks;
mod exits;
mod metadata;
mod profile;
mod shutdown;
mod stage;
mod unix;

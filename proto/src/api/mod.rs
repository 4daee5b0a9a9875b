//! The sidecar's own HTTP API: which routes there are, who may use them, what building blocks that are not configured
//! answer, and what browsers' scripts are told.

pub mod blocks;
pub mod cors;
pub mod json;
pub mod log;
pub mod routes;
pub mod rules;

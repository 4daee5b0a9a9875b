//! Outrigger's control side: names, identity, configuration, exporters, the supervisor and the command line.

pub mod ca;
pub mod channel;
pub mod cli;
pub mod configuration;
pub mod demo;
pub mod exporter;
pub mod identity;
mod keys;
pub mod process;
pub mod resolve;
pub mod settings;
pub mod status;
pub mod supervisor;

//! Finding the sidecars of an app by name.

pub mod mdns;

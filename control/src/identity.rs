//! The workload's own certificate: obtained, renewed at half its life, pushed to whoever follows (spec/security 3.1).
//!
//! An [`Issuer`] is where certificates come from: the embedded authority now, a Sentry later. [`Renewer::start`]
//! obtains the first one, so that a sidecar that cannot get an identity does not start; [`Renewer::run`] renews it
//! for ever. Followers see a [`Standing`]: the latest material and, since a renewal failed, what is wrong.

mod issuer;
mod renewer;
mod schedule;

#[cfg(test)]
mod tests;

pub use issuer::{Embedded, Issuer, Pending};
pub use renewer::{Failure, Renewer, Say, Standing};

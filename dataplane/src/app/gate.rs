//! Whether the app takes calls: open until its probes say otherwise.

use proto::invoke::failure::{Failure, Kind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Shared by all shards.
#[derive(Debug, Default)]
pub struct Gate {
    closed: AtomicBool,
}

impl Gate {
    /// Opens or closes it.
    pub(crate) fn set(&self, open: bool) {
        self.closed.store(!open, Relaxed);
    }

    /// Whether the app takes calls.
    pub(crate) fn is_open(&self) -> bool {
        !self.closed.load(Relaxed)
    }

    /// # Errors
    /// The app fails its health probes.
    pub(crate) fn pass(&self) -> Result<(), Failure> {
        if !self.is_open() {
            let text = "rpc error: code = Internal desc = app is not in a healthy state";
            return Err(Failure::new(Kind::AppUnhealthy, text));
        }
        Ok(())
    }
}

//! What the handlers of a pipeline use: buckets that all shards share, the clock, and cryptography.

use super::limiter::{Counted, Limiter};
use crate::tls;
use proto::policy::pipeline::rate::Rate;
use proto::policy::pipeline::{Means, Signed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Means for one request.
pub(crate) struct Hands<'h> {
    pub(crate) limiter: &'h Limiter,
    /// Which pipeline.
    pub(crate) side: &'static str,
    /// Client or calling app.
    pub(crate) who: &'h str,
}

impl Means for Hands<'_> {
    fn take(&self, handler: usize, rate: Rate, path: &str) -> Option<u32> {
        self.limiter.take(Counted { side: self.side, handler, who: self.who, path }, rate)
    }

    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    fn verifies(&self, signed: Signed<'_>) -> bool {
        tls::verifies(signed)
    }
}

//! The buckets of rate limits, for all shards: a client's connections are spread over them. Only requests that pass a
//! rate limit take the lock, for one look into a table.

use proto::policy::pipeline::rate::{Buckets, Rate};
use proto::time::Tick;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Who calls what, where it is counted.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Counted<'c> {
    /// Which pipeline.
    pub(crate) side: &'static str,
    /// Which handler of it.
    pub(crate) handler: usize,
    /// Client or calling app.
    pub(crate) who: &'c str,
    pub(crate) path: &'c str,
}

/// The buckets of rate limits.
#[derive(Debug)]
pub struct Limiter {
    began: Instant,
    hash: RandomState,
    buckets: Mutex<Buckets>,
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter { began: Instant::now(), hash: RandomState::new(), buckets: Mutex::default() }
    }
}

impl Limiter {
    /// Takes one token; says how many are left, or that there was none.
    pub(crate) fn take(&self, counted: Counted<'_>, rate: Rate) -> Option<u32> {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(self.hash.hash_one(counted), rate, Tick::from_micros(now))
    }
}

//! Whether the process has memory for more calls. Judged by one task for all shards; a call only looks at a flag.

use super::Shard;
use proto::invoke::failure::{Failure, Kind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The process's memory as its shards see it.
#[derive(Debug, Default)]
pub struct Memory {
    short: AtomicBool,
    limit: AtomicU64,
}

impl Memory {
    /// `--max-memory` in bytes, for messages.
    pub(crate) fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Relaxed);
    }

    /// From now on new calls are refused, or taken.
    pub(crate) fn set_short(&self, short: bool) {
        self.short.store(short, Relaxed);
    }

    /// Why new calls are refused; `None` while they are not.
    pub(crate) fn shortage(&self) -> Option<String> {
        self.short.load(Relaxed).then(|| {
            let limit = self.limit.load(Relaxed);
            format!("the sidecar uses more memory than --max-memory ({limit} bytes): new calls are refused")
        })
    }
}

impl Shard {
    /// Whether a new call is taken.
    ///
    /// # Errors
    /// Memory is short.
    pub(crate) fn has_memory(&self) -> Result<(), Failure> {
        self.common.memory.shortage().map_or(Ok(()), |why| Err(Failure::new(Kind::MemoryShort, why)))
    }
}

//! What the runtime of each shard holds, for those who look at the profiling port.

use super::Common;
use crate::rt;
use std::fmt;
use std::sync::OnceLock;

/// One shard's figures at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Its number.
    pub(crate) shard: usize,
    /// Tasks that have not ended.
    pub(crate) tasks: usize,
    /// Its sockets and buffers.
    pub(crate) counts: rt::Counts,
}

impl Figures {
    /// Those of this shard.
    pub(crate) fn here() -> Figures {
        Figures { shard: rt::shard().map_or(0, |id| id.index()), tasks: rt::tasks(), counts: rt::counts() }
    }
}

type Ask = Box<dyn Fn() -> Vec<Figures> + Send + Sync>;

/// How all shards are asked for their figures.
#[derive(Default)]
pub struct Everywhere(OnceLock<Ask>);

impl fmt::Debug for Everywhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Everywhere").finish_non_exhaustive()
    }
}

impl Common {
    /// Shards are asked so from now on; the first one counts.
    pub(crate) fn ask_figures_by(&self, ask: impl Fn() -> Vec<Figures> + Send + Sync + 'static) {
        let _ = self.figures.0.set(Box::new(ask));
    }

    /// The figures of the shards that answer in time. Waits, and so has no place on a shard.
    pub(crate) fn figures(&self) -> Vec<Figures> {
        self.figures.0.get().map(|ask| ask()).unwrap_or_default()
    }
}

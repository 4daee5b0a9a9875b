//! The wish of a client of the API that the process ends.

use crate::rt::Sender;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// How the process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Names are withdrawn, calls finish.
    Leave,
    /// Soon and without draining.
    EndAtOnce,
}

/// Tells whoever minds the end of the process.
#[derive(Default)]
pub struct Ending {
    to: OnceLock<Sender<Wish>>,
    forced: AtomicBool,
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("forced", &self.forced).finish_non_exhaustive()
    }
}

impl Ending {
    /// Wishes go there from now on.
    pub(crate) fn tell(&self, to: Sender<Wish>) {
        let _ = self.to.set(to); // there is one that minds the end
    }

    /// The process is to end when its calls are over.
    pub(crate) fn leave(&self) {
        self.wish(Wish::Leave);
    }

    /// The process is to end without draining.
    pub(crate) fn end_at_once(&self) {
        self.forced.store(true, SeqCst);
        self.wish(Wish::EndAtOnce);
    }

    /// Whether the process ends because it was told to do so without draining.
    pub(crate) fn is_forced(&self) -> bool {
        self.forced.load(SeqCst)
    }

    fn wish(&self, wish: Wish) {
        if let Some(to) = self.to.get() {
            let _ = to.send(wish); // it ends already
        }
    }
}

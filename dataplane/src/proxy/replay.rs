//! What of a request body was read, kept so that another attempt can send it again (compat.md "body kept for a retry").

use crate::metrics::{Held, Level, Metrics};
use crate::rt::{self, Segment};
use std::rc::Rc;

/// The kept part of one request's body.
///
/// ```text
///   Kept ──more than the limit, or a streaming body──▶ Gone
/// ```
#[derive(Debug)]
pub(super) struct Replay {
    bytes: Vec<u8>,
    /// A first piece that cannot be kept: it goes out once.
    once: Option<Segment>,
    gone: bool,
    streaming: bool,
    limit: usize,
    /// What is to be expected; 0 if nobody said.
    declared: usize,
    held: Option<Held>,
}

impl Replay {
    /// Nothing was read yet of a body with that length, if it was declared. Of a `streaming` body nothing is kept.
    pub(super) fn new(limit: usize, streaming: bool, declared: Option<u64>) -> Replay {
        let declared = declared.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        Replay { bytes: Vec::new(), once: None, gone: false, streaming, limit, declared, held: None }
    }

    /// A piece was read and is about to be sent.
    pub(super) fn keep(&mut self, metrics: &Rc<Metrics>, piece: &[u8]) {
        if self.gone || piece.is_empty() {
            return;
        }
        if self.streaming || self.bytes.len() + piece.len() > self.limit {
            self.let_go();
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = rt::turn_buffer();
            self.bytes.reserve(self.declared.min(self.limit)); // it would grow by copying
        }
        self.bytes.extend_from_slice(piece);
        let by = piece.len() as u64;
        match &mut self.held {
            Some(held) => held.add(by),
            None => self.held = Some(metrics.hold_amount(Level::ReplayBytes, by)),
        }
    }

    /// The first piece was read: it goes out with the head.
    pub(super) fn first(&mut self, metrics: &Rc<Metrics>, piece: Option<Segment>) {
        let Some(piece) = piece else { return };
        self.keep(metrics, &piece);
        self.once = self.gone.then_some(piece);
    }

    /// What goes out with the head of the next attempt.
    pub(super) fn unsent(&self) -> &[u8] {
        self.once.as_deref().unwrap_or(&self.bytes)
    }

    /// The head is out.
    pub(super) fn head_sent(&mut self) {
        self.once = None;
    }

    /// Nothing more is kept.
    fn let_go(&mut self) {
        self.gone = true;
        rt::give_back(std::mem::take(&mut self.bytes));
        self.held = None;
    }

    /// All that was read so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the body can be sent from its beginning.
    pub(super) fn is_whole(&self) -> bool {
        !self.gone
    }

    /// Whether the body has no declared length.
    pub(super) fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Whether not a byte of the body was read.
    pub(super) fn is_untouched(&self) -> bool {
        !self.gone && self.bytes.is_empty()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        rt::give_back(std::mem::take(&mut self.bytes));
    }
}

//! Limits of a connection beyond those of its HTTP/2.

use std::cell::Cell;
use std::time::Duration;

/// What the connections of one kind have in common.
#[derive(Debug)]
pub(crate) struct LinkLimits {
    /// Streams that this end has open at once, whatever the peer allows.
    pub(crate) streams: usize,
    /// How long the last bytes of a connection may take.
    pub(crate) close: Duration,
    /// Bytes of one received gRPC message. It follows the configuration, for open connections too.
    pub(crate) max_message: Cell<usize>,
}

//! Scripts: what a client or an app does on its connection, step by step.

use std::time::Duration;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes.
    Bytes(Vec<u8>),
    /// Wait this long.
    Wait(Duration),
    /// Wait for a 1xx head, at most two seconds (client).
    AwaitInterim,
    /// Wait for a whole response (client).
    AwaitResponse,
    /// End the script.
    End(End),
}

/// How a script ends; a script without an end leaves the connection open for what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN of the own direction, then listen on.
    HalfClose,
    /// Close.
    Close,
    /// RST.
    Reset,
    /// Say nothing more until the other side closes (app).
    Hold,
}

impl Step {
    /// Bytes of a text.
    pub fn text(text: &str) -> Step {
        Step::Bytes(text.as_bytes().to_vec())
    }

    /// A wait in milliseconds.
    pub fn wait_ms(ms: u64) -> Step {
        Step::Wait(Duration::from_millis(ms))
    }
}

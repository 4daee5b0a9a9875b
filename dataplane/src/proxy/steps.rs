//! The seven steps of one call, as lines in the log: `--trace-steps`.
//!
//! `step=3 name=connected call=7 side=caller t_us=412 at_us=1700000000123456 detail=10.0.0.7:50002`: `t_us` counts from the
//! call's first step in this process, `at_us` is wall-clock time, so that lines of two sidecars can be ordered.

use crate::log;
use crate::rt::Tick;
use crate::shard::Shard;
use std::fmt::{self, Display, Formatter};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// `scope` of step lines.
pub(crate) const SCOPE: &str = "outrigger.steps";

/// A step of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The caller's sidecar has the client's request.
    Received = 1,
    /// It knows where the app is.
    Resolved = 2,
    /// It has a connection to that sidecar; with mTLS, both have proven who they are.
    Connected = 3,
    /// The request is on its way.
    Sent = 4,
    /// The callee's sidecar lets the call pass.
    Allowed = 5,
    /// The app has answered.
    Answered = 6,
    /// The caller's client has the answer.
    Delivered = 7,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Received => "received",
            Step::Resolved => "resolved",
            Step::Connected => "connected",
            Step::Sent => "sent",
            Step::Allowed => "allowed",
            Step::Answered => "answered",
            Step::Delivered => "delivered",
        }
    }
}

/// Time since a moment in microseconds, read only where a line is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(pub(crate) Tick);

impl Display for Since {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        (Tick::read() - self.0).as_micros().fmt(f)
    }
}

/// The step lines of one call; nothing while they are off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps(Option<On>);

#[derive(Clone, Copy, Debug)]
struct On {
    call: u64,
    side: &'static str,
    began: Instant,
}

impl Steps {
    /// The lines of a call that begins now.
    pub(crate) fn begin(shard: &Shard, side: &'static str) -> Steps {
        Steps(shard.trace_steps.then(|| On { call: shard.next_call(), side, began: Instant::now() }))
    }

    /// A step is done.
    pub(crate) fn done(&self, step: Step, detail: impl Display) {
        if let Some(on) = &self.0 {
            on.line(step, detail);
        }
    }
}

impl On {
    #[cold]
    fn line(&self, step: Step, detail: impl Display) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let t = self.began.elapsed().as_micros();
        log::info(
            SCOPE,
            format_args!(
                "step={} name={} call={} side={} t_us={t} at_us={at} detail={detail}",
                step as u8,
                step.name(),
                self.call,
                self.side
            ),
        );
    }
}

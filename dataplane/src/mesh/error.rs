//! Why a call cannot go on, and what that says about the peer.

use proto::grpc::status::Code;
use proto::http2::{Code as Http2Code, Failure, Violation};
use std::fmt;

/// Why a call cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The peer provably did nothing: it refused the stream, said so by GOAWAY, or never got it. Safe to repeat.
    Unprocessed {
        /// Which of these.
        why: &'static str,
    },
    /// The connection ended; the peer may have acted.
    Lost {
        /// What ended it.
        why: String,
    },
    /// The peer reset the call; it may have acted.
    Reset {
        /// HTTP/2 error code.
        code: u32,
    },
    /// The deadline given to the operation came. The call can go on.
    Deadline,
    /// The peer's message is larger than the limit; the call was reset.
    TooLarge {
        /// Its length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A message of this call cannot travel: the peer's is compressed or no gRPC message and the call was reset, or our
    /// metadata is too large for the peer.
    Message {
        /// The status the call ends with.
        status: Code,
        /// What is wrong.
        text: String,
    },
    /// The peer broke HTTP/2 on this call, which was reset.
    Protocol(Violation),
    /// The peer has ended the call and takes nothing more: its end comes from `next`.
    Finished,
}

impl CallError {
    pub(super) fn of(failure: Failure, lost: impl FnOnce() -> String) -> CallError {
        match failure {
            Failure::Reset(code) => CallError::Reset { code: code.0 },
            Failure::Unprocessed => CallError::Unprocessed { why: "the peer did not take the stream" },
            Failure::Lost => CallError::Lost { why: lost() },
            Failure::Violated(violation) => CallError::Protocol(violation),
        }
    }

    /// Whether the peer may have acted upon the call.
    pub fn may_have_acted(&self) -> bool {
        !matches!(self, CallError::Unprocessed { .. })
    }

    /// The gRPC status that stands for it, as grpc-go has it.
    pub fn status(&self) -> Code {
        match self {
            CallError::Unprocessed { .. } | CallError::Lost { .. } => Code::UNAVAILABLE,
            CallError::Reset { code } => Code::of_reset(*code),
            CallError::Deadline => Code::DEADLINE_EXCEEDED,
            CallError::TooLarge { .. } => Code::RESOURCE_EXHAUSTED,
            CallError::Message { status, .. } => *status,
            CallError::Protocol(_) | CallError::Finished => Code::INTERNAL,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Unprocessed { why } => f.write_str(why),
            CallError::Lost { why } => f.write_str(why),
            CallError::Reset { code } => {
                write!(f, "stream terminated by RST_STREAM with error code: {}", Http2Code(*code))
            }
            CallError::Deadline => f.write_str("context deadline exceeded"),
            CallError::TooLarge { length, limit } => {
                write!(f, "grpc: received message larger than max ({length} vs. {limit})")
            }
            CallError::Message { text, .. } => f.write_str(text),
            CallError::Protocol(violation) => violation.fmt(f),
            CallError::Finished => f.write_str("the peer has ended the call"),
        }
    }
}

impl std::error::Error for CallError {}

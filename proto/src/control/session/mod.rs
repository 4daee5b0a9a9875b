//! Both ends of a connection as state machines without sockets: [`Subscriber`] is the data plane's, [`Publisher`] control's.

mod publisher;
mod subscriber;

pub use publisher::{Event, MAX_PART, MAX_UNANSWERED, Peer, Publisher};
pub use subscriber::{About, Candidate, Heard, Subscriber};

use core::fmt;

#[cfg(test)]
mod tests;

/// A peer that does not keep the protocol. The connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// A message before Hello, or without a connection.
    NotGreeted,
    /// A second Hello.
    GreetedTwice,
    /// No protocol version that both ends speak.
    Protocol {
        /// The peer's lowest.
        min: u32,
        /// The peer's highest.
        max: u32,
    },
    /// An answer to a snapshot that was not sent, or out of order.
    Unasked {
        /// The version it names.
        version: u64,
    },
    /// A snapshot while the one before was neither accepted nor refused.
    Unsettled,
    /// A message without what makes it one.
    Malformed(Vec<String>),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::NotGreeted => f.write_str("the first message is not Hello"),
            SessionError::GreetedTwice => f.write_str("a second Hello"),
            SessionError::Protocol { min, max } => {
                write!(f, "the peer speaks protocol {min} to {max}, this end 1 to {}", super::PROTOCOL)
            }
            SessionError::Unasked { version } => {
                write!(f, "an answer to snapshot {version}, which does not wait for one")
            }
            SessionError::Unsettled => f.write_str("a snapshot before the last one was settled"),
            SessionError::Malformed(reasons) => f.write_str(&reasons.join("; ")),
        }
    }
}

impl std::error::Error for SessionError {}

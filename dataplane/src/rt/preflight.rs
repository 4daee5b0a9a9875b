//! Which backend this machine allows.

use std::fmt;
use std::io;

/// What the shards run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring: the kernel completes operations.
    Completion,
    /// epoll: the kernel says what is ready, and the operations are made one by one.
    Readiness {
        /// Why not io_uring, and what would help; one line.
        reason: String,
    },
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Backend::Completion => f.write_str("completion (io_uring)"),
            Backend::Readiness { reason } => write!(f, "readiness (epoll): {reason}"),
        }
    }
}

/// What the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// Completion where it works, readiness elsewhere.
    #[default]
    Auto,
    /// Completion or an error.
    Completion,
    /// Readiness.
    Readiness,
}

impl std::str::FromStr for BackendChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<BackendChoice, String> {
        match text {
            "auto" => Ok(BackendChoice::Auto),
            "completion" => Ok(BackendChoice::Completion),
            "readiness" => Ok(BackendChoice::Readiness),
            _ => Err(format!("backend is auto, completion or readiness, not {text:?}")),
        }
    }
}

/// Decides on the backend.
///
/// # Errors
/// That completion was asked for and does not work here, with the reason and the remedy.
pub fn preflight(choice: BackendChoice) -> io::Result<Backend> {
    match choice {
        BackendChoice::Readiness => Ok(Backend::Readiness { reason: "asked for".into() }),
        BackendChoice::Auto => {
            Ok(probe().map_or_else(|reason| Backend::Readiness { reason }, |()| Backend::Completion))
        }
        BackendChoice::Completion => probe().map(|()| Backend::Completion).map_err(io::Error::other),
    }
}

fn probe() -> Result<(), String> {
    Err("the completion backend is not part of this build".into())
}

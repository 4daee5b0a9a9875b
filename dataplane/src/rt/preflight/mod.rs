//! Which backend this machine allows: decided by what the kernel does, not by its version, and before the executor of
//! the completion backend is touched, which panics where io_uring is refused.

mod probe;

use std::fmt;
use std::io;
use std::sync::OnceLock;

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

/// Decides on the backend. The first call takes some milliseconds; what it found holds for the process.
///
/// # Errors
/// That completion was asked for and does not work here, with the reason and the remedy.
pub fn preflight(choice: BackendChoice) -> io::Result<Backend> {
    static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
    if choice == BackendChoice::Readiness {
        return Ok(Backend::Readiness { reason: "asked for".into() });
    }
    match (FOUND.get_or_init(probe::probe), choice) {
        (Ok(()), _) => Ok(Backend::Completion),
        (Err(reason), BackendChoice::Auto) => Ok(Backend::Readiness { reason: reason.clone() }),
        (Err(reason), _) => Err(io::Error::new(io::ErrorKind::Unsupported, reason.as_str())),
    }
}

//! Command-line errors: clap's own text, to the right stream, with the right exit code.

use clap::error::{Error, ErrorKind};

/// Prints help to standard output and errors to standard error (colour only on a terminal); returns the exit code:
/// 0 for help, 2 for everything that was not understood.
pub(super) fn print(error: &Error) -> i32 {
    if let Err(broken) = error.print() {
        eprintln!("error: {broken}");
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        _ => 2,
    }
}

//! Two apps and two sidecars on one machine, and the call between them step by step.

use crate::cli::DemoArgs;

/// Runs the demonstration; returns the exit code.
pub fn run(_arguments: &DemoArgs) -> i32 {
    crate::cli::complain("the demonstration is not complete yet")
}

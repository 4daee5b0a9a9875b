//! `check`: what `run` would say about these files, without starting anything.

use super::CheckArgs;
use crate::configuration::{self, Gravity};

/// Prints every finding; 0 without mistakes, 1 with.
pub(super) fn run(arguments: &CheckArgs) -> i32 {
    let problems = configuration::check(&arguments.paths).problems;
    for problem in &problems {
        let word = if problem.gravity == Gravity::Note { "note" } else { "error" };
        println!("{word}: {problem}");
    }
    let mistakes = problems.iter().filter(|p| p.gravity > Gravity::Note).count();
    if mistakes == 0 {
        println!("ok: {} checked", arguments.paths.len());
        return 0;
    }
    println!("{mistakes} to correct");
    1
}

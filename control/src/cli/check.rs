//! `check`: what `run` would say about these files, without starting anything.

use super::paint::Paint;
use super::{CheckArgs, out};
use crate::configuration::{self, Gravity};

/// Prints every finding; 0 without mistakes, 1 with.
pub(super) fn run(arguments: &CheckArgs) -> i32 {
    let problems = configuration::check(&arguments.paths).problems;
    let paint = Paint::for_stdout();
    let mut text = String::new();
    for problem in &problems {
        let word = if problem.gravity == Gravity::Note { paint.yellow("note") } else { paint.red("error") };
        text.push_str(&format!("{word}: {problem}\n"));
    }
    let mistakes = problems.iter().filter(|p| p.gravity > Gravity::Note).count();
    text.push_str(&match mistakes {
        0 => paint.green("ok: nothing here would stop `outrigger run`\n"),
        1 => "1 mistake\n".to_owned(),
        n => format!("{n} mistakes\n"),
    });
    let written = out(&text);
    if mistakes == 0 { written } else { 1 }
}

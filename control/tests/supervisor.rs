//! The supervisor with real processes. This program plays them all: started by the tests it is `outrigger`, started by the
//! supervisor it is a stand-in for control or the data plane that does what the variable `FAKE` says.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "supervisor/cases.rs"]
mod cases;
#[path = "supervisor/fake.rs"]
mod fake;

use rig::harness::{self, Group, Outcome};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1).unwrap_or_default();
    let code = match verb.as_str() {
        "run" | "daprd" | "keep" => control::cli::perform(control::cli::parse(std::env::args_os())),
        "control" => fake::control(),
        "dataplane" => fake::data_plane(),
        _ => {
            let groups = cases::ALL.iter().map(|(name, case)| Box::new(Case(name, *case)) as Box<dyn Group>);
            return harness::run(groups.collect(), 4);
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// One case; a process that it starts dies with its thread.
struct Case(&'static str, fn());

impl Group for Case {
    fn cases(&self) -> Vec<String> {
        vec![self.0.to_owned()]
    }

    fn run(self: Box<Self>, _chosen: &[String], tell: &mut dyn FnMut(&str, Outcome)) {
        let outcome = match catch_unwind(AssertUnwindSafe(self.1)) {
            Ok(()) => Outcome::Passed,
            Err(panic) => Outcome::Failed(harness::message(panic.as_ref())),
        };
        tell(self.0, outcome);
    }
}

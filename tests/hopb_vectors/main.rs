//! Every recorded case of the hop between sidecars (`tests/vectors/hopb`) against a real sidecar in either role: a raw
//! gRPC caller and a scripted app before and behind it as the callee, an HTTP client and a scripted gRPC callee around it
//! as the caller.
//!
//! Each arrangement runs in a network namespace of its own, with the recorded ports, addresses and host name.
//! `OUTRIGGER_VECTORS` says who plays the sidecar: `outrigger` (default) or `daprd` (the real one, to check this runner).

// Test code: a failed assumption is a failed case, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod app;
mod called;
mod calls;
mod case;
mod scripts;

use case::Case;
use rig::harness::{self, Group, Outcome, message};
use rig::{Program, netns, program};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// Arrangements at once.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    if let Err(why) = netns::become_root_inside() {
        eprintln!(
            "SKIPPED the vectors of the hop between sidecars: no right to make network namespaces ({why})"
        );
        return ExitCode::SUCCESS;
    }
    let player = match std::env::var("OUTRIGGER_VECTORS").as_deref() {
        Err(_) | Ok("outrigger") => Some(rig::outrigger!()),
        Ok("daprd") => Program::daprd(),
        Ok(other) => panic!("OUTRIGGER_VECTORS names outrigger or daprd here, not {other}"),
    };
    let Some(player) = player else {
        program::skipped_without_peers("the vectors of the hop between sidecars");
        return ExitCode::SUCCESS;
    };
    let mut groups: Vec<Box<dyn Group>> = Vec::new();
    let (callee, caller) = (case::load("callee.jsonl"), case::load("caller.jsonl"));
    let apart = ["no-app-port/", "app-down/", "unhealthy/", "h2c-app/"];
    for name in apart.into_iter().chain([""]) {
        groups.push(of(&player, &callee, "callee/", name, &apart));
    }
    for name in ["retry/", "setting/", "fallback/", ""] {
        groups.push(of(&player, &caller, "caller/", name, &["retry/", "setting/", "fallback/"]));
    }
    harness::run(groups, AT_ONCE)
}

/// The cases of one family, or (family "") all that are in none of `families`.
fn of(player: &Program, all: &[Case], role: &str, family: &str, families: &[&str]) -> Box<dyn Group> {
    let within = |case: &&Case| {
        let name = case.name.strip_prefix(role).unwrap_or_default();
        if family.is_empty() {
            !families.iter().any(|f| name.starts_with(f))
        } else {
            name.starts_with(family)
        }
    };
    Box::new(Arrangement {
        player: player.clone(),
        is_called: role == "callee/",
        family: family.to_owned(),
        cases: all.iter().filter(within).cloned().collect(),
    })
}

/// Cases that share a sidecar.
struct Arrangement {
    player: Program,
    is_called: bool,
    family: String,
    cases: Vec<Case>,
}

/// Plays a case and says what differs.
type Play<'a> = Box<dyn FnMut(&Case) -> Vec<String> + 'a>;

impl Group for Arrangement {
    fn cases(&self) -> Vec<String> {
        self.cases.iter().map(|c| c.name.clone()).collect()
    }

    fn run(self: Box<Self>, chosen: &[String], tell: &mut dyn FnMut(&str, Outcome)) {
        let mut cases = Vec::new();
        for case in self.cases.iter().filter(|c| chosen.contains(&c.name)) {
            match case.later(self.player.is_ours()) {
                Some(why) => tell(&case.name, Outcome::Ignored(why)),
                None => cases.push(case.as_expected(self.player.is_ours())),
            }
        }
        if cases.is_empty() {
            return;
        }
        let mut play: Play<'_> = if self.is_called {
            let mut stage = called::Stage::open(&self.player, &self.family);
            Box::new(move |case| stage.play(case))
        } else {
            let mut stage = calls::Stage::open(&self.player);
            Box::new(move |case| stage.play(case))
        };
        for case in cases {
            let outcome = match catch_unwind(AssertUnwindSafe(|| play(&case))) {
                Ok(differences) if differences.is_empty() => Outcome::Passed,
                Ok(differences) => Outcome::Failed(differences.join("\n")),
                Err(panic) => Outcome::Failed(message(panic.as_ref())),
            };
            tell(&case.name, outcome);
        }
    }
}

//! Outrigger and the real daprd call each other, both ways, without and with mTLS under one issuer.
//!
//! Each pair runs in a network namespace of its own and finds its callee by mDNS, so a green run also shows that the real
//! daprd resolves us and we resolve it. HTTP pipelines are compared with those of two real daprds. The issuer files are made by the real sentry, which serves daprd; Outrigger
//! issues its own leaf from the same files. Skips loudly where `OUTRIGGER_PEERS` does not lead to the real peers.

// Test code: a failed assumption is a failed case, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cases;
mod pair;
mod pipelines;

use cases::{Case, EVERYWHERE, UNDER_MTLS};
use pair::{Pair, Peers};
use rig::harness::{self, Group, Outcome, message};
use rig::{Program, netns, program};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// Pairs at once.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    if let Err(why) = netns::become_root_inside() {
        eprintln!("SKIPPED interoperability: no right to make network namespaces ({why})");
        return ExitCode::SUCCESS;
    }
    let (Some(daprd), Some(sentry)) = (Program::daprd(), program::sentry()) else {
        program::skipped_without_peers("interoperability");
        return ExitCode::SUCCESS;
    };
    let ours = rig::outrigger!();
    let mut groups: Vec<Box<dyn Group>> = Vec::new();
    for (direction, caller, callee) in
        [("outrigger-daprd", &ours, &daprd), ("daprd-outrigger", &daprd, &ours)]
    {
        for mtls in [false, true] {
            let peers =
                Peers { caller: caller.clone(), callee: callee.clone(), sentry: sentry.clone(), mtls };
            let kind = if mtls { "mtls" } else { "plaintext" };
            groups.push(Box::new(PairGroup { prefix: format!("{direction}/{kind}/"), peers }));
        }
    }
    groups.push(Box::new(pipelines::Pipelines { ours, daprd }));
    harness::run(groups, AT_ONCE)
}

/// The cases of one direction and one kind of transport.
struct PairGroup {
    prefix: String,
    peers: Peers,
}

impl PairGroup {
    fn all(&self) -> impl Iterator<Item = &'static Case> {
        let more: &[Case] = if self.peers.mtls { &UNDER_MTLS } else { &[] };
        EVERYWHERE.iter().chain(more)
    }
}

impl Group for PairGroup {
    fn cases(&self) -> Vec<String> {
        self.all().map(|(name, _)| format!("{}{name}", self.prefix)).collect()
    }

    fn run(self: Box<Self>, chosen: &[String], tell: &mut dyn FnMut(&str, Outcome)) {
        let pair = Pair::open(&self.peers);
        for (name, case) in self.all() {
            let full = format!("{}{name}", self.prefix);
            if !chosen.contains(&full) {
                continue;
            }
            pair.app.script(Vec::new());
            let outcome = match catch_unwind(AssertUnwindSafe(|| case(&pair))) {
                Ok(()) => Outcome::Passed,
                Err(panic) => Outcome::Failed(format!("{}\n{}", message(panic.as_ref()), pair.logs())),
            };
            tell(&full, outcome);
        }
    }
}

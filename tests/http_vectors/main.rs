//! Every recorded HTTP case (`tests/vectors/http`) against real sidecars in the recorded arrangement.
//!
//! Each topology gets a network namespace of its own, so that names are found by mDNS as they were when recorded and
//! topologies run beside each other. `OUTRIGGER_VECTORS` says who plays the sidecars, a list of `outrigger`, `daprd` (the
//! real one, to check this runner), `outrigger-daprd` and `daprd-outrigger` (caller, callee); default: all but `daprd`.

// Test code: a failed assumption is a failed case, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod exceptions;
mod group;
mod observed;
mod players;
mod stage;

use group::TopologyGroup;
use rig::harness::{self, Group};
use rig::{netns, vectors};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Topologies at once; most of a run is waiting.
const AT_ONCE: usize = 8;
/// Cases of one topology on one set of processes; a larger topology is split.
const CASES_A_SET: usize = 110;

fn main() -> ExitCode {
    if let Err(why) = netns::become_root_inside() {
        eprintln!("SKIPPED all HTTP vectors: no right to make network namespaces ({why})");
        return ExitCode::SUCCESS;
    }
    let mut by_topology: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for case in vectors::http::cases() {
        by_topology.entry(case.topology.clone()).or_default().push(case);
    }
    let topologies = vectors::http::topologies();
    let mut groups: Vec<Box<dyn Group>> = Vec::new();
    for players in players::chosen() {
        for (name, cases) in &by_topology {
            let topology = &topologies[name];
            if players.are_mixed() && topology.daprds.len() < 2 {
                continue;
            }
            for part in group::in_order(cases.clone()).chunks(CASES_A_SET) {
                groups.push(Box::new(TopologyGroup::new(topology, part.to_vec(), players.clone())));
            }
        }
    }
    // The longest first, so that they do not run alone at the end.
    groups.sort_by_key(|g| std::cmp::Reverse(g.cases().len()));
    harness::run(groups, AT_ONCE)
}

//! The budgets of `bench/budgets.json`: a change that costs more than they allow fails here.

use crate::compare::{self, Column, Plan, Results, ratio};
use crate::report;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// The file. A budget is widened only with a written reason, in `why`.
#[derive(Debug, Deserialize)]
struct Budgets {
    /// By scenario.
    scenarios: Vec<Budget>,
    /// PSS of all processes of one idle sidecar, MB.
    idle_pss_mb: f64,
    /// From start to ready, ms.
    ready_ms: f64,
    #[expect(dead_code, reason = "for people")]
    why: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Budget {
    scenario: String,
    /// CPU a request of both sidecars, as a ratio to the HAProxy pair.
    cpu_ratio: Option<f64>,
    /// System calls a request, of each sidecar.
    system_calls: Option<f64>,
}

/// Measures and compares with the file. What is missed must be missed in a second run as well: the machine may have been at something
/// else for the whole of the first.
pub(crate) fn check(quick: bool) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("budgets.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let budgets: Budgets = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut missed = measure(&budgets, quick)?;
    if !missed.is_empty() {
        println!("missed, measured again:\n{}", lines(&missed));
        let again = measure(&budgets, quick)?;
        missed.retain(|(what, ..)| again.iter().any(|(other, ..)| other == what));
    }
    if missed.is_empty() {
        println!("every budget is kept");
        return Ok(());
    }
    Err(format!("{} of the budgets in {} missed twice:\n{}", missed.len(), path.display(), lines(&missed)))
}

/// A budget's name, what was measured, what it allows.
type Missed = (String, f64, f64);

fn lines(missed: &[Missed]) -> String {
    let line = |(what, is, most): &Missed| format!("  {what}: {is:.2}, budget {most:.2}");
    missed.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn measure(budgets: &Budgets, quick: bool) -> Result<Vec<Missed>, String> {
    let (rounds, length) = if quick { (5, Duration::from_millis(1000)) } else { (7, Duration::from_secs(3)) };
    let results = compare::run(&Plan {
        rounds,
        length,
        pinned: true,
        latency: false,
        bodies: false,
        unix_app: false,
        daprd: false,
        also: None,
        only: String::new(),
    })?;
    println!("{}", report::text(&results));
    missed(budgets, &results)
}

fn missed(budgets: &Budgets, results: &Results) -> Result<Vec<Missed>, String> {
    let column = |name| results.column(name).ok_or(format!("no {name} pair was measured"));
    let (ours, base) = (column("outrigger")?, column("haproxy")?);
    let mut missed = Vec::new();
    let mut hold = |what: String, is: f64, most: f64| {
        if is > most {
            missed.push((what, is, most));
        }
    };
    for budget in &budgets.scenarios {
        let (cell, base) = (cell(ours, &budget.scenario)?, cell(base, &budget.scenario)?);
        if let Some(most) = budget.cpu_ratio {
            hold(format!("CPU ratio to HAProxy, {}", budget.scenario), ratio(cell, base).0, most);
        }
        if let (Some(most), Some(counted)) = (budget.system_calls, &cell.counted) {
            let (caller, callee) = counted.system_calls();
            hold(
                format!("system calls a request of a sidecar, {}", budget.scenario),
                caller.max(callee),
                most,
            );
        }
    }
    hold("PSS of an idle sidecar, MB".to_owned(), ours.idle.pss_kib as f64 / 1024.0, budgets.idle_pss_mb);
    hold("ready, ms".to_owned(), ours.ready_ms, budgets.ready_ms);
    Ok(missed)
}

fn cell<'a>(column: &'a Column, scenario: &str) -> Result<&'a compare::Cell, String> {
    column
        .cells
        .iter()
        .find(|c| c.scenario.name == scenario)
        .ok_or(format!("no scenario is called '{scenario}'"))
}

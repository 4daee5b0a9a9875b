//! The comparison as text: ratios to HAProxy in front, then what they are made of.

use crate::compare::{Cell, Column, Counted, Results, median, ratio};
use crate::load::Outcome;
use std::fmt::Write;

/// The whole report.
pub(crate) fn text(results: &Results) -> String {
    let mut out = String::new();
    let place = if results.pinned { "everything on one core" } else { "unpinned" };
    // writing into a String does not fail
    let _ = writeln!(out, "{}; {place}\n", results.machine);
    if let Some(base) = results.column("haproxy") {
        ratios(&mut out, results, base);
    }
    if let (Some(base), Some(_)) = (results.column("outrigger"), results.column("also")) {
        ratios(&mut out, results, base);
    }
    costs(&mut out, results);
    memory(&mut out, results);
    out
}

fn header(out: &mut String, title: &str, columns: &[Column]) {
    let _ = write!(out, "{title:<26}");
    for column in columns {
        let _ = write!(out, "{:>24}", column.name);
    }
    out.push('\n');
}

fn row(out: &mut String, name: &str, columns: &[Column], cell: impl Fn(&Column) -> String) {
    let _ = write!(out, "{name:<26}");
    for column in columns {
        let _ = write!(out, "{:>24}", cell(column));
    }
    out.push('\n');
}

/// One row a scenario; `value` says what stands in a cell.
fn table(out: &mut String, title: &str, columns: &[Column], value: impl Fn(usize, &Cell) -> String) {
    header(out, title, columns);
    let scenarios = columns.first().map(|c| c.cells.as_slice()).unwrap_or_default();
    for (at, first) in scenarios.iter().enumerate() {
        row(out, first.scenario.name, columns, |c| {
            c.cells.get(at).map(|cell| value(at, cell)).unwrap_or_default()
        });
    }
    out.push('\n');
}

fn ratios(out: &mut String, results: &Results, base: &Column) {
    table(out, &format!("CPU a request / {}", base.name), &results.columns, |at, cell| {
        let (middle, low, high) = base.cells.get(at).map_or((0.0, 0.0, 0.0), |base| ratio(cell, base));
        format!("{middle:.2} [{low:.2}-{high:.2}]")
    });
}

fn costs(out: &mut String, results: &Results) {
    table(out, "CPU us (caller+callee)", &results.columns, |_, cell| {
        let of = |f: fn(&crate::compare::Turn) -> f64| median(cell.turns.iter().map(f));
        format!("{:.1} ({:.1}+{:.1})", of(|t| t.cpu_us()), of(|t| t.caller_cpu_us), of(|t| t.callee_cpu_us))
    });
    table(out, "system calls (each)", &results.columns, |_, cell| {
        let counted = cell.counted.as_ref().map(Counted::system_calls);
        counted.map_or("-".to_owned(), |(a, b)| format!("{a:.2} + {b:.2}"))
    });
    let instructions = |cell: &Cell| cell.counted.as_ref().and_then(Counted::instructions);
    if results.columns.iter().any(|c| c.cells.iter().any(|cell| instructions(cell).is_some())) {
        table(out, "instructions, thousands", &results.columns, |_, cell| {
            instructions(cell).map_or("-".to_owned(), |(a, b)| format!("{:.1} + {:.1}", a / 1e3, b / 1e3))
        });
    }
    table(out, "requests per second", &results.columns, |_, cell| {
        format!("{:.0}", median(cell.turns.iter().map(|t| t.load.per_second)))
    });
    if results.direct.iter().all(|d| !d.half_load.is_empty()) {
        latencies(out, results);
    }
}

/// Whoever carries less of the schedule than this is overloaded by it, and its latency is the length of the run.
const KEPT_UP: f64 = 0.95;

/// At half load: what the sidecars add to the app's own latency.
fn latencies(out: &mut String, results: &Results) {
    table(out, "added us p50/p99/p99.9", &results.columns, |at, cell| {
        let alone = results.direct.get(at).map(|d| d.half_load.as_slice()).unwrap_or_default();
        let middle = |all: &[Outcome], of: fn(&Outcome) -> f64| median(all.iter().map(of));
        let carried = |all| middle(all, |o| o.per_second);
        if carried(&cell.half_load) < KEPT_UP * carried(alone) {
            return format!("cannot ({:.0}/s)", carried(&cell.half_load));
        }
        let added = |of| (middle(&cell.half_load, of) - middle(alone, of)).max(0.0);
        format!(
            "{:.0}/{:.0}/{:.0}",
            added(|o| o.p50_us as f64),
            added(|o| o.p99_us as f64),
            added(|o| o.p999_us as f64)
        )
    });
}

fn memory(out: &mut String, results: &Results) {
    let columns = &results.columns;
    let mb = |kib: u64| kib as f64 / 1024.0;
    header(out, "one sidecar (the larger)", columns);
    row(out, "PSS idle, loaded MB", columns, |c| {
        format!("{:.1}, {:.1}", mb(c.idle.pss_kib), mb(c.loaded.pss_kib))
    });
    row(out, "RSS idle, loaded MB", columns, |c| {
        format!("{:.1}, {:.1}", mb(c.idle.rss_kib), mb(c.loaded.rss_kib))
    });
    row(out, "ready after ms", columns, |c| format!("{:.0}", c.ready_ms));
    processes(out, columns);
    let direct: Vec<String> = results.direct.iter().map(|d| format!("{:.0}", d.full.per_second)).collect();
    let _ = writeln!(out, "\nthe app alone, requests per second: {}", direct.join(", "));
}

/// What each process of our pair spends, at 32 connections: control and the supervisor are not on the way of a call.
fn processes(out: &mut String, columns: &[Column]) {
    let ours = columns.iter().find(|c| c.name == "outrigger");
    let Some(cell) = ours.and_then(|c| c.cells.iter().find(|cell| cell.scenario.connections == 32)) else {
        return;
    };
    let Some(last) = cell.turns.last() else { return };
    let each: Vec<String> =
        last.processes.iter().map(|(side, what, us)| format!("{side} {what} {us:.2}")).collect();
    let _ = writeln!(out, "\nCPU us of each process, {}: {}", cell.scenario.name, each.join(", "));
}

//! The comparison as text: ratios to HAProxy in front, then what they are made of.

use crate::compare::{Cell, Column, Results, median, ratio};
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
    table(out, "CPU a request / haproxy", &results.columns, |at, cell| {
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
        cell.system_calls.map_or("-".to_owned(), |(a, b)| format!("{a:.2} + {b:.2}"))
    });
    if results.columns.iter().any(|c| c.cells.iter().any(|cell| cell.instructions.is_some())) {
        table(out, "instructions (both)", &results.columns, |_, cell| {
            cell.instructions.map_or("-".to_owned(), |n| format!("{n:.0}"))
        });
    }
    table(out, "requests per second", &results.columns, |_, cell| {
        format!("{:.0}", median(cell.turns.iter().map(|t| t.load.per_second)))
    });
    if results.columns.iter().all(|c| c.cells.iter().all(|cell| cell.half_load.is_some())) {
        table(out, "half load p50/p99/p99.9 us", &results.columns, |_, cell| {
            cell.half_load
                .as_ref()
                .map_or("-".to_owned(), |l| format!("{}/{}/{}", l.p50_us, l.p99_us, l.p999_us))
        });
    }
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
    let direct: Vec<String> = results.direct.iter().map(|d| format!("{:.0}", d.per_second)).collect();
    let _ = writeln!(out, "\nthe app alone, requests per second: {}", direct.join(", "));
}

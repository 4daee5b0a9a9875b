//! Where a call's time goes: `perf` samples of an Outrigger pair's data planes, each booked on one item.
//!
//! A sample in the kernel is booked by who called it, one of ours by the source file of its innermost inlined function
//! that is not the standard library's. Times are shares of the CPU time that a turn without `perf` took.

mod book;
mod frames;

use crate::compare::{self, Place, Scenario};
use crate::host;
use crate::peers::{self, App, Pair};
use book::{Book, ITEMS};
use frames::Frames;
use rig::Program;
use rig::scratch::Scratch;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Samples a second: enough for a percent, few enough not to disturb.
const RATE: &str = "3000";

/// What was found in one scenario.
struct Account {
    scenario: Scenario,
    /// CPU of both sidecars, microseconds a request, without `perf`.
    cpu_us: f64,
    book: Book,
}

/// Measures and prints the table, as it stands in `bench/README.md`.
pub(crate) fn run(length: Duration) -> Result<(), String> {
    require("perf")?;
    host::pin_to_one_core()?;
    let app = App::start()?;
    let pair = peers::outrigger(&app)?;
    compare::await_call(&pair)?;
    let frames = Frames::of(Program::outrigger(None).path());
    let mut accounts = Vec::new();
    for scenario in compare::SCENARIOS {
        eprintln!("{} …", scenario.name);
        accounts.push(account(&pair, scenario, length, &frames)?);
    }
    println!("{}", table(&accounts));
    accounts.iter().flat_map(|account| &account.book.missing).for_each(|what| eprintln!("MISSING: {what}"));
    Ok(())
}

fn require(program: &str) -> Result<(), String> {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.map(drop).map_err(|error| format!("MISSING: {program} ({error}); without it there is no account"))
}

fn account(pair: &Pair, scenario: Scenario, length: Duration, frames: &Frames) -> Result<Account, String> {
    compare::turn(length / 4, pair, scenario)?; // connections, caches, heaps
    let cpu_us = compare::turn(length, pair, scenario)?.cpu_us();
    let folder = Scratch::new();
    let data = folder.path().join("perf.data");
    let perf = Perf::record(pair, &data)?;
    compare::drive(length, &Place::of(pair, scenario), None)?;
    perf.end()?;
    let text = script(&data)?;
    Ok(Account { scenario, cpu_us, book: Book::of(&text, frames) })
}

/// A recording in progress.
struct Perf(Child);

impl Perf {
    fn record(pair: &Pair, data: &Path) -> Result<Perf, String> {
        let ids: Vec<String> =
            [pair.caller.all(), pair.callee.all()].concat().iter().map(u32::to_string).collect();
        let mut command = Command::new("perf");
        command.args([
            "record",
            "-q",
            "-e",
            "cpu-clock",
            "-F",
            RATE,
            "--call-graph",
            "fp",
            "-p",
            &ids.join(","),
        ]);
        command.arg("-o").arg(data).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("perf: {error}"))?;
        std::thread::sleep(Duration::from_millis(500)); // until it is attached: it does not say when
        match child.try_wait() {
            Ok(None) => Ok(Perf(child)),
            _ => Err("MISSING: perf may not look at the processes (kernel.perf_event_paranoid)".into()),
        }
    }

    fn end(mut self) -> Result<(), String> {
        rig::sidecar::send_signal(i32::try_from(self.0.id()).unwrap_or(0), 2);
        self.0.wait().map(drop).map_err(|error| format!("perf: {error}"))
    }
}

/// The samples as text: a blank line between two, innermost frame first.
fn script(data: &Path) -> Result<String, String> {
    let mut command = Command::new("perf");
    command.args(["script", "-F", "ip,sym,dso", "-i"]).arg(data).stderr(Stdio::null());
    let output = command.output().map_err(|error| format!("perf script: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Rows are items, columns scenarios.
fn table(accounts: &[Account]) -> String {
    let names: Vec<&str> = accounts.iter().map(|account| account.scenario.name).collect();
    let mut lines = vec![format!("| us a call, both sidecars | {} |", names.join(" | "))];
    lines.push(format!("|---|{}", "---|".repeat(names.len())));
    for (at, name) in ITEMS.iter().enumerate() {
        lines.push(row(name, accounts, |account| account.book.share(at)));
    }
    lines.push(row("all", accounts, |_| 1.0));
    lines.join("\n")
}

fn row(name: &str, accounts: &[Account], share: impl Fn(&Account) -> f64) -> String {
    let cell = |account: &Account| {
        let share = share(account);
        format!("{:.2} ({:.0} %)", share * account.cpu_us, share * 100.0)
    };
    format!("| {name} | {} |", accounts.iter().map(cell).collect::<Vec<_>>().join(" | "))
}

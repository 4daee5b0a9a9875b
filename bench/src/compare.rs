//! Pairs in alternating turns within one run, so that what the machine does meanwhile hits all of them alike.

use crate::host::{self, Counter, Counts, Memory};
use crate::load::{self, Outcome};
use crate::peers::{self, App, Pair};
use rig::scratch::Scratch;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// How to compare.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Length of one turn.
    pub(crate) length: Duration,
    /// Everything on one core: sidecars, app and load.
    pub(crate) pinned: bool,
    /// Latency at half load, too.
    pub(crate) latency: bool,
    /// Larger bodies in both directions, too.
    pub(crate) bodies: bool,
    /// An Outrigger pair whose app is on a Unix socket, too.
    pub(crate) unix_app: bool,
    /// The daprd pair, too, where it can be had.
    pub(crate) daprd: bool,
    /// Another Outrigger executable, too.
    pub(crate) also: Option<PathBuf>,
    /// Only scenarios whose name contains this.
    pub(crate) only: String,
}

/// One kind of load.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    /// Bytes of the request's body.
    pub(crate) body: usize,
    pub(crate) connections: usize,
}

const fn scenario(name: &'static str, path: &'static str, body: usize, connections: usize) -> Scenario {
    Scenario { name, path, body, connections }
}

/// The kinds of load that are compared.
pub(crate) const SCENARIOS: [Scenario; 5] = [
    scenario("12 B, 1 connection", "/12", 0, 1),
    scenario("12 B, 32 connections", "/12", 0, 32),
    scenario("12 B, 256 connections", "/12", 0, 256),
    scenario("16 KiB, 32 connections", "/16k", 0, 32),
    scenario("1 MB, 4 connections", "/1m", 0, 4),
];

/// Larger bodies: answers are named by their size alone.
const BODIES: [Scenario; 3] = [
    scenario("64 KiB, 32 connections", "/64k", 0, 32),
    scenario("64 KiB sent, 32 connections", "/sink", 64 << 10, 32),
    scenario("1 MB sent, 4 connections", "/sink", 1_000_000, 4),
];

/// One turn of one pair in one scenario. CPU in microseconds a request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Turn {
    pub(crate) caller_cpu_us: f64,
    pub(crate) callee_cpu_us: f64,
    /// Of each process of both sidecars: `caller` or `callee`, what it is, CPU.
    pub(crate) processes: Vec<(&'static str, String, f64)>,
    pub(crate) load: Outcome,
}

impl Turn {
    pub(crate) fn cpu_us(&self) -> f64 {
        self.caller_cpu_us + self.callee_cpu_us
    }
}

/// One pair in one scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) scenario: Scenario,
    pub(crate) turns: Vec<Turn>,
    /// Of caller and callee; `None` where nothing may count.
    pub(crate) counted: Option<Counted>,
    /// At half of the load that HAProxy carried, by round.
    pub(crate) half_load: Vec<Outcome>,
}

/// What was counted in a short run of its own.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Counted {
    pub(crate) requests: u64,
    pub(crate) caller: Counts,
    pub(crate) callee: Counts,
}

impl Counted {
    fn each(&self, of: u64) -> f64 {
        of as f64 / self.requests.max(1) as f64
    }

    /// System calls a request of caller and callee.
    pub(crate) fn system_calls(&self) -> (f64, f64) {
        (self.each(self.caller.system_calls), self.each(self.callee.system_calls))
    }

    /// Instructions a request of caller and callee, user and kernel together, where the machine counts them.
    pub(crate) fn instructions(&self) -> Option<(f64, f64)> {
        let all = |counts: &Counts| Some(counts.instructions_user? + counts.instructions_kernel?);
        Some((self.each(all(&self.caller)?), self.each(all(&self.callee)?)))
    }
}

/// All of one pair.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) ready_ms: f64,
    /// Of the larger of the two sidecars.
    pub(crate) idle: Memory,
    /// The same after all load.
    pub(crate) loaded: Memory,
    pub(crate) cells: Vec<Cell>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: String,
    pub(crate) pinned: bool,
    pub(crate) columns: Vec<Column>,
    /// The app without any sidecar, by scenario.
    pub(crate) direct: Vec<Direct>,
}

/// The app without any sidecar.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Direct {
    /// As much as it carries.
    pub(crate) full: Outcome,
    /// At half of the load that HAProxy carried, by round: what a sidecar's latency is added to.
    pub(crate) half_load: Vec<Outcome>,
}

impl Results {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// How long the first call through a pair may take.
const FIRST_CALL: Duration = Duration::from_secs(30);

/// Starts the pairs, measures, ends them.
pub(crate) fn run(plan: &Plan) -> Result<Results, String> {
    if plan.pinned {
        host::pin_to_one_core()?;
    }
    let app = App::start()?;
    let mut pairs = vec![peers::haproxy(&app)?, peers::outrigger(&app)?];
    if plan.unix_app {
        pairs.push(peers::outrigger_unix(&app)?);
    }
    if let Some(program) = &plan.also {
        pairs.push(peers::also(&app, program)?);
    }
    match plan.daprd.then(|| peers::daprd(&app)) {
        None => {}
        Some(Some(pair)) => pairs.push(pair?),
        Some(None) => {
            eprintln!("SKIPPED the daprd pair: OUTRIGGER_PEERS names no folder with daprd and sentry")
        }
    }
    pairs.iter().try_for_each(await_call)?;
    let idle: Vec<Memory> = pairs.iter().map(larger).collect();
    let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); pairs.len()];
    let mut direct = Vec::new();
    let bodies = if plan.bodies { &BODIES[..] } else { &[] };
    let wanted = |scenario: &&Scenario| scenario.name.contains(&plan.only);
    for scenario in SCENARIOS.iter().chain(bodies).filter(wanted).copied() {
        eprintln!("{} …", scenario.name);
        let (measured, alone) = measure(plan, &app, &pairs, scenario)?;
        cells.iter_mut().zip(measured).for_each(|(row, cell)| row.push(cell));
        direct.push(alone);
    }
    let columns = pairs.iter().zip(cells).zip(idle).map(|((pair, cells), idle)| Column {
        name: pair.name,
        ready_ms: pair.ready.as_secs_f64() * 1e3,
        idle,
        loaded: larger(pair),
        cells,
    });
    Ok(Results { machine: host::machine(), pinned: plan.pinned, columns: columns.collect(), direct })
}

/// Waits until calls go through: a sidecar may be ready before its name is known to the other.
pub(crate) fn await_call(pair: &Pair) -> Result<(), String> {
    let goes = || rig::http1::client::status(pair.front, &format!("{}/12", pair.prefix)) == Some(200);
    let came = rig::wait::within(FIRST_CALL, || goes().then_some(()));
    came.ok_or_else(|| format!("no call goes through the {} pair within {FIRST_CALL:?}", pair.name))
}

/// Memory of the larger of a pair's sidecars.
fn larger(pair: &Pair) -> Memory {
    let (a, b) = (host::memory(&pair.caller.all()), host::memory(&pair.callee.all()));
    if a.pss_kib > b.pss_kib { a } else { b }
}

fn measure(
    plan: &Plan,
    app: &App,
    pairs: &[Pair],
    scenario: Scenario,
) -> Result<(Vec<Cell>, Direct), String> {
    let cell = |_| Cell { scenario, turns: Vec::new(), counted: None, half_load: Vec::new() };
    let mut cells: Vec<Cell> = pairs.iter().map(cell).collect();
    // a turn that nobody counts: connections, caches, heaps
    for pair in pairs {
        turn(plan.length / 4, pair, scenario)?;
    }
    for round in 0..plan.rounds {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let (Some(pair), Some(cell)) = (pairs.get(at), cells.get_mut(at)) else { continue };
            cell.turns.push(turn(plan.length, pair, scenario)?);
        }
    }
    for (pair, cell) in pairs.iter().zip(&mut cells) {
        cell.counted = count(plan.length, pair, scenario)?;
    }
    let alone = Place { name: "the app", address: app.address, path: scenario.path.to_owned(), scenario };
    let full = drive(plan.length, &alone, None)?;
    let mut direct = Direct { full, half_load: Vec::new() };
    if plan.latency {
        half_load(plan, pairs, &alone, &mut cells, &mut direct)?;
    }
    Ok((cells, direct))
}

/// Turns at half of the load that HAProxy carried, the app alone among them.
fn half_load(
    plan: &Plan,
    pairs: &[Pair],
    alone: &Place<'_>,
    cells: &mut [Cell],
    direct: &mut Direct,
) -> Result<(), String> {
    let Some(base) = cells.first() else { return Ok(()) };
    let (rate, scenario) = (median(base.turns.iter().map(|t| t.load.per_second)) / 2.0, base.scenario);
    for _ in 0..plan.rounds {
        direct.half_load.push(drive(plan.length, alone, Some(rate))?);
        for (pair, cell) in pairs.iter().zip(cells.iter_mut()) {
            let at = Place::of(pair, scenario);
            cell.half_load.push(drive(plan.length, &at, Some(rate))?);
        }
    }
    Ok(())
}

pub(crate) fn turn(length: Duration, pair: &Pair, scenario: Scenario) -> Result<Turn, String> {
    let sides = [("caller", pair.caller.all()), ("callee", pair.callee.all())];
    let before = sides.each_ref().map(|(_, ids)| host::cpu_by_process(ids));
    let load = drive(length, &Place::of(pair, scenario), None)?;
    let mut processes = Vec::new();
    for ((side, _), before) in sides.iter().zip(before) {
        for (id, role, cpu) in before {
            let spent = host::cpu_ns(&[id]).saturating_sub(cpu);
            processes.push((*side, role, spent as f64 / 1e3 / load.requests.max(1) as f64));
        }
    }
    let of = |side| processes.iter().filter(|(s, ..)| *s == side).map(|(.., us)| us).sum();
    Ok(Turn { caller_cpu_us: of("caller"), callee_cpu_us: of("callee"), processes, load })
}

/// Drives a pair, or the app alone.
pub(crate) fn drive(length: Duration, at: &Place<'_>, rate: Option<f64>) -> Result<Outcome, String> {
    let Scenario { body, connections, .. } = at.scenario;
    let (target, path) = (at.address, at.path.clone());
    let outcome = load::run(&load::Plan { target, path, body, connections, rate, length, grpc: None })
        .map_err(|e| format!("{}: {e}", at.name))?;
    let Some(first) = &outcome.first_error else { return Ok(outcome) };
    let what =
        format!("{}: {} of {} calls failed, the first: {first}", at.name, outcome.errors, outcome.requests);
    // an overloaded daprd loses a call now and then; its numbers stand, with this beside them
    if at.name == "daprd" && outcome.errors * 20 < outcome.requests {
        eprintln!("{what}");
        return Ok(outcome);
    }
    Err(what)
}

/// What is driven.
pub(crate) struct Place<'a> {
    name: &'a str,
    address: std::net::SocketAddr,
    path: String,
    scenario: Scenario,
}

impl Place<'_> {
    pub(crate) fn of(pair: &Pair, scenario: Scenario) -> Place<'_> {
        let path = format!("{}{}", pair.prefix, scenario.path);
        Place { name: pair.name, address: pair.front, path, scenario }
    }
}

fn count(length: Duration, pair: &Pair, scenario: Scenario) -> Result<Option<Counted>, String> {
    let folder = Scratch::new();
    let attach = |ids: Vec<u32>, name: &str| Counter::attach(&ids, folder.path().join(name));
    let (Some(caller), Some(callee)) =
        (attach(pair.caller.all(), "caller"), attach(pair.callee.all(), "callee"))
    else {
        eprintln!("SKIPPED counting system calls: neither perf nor strace may look at the processes");
        return Ok(None);
    };
    let load = drive(length, &Place::of(pair, scenario), None)?;
    let (Some(caller), Some(callee)) = (caller.counts(), callee.counts()) else { return Ok(None) };
    Ok(Some(Counted { requests: load.requests, caller, callee }))
}

/// The middle of the values; 0 of none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

/// Ratio of `cell` to `base` in CPU a request, round by round: median, smallest, largest.
pub(crate) fn ratio(cell: &Cell, base: &Cell) -> (f64, f64, f64) {
    let all: Vec<f64> = cell.turns.iter().zip(&base.turns).map(|(a, b)| a.cpu_us() / b.cpu_us()).collect();
    let (low, high) = all.iter().fold((f64::MAX, 0.0_f64), |(l, h), x| (l.min(*x), h.max(*x)));
    (median(all.into_iter()), low, high)
}

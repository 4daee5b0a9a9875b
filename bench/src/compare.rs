//! Pairs in alternating turns within one run, so that what the machine does meanwhile hits all of them alike.

use crate::host::{self, Memory, Strace};
use crate::load::{self, Outcome};
use crate::peers::{self, App, Pair};
use rig::scratch::Scratch;
use serde::Serialize;
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
    /// The daprd pair, too, where it can be had.
    pub(crate) daprd: bool,
}

/// One kind of load.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) connections: usize,
}

/// The kinds of load that are compared.
pub(crate) const SCENARIOS: [Scenario; 5] = [
    Scenario { name: "12 B, 1 connection", path: "/12", connections: 1 },
    Scenario { name: "12 B, 32 connections", path: "/12", connections: 32 },
    Scenario { name: "12 B, 256 connections", path: "/12", connections: 256 },
    Scenario { name: "16 KiB, 32 connections", path: "/16k", connections: 32 },
    Scenario { name: "1 MB, 4 connections", path: "/1m", connections: 4 },
];

/// One turn of one pair in one scenario. CPU in microseconds a request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Turn {
    pub(crate) caller_cpu_us: f64,
    pub(crate) callee_cpu_us: f64,
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
    /// Calls a request of caller and callee; `None` where strace may not count.
    pub(crate) system_calls: Option<(f64, f64)>,
    /// Instructions a request of both sidecars together; `None` where the machine does not count them.
    pub(crate) instructions: Option<f64>,
    /// At half of the load that HAProxy carried.
    pub(crate) half_load: Option<Outcome>,
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
    /// The app without any sidecar.
    pub(crate) direct: Vec<Outcome>,
}

impl Results {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Starts the pairs, measures, ends them.
pub(crate) fn run(plan: &Plan) -> Result<Results, String> {
    if plan.pinned {
        host::pin_to_one_core()?;
    }
    let app = App::start()?;
    let mut pairs = vec![peers::haproxy(&app)?, peers::outrigger(&app)?];
    match plan.daprd.then(|| peers::daprd(&app)) {
        None => {}
        Some(Some(pair)) => pairs.push(pair?),
        Some(None) => {
            eprintln!("SKIPPED the daprd pair: OUTRIGGER_PEERS names no folder with daprd and sentry")
        }
    }
    let idle: Vec<Memory> = pairs.iter().map(larger).collect();
    let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); pairs.len()];
    for scenario in SCENARIOS {
        eprintln!("{} …", scenario.name);
        for (row, cell) in cells.iter_mut().zip(measure(plan, &pairs, scenario)?) {
            row.push(cell);
        }
    }
    let direct = SCENARIOS
        .iter()
        .map(|s| drive(plan.length, app.address, s.path, s.connections, None))
        .collect::<Result<_, _>>()?;
    let columns = pairs.iter().zip(cells).zip(idle).map(|((pair, cells), idle)| Column {
        name: pair.name,
        ready_ms: pair.ready.as_secs_f64() * 1e3,
        idle,
        loaded: larger(pair),
        cells,
    });
    Ok(Results { machine: host::machine(), pinned: plan.pinned, columns: columns.collect(), direct })
}

/// Memory of the larger of a pair's sidecars.
fn larger(pair: &Pair) -> Memory {
    let (a, b) = (host::memory(&pair.caller.all()), host::memory(&pair.callee.all()));
    if a.pss_kib > b.pss_kib { a } else { b }
}

fn measure(plan: &Plan, pairs: &[Pair], scenario: Scenario) -> Result<Vec<Cell>, String> {
    let mut cells: Vec<Cell> = pairs
        .iter()
        .map(|_| Cell {
            scenario,
            turns: Vec::new(),
            system_calls: None,
            instructions: None,
            half_load: None,
        })
        .collect();
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
    let half = cells.first().map(|c| median(c.turns.iter().map(|t| t.load.per_second)) / 2.0);
    for (pair, cell) in pairs.iter().zip(&mut cells) {
        cell.system_calls = system_calls(plan.length, pair, scenario)?;
        cell.instructions = instructions(plan.length, pair, scenario)?;
        if let Some(rate) = half.filter(|_| plan.latency) {
            cell.half_load = Some(drive(
                plan.length,
                pair.front,
                &path(pair, scenario),
                scenario.connections,
                Some(rate),
            )?);
        }
    }
    Ok(cells)
}

fn path(pair: &Pair, scenario: Scenario) -> String {
    format!("{}{}", pair.prefix, scenario.path)
}

fn turn(length: Duration, pair: &Pair, scenario: Scenario) -> Result<Turn, String> {
    let (caller, callee) = (pair.caller.all(), pair.callee.all());
    let before = (host::cpu_ns(&caller), host::cpu_ns(&callee));
    let load = drive(length, pair.front, &path(pair, scenario), scenario.connections, None)?;
    let per_request =
        |after: u64, before: u64| after.saturating_sub(before) as f64 / 1e3 / load.requests.max(1) as f64;
    let caller_cpu_us = per_request(host::cpu_ns(&caller), before.0);
    let callee_cpu_us = per_request(host::cpu_ns(&callee), before.1);
    Ok(Turn { caller_cpu_us, callee_cpu_us, load })
}

fn drive(
    length: Duration,
    target: std::net::SocketAddr,
    path: &str,
    connections: usize,
    rate: Option<f64>,
) -> Result<Outcome, String> {
    let plan = load::Plan { target, path: path.to_owned(), connections, rate, length, grpc: None };
    let outcome = load::run(&plan).map_err(|e| format!("{target}{path}: {e}"))?;
    match &outcome.first_error {
        Some(e) => Err(format!(
            "{target}{path}: {} of {} calls failed, the first: {e}",
            outcome.errors, outcome.requests
        )),
        None => Ok(outcome),
    }
}

fn system_calls(length: Duration, pair: &Pair, scenario: Scenario) -> Result<Option<(f64, f64)>, String> {
    let folder = Scratch::new();
    let attach = |ids: Vec<u32>, name: &str| Strace::attach(&ids, folder.path().join(name));
    let (Some(caller), Some(callee)) =
        (attach(pair.caller.all(), "caller"), attach(pair.callee.all(), "callee"))
    else {
        eprintln!("SKIPPED counting system calls: strace is missing or may not attach");
        return Ok(None);
    };
    let load = drive(length, pair.front, &path(pair, scenario), scenario.connections, None)?;
    let (Some(caller), Some(callee)) = (caller.calls(), callee.calls()) else { return Ok(None) };
    let requests = load.requests.max(1) as f64;
    Ok(Some((caller as f64 / requests, callee as f64 / requests)))
}

/// Nobody is asked twice: a machine that counts none for one pair counts none at all.
fn instructions(length: Duration, pair: &Pair, scenario: Scenario) -> Result<Option<f64>, String> {
    if !host::counts_instructions() {
        return Ok(None);
    }
    let mut ids = pair.caller.all();
    ids.extend(pair.callee.all());
    let Some(counter) = host::Instructions::attach(&ids) else { return Ok(None) };
    let load = drive(length, pair.front, &path(pair, scenario), scenario.connections, None)?;
    Ok(counter.count().map(|n| n as f64 / load.requests.max(1) as f64))
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

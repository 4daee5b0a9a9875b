//! The load generator: keep-alive connections with one request in flight each, closed loop or on a schedule.
//!
//! On a schedule the latency counts from the moment a request was due, not from the moment it could be sent: a stalled server cannot
//! hide its stall by holding back the load (coordinated omission).

use crate::timer::Timer;
use crate::wire::Wire;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// So long after its begin a schedule is not recorded yet: the generator has just worked hard to open everything, and the kernel lets
/// others go first for a while.
const SETTLING: Duration = Duration::from_millis(100);

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) path: String,
    /// Bytes of the request's body; 0 is a GET.
    pub(crate) body: usize,
    pub(crate) connections: usize,
    /// Requests per second in all; `None` is a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) length: Duration,
    /// The message of a gRPC call; `None` is HTTP/1.
    pub(crate) grpc: Option<Vec<u8>>,
}

/// What came of it. Latencies in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {:.0} per second, latency in us: p50 {} p99 {} p99.9 {} max {}",
            self.requests, self.per_second, self.p50_us, self.p99_us, self.p999_us, self.max_us
        )?;
        match &self.first_error {
            Some(e) => write!(f, "\n{} errors, the first: {e}", self.errors),
            None => Ok(()),
        }
    }
}

struct Tally {
    latency: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

impl Tally {
    fn failed(&mut self, why: String) {
        self.errors += 1;
        self.first_error.get_or_insert(why);
    }
}

/// Runs the plan on this thread.
pub(crate) fn run(plan: &Plan) -> io::Result<Outcome> {
    let latency =
        Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|e| io::Error::other(e.to_string()))?;
    let tally = Rc::new(RefCell::new(Tally { latency, errors: 0, first_error: None }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // what opening costs is no part of a schedule
    let local = LocalSet::new();
    let lines = local.block_on(&runtime, open_all(plan))?;
    let begin = Instant::now();
    for (number, line) in lines.into_iter().enumerate() {
        local.spawn_local(connection(plan.clone(), number, begin, line, tally.clone()));
    }
    runtime.block_on(local);
    let settling = if plan.rate.is_some() { SETTLING } else { Duration::ZERO };
    let took = begin.elapsed().saturating_sub(settling).as_secs_f64();
    let tally = tally.borrow();
    let at = |q| tally.latency.value_at_quantile(q);
    Ok(Outcome {
        requests: tally.latency.len(),
        errors: tally.errors,
        first_error: tally.first_error.clone(),
        per_second: tally.latency.len() as f64 / took,
        p50_us: at(0.5),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: tally.latency.max(),
    })
}

/// One connection and its timer.
struct Line {
    /// `None` where it could not be opened: the first call says why.
    wire: Option<Wire>,
    timer: Timer,
}

/// All connections; on a schedule each has carried a call.
async fn open_all(plan: &Plan) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for _ in 0..plan.connections.max(1) {
        let mut line = Line { wire: Wire::open(plan).await.ok(), timer: Timer::new()? };
        if let (Some(opened), Some(_)) = (&mut line.wire, plan.rate) {
            // a call that fails here fails again where it counts
            let _ = opened.call().await;
        }
        lines.push(line);
    }
    Ok(lines)
}

/// The calls of one connection until the plan ends. A connection that fails is opened again.
async fn connection(plan: Plan, number: usize, begin: Instant, mut line: Line, tally: Rc<RefCell<Tally>>) {
    let end = begin + plan.length;
    let mut sent = 0;
    while let Some(due) = next_due(&plan, number, sent, begin).filter(|due| *due < end) {
        if let Err(e) = call(&plan, begin, due, &mut line, &tally).await {
            tally.borrow_mut().failed(e.to_string());
            // whoever is not there is not asked in a circle
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sent += 1;
    }
}

/// One call at its time.
async fn call(
    plan: &Plan,
    begin: Instant,
    due: Instant,
    line: &mut Line,
    tally: &RefCell<Tally>,
) -> io::Result<()> {
    let mut wire = match line.wire.take() {
        Some(open) => open,
        None => Wire::open(plan).await?,
    };
    line.timer.until(due).await?;
    let due = if plan.rate.is_some() { due } else { Instant::now() };
    match wire.call().await? {
        200 if plan.rate.is_some() && due < begin + SETTLING => {}
        200 => record(tally, due),
        status => tally.borrow_mut().failed(format!("status {status}")),
    }
    line.wire = Some(wire);
    Ok(())
}

fn record(tally: &RefCell<Tally>, due: Instant) {
    let us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    tally.borrow_mut().latency.saturating_record(us);
}

/// When this connection's next request is due. Connections take turns on the schedule.
fn next_due(plan: &Plan, number: usize, sent: u32, begin: Instant) -> Option<Instant> {
    let Some(rate) = plan.rate else { return Some(Instant::now()) };
    let place = number as f64 + f64::from(sent) * plan.connections as f64;
    begin.checked_add(Duration::from_secs_f64(place / rate))
}

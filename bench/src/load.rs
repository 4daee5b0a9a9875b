//! The load generator: keep-alive connections with one request in flight each, closed loop or on a schedule.
//!
//! On a schedule the latency counts from the moment a request was due, not from the moment it could be sent: a stalled server cannot
//! hide its stall by holding back the load (coordinated omission).

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

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) path: String,
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
    let begin = Instant::now();
    let local = LocalSet::new();
    for number in 0..plan.connections.max(1) {
        local.spawn_local(connection(plan.clone(), number, begin, tally.clone()));
    }
    runtime.block_on(local);
    let took = begin.elapsed().as_secs_f64();
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

async fn connection(plan: Plan, number: usize, begin: Instant, tally: Rc<RefCell<Tally>>) {
    let end = begin + plan.length;
    let mut sent = 0u32;
    while Instant::now() < end {
        let mut wire = match Wire::open(&plan).await {
            Ok(wire) => wire,
            Err(e) => {
                tally.borrow_mut().failed(format!("connecting: {e}"));
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        while let Some(due) = next_due(&plan, number, sent, begin).filter(|due| *due < end) {
            wait_until(due).await;
            sent += 1;
            let due = if plan.rate.is_some() { due } else { Instant::now() };
            if due >= end {
                return;
            }
            match wire.call().await {
                Ok(200) => record(&tally, due),
                Ok(status) => tally.borrow_mut().failed(format!("status {status}")),
                Err(e) => {
                    tally.borrow_mut().failed(e.to_string());
                    break;
                }
            }
        }
        if next_due(&plan, number, sent, begin).is_none_or(|due| due >= end) {
            return;
        }
    }
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

async fn wait_until(due: Instant) {
    if due > Instant::now() {
        tokio::time::sleep_until(due.into()).await;
    }
}

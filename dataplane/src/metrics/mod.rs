//! What is counted: a registry per shard, written without locks, read by [`Registry::collect`].
//!
//! Each shard owns [`Metrics`] and is the only one to write its cells; the collector reads them while they change.
//! Every request ends in exactly one [`Record`], and most series come from there.

mod families;
mod level;
mod record;
mod series;

pub use level::{Event, Held, Level};
pub use record::Record;

use families::{GROUPS, In};
use proto::control::{Count, Family, Kind, Report, Series};
use proto::policy::pipeline::Refusal;
use proto::time::Tick;
use series::{Rows, Table, bump, families};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// All shards' numbers. The lock is taken when a shard starts and when somebody collects, never by a request.
#[derive(Debug, Default)]
pub struct Registry {
    shards: Mutex<Vec<Arc<ShardSeries>>>,
}

/// The side of a call that a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From the local client towards another app.
    Outbound,
    /// From another sidecar towards the local app.
    Inbound,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Outbound => "outbound",
            Side::Inbound => "inbound",
        }
    }
}

/// The cells of one shard.
#[derive(Debug)]
struct ShardSeries {
    groups: [Arc<Rows>; GROUPS.len()],
    levels: [AtomicU64; Level::ALL.len()],
    /// When the last request began, in microseconds of the shards' clock.
    last_call: AtomicU64,
}

/// One shard's writing end.
#[derive(Debug)]
pub struct Metrics {
    shared: Arc<ShardSeries>,
    tables: [Table; GROUPS.len()],
    /// The shard ends: requests may be cut off without a record.
    ending: Cell<bool>,
}

impl Registry {
    /// The writing end for a new shard.
    pub fn shard(&self) -> Rc<Metrics> {
        let groups = GROUPS.each_ref().map(|group| Arc::new(Rows::new(group)));
        let levels = std::array::from_fn(|_| AtomicU64::new(0));
        let shared = Arc::new(ShardSeries { groups, levels, last_call: AtomicU64::new(0) });
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).push(shared.clone());
        let tables = shared.groups.each_ref().map(|rows| Table::new(rows.clone()));
        Rc::new(Metrics { shared, tables, ending: Cell::new(false) })
    }

    /// Everything counted so far, with `app_id` as label of every series.
    pub fn collect(&self, app_id: &str) -> Report {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut report = Report::default();
        for (i, _) in GROUPS.iter().enumerate() {
            let rows = shards.iter().filter_map(|s| s.groups.get(i)).map(|rows| &**rows);
            report.families.extend(families(rows, app_id).into_iter().filter(|f| !f.series.is_empty()));
        }
        for level in Level::ALL {
            let value = shards.iter().map(|s| s.level(level)).fold(0, u64::wrapping_add);
            let (name, shown) = level.name();
            report.families.push(single(name, &format!("Now: {shown}."), Kind::Gauge, app_id, value));
            report.counts.push(Count { name: shown.into(), value });
        }
        let overflowed = shards.iter().flat_map(|s| &s.groups).map(|rows| rows.overflowed()).sum();
        let help = "Records whose labels were replaced by 'other' because a metric was full.";
        report.families.push(single(
            "outrigger_metrics_overflow_total",
            help,
            Kind::Counter,
            app_id,
            overflowed,
        ));
        report
    }

    /// Requests in flight on all shards.
    pub fn calls(&self) -> usize {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let calls: u64 = shards.iter().map(|s| s.level(Level::Calls)).sum();
        usize::try_from(calls).unwrap_or(usize::MAX)
    }

    /// When the last request began, on any shard.
    pub fn last_call(&self) -> Tick {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        Tick::from_micros(shards.iter().map(|s| s.last_call.load(Relaxed)).max().unwrap_or(0))
    }
}

impl ShardSeries {
    fn level(&self, level: Level) -> u64 {
        self.levels.get(level as usize).map_or(0, |cell| cell.load(Relaxed))
    }
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
fn single(name: &str, help: &str, kind: Kind, app_id: &str, value: u64) -> Family {
    let series = Series { labels: vec![app_id.into()], value: value as f64, buckets: Vec::new() };
    Family {
        name: name.into(),
        help: help.into(),
        kind: kind.into(),
        labels: vec!["app_id".into()],
        bounds: Vec::new(),
        series: vec![series],
    }
}

impl Metrics {
    /// One more of `level`; the returned guard takes it back.
    pub fn hold(self: &Rc<Self>, level: Level) -> Held {
        self.hold_amount(level, 1)
    }

    /// As [`Metrics::hold`], for amounts.
    pub fn hold_amount(self: &Rc<Self>, level: Level, amount: u64) -> Held {
        self.raise(level, amount);
        Held { metrics: self.clone(), level, amount }
    }

    fn raise(&self, level: Level, by: u64) {
        if let Some(cell) = self.shared.levels.get(level as usize) {
            bump(cell, by);
        }
    }

    fn lower(&self, level: Level, by: u64) {
        self.raise(level, by.wrapping_neg());
    }

    /// The level now.
    pub fn level(&self, level: Level) -> u64 {
        self.shared.level(level)
    }

    /// The shard ends now: what is still at work is cut off.
    pub fn ending(&self) {
        self.ending.set(true);
    }

    fn began(&self, side: Side, now: Tick) {
        self.shared.last_call.store(now.as_micros(), Relaxed);
        self.raise(Level::Calls, 1);
        if side == Side::Inbound {
            self.raise(Level::InboundCalls, 1);
        }
    }

    fn ended(&self, side: Side) {
        self.lower(Level::Calls, 1);
        if side == Side::Inbound {
            self.lower(Level::InboundCalls, 1);
        }
    }

    fn table(&self, group: In) -> &Table {
        #[allow(clippy::indexing_slicing, reason = "In has one variant for each table")]
        &self.tables[group as usize]
    }

    fn count(&self, group: In, labels: &[&str], metric: usize) {
        let table = self.table(group);
        table.count(table.row(labels), metric, 1);
    }

    /// Something happened outside of a request.
    pub fn event(&self, event: Event) {
        self.count(In::Own, &[event.name()], 0);
    }

    /// A limit was reached (`outrigger_limits_total`).
    pub fn limit(&self, name: &str) {
        self.count(In::Limits, &[name], 0);
    }

    /// An attempt was sent to another sidecar (`…_req_sent_total`).
    pub fn attempt_sent(&self, app: &str) {
        self.count(In::ReqSent, &[app, "unary"], 0);
    }

    /// A response head came from another sidecar (`…_res_recv_total`, `…_latency_ms`).
    pub fn answered(&self, app: &str, status: u16, ms: f64) {
        let mut digits = [0; 5];
        let status = record::decimal(status, &mut digits);
        self.count(In::ResRecv, &[app, status, "unary"], 0);
        let latency = self.table(In::ResRecvLatency);
        latency.observe(latency.row(&[app, status]), 0, ms);
    }

    /// A call of another sidecar passed access control (`…_req_recv_total`).
    pub fn received(&self, caller: &str) {
        self.count(In::ReqRecv, &[caller], 0);
    }

    /// A further attempt is made, or is not made, and why.
    pub fn retry(&self, why: &'static str) {
        self.count(In::Retries, &[why], 0);
    }

    /// A pipeline refused a request.
    pub fn refused(&self, refusal: Refusal) {
        let why = match refusal {
            Refusal::BadRoute => "route",
            Refusal::TooMany => "rate",
            Refusal::NoKeys => "no_keys",
            Refusal::BadToken(why) => why.name(),
        };
        self.count(In::Refusals, &[why], 0);
    }

    /// A call to the app ended (`dapr_http_client_*`): `path` with leading slash, time to the response head.
    #[allow(clippy::cast_precision_loss, reason = "a histogram of sizes")]
    pub fn app_called(&self, call: AppCall<'_>) {
        let mut digits = [0; 5];
        let status = record::decimal(call.status, &mut digits);
        let verb = record::known_verb(call.verb);
        let client = self.table(In::Client);
        let row = client.row(&[verb, call.path, status]);
        client.count(row, 0, 1);
        client.observe(row, 1, call.ms);
        let sent = self.table(In::ClientSent);
        sent.observe(sent.row(&[verb, call.path, ""]), 0, call.sent as f64);
        let received = self.table(In::ClientReceived);
        received.observe(received.row(&[]), 0, call.received as f64);
    }
}

/// One call to the local app, for [`Metrics::app_called`].
#[derive(Clone, Copy, Debug)]
pub struct AppCall<'a> {
    /// HTTP verb.
    pub verb: &'a str,
    /// Method with a leading slash.
    pub path: &'a str,
    /// The app's status; 500 for a failed call.
    pub status: u16,
    /// Time to the response head in milliseconds.
    pub ms: f64,
    /// Body bytes sent.
    pub sent: u64,
    /// Body bytes received.
    pub received: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(report: &Report, name: &str, labels: &[&str]) -> Option<f64> {
        let family = report.families.iter().find(|f| f.name == name)?;
        family.series.iter().find(|s| s.labels == labels).map(|s| s.value)
    }

    fn request(metrics: &Metrics, status: u16) {
        let mut record = Record::begin(metrics, Side::Outbound, "GET", "/v1.0/healthz", Tick::default());
        record.status = status;
        record.bytes_out = 5;
        record.finish();
    }

    #[test]
    fn a_record_becomes_daprds_server_metrics() {
        let registry = Registry::default();
        let metrics = registry.shard();
        request(&metrics, 204);
        request(&metrics, 204);
        let report = registry.collect("me");
        let labels = ["me", "GET", "/v1.0/healthz", "204"];
        assert_eq!(value(&report, "dapr_http_server_request_count", &labels), Some(2.0));
        assert_eq!(value(&report, "dapr_http_server_response_count", &labels), Some(2.0));
        assert_eq!(value(&report, "dapr_http_server_response_bytes", &["me"]), Some(10.0));
        let latency = report.families.iter().find(|f| f.name == "dapr_http_server_latency").unwrap();
        assert_eq!(latency.series[0].buckets.iter().sum::<u64>(), 2);
        assert_eq!(latency.bounds[0], 0.05, "finer than daprd below 1 ms");
    }

    #[test]
    fn a_failure_is_counted_by_side_phase_and_kind() {
        let registry = Registry::default();
        let metrics = registry.shard();
        let mut record = Record::begin(&metrics, Side::Inbound, "POST", "/pay", Tick::default());
        record.peer_app = "shop";
        record.failure = Some(proto::invoke::failure::Kind::AppUnreachable);
        record.finish();
        let report = registry.collect("me");
        assert_eq!(
            value(&report, "outrigger_failures_total", &["me", "inbound", "connect", "AppUnreachable"]),
            Some(1.0)
        );
        assert_eq!(
            value(&report, "dapr_runtime_service_invocation_res_sent_total", &["me", "shop", "0"]),
            Some(1.0)
        );
    }

    #[test]
    fn calls_in_flight_are_those_without_a_finished_record() {
        let registry = Registry::default();
        let (one, two) = (registry.shard(), registry.shard());
        let record = Record::begin(&one, Side::Outbound, "GET", "/", Tick::from_micros(7));
        request(&two, 200);
        assert_eq!(registry.calls(), 1);
        assert_eq!(registry.last_call(), Tick::from_micros(7));
        record.finish();
        assert_eq!(registry.calls(), 0);
    }

    #[test]
    #[should_panic(expected = "a request ended without its record")]
    #[cfg(debug_assertions)]
    fn a_dropped_record_is_a_bug() {
        let registry = Registry::default();
        drop(Record::begin(&registry.shard(), Side::Outbound, "GET", "/", Tick::default()));
    }

    #[test]
    fn levels_fall_when_their_holder_is_gone() {
        let registry = Registry::default();
        let metrics = registry.shard();
        let mut held = metrics.hold(Level::ReplayBytes);
        held.add(99);
        assert_eq!(metrics.level(Level::ReplayBytes), 100);
        drop(held);
        assert_eq!(metrics.level(Level::ReplayBytes), 0);
    }

    #[test]
    fn unknown_verbs_share_one_label() {
        assert_eq!((record::known_verb("PATCH"), record::known_verb("BREW")), ("PATCH", "UNKNOWN"));
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        let mut digits = [0; 5];
        let written: Vec<String> =
            [0, 7, 99, 100, 204, 999, 1000, 65535].map(|n| record::decimal(n, &mut digits).to_owned()).into();
        assert_eq!(written, ["0", "7", "99", "100", "204", "999", "1000", "65535"]);
    }
}

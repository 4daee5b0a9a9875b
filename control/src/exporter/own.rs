//! Control's own metrics.

use crate::process::{House, Usage};
use proto::control::{Family, Kind, Series};
use proto::snapshot::Snapshot;

fn single(name: &str, help: &str, kind: Kind, label: Option<&str>, value: f64) -> Family {
    let labels: Vec<String> = label.into_iter().map(str::to_owned).collect();
    Family {
        name: name.to_owned(),
        help: help.to_owned(),
        kind: kind.into(),
        labels: labels.iter().map(|_| "app_id".to_owned()).collect(),
        bounds: Vec::new(),
        series: vec![Series { labels, value, buckets: Vec::new() }],
    }
}

/// Control's families. `fresh`: the data plane answered this scrape.
#[allow(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
pub(super) fn families(house: &House, fresh: bool) -> Vec<Family> {
    let picture = house.picture.now();
    let app = Some(house.settings.app_id.as_str());
    let gauge = |name: &str, help: &str, value: f64| single(name, help, Kind::Gauge, app, value);
    let applied = house.planes.newest().map_or(0, |plane| plane.applied);
    let mut all = vec![
        gauge("outrigger_up", "Whether the data plane answered this scrape.", f64::from(u8::from(fresh))),
        gauge(
            "outrigger_snapshot_version",
            "Version of the snapshot that control holds.",
            picture.version as f64,
        ),
        gauge("outrigger_snapshot_applied", "Version of the snapshot in force.", applied as f64),
        gauge("outrigger_names", "Names in the resolution table.", picture.routes.len() as f64),
    ];
    all.extend(expiry(&picture).map(|at| {
        gauge(
            "outrigger_certificate_expiry_seconds",
            "End of the own certificate's validity, Unix seconds.",
            at,
        )
    }));
    all.extend(processes(house));
    all
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
fn expiry(picture: &Snapshot) -> Option<f64> {
    picture.identity.as_ref().map(|material| material.not_after as f64)
}

/// What daprd's Go runtime exports about its one process, summed over ours.
#[allow(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
fn processes(house: &House) -> Vec<Family> {
    let usage: Usage = house.processes().into_iter().filter_map(|(_, id)| Usage::of(id)).sum();
    let one = |name: &str, help: &str, kind: Kind, value: f64| single(name, help, kind, None, value);
    vec![
        one(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            Kind::Counter,
            usage.cpu_seconds,
        ),
        one("process_open_fds", "Number of open file descriptors.", Kind::Gauge, usage.descriptors as f64),
        one(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            Kind::Gauge,
            usage.resident as f64,
        ),
        one(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            Kind::Gauge,
            usage.virtual_size as f64,
        ),
    ]
}

//! Control's side of `status`: the document, made from what control holds and a fresh report.

use super::document::{
    Call, Certificate, DataPlaneStatus, Document, EndpointStatus, IdentityStatus, Latency, PeerRoute,
    Process, SidecarStatus,
};
use crate::channel::{self, Planes};
use crate::cli::VERSION;
use crate::process::{House, Usage, identity_warning};
use crate::settings::{Mode, Protocol, Settings};
use proto::control::{Backend, Family, Report, Series};
use proto::snapshot::{AppRef, IdentityMaterial, Route};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Most who ask at a time; a further one waits.
const MAX_ASKERS: usize = 8;
/// How long an asker may take to read the answer.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Answers whoever connects with one document; never ends.
pub async fn serve(listener: UnixListener, house: Arc<House>) {
    let askers = Arc::new(Semaphore::new(MAX_ASKERS));
    loop {
        let Ok(place) = Arc::clone(&askers).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if channel::is_ours(&stream) => {
                let house = Arc::clone(&house);
                tokio::spawn(async move {
                    // who does not read the answer does without it
                    let _ = timeout(READ_WITHIN, answer(stream, &house)).await;
                    drop(place);
                });
            }
            Ok(_) => {}
            // out of descriptors, most likely: the listener stays readable, so this must not spin
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: UnixStream, house: &House) -> std::io::Result<()> {
    let fresh = house.planes.collect().await;
    let report = fresh.or_else(|| house.planes.last_report()).unwrap_or_default();
    let document = serde_json::to_vec(&document(house, &report))?;
    stream.write_all(&document).await?;
    stream.shutdown().await
}

fn document(house: &House, report: &Report) -> Document {
    let picture = house.picture.now();
    let troubles = house.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let standing = house.standing.as_ref().and_then(|standing| identity_warning(&standing.borrow()));
    let told = house.settings.warnings.iter().chain(&troubles).chain(&report.warnings).cloned();
    Document {
        sidecar: sidecar(house),
        processes: house.processes().into_iter().map(process).collect(),
        data_plane: data_plane(&house.planes, picture.version),
        identity: picture.identity.as_deref().map(identity),
        resolution: resolution(house),
        routes: picture.routes.iter().map(|(app, route)| peer_route(house, report, app, route)).collect(),
        calls: vec![outbound(report), inbound(report)],
        counts: counts(report),
        warnings: standing.into_iter().chain(house.keys.warnings()).chain(told).collect(),
    }
}

fn sidecar(house: &House) -> SidecarStatus {
    let settings = &house.settings;
    SidecarStatus {
        app_id: settings.app_id.clone(),
        namespace: settings.namespace.clone(),
        version: VERSION.to_owned(),
        mode: match settings.mode {
            Mode::Run => "run",
            Mode::Daprd => "daprd",
        }
        .to_owned(),
        address: SocketAddr::new(settings.resolution.advertise, settings.ports.internal).to_string(),
        runtime: house.runtime.display().to_string(),
        started_unix_ms: settings.started_unix_ms,
        listens: listens(settings),
        app: settings
            .app
            .as_ref()
            .map(|a| format!("{} {}:{}", protocol(a.protocol), a.host, a.port))
            .unwrap_or_default(),
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Https => "https",
        Protocol::H2c => "h2c",
        Protocol::Grpc => "grpc",
        Protocol::Grpcs => "grpcs",
    }
}

fn listens(settings: &Settings) -> BTreeMap<String, String> {
    let ports = &settings.ports;
    let metrics = settings.metrics.as_ref().map(|metrics| metrics.port);
    let public = [("public", ports.public), ("metrics", metrics), ("profile", ports.profile)];
    [("http", ports.http), ("internal", Some(ports.internal))]
        .into_iter()
        .chain(public)
        .filter_map(|(role, port)| Some((role.to_owned(), port?.to_string())))
        .collect()
}

fn process((name, id): (&'static str, u32)) -> Process {
    let resident = Usage::of(id).map_or(0, |usage| usage.resident);
    Process { name: name.to_owned(), id, resident }
}

fn data_plane(planes: &Planes, snapshot: u64) -> DataPlaneStatus {
    let Some(plane) = planes.newest() else {
        return DataPlaneStatus { snapshot, ..DataPlaneStatus::default() };
    };
    let backend = match plane.peer.backend {
        Backend::Completion => "io_uring".to_owned(),
        Backend::Readiness => format!("epoll: {}", plane.peer.backend_reason),
        Backend::Unspecified => "not said".to_owned(),
    };
    DataPlaneStatus {
        connected: true,
        snapshot,
        applied: plane.applied,
        refused: plane.refused,
        backend: backend.trim_end_matches(": ").to_owned(),
        shards: plane.peer.shards,
    }
}

fn identity(material: &IdentityMaterial) -> IdentityStatus {
    let leaf = Certificate {
        role: "leaf".to_owned(),
        subject: material.id.to_string(),
        not_after: material.not_after,
    };
    let issuers = material.chain.iter().skip(1).filter_map(|der| certificate("issuer", der));
    let anchors = material.trust_anchors.iter().filter_map(|der| certificate("trust anchor", der));
    IdentityStatus {
        id: material.id.to_string(),
        certificates: [leaf].into_iter().chain(issuers).chain(anchors).collect(),
    }
}

fn certificate(role: &str, der: &[u8]) -> Option<Certificate> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(Certificate {
        role: role.to_owned(),
        subject: parsed.subject().to_string(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}

fn resolution(house: &House) -> Vec<String> {
    let wanted = &house.settings.resolution;
    let detail = |way: &str| match way {
        "registry" => wanted.registry.as_ref().map(|dir| format!("registry {}", dir.display())),
        "table" => wanted.table.as_ref().map(|file| format!("table {}", file.display())),
        _ => None,
    };
    let ways = house.names.resolver().ways();
    ways.into_iter().map(|way| detail(way).unwrap_or_else(|| way.to_owned())).collect()
}

fn peer_route(house: &House, report: &Report, app: &AppRef, route: &Route) -> PeerRoute {
    let own = app.namespace == house.settings.namespace;
    let name = if own { app.app_id.clone() } else { format!("{}.{}", app.app_id, app.namespace) };
    match route {
        Route::Endpoints(endpoints) => {
            let known = house.names.resolver().known_by(app);
            let status =
                |endpoint: &proto::snapshot::Endpoint| endpoint_status(report, endpoint.address, &known);
            PeerRoute { app: name, endpoints: endpoints.iter().map(status).collect(), tried: Vec::new() }
        }
        Route::NotFound { tried } => {
            let tried = tried.iter().map(|tried| format!("{}: {}", tried.way, tried.answer));
            PeerRoute { app: name, endpoints: Vec::new(), tried: tried.collect() }
        }
    }
}

fn endpoint_status(
    report: &Report,
    address: SocketAddr,
    known: &HashMap<SocketAddr, &str>,
) -> EndpointStatus {
    let text = address.to_string();
    let ill = report.endpoints.iter().find(|health| health.address == text && !health.healthy);
    let peers = report.peers.iter().filter(|peer| peer.address == text);
    EndpointStatus {
        way: known.get(&address).copied().unwrap_or_default().to_owned(),
        health: ill.map_or_else(|| "live".to_owned(), |ill| format!("ejected: {}", ill.reason)),
        connections: peers.map(|peer| u64::from(peer.connections)).sum(),
        address: text,
    }
}

fn counts(report: &Report) -> BTreeMap<String, u64> {
    let told = report.counts.iter().map(|count| (count.name.clone(), count.value));
    let lost = (report.lost > 0).then(|| ("reports and hints lost".to_owned(), report.lost));
    told.chain(lost).collect()
}

/// The data plane's name for calls of other sidecars that have not ended.
const INBOUND: &str = "inbound calls in flight";

fn count(report: &Report, name: &str) -> u64 {
    report.counts.iter().find(|count| count.name == name).map_or(0, |count| count.value)
}

fn outbound(report: &Report) -> Call {
    let answers = "dapr_runtime_service_invocation_res_recv_total";
    let failures =
        sum(report, "outrigger_failures_total", |label, value| label == "side" && value != "inbound");
    Call {
        direction: "outbound".to_owned(),
        total: sum(report, answers, |_, _| true).max(failures),
        failed: failures.saturating_add(sum(report, answers, is_server_error)),
        in_flight: count(report, "calls in flight").saturating_sub(count(report, INBOUND)),
        latency: latency(report, "dapr_runtime_service_invocation_res_recv_latency_ms"),
    }
}

fn inbound(report: &Report) -> Call {
    Call {
        direction: "inbound".to_owned(),
        total: sum(report, "dapr_runtime_service_invocation_req_recv_total", |_, _| true),
        failed: sum(report, "dapr_runtime_service_invocation_res_sent_total", is_server_error),
        in_flight: count(report, INBOUND),
        latency: latency(report, "dapr_http_client_roundtrip_latency"),
    }
}

fn is_server_error(label: &str, value: &str) -> bool {
    label == "status" && value.len() == 3 && value.starts_with('5')
}

/// The sum of a counter over the series that have a label which fits, or over all without labels to look at.
fn sum(report: &Report, name: &str, fits: impl Fn(&str, &str) -> bool) -> u64 {
    let families = report.families.iter().filter(|family| family.name == name);
    let fitting = |family: &Family, series: &&Series| {
        let mut labels = family.labels.iter().zip(&series.labels);
        labels.any(|(label, value)| fits(label, value))
    };
    let values = families.flat_map(|family| family.series.iter().filter(move |s| fitting(family, s)));
    let total: f64 = values.map(|series| series.value).sum();
    // counters are whole and not negative; a float beyond the range is cut off at it
    total as u64
}

/// Quantiles of a histogram in milliseconds over all its series: the upper bound of the bucket that holds each.
fn latency(report: &Report, name: &str) -> Option<Latency> {
    let families: Vec<&Family> = report.families.iter().filter(|family| family.name == name).collect();
    let bounds = &families.first()?.bounds;
    let mut buckets = vec![0_u64; bounds.len() + 1];
    for series in families.iter().filter(|family| family.bounds == *bounds).flat_map(|family| &family.series)
    {
        for (sum, bucket) in buckets.iter_mut().zip(&series.buckets) {
            *sum = sum.saturating_add(*bucket);
        }
    }
    let total: u64 = buckets.iter().sum();
    let quantile = |per_mille: u64| {
        let rank = total.saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let at = buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        let bound = bounds.get(at).or(bounds.last())?;
        Some((bound * 1000.0) as u64)
    };
    (total > 0).then_some(())?;
    Some(Latency { p50: quantile(500)?, p99: quantile(990)?, p999: quantile(999)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::{DataPlane, Ground};
    use proto::control::{Count, EndpointHealth, Kind, Peer};

    #[tokio::test]
    async fn whoever_connects_gets_one_document() {
        let ground = Ground::new("stock 10.0.0.1:7");
        let sockets = (ground.dir.join("control.sock"), ground.dir.join(crate::settings::STATUS_SOCKET));
        tokio::spawn(channel::serve(channel::listen(&sockets.0).unwrap(), Arc::clone(&ground.house)));
        tokio::spawn(serve(channel::listen(&sockets.1).unwrap(), Arc::clone(&ground.house)));
        let mut plane = DataPlane::connect(&ground).await;
        plane.settle().await;
        plane.ask("stock").await;
        plane.settle().await;
        let count = Count { name: "calls in flight".into(), value: 3 };
        let report = Report { counts: vec![count], warnings: vec!["hot".into()], ..Report::default() };
        let reporting = tokio::spawn(async move {
            plane.report(report).await;
            plane
        });
        let dir = ground.dir.clone();
        let document = tokio::task::spawn_blocking(move || crate::status::ask(&dir)).await.unwrap().unwrap();
        let _connected = reporting.await.unwrap();
        assert_eq!(document.sidecar.app_id, "orders");
        assert!(document.data_plane.connected && document.data_plane.applied == document.data_plane.snapshot);
        assert_eq!(document.data_plane.backend, "epoll: refused by the host");
        assert_eq!(document.routes[0].endpoints[0].way, "table");
        assert_eq!(document.routes[0].app, "stock");
        assert_eq!(document.counts["calls in flight"], 3);
        assert_eq!(document.warnings, ["hot"]);
        assert!(document.processes.iter().any(|p| p.name == "control" && p.resident > 0));
    }

    fn family(name: &str, labels: &[&str], series: &[(&[&str], f64)]) -> Family {
        let owned = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        Family {
            name: name.into(),
            kind: Kind::Counter.into(),
            labels: owned(labels),
            series: series
                .iter()
                .map(|(labels, value)| Series { labels: owned(labels), value: *value, buckets: Vec::new() })
                .collect(),
            ..Family::default()
        }
    }

    #[test]
    fn calls_are_counted_over_all_series() {
        let answers = family(
            "dapr_runtime_service_invocation_res_recv_total",
            &["app_id", "status"],
            &[(&["a", "200"], 5.0), (&["a", "503"], 2.0)],
        );
        let failures =
            family("outrigger_failures_total", &["side"], &[(&["outbound"], 1.0), (&["inbound"], 9.0)]);
        let count = |name: &str, value| Count { name: name.into(), value };
        let counts = vec![count("calls in flight", 5), count(INBOUND, 2)];
        let report = Report { families: vec![answers, failures], counts, ..Report::default() };
        let calls = outbound(&report);
        assert_eq!((calls.total, calls.failed, calls.latency), (7, 3, None));
        assert_eq!((calls.in_flight, inbound(&report).in_flight), (3, 2));
    }

    #[test]
    fn quantiles_are_the_bounds_of_the_buckets_that_hold_them() {
        let series = Series { labels: Vec::new(), value: 0.0, buckets: vec![50, 49, 0, 1] };
        let histogram = Family {
            name: "h".into(),
            bounds: vec![0.05, 1.0, 2.0],
            series: vec![series],
            ..Family::default()
        };
        let report = Report { families: vec![histogram], ..Report::default() };
        assert_eq!(latency(&report, "h"), Some(Latency { p50: 50, p99: 1000, p999: 2000 }));
        assert_eq!(latency(&report, "other"), None);
    }

    #[test]
    fn an_endpoint_shows_its_way_its_health_and_its_connections() {
        let address: SocketAddr = ([10, 0, 0, 1], 7).into();
        let peer = Peer { address: address.to_string(), connections: 2, ..Peer::default() };
        let health = EndpointHealth {
            address: address.to_string(),
            reason: "refused".into(),
            ..EndpointHealth::default()
        };
        let mut report = Report { peers: vec![peer], endpoints: vec![health], ..Report::default() };
        let known = HashMap::from([(address, "mdns")]);
        let status = endpoint_status(&report, address, &known);
        assert_eq!((status.way.as_str(), status.health.as_str()), ("mdns", "ejected: refused"));
        assert_eq!(status.connections, 2);
        report.endpoints.clear();
        assert_eq!(endpoint_status(&report, address, &known).health, "live");
    }
}

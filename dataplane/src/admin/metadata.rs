//! `GET /v1.0/metadata` (spec/invocation 5.2; vectors surface/metadata).

use crate::shard::{Shard, View};
use proto::invoke::quote;
use proto::snapshot::{AppAddress, AppChannel, AppProtocol, HealthProbe};
use proto::time::go_text;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

/// The JSON, with daprd's keys in daprd's order, as far as there is something to say.
pub(super) fn show(shard: &Shard, view: &View) -> Vec<u8> {
    let mut out = b"{\"id\":".to_vec();
    quote::json(&mut out, &view.snapshot.workload.app_id);
    let version = env!("CARGO_PKG_VERSION");
    put(&mut out, &format!(",\"runtimeVersion\":\"{version}\",\"extended\":"));
    extended(&mut out, shard, version);
    http_endpoints(&mut out, view);
    match &view.snapshot.app {
        Some(channel) => app(&mut out, channel),
        None => put(
            &mut out,
            ",\"appConnectionProperties\":{\"protocol\":\"http\",\"channelAddress\":\"127.0.0.1\"}",
        ),
    }
    // what daprd says of a runtime without a placement service
    let actors = if shard.common.app_ready.load(Relaxed) {
        "\"DISABLED\",\"hostReady\":false,\"placement\":\"placement: disconnected\""
    } else {
        "\"INITIALIZING\",\"hostReady\":false"
    };
    put(&mut out, &format!(",\"actorRuntime\":{{\"runtimeStatus\":{actors}}}}}\n"));
    out
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// What clients attached, and the version, sorted by key.
fn extended(out: &mut Vec<u8>, shard: &Shard, version: &str) {
    let attached = shard.common.extended.all();
    let mut all: BTreeMap<&str, &str> = attached.iter().collect();
    all.insert("daprRuntimeVersion", version);
    for (n, (key, value)) in all.into_iter().enumerate() {
        out.push(if n == 0 { b'{' } else { b',' });
        quote::json(out, key);
        out.push(b':');
        quote::json(out, value);
    }
    out.push(b'}');
}

/// The `HTTPEndpoint` resources, by name.
fn http_endpoints(out: &mut Vec<u8>, view: &View) {
    let names = view.snapshot.http_endpoints.keys();
    for (n, name) in names.enumerate() {
        put(out, if n == 0 { ",\"httpEndpoints\":[{\"name\":" } else { ",{\"name\":" });
        quote::json(out, name);
        out.push(b'}');
    }
    if !view.snapshot.http_endpoints.is_empty() {
        out.push(b']');
    }
}

fn app(out: &mut Vec<u8>, channel: &AppChannel) {
    let protocol = match channel.protocol {
        AppProtocol::Http => "http",
        AppProtocol::Https => "https",
        AppProtocol::H2c => "h2c",
        AppProtocol::Grpc => "grpc",
        AppProtocol::Grpcs => "grpcs",
    };
    let (port, address) = match &channel.address {
        AppAddress::Tcp { host, port } => (Some(*port), host.as_str()),
        AppAddress::Unix(path) => (None, path.as_str()),
    };
    put(out, ",\"appConnectionProperties\":{");
    if let Some(port) = port {
        put(out, &format!("\"port\":{port},"));
    }
    put(out, &format!("\"protocol\":\"{protocol}\",\"channelAddress\":"));
    quote::json(out, address);
    if let Some(most) = channel.max_concurrency {
        put(out, &format!(",\"maxConcurrency\":{most}"));
    }
    if let Some(probe) = &channel.health {
        health(out, channel.protocol, probe);
    }
    out.push(b'}');
}

fn health(out: &mut Vec<u8>, protocol: AppProtocol, probe: &HealthProbe) {
    put(out, ",\"health\":{");
    if !matches!(protocol, AppProtocol::Grpc | AppProtocol::Grpcs) {
        put(out, "\"healthCheckPath\":");
        quote::json(out, &probe.path);
        out.push(b',');
    }
    let (interval, timeout) = (go_text(probe.interval), go_text(probe.timeout));
    put(
        out,
        &format!(
            "\"healthProbeInterval\":\"{interval}\",\"healthProbeTimeout\":\"{timeout}\",\"healthThreshold\":{}}}",
            probe.threshold
        ),
    );
}

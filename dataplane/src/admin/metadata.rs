//! `GET /v1.0/metadata` (spec/invocation 5.2).

use crate::shard::View;
use proto::invoke::quote;
use proto::snapshot::{AppAddress, AppChannel, AppProtocol};

/// The JSON, with daprd's keys in daprd's order, as far as there is something to say.
pub(super) fn show(view: &View) -> Vec<u8> {
    let mut out = b"{\"id\":".to_vec();
    quote::json(&mut out, &view.snapshot.workload.app_id);
    let version = env!("CARGO_PKG_VERSION");
    out.extend_from_slice(format!(",\"runtimeVersion\":\"{version}\"").as_bytes());
    out.extend_from_slice(format!(",\"extended\":{{\"daprRuntimeVersion\":\"{version}\"}}").as_bytes());
    match &view.snapshot.app {
        Some(channel) => app(&mut out, channel),
        None => out.extend_from_slice(
            b",\"appConnectionProperties\":{\"protocol\":\"http\",\"channelAddress\":\"127.0.0.1\"}",
        ),
    }
    out.extend_from_slice(
        b",\"actorRuntime\":{\"runtimeStatus\":\"DISABLED\",\"hostReady\":false,\"placement\":\"placement: disconnected\"}}\n",
    );
    out
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
    out.extend_from_slice(b",\"appConnectionProperties\":{");
    if let Some(port) = port {
        out.extend_from_slice(format!("\"port\":{port},").as_bytes());
    }
    out.extend_from_slice(format!("\"protocol\":\"{protocol}\",\"channelAddress\":").as_bytes());
    quote::json(out, address);
    if let Some(most) = channel.max_concurrency {
        out.extend_from_slice(format!(",\"maxConcurrency\":{most}").as_bytes());
    }
    out.push(b'}');
}

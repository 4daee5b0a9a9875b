//! The status document. Fields that are missing have their defaults, unknown ones are left alone, so that `status` of one
//! version can ask a sidecar of another.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything about one sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// Who it speaks for and where it listens.
    pub sidecar: SidecarStatus,
    /// Supervisor, control, data plane.
    pub processes: Vec<Process>,
    /// What the data plane last reported.
    pub data_plane: DataPlaneStatus,
    /// Own certificates; `None` without mTLS.
    pub identity: Option<IdentityStatus>,
    /// Ways of finding names, in the order they are tried, such as `mdns` or `registry /run/…`.
    pub resolution: Vec<String>,
    /// Names that were asked for and what they lead to.
    pub routes: Vec<PeerRoute>,
    /// Calls so far, by direction.
    pub calls: Vec<Call>,
    /// Other counts by metric name, such as retries or losses.
    pub counts: BTreeMap<String, u64>,
    /// What was warned about at the start.
    pub warnings: Vec<String>,
}

/// Who a sidecar speaks for and where it listens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SidecarStatus {
    /// `--app-id`.
    pub app_id: String,
    /// Its namespace.
    pub namespace: String,
    /// Version of the executable.
    pub version: String,
    /// `run` or `daprd`.
    pub mode: String,
    /// The announced address.
    pub address: String,
    /// Runtime directory.
    pub runtime: String,
    /// When it started, milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Listening sockets by role: `http`, `internal`, `public`, `metrics`, `profile`.
    pub listens: BTreeMap<String, String>,
    /// The app's address and protocol, such as `http 127.0.0.1:3000`; empty without an app.
    pub app: String,
}

/// One process of a sidecar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// `supervisor`, `control` or `data plane`.
    pub name: String,
    /// Process id.
    pub id: u32,
    /// Resident memory in bytes, as far as the system tells.
    pub resident: u64,
}

/// What the data plane last reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataPlaneStatus {
    /// Whether it is connected to control now.
    pub connected: bool,
    /// Version of the snapshot that control holds.
    pub snapshot: u64,
    /// Version of the snapshot that the data plane took.
    pub applied: u64,
    /// Why the last snapshot was refused; empty if it was not.
    pub refused: String,
    /// How it does its I/O, and why, in one line.
    pub backend: String,
    /// Number of shards.
    pub shards: u32,
}

/// Own certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentityStatus {
    /// Own SPIFFE ID.
    pub id: String,
    /// Leaf, intermediates, trust anchors.
    pub certificates: Vec<Certificate>,
}

/// One certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// `leaf`, `issuer` or `trust anchor`.
    pub role: String,
    /// Subject, or SPIFFE ID.
    pub subject: String,
    /// End of validity, Unix seconds.
    pub not_after: i64,
}

/// A name that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerRoute {
    /// App id, with the namespace where it is another one.
    pub app: String,
    /// Where its sidecars are.
    pub endpoints: Vec<EndpointStatus>,
    /// Without endpoints: each way that was tried and its answer.
    pub tried: Vec<String>,
}

/// One sidecar of an app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointStatus {
    /// Address of its mesh port.
    pub address: String,
    /// The way it was found.
    pub way: String,
    /// `live`, or `ejected` after a failure.
    pub health: String,
    /// Open connections to it.
    pub connections: u64,
}

/// Calls in one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Call {
    /// `outbound` (from the own app) or `inbound` (to it).
    pub direction: String,
    /// Calls that ended.
    pub total: u64,
    /// Of these, failed on the way or answered 5xx.
    pub failed: u64,
    /// Calls in flight now.
    pub in_flight: u64,
    /// How long they took.
    pub latency: Option<Latency>,
}

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Median.
    pub p50: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
}

//! What the data plane knows: one immutable, versioned picture that control pushes (ARCHITECTURE.md, "The local channel").
//!
//! A request keeps the snapshot it began with. Applying a new one costs in proportion to the change: the parts are
//! behind `Arc`, a delta replaces only those it names.

mod external;
mod routes;

pub use external::{ClientTls, HttpEndpoint, HttpEndpoints};
pub use routes::{Changes, Routes};

use crate::api::cors::Origins;
use crate::api::rules::Rules;
use crate::policy::acl::Acl;
use crate::policy::pipeline::Pipelines;
use crate::spiffe::SpiffeId;
use crate::trace::sampler::Sampler;
use std::net::SocketAddr;
use std::sync::Arc;

/// A versioned picture of everything a call needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Grows by one with every change; 0 is "nothing yet".
    pub version: u64,
    /// Who this sidecar speaks for.
    pub workload: Arc<Workload>,
    /// The local app; `None` without `--app-port`.
    pub app: Option<Arc<AppChannel>>,
    /// The API towards local clients.
    pub api: Arc<Api>,
    /// Named limits.
    pub limits: Arc<Limits>,
    /// Key, certificates and trust anchors; `None` while mTLS is off.
    pub identity: Option<Arc<IdentityMaterial>>,
    /// Who may call what.
    pub acl: Arc<Acl>,
    /// Servers outside the mesh that are called by name.
    pub http_endpoints: Arc<HttpEndpoints>,
    /// What requests pass on their way.
    pub pipelines: Arc<Pipelines>,
    /// The resolution table.
    pub routes: Routes,
}

/// Who this sidecar speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// `--app-id`.
    pub app_id: String,
    /// Environment `NAMESPACE`, else `default`.
    pub namespace: String,
    /// Trust domain of the own identity; `public` unless configured.
    pub trust_domain: String,
    /// The address that is advertised and written into `X-Forwarded-For` and `Forwarded`.
    pub host_address: String,
    /// The operating system's host name.
    pub host_name: String,
    /// Port of the mesh hop.
    pub internal_port: u16,
    /// Whether peers must authenticate (mTLS).
    pub mtls: bool,
}

/// An app by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppRef {
    /// Without the namespace suffix.
    pub app_id: String,
    /// The namespace it lives in.
    pub namespace: String,
}

/// How to reach the local app.
#[derive(Clone, PartialEq, Eq)]
pub struct AppChannel {
    /// Host name or address, default `127.0.0.1`; or the path of a Unix socket.
    pub address: AppAddress,
    /// What it speaks.
    pub protocol: AppProtocol,
    /// `--app-max-concurrency`; `None` is unlimited.
    pub max_concurrency: Option<u32>,
    /// `APP_API_TOKEN`, sent as `dapr-api-token`.
    pub token: Option<String>,
    /// How it is asked for its health; `None`: it counts as healthy.
    pub health: Option<HealthProbe>,
    /// Whether it is asked for `/dapr/config` at the start.
    pub asks_config: bool,
}

/// `--enable-app-health-check` and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthProbe {
    /// With a leading slash.
    pub path: String,
    /// Between the begins of two probes.
    pub interval: core::time::Duration,
    /// For one probe; at most the interval.
    pub timeout: core::time::Duration,
    /// Failed probes until the app counts as unhealthy; at least 1.
    pub threshold: u32,
}

impl core::fmt::Debug for AppChannel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AppChannel")
            .field("address", &self.address)
            .field("protocol", &self.protocol)
            .field("max_concurrency", &self.max_concurrency)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}

/// Where the local app listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppAddress {
    /// Host and port.
    Tcp {
        /// Host name or IP literal.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A Unix domain socket.
    Unix(String),
}

/// `--app-protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1 in the clear.
    #[default]
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 with prior knowledge.
    H2c,
    /// gRPC in the clear.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

/// The API towards local clients.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Api {
    /// `DAPR_API_TOKEN`; requests without it are answered 401.
    pub token: Option<String>,
    /// Whether trace headers are handled (spec/invocation 1.18); off with sampling rate 0.
    pub tracing: bool,
    /// Which of the contexts are sampled that requests without a usable one get; `None`: they get none.
    pub new_traces: Option<Sampler>,
    /// `--allowed-origins`.
    pub origins: Origins,
    /// `spec.api`.
    pub rules: Rules,
    /// A log line for each request.
    pub logging: Option<ApiLogging>,
}

/// `--enable-api-logging`, `spec.logging.apiLogging`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiLogging {
    /// Names of APIs in place of paths.
    pub obfuscate_urls: bool,
    /// None for health checks.
    pub omit_health_checks: bool,
}

impl core::fmt::Debug for Api {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Api")
            .field("tracing", &self.tracing)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Named limits with daprd's defaults where daprd has them. All sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `--max-body-size`: largest body either way; `None` is unlimited.
    pub max_body: Option<u64>,
    /// `--read-buffer-size`: largest head.
    pub max_head: usize,
    /// `--max-replay-body`: most body bytes kept for a retry of one request.
    pub max_replay_body: usize,
    /// `--dapr-graceful-shutdown-seconds`.
    pub grace: core::time::Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_body: Some(4 << 20),
            max_head: 64 << 10,
            max_replay_body: 1 << 20,
            grace: core::time::Duration::from_secs(5),
        }
    }
}

/// Key, certificates and trust anchors of the own identity, all DER.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityMaterial {
    /// The own SPIFFE ID.
    pub id: SpiffeId,
    /// Leaf first, then intermediates; never the root.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 private key of the leaf.
    pub key: Vec<u8>,
    /// The trust bundle.
    pub trust_anchors: Vec<Vec<u8>>,
    /// The leaf's end of validity, Unix seconds.
    pub not_after: i64,
}

impl core::fmt::Debug for IdentityMaterial {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IdentityMaterial")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What a name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Sidecars of the app, in a stable order.
    Endpoints(Vec<Endpoint>),
    /// No sidecar found: what each way of looking answered, for the error message.
    NotFound {
        /// One entry a way of looking, in the order tried.
        tried: Vec<Tried>,
    },
}

/// One sidecar address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where its mesh port listens.
    pub address: SocketAddr,
}

/// One way of looking for a name and what it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// `mdns`, `registry`, `dns-sd`, …
    pub way: String,
    /// Its answer in a few words.
    pub answer: String,
}

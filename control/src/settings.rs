//! What flags, environment and configuration files decided, once, at the start: the supervisor stores it in the
//! private runtime directory and every other process of the sidecar reads it from there.
//!
//! No secret is ever stored here: tokens stay in the environment, keys in their own files.

mod bindings;
mod decide;
mod host;
mod identity;
mod judge;
mod notes;
mod pipelines;
mod port;

pub use decide::{At, Binding, Environment, Plan, Refusal, Role, WhenTaken, decide};
pub(crate) use host::name as host_name;
pub use pipelines::{Issuer, Middleware, Pipelines};

use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// File name of the settings inside the runtime directory.
pub const FILE: &str = "settings.json";
/// The local channel's socket inside the runtime directory (control listens).
pub const CONTROL_SOCKET: &str = "control.sock";
/// The socket that answers `outrigger status`, inside the runtime directory (control listens).
pub const STATUS_SOCKET: &str = "status.sock";

/// Everything that was decided at the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Whose rules apply: ours (strict) or daprd's (lenient).
    pub mode: Mode,
    /// `--app-id`.
    pub app_id: String,
    /// Environment `NAMESPACE`; `default` when it is not set at all.
    pub namespace: String,
    /// `spec.accessControl.trustDomain`, else `public`.
    pub trust_domain: String,
    /// The operating system's host name.
    pub host_name: String,
    /// The address that is advertised (spec/resolution 1.1.3), without brackets.
    pub host_address: IpAddr,
    /// Ports after binding: never 0.
    pub ports: Ports,
    /// The local app; `None` without `--app-port`.
    pub app: Option<App>,
    /// Named limits.
    pub limits: Limits,
    /// How peers authenticate.
    pub mtls: Mtls,
    /// Life of a leaf certificate from our own CA, in seconds (`--leaf-lifetime`).
    pub leaf_lifetime_seconds: u64,
    /// Where this host's state (the CA of first use) lives; 0700.
    pub state_dir: PathBuf,
    /// How names are found and announced.
    pub resolution: Resolution,
    /// `spec.tracing.samplingRate`; 0 switches trace headers off.
    pub sampling_rate: f64,
    /// Whether requests without a usable trace context get one of the sidecar's own.
    pub begins_traces: bool,
    /// `spec.api`.
    pub api: ApiLists,
    /// `spec.httpPipeline`, `spec.appHttpPipeline`.
    pub pipelines: Pipelines,
    /// `--allowed-origins`.
    pub allowed_origins: String,
    /// The metrics endpoint; `None` when switched off.
    pub metrics: Option<Metrics>,
    /// API call logging.
    pub api_logging: ApiLogging,
    /// Who may call what, as far as the configuration said anything.
    pub access: Access,
    /// Log format and level.
    pub log: Log,
    /// Data plane executor.
    pub data_plane: DataPlane,
    /// `--config`, in order.
    pub config_files: Vec<PathBuf>,
    /// `--resources-path`, in order.
    pub resource_dirs: Vec<PathBuf>,
    /// Things worth a warning, each said once at the start and shown by `status`.
    pub warnings: Vec<String>,
    /// When the supervisor started, milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
}

/// Whose rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `outrigger run`: an unknown setting stops the start.
    Run,
    /// `outrigger daprd`: starts with what daprd starts with, and warns.
    Daprd,
}

/// TCP ports in use by this sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// HTTP API; `None` when it listens on a Unix socket only.
    pub http: Option<u16>,
    /// Hop between sidecars.
    pub internal: u16,
    /// Health and metadata only.
    pub public: Option<u16>,
    /// What the data plane tells about itself; `None` without `--enable-profiling`.
    pub profile: Option<u16>,
    /// What was asked for as the gRPC API's port, for the app's environment.
    pub grpc: Option<u16>,
}

/// The local app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// `--app-channel-address`.
    pub host: String,
    /// `--app-port`; 0 on a Unix socket.
    pub port: u16,
    /// The Unix socket that `--app-channel-address unix:/path` names, in the place of host and port.
    pub socket: Option<PathBuf>,
    /// `--app-protocol`.
    pub protocol: Protocol,
    /// `--app-max-concurrency`; `None` is unlimited.
    pub max_concurrency: Option<u32>,
    /// `--enable-app-health-check` and what belongs to it; `None`: the app counts as healthy.
    pub health: Option<HealthProbe>,
    /// Whether it is asked for `/dapr/config` at the start: in daprd mode, unless `--disable-init-endpoints` names it.
    pub asks_config: bool,
}

impl App {
    /// Where it listens, for people: `port 3000`, or `socket /run/app.sock`.
    pub fn place(&self) -> String {
        match &self.socket {
            Some(path) => format!("socket {}", path.display()),
            None => format!("port {}", self.port),
        }
    }
}

/// How the app is asked for its health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthProbe {
    /// `--app-health-check-path`, with a leading slash.
    pub path: String,
    /// `--app-health-probe-interval`, in milliseconds.
    pub interval_ms: u64,
    /// `--app-health-probe-timeout`.
    pub timeout_ms: u64,
    /// `--app-health-threshold`: failed probes in a row.
    pub threshold: u32,
}

/// What the app speaks (`--app-protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
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

/// Named limits; sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `--max-body-size`; `None` is unlimited.
    pub max_body: Option<u64>,
    /// `--read-buffer-size`: largest head.
    pub max_head: u64,
    /// `--max-replay-body`: most body bytes kept for a retry of one request.
    pub max_replay_body: u64,
    /// `--dapr-graceful-shutdown-seconds`; `None` waits without end.
    pub grace_seconds: Option<u64>,
    /// `--dapr-block-shutdown-duration`: how long a signal is only noted while everything keeps serving.
    pub block_shutdown_ms: u64,
}

impl Limits {
    /// The one deadline of a shutdown; "without end" is a year.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds.unwrap_or(365 * 24 * 3600))
    }
}

/// How peers authenticate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "issuer", rename_all = "lowercase")]
pub enum Mtls {
    /// Plain text between sidecars.
    Off,
    /// A CA made at first use and kept in this directory (0700, files 0600).
    Own {
        /// Holds `ca.crt`, `issuer.crt`, `issuer.key`.
        dir: PathBuf,
    },
    /// Issuer files that somebody else made, such as a Sentry's; they must exist.
    Files {
        /// Holds `ca.crt`, `issuer.crt`, `issuer.key`.
        dir: PathBuf,
    },
}

impl Mtls {
    /// Whether peers must authenticate.
    pub fn is_on(&self) -> bool {
        !matches!(self, Mtls::Off)
    }

    /// Which of the files that somebody else must have made are not there.
    pub(crate) fn missing(&self) -> Vec<PathBuf> {
        let Mtls::Files { dir } = self else { return Vec::new() };
        let files = ["ca.crt", "issuer.crt", "issuer.key"].map(|name| dir.join(name));
        files.into_iter().filter(|file| !file.is_file()).collect()
    }

    /// The directory with `ca.crt`, `issuer.crt` and `issuer.key`.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Mtls::Off => None,
            Mtls::Own { dir } | Mtls::Files { dir } => Some(dir),
        }
    }
}

/// How names are found and announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// `spec.nameResolution.component`, lower case; `mdns` unless configured.
    pub component: String,
    /// Whether multicast DNS is used at all (`--mdns`).
    pub mdns: bool,
    /// Directory in which the sidecars of one host announce themselves (`--registry`); `None` is off.
    pub registry: Option<PathBuf>,
    /// File with names and addresses that never change (`--name-table`).
    pub table: Option<PathBuf>,
    /// The address that is announced: [`Settings::host_address`], or loopback when the mesh port listens there only.
    pub advertise: IpAddr,
}

/// The metrics endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Address and port in text, as in the log.
    pub listen: String,
    /// Port after binding.
    pub port: u16,
    /// Whether control's standard input is the listening socket (the supervisor opened it).
    pub inherited: bool,
}

impl Metrics {
    /// The listening socket: the inherited one, else one that is opened now. Not set to non-blocking.
    ///
    /// # Errors
    /// Standard input is no listening TCP socket, or the address cannot be had.
    pub fn listener(&self) -> io::Result<TcpListener> {
        if !self.inherited {
            return TcpListener::bind(&self.listen);
        }
        let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
        listener.local_addr().map(|_| listener)
    }
}

/// API call logging (`--enable-api-logging`, `spec.logging.apiLogging`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiLogging {
    /// One line a call.
    pub enabled: bool,
    /// Names of APIs in place of paths.
    pub obfuscate_urls: bool,
    /// Health checks are not logged.
    pub omit_health_checks: bool,
}

/// Lists of HTTP APIs (`spec.api`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiLists {
    /// Not empty: nothing else is served.
    pub allowed: Vec<ApiRule>,
    /// Never served.
    pub denied: Vec<ApiRule>,
}

/// One entry of a list of APIs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRule {
    /// Such as `invoke`.
    pub name: String,
    /// Such as `v1`.
    pub version: String,
}

/// Who may call what, as far as the configuration said anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Every authenticated peer may call. Always true as long as this build enforces no policies: a configuration that
    /// asks for more stops the start.
    pub allow_by_default: bool,
}

/// Log format and level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// `debug`, `info`, `warn`, `error` or `fatal`.
    pub level: String,
    /// JSON instead of key=value text.
    pub json: bool,
    /// Written here instead of standard output.
    pub file: Option<PathBuf>,
}

/// Data plane executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPlane {
    /// `auto`, `completion` or `readiness` (`--backend`).
    pub backend: String,
    /// Number of shards (`--shards`), at least 1.
    pub shards: usize,
    /// Congestion control of TCP sockets (`--tcp-congestion`); `auto` where absent.
    pub tcp_congestion: Option<String>,
    /// Resident bytes above which new calls are refused (`--max-memory`); 0 is no limit.
    #[serde(default)]
    pub max_memory: u64,
    /// A log line for every step of every call (`--trace-steps`, used by `demo`).
    pub trace_steps: bool,
}

impl Settings {
    /// Reads the settings that the supervisor stored in the runtime directory.
    ///
    /// # Errors
    /// The file is missing, unreadable or not ours.
    pub fn load(runtime: &Path) -> io::Result<Settings> {
        let path = runtime.join(FILE);
        let text = fs::read(&path).map_err(|e| named(&path, &e))?;
        serde_json::from_slice(&text).map_err(|e| named(&path, &io::Error::from(e)))
    }

    /// Stores the settings (0600), whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn store(&self, runtime: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let next = runtime.join("settings.json.new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(&text)?;
        drop(file);
        fs::rename(next, runtime.join(FILE))
    }
}

fn named(path: &Path, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("{}: {cause}", path.display()))
}

#[cfg(test)]
mod tests;

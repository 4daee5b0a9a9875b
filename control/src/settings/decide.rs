//! From flags, environment and files to settings: every judgement about them stands here, before anything is started.

use super::judge::{Asked, app, limits, log, not_served, ports, valid_app_id, valid_mode};
use super::{Access, ApiLogging, DataPlane, Metrics, Mode, Ports, Resolution, Settings, host};
use crate::cli::SuperviseArgs;
use crate::cli::flags::Switch;
use crate::cli::values::quantity;
use crate::configuration::{self, Strictness};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The environment as the start sees it: variables and working directory, so that tests can make their own.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Variables by name; names and values that are not UTF-8 are left out.
    pub variables: BTreeMap<String, String>,
    /// The working directory.
    pub directory: PathBuf,
}

impl Environment {
    /// This process's own.
    pub fn of_process() -> Environment {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Environment {
            variables: std::env::vars_os().filter_map(text).collect(),
            directory: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// A variable's value, also when it is empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// Where the private runtime directories of this user's sidecars are.
    pub fn runtime_base(&self) -> PathBuf {
        host::runtime_base(&|name| self.variable(name))
    }
}

/// Why there will be no start. The text says what, where and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl From<String> for Refusal {
    fn from(text: String) -> Refusal {
        Refusal(text)
    }
}

/// The settings, and what has to be bound before they are complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Ports may still be 0.
    pub settings: Settings,
    /// In the order of binding.
    pub bindings: Vec<Binding>,
}

/// A listening socket to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// What it serves.
    pub role: Role,
    /// The flag that names its port, for error messages.
    pub flag: &'static str,
    /// Where.
    pub at: At,
    /// What to do when it is taken.
    pub when_taken: WhenTaken,
}

/// What a listening socket serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The HTTP API.
    Http,
    /// Calls from other sidecars.
    Internal,
    /// Health and metadata only.
    Public,
    /// Prometheus metrics.
    Metrics,
    /// What the data plane tells about itself (`--enable-profiling`).
    Profile,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// Host text as in the flag (empty is all addresses) and port.
    Tcp {
        /// As in the flag.
        host: String,
        /// 0 takes any free one.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// What to do when an address is taken or does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenTaken {
    /// No start.
    Fail,
    /// Do without it, as long as another address of the same role works.
    Skip,
    /// Take any free port: nobody asked for this one.
    AnyPort,
}

/// Decides everything that can be decided before a socket is opened.
///
/// # Errors
/// The first thing that stops the start.
pub fn decide(arguments: &SuperviseArgs, environment: &Environment) -> Result<Plan, Refusal> {
    let mut warnings = super::notes::of_flags(arguments);
    let flags = &arguments.flags;
    valid_app_id(&flags.app_id)?;
    valid_mode(&flags.mode)?;
    let ports = ports(arguments, environment)?;
    let app = app(arguments, &ports)?;
    if let Some(words) = app.as_ref().and_then(|app| not_served(app.protocol)) {
        match arguments.mode {
            Mode::Run => return Err(Refusal(words)),
            Mode::Daprd => warnings.push(words),
        }
    }
    super::judge::health(arguments)?; // a mistake also where there is no app
    let limits = limits(arguments)?;
    let log = log(arguments)?;
    let host_address = advertised(environment, &mut warnings)?;
    let read = read_configuration(arguments, environment, &ports, host_address)?;
    warnings.extend(read.notes);
    let configured = read.configuration;
    let mtls = super::identity::decide(arguments, environment, configured.mtls_enabled, &mut warnings)?;
    let resolution = resolution(arguments, environment, &configured, host_address)?;
    let settings = Settings {
        mode: arguments.mode,
        app_id: flags.app_id.clone(),
        namespace: environment.variable("NAMESPACE").unwrap_or_else(|| "default".into()),
        trust_domain: configured.trust_domain.clone().unwrap_or_else(|| "public".into()),
        host_name: host::name(),
        host_address,
        app,
        limits,
        mtls: mtls.mtls,
        leaf_lifetime_seconds: mtls.leaf_lifetime_seconds,
        state_dir: mtls.state_dir,
        resolution,
        sampling_rate: configured.sampling_rate,
        begins_traces: configured.begins_traces,
        api: configured.api,
        pipelines: configured.pipelines,
        allowed_origins: flags.allowed_origins.clone(),
        metrics: metrics(arguments, &ports, configured.metrics_enabled),
        api_logging: ApiLogging {
            enabled: flags.enable_api_logging.unwrap_or(configured.api_logging.enabled),
            ..configured.api_logging
        },
        access: Access { allow_by_default: true },
        log,
        data_plane: data_plane(arguments)?,
        config_files: flags.config.clone(),
        resource_dirs: resource_dirs(arguments),
        warnings,
        started_unix_ms: unix_ms(),
        ports: Ports {
            http: None,
            internal: ports.internal,
            public: ports.public,
            profile: ports.profile,
            grpc: ports.grpc,
        },
    };
    let bindings = super::bindings::of(arguments, &settings, &ports);
    Ok(Plan { settings, bindings })
}

fn advertised(environment: &Environment, warnings: &mut Vec<String>) -> Result<IpAddr, Refusal> {
    if let Some(text) = environment.variable("DAPR_HOST_IP").filter(|text| !text.is_empty()) {
        return text.trim_matches(['[', ']']).parse().map_err(|_| {
            Refusal(format!("environment variable DAPR_HOST_IP is {text:?}; expected an IP address"))
        });
    }
    Ok(host::address().unwrap_or_else(|| {
        warnings.push(
            "this host has no address but loopback, which is announced; only sidecars on this host can call this one"
                .into(),
        );
        IpAddr::from([127, 0, 0, 1])
    }))
}

/// What the files said, without what only matters to `check`.
struct Read {
    configuration: configuration::Configuration,
    notes: Vec<String>,
}

fn read_configuration(
    arguments: &SuperviseArgs,
    environment: &Environment,
    ports: &Asked,
    host_address: IpAddr,
) -> Result<Read, Refusal> {
    let overlay = variables(arguments, ports, host_address);
    let lookup = |name: &str| overlay.get(name).cloned().or_else(|| environment.variable(name));
    let strictness = match arguments.mode {
        Mode::Run => Strictness::Strict,
        Mode::Daprd => Strictness::Lenient,
    };
    let findings =
        configuration::read(&arguments.flags.config, &resource_dirs(arguments), strictness, &lookup);
    let stops = findings.that_stop(strictness);
    if !stops.is_empty() {
        let lines: Vec<String> = stops.iter().map(ToString::to_string).collect();
        return Err(Refusal(format!("error loading configuration: {}", lines.join("\n"))));
    }
    let notes = findings.problems.iter().map(ToString::to_string).collect();
    Ok(Read { configuration: findings.configuration, notes })
}

/// What daprd puts into its own environment before it reads configuration files (spec/resolution 1.1.2).
fn variables(
    arguments: &SuperviseArgs,
    ports: &Asked,
    host_address: IpAddr,
) -> BTreeMap<&'static str, String> {
    let flags = &arguments.flags;
    BTreeMap::from([
        ("APP_ID", flags.app_id.clone()),
        ("APP_PORT", flags.app_port.clone()),
        ("HOST_ADDRESS", host_address.to_string()),
        ("DAPR_PORT", ports.internal.to_string()),
        ("DAPR_GRPC_PORT", flags.dapr_grpc_port.clone()),
        ("DAPR_HTTP_PORT", flags.dapr_http_port.clone()),
        ("DAPR_METRICS_PORT", flags.metrics_port.clone()),
        ("DAPR_PROFILE_PORT", flags.profile_port.clone()),
    ])
}

fn resource_dirs(arguments: &SuperviseArgs) -> Vec<PathBuf> {
    let flags = &arguments.flags;
    if flags.resources_path.is_empty() { flags.components_path.clone() } else { flags.resources_path.clone() }
}

fn resolution(
    arguments: &SuperviseArgs,
    environment: &Environment,
    configured: &configuration::Configuration,
    host_address: IpAddr,
) -> Result<Resolution, Refusal> {
    let component = configured.name_resolution.clone().unwrap_or_else(|| "mdns".into());
    // A resolver that was asked for and is not built is not replaced by another one: names would come from a source that
    // nobody chose.
    let built = component == "mdns";
    let registry = match arguments.own.registry.as_deref() {
        Some("off") => None,
        Some("") => return Err(Refusal("--registry is empty; expected a directory or off".into())),
        Some(dir) => Some(environment.directory.join(dir)),
        None => Some(environment.runtime_base().join("registry")),
    };
    let advertise = match arguments.flags.dapr_internal_grpc_listen_address.as_str() {
        "127.0.0.1" | "localhost" => IpAddr::from([127, 0, 0, 1]),
        "[::1]" => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        _ => host_address,
    };
    Ok(Resolution {
        component,
        mdns: built && arguments.own.mdns == Switch::On,
        registry: registry.filter(|_| built),
        table: arguments.own.name_table.as_ref().map(|file| environment.directory.join(file)),
        advertise,
    })
}

fn metrics(arguments: &SuperviseArgs, ports: &Asked, configured: Option<bool>) -> Option<Metrics> {
    let on = arguments.flags.enable_metrics && configured.unwrap_or(true);
    on.then(|| Metrics {
        listen: arguments.flags.metrics_listen_address.clone(),
        port: ports.metrics,
        inherited: false,
    })
}

fn data_plane(arguments: &SuperviseArgs) -> Result<DataPlane, Refusal> {
    let shards = match arguments.own.shards.as_str() {
        "auto" => std::thread::available_parallelism().map_or(1, usize::from),
        text => text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| {
            Refusal(format!(
                "invalid value for --shards: {text:?}; expected a number from 1 to 1024, or auto"
            ))
        })?,
    };
    Ok(DataPlane {
        backend: arguments.own.backend.as_str().to_owned(),
        shards,
        tcp_congestion: arguments.own.tcp_congestion.clone(),
        max_memory: max_memory(arguments.own.max_memory.as_deref())?,
        trace_steps: arguments.own.trace_steps,
    })
}

/// What the data plane may use when nobody says so, in bytes.
const USUAL_MEMORY: u64 = 1 << 30;

/// `--max-memory`, or its default: three quarters of what the cgroup grants, where that is less than usual.
fn max_memory(flag: Option<&str>) -> Result<u64, Refusal> {
    let Some(text) = flag else {
        let granted = host::granted_memory().map_or(USUAL_MEMORY, |granted| granted / 4 * 3);
        return Ok(granted.min(USUAL_MEMORY));
    };
    let bytes = quantity(text).map_err(|e| Refusal(format!("--max-memory: {e}")))?;
    u64::try_from(bytes).map_err(|_| Refusal(format!("--max-memory: {text:?} is negative")))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

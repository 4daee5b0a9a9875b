//! From flags, environment and files to settings: every judgement about them stands here, before anything is started.

use super::{
    Access, ApiLogging, App, DataPlane, Limits, Log, Metrics, Mode, Ports, Protocol, Resolution, Settings,
    host, port,
};
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
    valid_health_checks(arguments)?;
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
        ports: Ports { http: None, internal: ports.internal, public: ports.public, grpc: ports.grpc },
    };
    let bindings = super::bindings::of(arguments, &settings, &ports);
    Ok(Plan { settings, bindings })
}

/// Ports as asked for; 0 is any.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) http: u16,
    pub(crate) internal: u16,
    pub(crate) internal_given: bool,
    pub(crate) public: Option<u16>,
    pub(crate) metrics: u16,
    pub(crate) grpc: Option<u16>,
}

fn valid_app_id(id: &str) -> Result<(), Refusal> {
    if id.is_empty() {
        return Err(Refusal("parameter app-id cannot be empty; name the app with --app-id".into()));
    }
    if id.contains('.') {
        return Err(Refusal(
            "parameter app-id cannot contain dots; a dot separates app id and namespace in calls".into(),
        ));
    }
    if let Some(odd) =
        id.chars().find(|c| c.is_control() || c.is_whitespace() || matches!(c, '/' | '|' | '\\'))
    {
        return Err(Refusal(format!("parameter app-id cannot contain {odd:?}")));
    }
    Ok(())
}

fn valid_mode(mode: &str) -> Result<(), Refusal> {
    match mode {
        "standalone" => Ok(()),
        "kubernetes" => {
            Err(Refusal("--mode kubernetes is not built yet; use --mode standalone, the default".into()))
        }
        _ => Err(Refusal(format!("invalid mode: {mode}; --mode takes standalone"))),
    }
}

fn ports(arguments: &SuperviseArgs, environment: &Environment) -> Result<Asked, Refusal> {
    let flags = &arguments.flags;
    let internal =
        port::parse("dapr-internal-grpc-port", &flags.dapr_internal_grpc_port)?.filter(|p| *p != 0);
    let stable = || {
        let uid = rustix::process::getuid().as_raw();
        port::stable(&flags.app_id, &environment.directory.to_string_lossy(), uid, &host::name())
    };
    Ok(Asked {
        http: port::parse("dapr-http-port", &flags.dapr_http_port)?.unwrap_or(0),
        internal: internal.unwrap_or_else(stable),
        internal_given: internal.is_some(),
        public: port::parse("dapr-public-port", &flags.dapr_public_port)?,
        metrics: port::parse("metrics-port", &flags.metrics_port)?.unwrap_or(0),
        grpc: port::parse("dapr-grpc-port", &flags.dapr_grpc_port)?,
    })
}

fn app(arguments: &SuperviseArgs, ports: &Asked) -> Result<Option<App>, Refusal> {
    let flags = &arguments.flags;
    let protocol = protocol(&flags.app_protocol, flags.app_ssl)?;
    let Some(port) = port::parse("app-port", &flags.app_port)?.filter(|port| *port != 0) else {
        return Ok(None);
    };
    for (taken, flag) in [(Some(ports.http), "dapr-http-port"), (ports.grpc, "dapr-grpc-port")] {
        if taken == Some(port) {
            return Err(Refusal(format!(
                "the '{flag}' argument value {port} conflicts with 'app-port'; give one of them another port"
            )));
        }
    }
    Ok(Some(App {
        host: if flags.app_channel_address.is_empty() {
            "127.0.0.1".into()
        } else {
            flags.app_channel_address.clone()
        },
        port,
        protocol,
        max_concurrency: u32::try_from(flags.app_max_concurrency).ok().filter(|n| *n > 0),
    }))
}

fn protocol(text: &str, ssl: bool) -> Result<Protocol, Refusal> {
    match (text.to_ascii_lowercase().as_str(), ssl) {
        ("" | "http", false) => Ok(Protocol::Http),
        ("" | "http", true) | ("https", _) => Ok(Protocol::Https),
        ("h2c", _) => Ok(Protocol::H2c),
        ("grpc", false) => Ok(Protocol::Grpc),
        ("grpc", true) | ("grpcs", _) => Ok(Protocol::Grpcs),
        _ => Err(Refusal(format!(
            "invalid value for 'app-protocol': {text:?}; expected http, https, h2c, grpc or grpcs"
        ))),
    }
}

/// daprd refuses these even when its health checks are off by other flags.
fn valid_health_checks(arguments: &SuperviseArgs) -> Result<(), Refusal> {
    let flags = &arguments.flags;
    let interval = if flags.app_health_probe_interval > 0 { flags.app_health_probe_interval } else { 5 };
    let timeout = if flags.app_health_probe_timeout > 0 { flags.app_health_probe_timeout } else { 500 };
    if flags.enable_app_health_check && timeout > interval.saturating_mul(1000) {
        return Err(Refusal(
            "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'".into(),
        ));
    }
    Ok(())
}

fn limits(arguments: &SuperviseArgs) -> Result<Limits, Refusal> {
    let flags = &arguments.flags;
    let defaults = proto::snapshot::Limits::default();
    let max_body = match size("max-body-size", &flags.max_body_size, "dapr-http-max-request-size", arguments)?
    {
        -1 => defaults.max_body,
        size => u64::try_from(size).ok().filter(|size| *size > 0),
    };
    let max_head =
        size("read-buffer-size", &flags.read_buffer_size, "dapr-http-read-buffer-size", arguments)?;
    let replay = quantity(&arguments.own.max_replay_body).map_err(|e| format!("--max-replay-body: {e}"))?;
    Ok(Limits {
        max_body,
        max_head: u64::try_from(max_head).ok().filter(|n| *n > 0).unwrap_or(defaults.max_head as u64),
        max_replay_body: u64::try_from(replay).unwrap_or(0),
        grace_seconds: match flags.dapr_graceful_shutdown_seconds {
            0 => None,
            seconds => Some(u64::try_from(seconds).unwrap_or(5)),
        },
        block_shutdown_ms: flags
            .dapr_block_shutdown_duration
            .map_or(0, |wait| u64::try_from(wait.as_duration().as_millis()).unwrap_or(u64::MAX)),
    })
}

/// A size flag, or its deprecated form (in MiB or KiB) when only that was given.
fn size(flag: &str, text: &str, deprecated: &str, arguments: &SuperviseArgs) -> Result<i64, Refusal> {
    let flags = &arguments.flags;
    let given = |name: &str| flags.given.iter().any(|given| given == name);
    if given(deprecated) && !given(flag) {
        let (units, shift) = match flag {
            "max-body-size" => (flags.dapr_http_max_request_size, 20),
            _ => (flags.dapr_http_read_buffer_size, 10),
        };
        return Ok(if units < 0 { units } else { units.saturating_mul(1 << shift) });
    }
    quantity(text).map_err(|e| Refusal(format!("error parsing {flag}: {e}")))
}

fn log(arguments: &SuperviseArgs) -> Result<Log, Refusal> {
    let flags = &arguments.flags;
    let level = flags.log_level.to_ascii_lowercase();
    if !["debug", "info", "warn", "error", "fatal"].contains(&level.as_str()) {
        return Err(Refusal(format!(
            "invalid value for --log-level: {:?}; expected debug, info, warn, error or fatal",
            flags.log_level
        )));
    }
    let file = (!flags.log_file.is_empty()).then(|| PathBuf::from(&flags.log_file));
    Ok(Log { level, json: flags.log_as_json, file })
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
        trace_steps: arguments.own.trace_steps,
    })
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

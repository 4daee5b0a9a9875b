//! What single flags ask for, judged as daprd judges them (spec/invocation 1.13, 4.1, 4.6, 6.1).

use super::decide::{Environment, Refusal};
use super::{App, HealthProbe, Limits, Log, Mode, Protocol, host, port};
use crate::cli::SuperviseArgs;
use crate::cli::values::quantity;
use std::path::PathBuf;

/// Ports as asked for; 0 is any.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) http: u16,
    pub(crate) internal: u16,
    pub(crate) internal_given: bool,
    pub(crate) public: Option<u16>,
    pub(crate) profile: Option<u16>,
    pub(crate) metrics: u16,
    pub(crate) grpc: Option<u16>,
}

pub(super) fn valid_app_id(id: &str) -> Result<(), Refusal> {
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

pub(super) fn valid_mode(mode: &str) -> Result<(), Refusal> {
    match mode {
        "standalone" => Ok(()),
        "kubernetes" => {
            Err(Refusal("--mode kubernetes is not built yet; use --mode standalone, the default".into()))
        }
        _ => Err(Refusal(format!("invalid mode: {mode}; --mode takes standalone"))),
    }
}

pub(super) fn ports(arguments: &SuperviseArgs, environment: &Environment) -> Result<Asked, Refusal> {
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
        profile: port::parse("profile-port", &flags.profile_port)?
            .or(Some(0))
            .filter(|_| flags.enable_profiling),
        metrics: port::parse("metrics-port", &flags.metrics_port)?.unwrap_or(0),
        grpc: port::parse("dapr-grpc-port", &flags.dapr_grpc_port)?,
    })
}

pub(super) fn app(arguments: &SuperviseArgs, ports: &Asked) -> Result<Option<App>, Refusal> {
    let flags = &arguments.flags;
    let protocol = protocol(&flags.app_protocol, flags.app_ssl)?;
    let socket = app_socket(&flags.app_channel_address)?;
    let port = match (port::parse("app-port", &flags.app_port)?.filter(|port| *port != 0), &socket) {
        (Some(port), None) => port,
        (None, Some(_)) => 0,
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let text = "--app-port stands beside a Unix socket in --app-channel-address; drop one of them";
            return Err(Refusal(text.into()));
        }
    };
    for (taken, flag) in [(Some(ports.http), "dapr-http-port"), (ports.grpc, "dapr-grpc-port")] {
        if taken == Some(port) && socket.is_none() {
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
        socket,
        protocol,
        max_concurrency: u32::try_from(flags.app_max_concurrency).ok().filter(|n| *n > 0),
        health: health(arguments)?,
        asks_config: asks_config(arguments),
    }))
}

/// `unix:/path` in `--app-channel-address`: the app listens on a Unix socket.
fn app_socket(address: &str) -> Result<Option<PathBuf>, Refusal> {
    /// Room in a `sockaddr_un`, with its zero byte.
    const ROOM: usize = 108;
    let Some(path) = address.strip_prefix("unix:") else { return Ok(None) };
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.starts_with('/') && path.len() < ROOM {
        return Ok(Some(path.into()));
    }
    Err(Refusal(format!(
        "--app-channel-address is {address:?}; expected unix: and an absolute path of at most {} bytes",
        ROOM - 1
    )))
}

/// The data plane does not speak gRPC with its app yet.
pub(super) fn not_served(protocol: Protocol) -> Option<String> {
    let name = format!("{protocol:?}").to_lowercase();
    let words = format!(
        "--app-protocol {name} is not built yet: calls to the app would fail; only http, https and h2c are"
    );
    (!matches!(protocol, Protocol::Http | Protocol::Https | Protocol::H2c)).then_some(words)
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

/// `None` without `--enable-app-health-check`. Numbers that make no sense are daprd's defaults.
pub(super) fn health(arguments: &SuperviseArgs) -> Result<Option<HealthProbe>, Refusal> {
    let flags = &arguments.flags;
    if !flags.enable_app_health_check {
        return Ok(None);
    }
    let positive =
        |number: i64, default: u64| u64::try_from(number).ok().filter(|n| *n > 0).unwrap_or(default);
    let interval_ms = positive(flags.app_health_probe_interval, 5).saturating_mul(1000);
    let timeout_ms = positive(flags.app_health_probe_timeout, 500);
    if timeout_ms > interval_ms {
        return Err(Refusal(
            "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'".into(),
        ));
    }
    let path = &flags.app_health_check_path;
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal(format!(
            "--app-health-check-path is {path:?}; expected a path that can stand in a request, percent-encoded"
        )));
    }
    let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
    let threshold = u32::try_from(positive(flags.app_health_threshold, 3)).unwrap_or(u32::MAX);
    Ok(Some(HealthProbe { path, interval_ms, timeout_ms, threshold }))
}

fn asks_config(arguments: &SuperviseArgs) -> bool {
    let left_out = arguments.flags.disable_init_endpoints.iter().any(|name| name.trim() == "config");
    arguments.mode == Mode::Daprd && !left_out
}

pub(super) fn limits(arguments: &SuperviseArgs) -> Result<Limits, Refusal> {
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

pub(super) fn log(arguments: &SuperviseArgs) -> Result<Log, Refusal> {
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

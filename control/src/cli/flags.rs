//! daprd's flags (spec/invocation 6.1) with daprd's defaults, and our own beside them.
//!
//! What daprd reads as text stays text here: ports and sizes are judged when the settings are decided, because daprd
//! answers a bad one with a fatal log line and exit 1, and only an unknown flag or a bad number with usage and exit 2.

use super::values::{GoDuration, boolean};
use clap::Args;
use std::path::PathBuf;

mod ignored;
mod own;

pub use ignored::IgnoredFlags;
pub use own::{BackendFlag, OwnFlags, Switch};

/// Every flag of daprd.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "daprd's flags")]
pub struct DaprFlags {
    /// Name of the app: what other apps call it by
    #[arg(
        long,
        value_name = "ID",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub app_id: String,
    /// Port the app listens on; without it the sidecar only calls out
    #[arg(
        long,
        value_name = "PORT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub app_port: String,
    /// What the app speaks: http, https, h2c, grpc or grpcs
    #[arg(long, value_name = "PROTOCOL", default_value = "http", allow_hyphen_values = true)]
    pub app_protocol: String,
    /// Host name or address the app listens on, or unix:/path for a Unix socket in place of --app-port
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1", allow_hyphen_values = true)]
    pub app_channel_address: String,
    /// Most requests handed to the app at the same time; -1 is unlimited
    #[arg(long, value_name = "N", default_value_t = -1, allow_hyphen_values = true)]
    pub app_max_concurrency: i64,
    /// Deprecated: say --app-protocol https or grpcs
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub app_ssl: bool,
    /// Ask the app for its health
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub enable_app_health_check: bool,
    /// Path asked for the app's health
    #[arg(
        long,
        hide_short_help = true,
        value_name = "PATH",
        default_value = "/healthz",
        allow_hyphen_values = true
    )]
    pub app_health_check_path: String,
    /// Seconds between two health probes
    #[arg(
        long,
        hide_short_help = true,
        value_name = "SECONDS",
        default_value_t = 5,
        allow_hyphen_values = true
    )]
    pub app_health_probe_interval: i64,
    /// Time-out of a health probe in milliseconds
    #[arg(
        long,
        hide_short_help = true,
        value_name = "MILLISECONDS",
        default_value_t = 500,
        allow_hyphen_values = true
    )]
    pub app_health_probe_timeout: i64,
    /// Failed probes until the app counts as unhealthy
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = 3, allow_hyphen_values = true)]
    pub app_health_threshold: i64,
    /// Start-up questions to the app that are left out: config, subscribe
    #[arg(
        long,
        hide_short_help = true,
        value_name = "LIST",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub disable_init_endpoints: Vec<String>,
    /// Port of the HTTP API; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value = "3500", allow_hyphen_values = true)]
    pub dapr_http_port: String,
    /// Port of the gRPC API
    #[arg(long, value_name = "PORT", default_value = "50001", allow_hyphen_values = true)]
    pub dapr_grpc_port: String,
    /// Port for calls from other sidecars; empty or 0 is chosen from app id, directory, user and host, the same every time
    #[arg(
        long,
        value_name = "PORT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub dapr_internal_grpc_port: String,
    /// Address for calls from other sidecars; empty is all
    #[arg(
        long,
        hide_short_help = true,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub dapr_internal_grpc_listen_address: String,
    /// Addresses of the API for the app, comma separated, IPv6 in brackets [run: 127.0.0.1,[::1]; daprd: all]
    #[arg(
        long,
        hide_short_help = true,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub dapr_listen_addresses: String,
    /// Port that answers health and metadata only
    #[arg(
        long,
        hide_short_help = true,
        value_name = "PORT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub dapr_public_port: String,
    /// Address of the public port; empty is all
    #[arg(
        long,
        hide_short_help = true,
        value_name = "ADDRESS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub dapr_public_listen_address: String,
    /// Directory for a Unix socket of the HTTP API in place of its TCP port
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DIR",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub unix_domain_socket: String,
    /// Largest body either way: bytes, or 4Mi, 10M, 1G …
    #[arg(long, value_name = "SIZE", default_value = "4Mi", allow_hyphen_values = true)]
    pub max_body_size: String,
    /// Deprecated: say --max-body-size (here in MiB)
    #[arg(long, hide_short_help = true, value_name = "MIB", default_value_t = 4, allow_hyphen_values = true)]
    pub dapr_http_max_request_size: i64,
    /// Largest request or response head [default: 64Ki, where daprd has 4Ki]
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64Ki",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub read_buffer_size: String,
    /// Deprecated: say --read-buffer-size (here in KiB)
    #[arg(
        long,
        hide_short_help = true,
        value_name = "KIB",
        default_value_t = 64,
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub dapr_http_read_buffer_size: i64,
    /// Origins allowed by CORS; empty leaves CORS to the app
    #[arg(
        long,
        hide_short_help = true,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub allowed_origins: String,
    /// Write a line into the log for every API call [default: what the Configuration says]
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_missing_value = "true",
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub enable_api_logging: Option<bool>,
    /// Show tasks, sockets, buffers and threads on --profile-port, under /debug/pprof/ on each listen address
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub enable_profiling: bool,
    /// Port of --enable-profiling; 0 takes any free one
    #[arg(
        long,
        hide_short_help = true,
        value_name = "PORT",
        default_value = "7777",
        allow_hyphen_values = true
    )]
    pub profile_port: String,
    /// Port of the Prometheus metrics; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value = "9090", allow_hyphen_values = true)]
    pub metrics_port: String,
    /// Address of the Prometheus metrics
    #[arg(
        long,
        hide_short_help = true,
        value_name = "ADDRESS",
        default_value = "0.0.0.0",
        allow_hyphen_values = true
    )]
    pub metrics_listen_address: String,
    /// Serve Prometheus metrics; =false switches them off
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value = "true", default_missing_value = "true",
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub enable_metrics: bool,
    /// debug, info, warn, error or fatal
    #[arg(long, value_name = "LEVEL", default_value = "info", allow_hyphen_values = true)]
    pub log_level: String,
    /// Log as JSON, one object a line
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub log_as_json: bool,
    /// Write the log into this file in place of standard output
    #[arg(
        long,
        hide_short_help = true,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub log_file: String,
    /// Seconds a shutdown may take; 0 waits without end
    #[arg(long, value_name = "SECONDS", default_value_t = 5, allow_hyphen_values = true)]
    pub dapr_graceful_shutdown_seconds: i64,
    /// Keep serving this long after a signal before shutting down, such as 10s, or until the app is unhealthy
    #[arg(long, hide_short_help = true, value_name = "DURATION", allow_hyphen_values = true)]
    pub dapr_block_shutdown_duration: Option<GoDuration>,
    /// Configuration file; may be given several times, later files win
    #[arg(long, value_name = "FILE", value_delimiter = ',', allow_hyphen_values = true)]
    pub config: Vec<PathBuf>,
    /// Directory with resources (Resiliency, HTTPEndpoint, …); may be given several times
    #[arg(long, value_name = "DIR", value_delimiter = ',', allow_hyphen_values = true)]
    pub resources_path: Vec<PathBuf>,
    /// Deprecated: say --resources-path
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DIR",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub components_path: Vec<PathBuf>,
    /// standalone or kubernetes
    #[arg(
        long,
        hide_short_help = true,
        value_name = "MODE",
        default_value = "standalone",
        allow_hyphen_values = true
    )]
    pub mode: String,
    /// Authenticate and encrypt calls between sidecars [run: always on unless --no-mtls]
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = boolean, action = clap::ArgAction::Set)]
    pub enable_mtls: Option<bool>,
    /// Address of a Sentry
    #[arg(
        long,
        hide_short_help = true,
        value_name = "HOST:PORT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub sentry_address: String,
    /// Trust domain of the control plane
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DOMAIN",
        default_value = "localhost",
        allow_hyphen_values = true
    )]
    pub control_plane_trust_domain: String,
    /// Namespace of the control plane
    #[arg(
        long,
        hide_short_help = true,
        value_name = "NAMESPACE",
        default_value = "default",
        allow_hyphen_values = true
    )]
    pub control_plane_namespace: String,
    /// Address of a Kubernetes operator
    #[arg(
        long,
        hide_short_help = true,
        value_name = "HOST:PORT",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub control_plane_address: String,
    /// Audiences of JSON Web Tokens asked from a Sentry
    #[arg(
        long,
        hide_short_help = true,
        value_name = "LIST",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub sentry_request_jwt_audiences: Vec<String>,
    /// Print the version and exit
    #[arg(long = "version", hide_short_help = true, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub print_version: bool,
    /// Print version and commit and exit
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub build_info: bool,
    /// Wait until the sidecar on --dapr-http-port can call out, then exit 0
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub wait: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ignored: IgnoredFlags,
    /// Names of the flags that stood on the command line, sorted.
    #[arg(skip)]
    pub given: Vec<String>,
}

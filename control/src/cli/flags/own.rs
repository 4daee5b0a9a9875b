//! Outrigger's own flags.

use crate::cli::values::GoDuration;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Outrigger's own flags.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Outrigger's own flags")]
pub struct OwnFlags {
    /// How the data plane does its I/O: io_uring (completion), epoll (readiness), or whichever works here
    #[arg(long, value_enum, default_value_t = BackendFlag::Auto)]
    pub backend: BackendFlag,
    /// Number of shards (cores used), or auto for what the cgroup grants
    #[arg(long, value_name = "N|auto", default_value = "1")]
    pub shards: String,
    /// TCP congestion control of the sidecar's sockets: the kernel's name, host for the host's, auto for reno between sockets of this machine and the host's elsewhere [default: auto]
    #[arg(long, value_name = "auto|host|NAME", hide_short_help = true)]
    pub tcp_congestion: Option<String>,
    /// Most body bytes kept for a retry of one request; larger ones are not retried once bytes were sent
    #[arg(long, value_name = "SIZE", default_value = "1Mi")]
    pub max_replay_body: String,
    /// Memory of the data plane above which new calls are refused with 503; 0 is no limit [default: 1Gi, less where the cgroup grants less]
    #[arg(long, value_name = "SIZE")]
    pub max_memory: Option<String>,
    /// Where the certificate authority of first use is kept [default: ~/.local/state/outrigger]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Find and announce names by multicast DNS
    #[arg(long, value_enum, value_name = "on|off", hide_possible_values = true, default_value_t = Switch::On)]
    pub mdns: Switch,
    /// Directory in which the sidecars of one host find each other, or off [default: in the runtime directory]
    #[arg(long, value_name = "DIR|off")]
    pub registry: Option<String>,
    /// File with fixed names, one app a line: APP[.NAMESPACE] IP:PORT …
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub name_table: Option<PathBuf>,
    /// Life of a certificate from the own authority, such as 24h; renewed at half of it
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub leaf_lifetime: GoDuration,
    /// Directory with ca.crt, issuer.crt and issuer.key (a Sentry's, for instance): certificates are issued under these
    #[arg(long, value_name = "DIR")]
    pub issuer_credentials: Option<PathBuf>,
    /// Write a log line for every step of every call (demo shows them)
    #[arg(long, hide_short_help = true)]
    pub trace_steps: bool,
}

/// `--backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendFlag {
    /// Whichever works here, io_uring first
    Auto,
    /// io_uring, or no start
    Completion,
    /// epoll
    Readiness,
}

impl BackendFlag {
    /// The flag's value as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            BackendFlag::Auto => "auto",
            BackendFlag::Completion => "completion",
            BackendFlag::Readiness => "readiness",
        }
    }
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Used
    On,
    /// Not used
    Off,
}

impl OwnFlags {
    /// `--leaf-lifetime` as a duration; negative ones are zero.
    pub fn leaf_lifetime(&self) -> Duration {
        self.leaf_lifetime.as_duration()
    }
}

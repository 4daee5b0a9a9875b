//! The verbs and their arguments, as clap reads them.

use super::flags::{BackendFlag, DaprFlags, OwnFlags};
use crate::settings::Mode;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

const ABOUT: &str = "A service-invocation sidecar that speaks Dapr's API and wire protocol";

const EXAMPLES: &str = "\
Examples:
  outrigger demo
      Two apps call each other through two sidecars, step by step.
  outrigger run --app-id orders --app-port 3000 -- ./orders
      Starts ./orders with a sidecar; it calls others at http://127.0.0.1:3500/v1.0/invoke/NAME/method/PATH.
  outrigger run --app-id client --dapr-http-port 3501 --metrics-port 9091
      A second sidecar on the same machine, without an app.
  outrigger status
      One screen about the sidecar that runs here.
  ln -s outrigger daprd && ./daprd -app-id orders -app-port 3000
      The same executable in daprd's place.

Exit codes: 0 ended as asked, 1 could not start or failed, 2 command line not understood; `run` passes on the app's own.";

const RUN_EXAMPLES: &str = "\
Examples:
  outrigger run --app-id orders --app-port 3000 -- ./orders --verbose
  outrigger run --app-id orders --app-port 3000 --config config.yaml --resources-path ./resources -- node orders.js
  outrigger run --app-id client --dapr-http-port 3501 --metrics-port 9091 -- sh

The app finds its sidecar in DAPR_HTTP_PORT. `run` is strict: a setting that is unreadable or unknown stops the start
and is named with file, line and column. --help shows every flag, -h the common ones.";

#[derive(Parser, Debug)]
#[command(name = "outrigger", about = ABOUT, after_help = EXAMPLES, disable_version_flag = true,
          args_override_self = true, subcommand_required = true, arg_required_else_help = true,
          max_term_width = 120)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Start an app with its sidecar, or a sidecar alone
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Start a sidecar with daprd's own command line (also when started under the name daprd)
    #[command(
        long_about = "Start a sidecar with daprd's own command line. Also chosen when the executable is started under the name \
                            daprd. Starts with what daprd starts with, and warns; only what would weaken access control stops it."
    )]
    Daprd(DaprdArgs),
    /// Show one call between two apps through two sidecars, step by step
    Demo(DemoArgs),
    /// Show one screen about a running sidecar
    Status(StatusArgs),
    /// Check configuration files strictly, without starting anything
    Check(CheckArgs),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// Print the manual page (of a verb)
    #[command(after_help = "Examples:\n  outrigger man | man -l -\n  outrigger man run > outrigger-run.1")]
    Man {
        /// run, daprd, status, …
        verb: Option<String>,
    },
    /// The control process of a sidecar; started by run and daprd
    #[command(
        hide = true,
        long_about = "The control process of a sidecar: names, identity, configuration, metrics. Started by run and daprd; \
                            reads settings.json in the runtime directory and listens on control.sock and status.sock there."
    )]
    Control(ControlArgs),
    /// The data plane of a sidecar; started by run and daprd
    #[command(
        hide = true,
        long_about = "The data plane of a sidecar. Started by run and daprd, or by hand under a control process of your own: \
                            it connects to --control-socket and serves what the snapshots it gets there say."
    )]
    Dataplane(DataplaneArgs),
    /// Ends the app's processes when the supervisor is gone; started by run
    #[command(hide = true)]
    Keep,
}

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) flags: DaprFlags,
    #[command(flatten)]
    pub(super) own: OwnFlags,
    /// Plain text between sidecars: anyone who reaches the port may call
    #[arg(long)]
    no_mtls: bool,
    /// The app and its arguments, after --
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(super) struct DaprdArgs {
    #[command(flatten)]
    pub(super) flags: DaprFlags,
    #[command(flatten)]
    pub(super) own: OwnFlags,
    /// Ignored, as daprd does
    #[arg(hide = true, value_name = "IGNORED")]
    extra: Vec<OsString>,
}

/// Everything a sidecar's start was told.
#[derive(Clone, Debug)]
pub struct SuperviseArgs {
    /// Whose rules apply.
    pub mode: Mode,
    /// daprd's flags.
    pub flags: DaprFlags,
    /// Our own.
    pub own: OwnFlags,
    /// `--no-mtls`.
    pub no_mtls: bool,
    /// The app and its arguments; empty without an app child.
    pub command: Vec<OsString>,
    /// Positional arguments that daprd would ignore.
    pub extra: Vec<OsString>,
}

impl From<RunArgs> for SuperviseArgs {
    fn from(run: RunArgs) -> SuperviseArgs {
        let RunArgs { flags, own, no_mtls, command } = run;
        SuperviseArgs { mode: Mode::Run, flags, own, no_mtls, command, extra: Vec::new() }
    }
}

impl From<DaprdArgs> for SuperviseArgs {
    fn from(daprd: DaprdArgs) -> SuperviseArgs {
        let DaprdArgs { flags, own, extra } = daprd;
        SuperviseArgs { mode: Mode::Daprd, flags, own, no_mtls: false, command: Vec::new(), extra }
    }
}

#[derive(Args, Debug)]
pub(super) struct ControlArgs {
    /// The private runtime directory
    #[arg(long, value_name = "DIR")]
    pub(super) runtime: PathBuf,
    /// Process id of the supervisor; this process ends when that one does
    #[arg(long, value_name = "PID")]
    pub(super) parent: Option<u32>,
}

/// The data plane's command line.
#[derive(Args, Clone, Debug)]
pub struct DataplaneArgs {
    /// Socket of the control process
    #[arg(long, value_name = "PATH")]
    pub control_socket: PathBuf,
    /// ROLE=fd:N takes over an inherited listening socket, ROLE=ADDRESS:PORT or ROLE=unix:PATH opens one; roles: http, internal, public
    #[arg(long, value_name = "ROLE=WHERE", required = true)]
    pub listen: Vec<RoleAt>,
    /// How I/O is done
    #[arg(long, value_enum, default_value_t = BackendFlag::Auto)]
    pub backend: BackendFlag,
    /// Number of shards
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: u16,
    /// TCP congestion control of the sockets
    #[arg(long, value_name = "auto|host|NAME")]
    pub tcp_congestion: Option<String>,
    /// Resident bytes above which new calls are refused; 0 is no limit
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub max_memory: u64,
    /// Log as JSON
    #[arg(long)]
    pub log_as_json: bool,
    /// debug, info, warn, error or fatal
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// Write a log line for every step of every call
    #[arg(long)]
    pub trace_steps: bool,
    /// Process id of the supervisor; this process ends when that one does
    #[arg(long, value_name = "PID")]
    pub parent: Option<u32>,
}

impl DataplaneArgs {
    /// The same in the data plane's own terms (`dataplane::config::Config::from_args`); what only concerns the process
    /// is left out.
    pub fn own_terms(&self) -> Vec<OsString> {
        let mut terms: Vec<OsString> = vec!["--control-socket".into(), self.control_socket.clone().into()];
        for RoleAt { role, at } in &self.listen {
            terms.extend(["--listen".into(), format!("{role}={at}").into()]);
        }
        terms.extend(["--backend".into(), self.backend.as_str().into()]);
        terms.extend(["--shards".into(), self.shards.to_string().into()]);
        if let Some(name) = &self.tcp_congestion {
            terms.extend(["--tcp-congestion".into(), name.into()]);
        }
        terms.extend(["--max-memory".into(), self.max_memory.to_string().into()]);
        terms.extend(["--log-level".into(), self.log_level.clone().into()]);
        let switches = [(self.log_as_json, "--log-as-json"), (self.trace_steps, "--trace-steps")];
        terms.extend(switches.into_iter().filter(|(on, _)| *on).map(|(_, name)| name.into()));
        terms
    }
}

/// What a listening socket serves, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleAt {
    /// `http`, `internal` or `public`.
    pub role: String,
    /// `fd:N`, `unix:PATH` or `ADDRESS:PORT`.
    pub at: String,
}

impl FromStr for RoleAt {
    type Err = String;

    fn from_str(text: &str) -> Result<RoleAt, String> {
        match text.split_once('=') {
            Some((role @ ("http" | "internal" | "public" | "profile"), at)) if !at.is_empty() => {
                Ok(RoleAt { role: role.to_owned(), at: at.to_owned() })
            }
            _ => {
                Err("expected http=…, internal=…, public=… or profile=… with fd:N, unix:PATH or ADDRESS:PORT"
                    .to_owned())
            }
        }
    }
}

/// `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// End after the call
    #[arg(long)]
    pub once: bool,
    /// Find names by multicast DNS too (on), or on this host only (off)
    #[arg(long, value_enum, default_value_t = super::flags::Switch::On)]
    pub mdns: super::flags::Switch,
}

/// `status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// The sidecar of this app
    #[arg(long, value_name = "ID", conflicts_with = "runtime")]
    pub app_id: Option<String>,
    /// The sidecar with this runtime directory
    #[arg(long, value_name = "DIR")]
    pub runtime: Option<PathBuf>,
    /// JSON in place of the screen
    #[arg(long)]
    pub json: bool,
}

/// `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Files, or directories of .yaml and .yml files
    #[arg(required = true, value_name = "FILE")]
    pub paths: Vec<PathBuf>,
}

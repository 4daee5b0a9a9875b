//! How a data plane process is started: the arguments of `outrigger dataplane`.
//!
//! ```text
//! outrigger dataplane --control-socket PATH --listen ROLE=AT [--listen …]
//!     [--backend auto|completion|readiness] [--shards N] [--tcp-congestion auto|host|NAME] [--max-memory BYTES] [--log-as-json] [--log-level LEVEL] [--trace-steps]
//! ROLE: http | internal | public | profile      AT: fd:N (inherited, listening) | IP:PORT | unix:PATH
//! ```
//!
//! Everything else a data plane knows comes through the control socket.

pub use crate::rt::{BackendChoice, Congestion};
pub use proto::log::{Format as LogFormat, Level as LogLevel};
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// How a data plane process is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where control listens.
    pub control_socket: PathBuf,
    /// The listening sockets.
    pub listeners: Vec<Listening>,
    /// Which networking to use.
    pub backend: BackendChoice,
    /// Number of shards; 0 means one.
    pub shards: usize,
    /// How TCP sockets decide how fast they send.
    pub tcp_congestion: Congestion,
    /// Resident bytes above which new calls are refused; 0 is no limit.
    pub max_memory: u64,
    /// How log lines look.
    pub log: LogFormat,
    /// Which log lines are written.
    pub log_level: LogLevel,
    /// Writes one debug line `step=… t=…` for each step of each call. Costs nothing while off.
    pub trace_steps: bool,
}

/// A socket to accept connections on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// What is spoken there.
    pub role: Role,
    /// Where it is.
    pub at: ListenAt,
}

/// What is spoken on a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The HTTP API towards local clients.
    Http,
    /// The mesh hop from other sidecars.
    Internal,
    /// The public subset of the HTTP API: healthz and metadata.
    Public,
    /// What `--enable-profiling` shows.
    Profile,
}

/// Where a listening socket comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAt {
    /// Inherited and already listening.
    Fd(RawFd),
    /// Bound by the data plane itself.
    Tcp(SocketAddr),
    /// Bound by the data plane itself.
    Unix(PathBuf),
}

/// A mistake in the arguments, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadArgument(String);

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadArgument {}

impl Config {
    /// A configuration with defaults; no listeners.
    pub fn new(control_socket: PathBuf) -> Config {
        Config {
            control_socket,
            listeners: Vec::new(),
            backend: BackendChoice::Auto,
            shards: 1,
            tcp_congestion: Congestion::default(),
            max_memory: 0,
            log: LogFormat::Text,
            log_level: LogLevel::Info,
            trace_steps: false,
        }
    }

    /// Reads the arguments that follow `dataplane`.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Config, BadArgument> {
        let mut config = Config::new(PathBuf::new());
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            config.take(&arg, &mut args)?;
        }
        if config.control_socket.as_os_str().is_empty() {
            return Err(BadArgument("--control-socket PATH is required".into()));
        }
        Ok(config)
    }

    /// The arguments that [`Config::from_args`] reads back as this configuration.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--control-socket".into(), self.control_socket.clone().into()];
        for listening in &self.listeners {
            args.extend(["--listen".into(), listening.to_string().into()]);
        }
        args.extend(["--backend".into(), backend_name(self.backend).into()]);
        args.extend(["--shards".into(), self.shards.to_string().into()]);
        args.extend(["--tcp-congestion".into(), self.tcp_congestion.name().into()]);
        args.extend(["--max-memory".into(), self.max_memory.to_string().into()]);
        args.extend(["--log-level".into(), self.log_level.name().into()]);
        if self.log == LogFormat::Json {
            args.push("--log-as-json".into());
        }
        if self.trace_steps {
            args.push("--trace-steps".into());
        }
        args
    }

    fn take(&mut self, arg: &OsString, rest: &mut impl Iterator<Item = OsString>) -> Result<(), BadArgument> {
        let text = arg.to_string_lossy();
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (&*text, None),
        };
        match name {
            "--log-as-json" => self.log = LogFormat::Json,
            "--trace-steps" => self.trace_steps = true,
            _ => {
                let value = inline.or_else(|| rest.next());
                let value = value.ok_or_else(|| BadArgument(format!("{name} needs a value")))?;
                self.take_value(name, value)?;
            }
        }
        Ok(())
    }

    fn take_value(&mut self, name: &str, value: OsString) -> Result<(), BadArgument> {
        let text = value.to_string_lossy().into_owned();
        let bad = |expected: &str| BadArgument(format!("{name}: '{text}' is not {expected}"));
        match name {
            "--control-socket" => self.control_socket = PathBuf::from(value),
            "--listen" => self.listeners.push(Listening::parse(&text)?),
            "--backend" => self.backend = text.parse().map_err(|_| bad("auto, completion or readiness"))?,
            "--shards" => self.shards = text.parse().map_err(|_| bad("a number"))?,
            "--max-memory" => self.max_memory = text.parse().map_err(|_| bad("a number of bytes"))?,
            "--tcp-congestion" => self.tcp_congestion = Congestion::new(&text),
            "--log-level" => {
                self.log_level =
                    LogLevel::parse(&text).ok_or_else(|| bad("fatal, error, warn, info or debug"))?
            }
            _ => return Err(BadArgument(format!("unknown argument {name}"))),
        }
        Ok(())
    }
}

impl Listening {
    fn parse(text: &str) -> Result<Listening, BadArgument> {
        let bad = || {
            BadArgument(format!(
                "--listen: '{text}' is not http|internal|public|profile=fd:N|IP:PORT|unix:PATH"
            ))
        };
        let (role, at) = text.split_once('=').ok_or_else(bad)?;
        let role = match role {
            "http" => Role::Http,
            "internal" => Role::Internal,
            "public" => Role::Public,
            "profile" => Role::Profile,
            _ => return Err(bad()),
        };
        let at = if let Some(fd) = at.strip_prefix("fd:") {
            ListenAt::Fd(fd.parse().map_err(|_| bad())?)
        } else if let Some(path) = at.strip_prefix("unix:") {
            ListenAt::Unix(path.into())
        } else {
            ListenAt::Tcp(at.parse().map_err(|_| bad())?)
        };
        Ok(Listening { role, at })
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            ListenAt::Fd(fd) => write!(f, "{}=fd:{fd}", self.role),
            ListenAt::Tcp(address) => write!(f, "{}={address}", self.role),
            ListenAt::Unix(path) => write!(f, "{}=unix:{}", self.role, path.display()),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Http => "http",
            Role::Internal => "internal",
            Role::Public => "public",
            Role::Profile => "profile",
        })
    }
}

fn backend_name(backend: BackendChoice) -> &'static str {
    match backend {
        BackendChoice::Auto => "auto",
        BackendChoice::Completion => "completion",
        BackendChoice::Readiness => "readiness",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Config, String> {
        Config::from_args(args.iter().map(OsString::from)).map_err(|e| e.to_string())
    }

    #[test]
    fn every_argument_is_read_back_as_it_was_written() {
        let config = Config {
            listeners: vec![
                Listening { role: Role::Http, at: ListenAt::Fd(3) },
                Listening { role: Role::Internal, at: ListenAt::Tcp("[::1]:50002".parse().unwrap()) },
                Listening { role: Role::Public, at: ListenAt::Unix("/run/public.sock".into()) },
            ],
            backend: BackendChoice::Readiness,
            shards: 4,
            tcp_congestion: Congestion::Named("cubic".into()),
            max_memory: 1 << 30,
            log: LogFormat::Json,
            log_level: LogLevel::Debug,
            trace_steps: true,
            ..Config::new("/run/control.sock".into())
        };
        assert_eq!(Config::from_args(config.to_args()), Ok(config));
    }

    #[test]
    fn values_may_follow_an_equals_sign() {
        let config = read(&["--control-socket=/c", "--listen=http=127.0.0.1:0", "--shards=2"]).unwrap();
        assert_eq!((config.shards, config.listeners.len()), (2, 1));
    }

    #[test]
    fn a_mistake_names_the_argument_and_what_was_expected() {
        let cases = [
            (vec!["--shards", "2"], "--control-socket PATH is required"),
            (vec!["--listen"], "--listen needs a value"),
            (vec!["--backend", "fast"], "--backend: 'fast' is not auto, completion or readiness"),
            (vec!["--shards", "x"], "--shards: 'x' is not a number"),
            (vec!["--colour", "x"], "unknown argument --colour"),
            (
                vec!["--listen", "grpc=fd:3"],
                "--listen: 'grpc=fd:3' is not http|internal|public|profile=fd:N|IP:PORT|unix:PATH",
            ),
        ];
        for (args, message) in cases {
            assert_eq!(read(&args).unwrap_err(), message);
        }
    }
}

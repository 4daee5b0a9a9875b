//! The supervisor's log lines, daprd's start and shutdown markers among them (spec/invocation 6.4 to 6.6).

use super::lifecycle::{End, Notice, Part};
use super::sockets::Bound;
use crate::cli::VERSION;
use crate::settings::{Log, Mtls, Resolution, Role, Settings};
use proto::log::{self, Format, Level, Line, Origin};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Scope of most lines.
const RUNTIME: &str = "dapr.runtime";

/// Where the supervisor's lines go.
#[derive(Debug)]
pub(crate) struct Voice {
    file: Option<File>,
    json: bool,
    least: Level,
    app_id: String,
    instance: String,
}

impl Voice {
    /// A voice as the log flags say.
    ///
    /// # Errors
    /// The log file cannot be opened.
    pub(crate) fn new(log: &Log, app_id: &str, instance: &str) -> Result<Voice, String> {
        let file = match &log.file {
            None => None,
            Some(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                Some(opened.map_err(|e| format!("--log-file {}: {e}", path.display()))?)
            }
        };
        let least = Level::parse(&log.level).unwrap_or(Level::Info);
        Ok(Voice { file, json: log.json, least, app_id: app_id.to_owned(), instance: instance.to_owned() })
    }

    /// The children's standard output: the log file, or ours.
    pub(crate) fn stdio(&self) -> Stdio {
        self.file.as_ref().and_then(|file| file.try_clone().ok()).map_or_else(Stdio::inherit, Stdio::from)
    }

    pub(crate) fn info(&self, message: &str) {
        self.line(Level::Info, RUNTIME, message);
    }

    pub(crate) fn warning(&self, message: &str) {
        self.line(Level::Warn, RUNTIME, message);
    }

    pub(crate) fn error(&self, message: &str) {
        self.line(Level::Error, RUNTIME, message);
    }

    /// The last words before a failed start, as daprd says them.
    pub(crate) fn fatal(&self, message: &str) {
        self.line(Level::Fatal, RUNTIME, &format!("Fatal error from runtime: {message}"));
    }

    /// One line. A reader that went away is no reason to end a sidecar.
    pub(crate) fn line(&self, level: Level, scope: &str, message: &str) {
        if level < self.least {
            return;
        }
        let line = self.formatted(level, scope, message);
        let _ = match self.file.as_ref() {
            Some(mut file) => file.write_all(&line),
            None => io::stdout().lock().write_all(&line),
        };
    }
}

impl Voice {
    fn formatted(&self, level: Level, scope: &str, message: &str) -> Vec<u8> {
        let format = if self.json { Format::Json } else { Format::Text };
        let origin = Origin { app_id: &self.app_id, instance: &self.instance, version: VERSION };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_nanos = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        let mut line = Vec::new();
        log::write(&mut line, format, &origin, &Line { unix_nanos, level, scope, message, fields: &[] });
        line
    }
}

impl Voice {
    /// The lines before anything is started.
    pub(crate) fn starting(&self, settings: &Settings) {
        self.info(&format!("Starting Dapr Runtime -- version {VERSION} -- commit "));
        self.info(&format!("Log level set to: {}", settings.log.level));
        match &settings.mtls {
            Mtls::Off => self.line(
                Level::Warn,
                "dapr.runtime.security",
                "mTLS is disabled. Skipping certificate request and tls validation",
            ),
            Mtls::Own { dir } | Mtls::Files { dir } => self.line(
                Level::Info,
                "dapr.runtime.security",
                &format!("mTLS is enabled; certificates are issued under {}", dir.display()),
            ),
        }
        if settings.config_files.is_empty() {
            self.info("loading default configuration");
        }
        self.info("standalone mode configured");
        self.info(&format!("app id: {}", settings.app_id));
        self.info(&format!("Dapr trace sampler initialized: {}", sampler(settings.sampling_rate)));
        settings.warnings.iter().for_each(|warning| self.warning(warning));
    }

    /// The lines when the data plane serves and the app is waited for.
    pub(crate) fn serving(&self, settings: &Settings, bound: &[Bound]) {
        self.info(&format!("Initialized name resolution to {}", ways(&settings.resolution)));
        if settings.app.is_none() {
            self.line(
                Level::Warn,
                "dapr.runtime.channels",
                "App channel is not initialized. Did you configure an app-port?",
            );
        }
        bound.iter().for_each(|socket| self.listening(socket));
        if let Some(max) = settings.limits.max_body {
            self.info(&format!("The request body size parameter is: {max} bytes"));
        }
        if let Some(app) = &settings.app {
            let protocol = format!("{:?}", app.protocol).to_lowercase();
            self.info(&format!(
                "application protocol: {protocol}. waiting on {}.  This will block until the app is listening on that {}.",
                app.place(),
                if app.socket.is_some() { "socket" } else { "port" }
            ));
        }
    }

    fn listening(&self, socket: &Bound) {
        let label = &socket.label;
        let port = socket.port();
        match (socket.role, port) {
            (Role::Http, Some(port)) => {
                self.line(
                    Level::Info,
                    "dapr.runtime.http",
                    &format!("HTTP server listening on TCP address: {label}"),
                );
                self.info(&format!("HTTP server is running on port {port}"));
            }
            (Role::Http, None) => {
                self.line(
                    Level::Info,
                    "dapr.runtime.http",
                    &format!("HTTP server listening on UNIX socket: {label}"),
                );
                self.info("HTTP server is running on a Unix Domain Socket");
            }
            (Role::Public, _) => self.line(
                Level::Info,
                "dapr.runtime.http",
                &format!("HTTP public server listening on TCP address: {label}"),
            ),
            (Role::Internal, _) => {
                self.line(
                    Level::Info,
                    "dapr.runtime.grpc.internal",
                    &format!("gRPC server listening on pre-bound TCP address: {label}"),
                );
                self.info(&format!("Internal gRPC server is running on {label}"));
            }
            (Role::Profile, _) => self.line(
                Level::Info,
                "dapr.runtime.http",
                &format!("profiling server listening on TCP address: {label}"),
            ),
            (Role::Metrics, _) => self.info(&format!("metrics server started on {label}/")),
        }
    }

    /// The lines when everything is ready.
    pub(crate) fn initialized(&self, settings: &Settings, after: Duration) {
        if let Some(app) = &settings.app {
            self.info(&format!("application discovered on {}", app.place()));
            if let Some(max) = app.max_concurrency {
                self.info(&format!("app max concurrency set to {max}"));
            }
        }
        self.info(&format!("dapr initialized. Status: Running. Init Elapsed {}ms", after.as_millis()));
    }

    /// A signal's first line.
    pub(crate) fn signal(&self, name: &str, what: &str) {
        self.line(Level::Info, "dapr.signals", &format!("Received signal '{name}'; {what}"));
    }

    /// What the lifecycle found worth saying.
    pub(crate) fn notice(&self, notice: Notice) {
        match notice {
            Notice::Restarting(part, end, delay) => self.error(&format!(
                "{} ended unasked ({}); starting it again {}",
                word(part),
                ended(end),
                if delay.is_zero() { "at once".into() } else { format!("in {} ms", delay.as_millis()) }
            )),
            Notice::GivenUp(part, end) => self.fatal(&format!(
                "{} ended too often, the last time: {}; what it wrote before says why",
                word(part),
                ended(end)
            )),
            Notice::Refused(part) => {
                // its own last words were the fatal line
                self.error(&format!("{} refused to start; what it wrote before says why", word(part)));
            }
            Notice::AppEnded(end) => self.info(&format!("the app ended ({}); shutting down", ended(end))),
            Notice::Blocking(period) => self.info(&format!(
                "Blocking graceful shutdown for {} or until app reports unhealthy...",
                proto::time::go_text(period)
            )),
            Notice::BlockOver => self.info("Block shutdown period expired, entering shutdown..."),
            Notice::BlockedInVain => self.info("App reported unhealthy, entering shutdown..."),
            Notice::ShuttingDown => self.info("Dapr is shutting down"),
            Notice::Forced => self.error("Graceful shutdown timeout exceeded, forcing shutdown"),
            Notice::Graceful => {
                self.info("Dapr runtime stopped");
                self.info("Daprd shutdown gracefully");
            }
        }
    }
}

/// The ways of looking, daprd's own name first.
fn ways(resolution: &Resolution) -> String {
    let all = [
        (resolution.mdns, "mdns"),
        (resolution.registry.is_some(), "registry"),
        (resolution.table.is_some(), "table"),
    ];
    let used: Vec<&str> = all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    if used.is_empty() {
        format!("nothing ({} is not built)", resolution.component)
    } else {
        used.join(" and ")
    }
}

fn word(part: Part) -> &'static str {
    match part {
        Part::Control => "the control process",
        Part::DataPlane => "the data plane",
        Part::App => "the app",
    }
}

fn ended(end: End) -> String {
    match end {
        End::Code(code) => format!("exit code {code}"),
        End::Signal(signal) => format!("signal {signal}"),
    }
}

/// The sampler in OpenTelemetry's words, as daprd logs it.
fn sampler(rate: f64) -> String {
    let root = if rate >= 1.0 {
        "AlwaysOnSampler".to_owned()
    } else if rate <= 0.0 {
        "AlwaysOffSampler".to_owned()
    } else {
        format!("TraceIDRatioBased{{{rate}}}")
    };
    format!(
        "ParentBased{{root:{root},remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,\
         localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(json: bool) -> Voice {
        let log = Log { level: "info".into(), json, file: None };
        Voice::new(&log, "orders", "box").unwrap()
    }

    #[test]
    fn a_line_carries_the_app_and_the_host() {
        let line = String::from_utf8(voice(false).formatted(Level::Warn, RUNTIME, "hi there")).unwrap();
        assert!(line.contains("level=warning msg=\"hi there\" app_id=orders instance=box"), "{line}");
        let line = voice(true).formatted(Level::Info, RUNTIME, "app id: orders");
        let object: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&object["msg"], &object["ver"]), (&"app id: orders".into(), &VERSION.into()));
    }

    #[test]
    fn the_sampler_is_described_in_opentelemetrys_words() {
        assert!(sampler(1e-4).starts_with("ParentBased{root:TraceIDRatioBased{0.0001},remoteParentSampled:"));
        assert!(sampler(1.0).starts_with("ParentBased{root:AlwaysOnSampler,"));
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let log = Log { level: "info".into(), json: false, file: Some("/nonexistent/log".into()) };
        assert!(Voice::new(&log, "a", "b").unwrap_err().contains("--log-file /nonexistent/log"));
    }
}

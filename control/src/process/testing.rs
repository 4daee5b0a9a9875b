//! A control process without its process, and a data plane for it.

use super::House;
use crate::settings::{
    Access, ApiLists, ApiLogging, App, DataPlane as Executor, Limits, Log, Mode, Mtls, Ports, Protocol,
    Resolution, Settings,
};
use proto::control::frame::{self, Decoder};
use proto::control::session::{About, Heard, Subscriber};
use proto::control::{Backend, FromControl, FromDataplane, Report};
use proto::snapshot::{AppRef, Route};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A private directory and a house in it whose names come from a table.
pub(crate) struct Ground {
    pub(crate) dir: PathBuf,
    pub(crate) house: Arc<House>,
}

impl Ground {
    pub(crate) fn new(table: &str) -> Ground {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("outrigger-control-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("table"), table).unwrap();
        let settings = settings(&dir);
        let voice = Arc::new(House::voice(&settings).unwrap());
        let house = Arc::new(House::new(settings, &dir, false, voice, None));
        Ground { dir, house }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// App `orders` on port 3000, plaintext, names from `dir/table` only.
pub(crate) fn settings(dir: &Path) -> Settings {
    Settings {
        mode: Mode::Run,
        app_id: "orders".into(),
        namespace: "default".into(),
        trust_domain: "public".into(),
        host_name: "h".into(),
        host_address: [127, 0, 0, 1].into(),
        ports: Ports { http: Some(3500), internal: 50002, ..Ports::default() },
        app: Some(App {
            host: "127.0.0.1".into(),
            port: 3000,
            socket: None,
            protocol: Protocol::Http,
            max_concurrency: None,
            health: None,
            asks_config: false,
        }),
        limits: Limits {
            max_body: Some(4 << 20),
            max_head: 65536,
            max_replay_body: 1 << 20,
            grace_seconds: Some(5),
            block_shutdown_ms: 0,
        },
        mtls: Mtls::Off,
        leaf_lifetime_seconds: 86400,
        state_dir: dir.join("state"),
        resolution: Resolution {
            component: "mdns".into(),
            mdns: false,
            registry: None,
            table: Some(dir.join("table")),
            advertise: [127, 0, 0, 1].into(),
        },
        sampling_rate: 1.0,
        begins_traces: false,
        api: ApiLists::default(),
        pipelines: crate::settings::Pipelines::default(),
        allowed_origins: String::new(),
        metrics: None,
        api_logging: ApiLogging::default(),
        access: Access { allow_by_default: true },
        log: Log { level: "fatal".into(), json: false, file: None },
        data_plane: Executor {
            backend: "auto".into(),
            shards: 1,
            tcp_congestion: None,
            max_memory: 0,
            trace_steps: false,
        },
        config_files: Vec::new(),
        resource_dirs: Vec::new(),
        warnings: Vec::new(),
        started_unix_ms: 0,
    }
}

pub(crate) fn app(id: &str) -> AppRef {
    AppRef { app_id: id.into(), namespace: "default".into() }
}

/// Waits for a fact that nothing tells of.
pub(crate) async fn until(fact: impl Fn() -> bool) {
    let reached = async {
        while !fact() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, reached).await.expect("in time");
}

/// A data plane of the test's own.
pub(crate) struct DataPlane {
    pub(crate) stream: UnixStream,
    pub(crate) subscriber: Subscriber,
    decoder: Decoder,
}

impl DataPlane {
    /// One that has said Hello.
    pub(crate) async fn connect(ground: &Ground) -> DataPlane {
        let mut plane = DataPlane::silent(ground).await;
        plane.hello().await;
        plane
    }

    pub(crate) async fn silent(ground: &Ground) -> DataPlane {
        let stream = UnixStream::connect(ground.socket()).await.unwrap();
        DataPlane { stream, subscriber: Subscriber::new(), decoder: Decoder::new() }
    }

    pub(crate) async fn hello(&mut self) {
        let about = About {
            software: "test".into(),
            pid: std::process::id(),
            shards: 1,
            backend: Backend::Readiness,
            backend_reason: "refused by the host".into(),
        };
        let hello = self.subscriber.connected(&about);
        self.say(&hello).await;
    }

    pub(crate) async fn say(&mut self, message: &FromDataplane) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next message; `None` at the end of the connection.
    pub(crate) async fn message(&mut self) -> Option<FromControl> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(message) = self.decoder.take().unwrap() {
                return Some(message);
            }
            match timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("in time") {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.decoder.push(&bytes[..count]),
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        let message = self.message().await.expect("a message");
        self.subscriber.received(message).unwrap()
    }

    /// Takes and acknowledges the next snapshot.
    pub(crate) async fn settle(&mut self) {
        loop {
            if let Heard::Candidate(candidate) = self.hear().await {
                let answer = self.subscriber.accept(candidate);
                return self.say(&answer).await;
            }
        }
    }

    pub(crate) async fn ask(&mut self, id: &str) {
        self.say(&FromDataplane::resolve(&app(id))).await;
    }

    /// The next answer about a name; snapshots on the way are taken.
    pub(crate) async fn resolved(&mut self) -> (AppRef, Arc<Route>) {
        loop {
            match self.hear().await {
                Heard::Resolved { target, route } => return (target, route),
                Heard::Candidate(candidate) => {
                    let answer = self.subscriber.accept(candidate);
                    self.say(&answer).await;
                }
                _ => {}
            }
        }
    }

    /// Answers the next question for a report.
    pub(crate) async fn report(&mut self, report: Report) {
        loop {
            if let Heard::Collect { id } = self.hear().await {
                for part in report.into_parts(id) {
                    self.say(&FromDataplane::report(part)).await;
                }
                return;
            }
        }
    }
}

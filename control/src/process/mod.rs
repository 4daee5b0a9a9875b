//! The control process: reads what the supervisor decided, finds names, keeps the identity, tells the data plane, and answers
//! those who ask for metrics or status. It is not on the way of any request: while it is away the data plane goes on with
//! what it knows, and when it comes back it resumes from the settings and the state directory.
//!
//! ```text
//!  settings.json ─┐                    ┌──▶ control.sock   data plane: snapshots, names, reports
//!  state dir ─────┼─▶ picture ── House ┼──▶ status.sock    one JSON document
//!  ways of looking┘                    └──▶ metrics port   Prometheus text
//! ```

mod names;
mod own_identity;
mod picture;
#[cfg(test)]
pub(crate) mod testing;
mod usage;
mod ways;

pub use names::{DOUBT_PAUSE, LOOK_WITHIN, MAX_LOOKING, MAX_NAMES, Names, REFRESH};
pub use picture::Picture;
pub use usage::Usage;

pub(crate) use own_identity::warning as identity_warning;

use crate::channel::{self, Planes};
use crate::configuration::{self, Findings, Strictness};
use crate::identity::{Renewer, Standing};
use crate::keys::{self, Known};
use crate::settings::{CONTROL_SOCKET, Log, Mode, STATUS_SOCKET, Settings};
use crate::supervisor::Voice;
use crate::{exporter, status};
use proto::control::Attached;
use proto::control::attached::Attachments;
use proto::control::exit::BAD_CONFIGURATION;
use proto::log::Level;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Everything the tasks of this process share.
pub struct House {
    /// What was decided at the start.
    pub settings: Settings,
    /// The private runtime directory.
    pub runtime: PathBuf,
    /// The parent is the supervisor of this sidecar.
    pub supervised: bool,
    /// The snapshot.
    pub picture: Arc<Picture>,
    /// The resolution table.
    pub names: Arc<Names>,
    /// The data planes.
    pub planes: Planes,
    /// The own identity; `None` without mTLS.
    pub(crate) standing: Option<watch::Receiver<Standing>>,
    /// How it stands with the keys of token issuers.
    pub(crate) keys: keys::Standing,
    /// The log.
    pub(crate) voice: Arc<Voice>,
    /// Whether this sidecar is to be found by others.
    pub(crate) present: watch::Sender<bool>,
    /// Things worth a warning that came up after the start.
    pub(crate) troubles: std::sync::Mutex<Vec<String>>,
    /// What clients attached to the sidecar, for the next data plane.
    attached: std::sync::Mutex<Attachments>,
}

/// Why there is no control process.
enum Refused {
    /// What was configured cannot work, however often it is tried.
    Configuration(String),
    /// Anything else.
    Other(String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Other(error.to_string())
    }
}

/// Runs the control process; its exit code. `supervised`: the parent is the supervisor of this sidecar.
pub fn run(runtime: &Path, supervised: bool) -> i32 {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done =
        executor.map_err(Refused::from).and_then(|executor| executor.block_on(serve(runtime, supervised)));
    match done {
        Ok(()) => 0,
        Err(Refused::Other(reason)) => last_words(runtime, &reason, 1),
        Err(Refused::Configuration(reason)) => last_words(runtime, &reason, BAD_CONFIGURATION),
    }
}

/// daprd's last words are a log line; ours are plain.
fn last_words(runtime: &Path, reason: &str, code: i32) -> i32 {
    let voice = Settings::load(runtime).ok().filter(|settings| settings.mode == Mode::Daprd);
    match voice.and_then(|settings| House::voice(&settings).ok()) {
        Some(voice) => voice.fatal(reason),
        None => _ = crate::cli::complain(reason),
    }
    code
}

async fn serve(runtime: &Path, supervised: bool) -> Result<(), Refused> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let settings = Settings::load(runtime)?;
    // open before anything that takes time: who connects meanwhile waits instead of being refused
    let doors = Doors::open(runtime, &settings)?;
    let house = furnish(settings, runtime, supervised).await?;
    doors.serve(&house);
    let presence = tokio::spawn(ways::be_present(Arc::clone(&house), house.present.subscribe()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    presence.abort();
    house.names.resolver().withdraw().await;
    Ok(())
}

/// The house with its first identity and everything that keeps it fresh.
async fn furnish(settings: Settings, runtime: &Path, supervised: bool) -> Result<Arc<House>, Refused> {
    let voice = Arc::new(House::voice(&settings).map_err(Refused::Other)?);
    let obtained = own_identity::obtain(&settings, Arc::clone(&voice)).await;
    let renewer = obtained.map_err(Refused::Configuration)?;
    let standing = renewer.as_ref().map(Renewer::standing);
    let pipelines = settings.pipelines.built(&Known::new()).map_err(Refused::Configuration)?;
    let house = Arc::new(House::new(settings, runtime, supervised, voice, standing.clone()));
    if let (Some(renewer), Some(standing)) = (renewer, standing) {
        tokio::spawn(renewer.run());
        tokio::spawn(own_identity::publish(Arc::clone(&house), standing));
    }
    house.picture.change(|next| next.pipelines = Arc::new(pipelines));
    tokio::spawn(Arc::clone(&house.names).refresh());
    keys::keep(&house).await;
    Ok(house)
}

/// The resources, read again: they hold secrets, which are not stored with the settings.
fn resources(settings: &Settings) -> Findings {
    let strictness = match settings.mode {
        Mode::Run => Strictness::Strict,
        Mode::Daprd => Strictness::Lenient,
    };
    let app_id = settings.app_id.clone();
    configuration::read(&[], &settings.resource_dirs, strictness, &|name| match name {
        "APP_ID" => Some(app_id.clone()),
        name => std::env::var(name).ok(),
    })
}

/// Where others come in.
struct Doors {
    planes: UnixListener,
    status: UnixListener,
    metrics: io::Result<Option<TcpListener>>,
}

impl Doors {
    fn open(runtime: &Path, settings: &Settings) -> io::Result<Doors> {
        Ok(Doors {
            planes: channel::listen(&runtime.join(CONTROL_SOCKET))?,
            status: channel::listen(&runtime.join(STATUS_SOCKET))?,
            metrics: exporter::listener(settings.metrics.as_ref()),
        })
    }

    fn serve(self, house: &Arc<House>) {
        tokio::spawn(channel::serve(self.planes, Arc::clone(house)));
        tokio::spawn(status::serve(self.status, Arc::clone(house)));
        match self.metrics {
            Ok(Some(listener)) => drop(tokio::spawn(exporter::serve(listener, Arc::clone(house)))),
            Ok(None) => {}
            Err(e) => house.trouble(format!("no metrics: {e}")),
        }
    }
}

impl House {
    /// The log of this process; the supervisor has made it its standard output already if it goes to a file.
    fn voice(settings: &Settings) -> Result<Voice, String> {
        let log = Log { file: None, ..settings.log.clone() };
        Voice::new(&log, &settings.app_id, &settings.host_name)
    }

    fn new(
        settings: Settings,
        runtime: &Path,
        supervised: bool,
        voice: Arc<Voice>,
        standing: Option<watch::Receiver<Standing>>,
    ) -> House {
        let resources = resources(&settings);
        let endpoints = resources.http_endpoints.clone();
        let mut first = picture::first(&settings, endpoints, |name| std::env::var(name).ok());
        first.identity = standing.as_ref().map(|standing| Arc::clone(&standing.borrow().material));
        let picture = Arc::new(Picture::new(first));
        let (resolver, troubles) = ways::of(&settings);
        let house = House {
            runtime: runtime.to_owned(),
            supervised,
            names: Arc::new(Names::new(resolver, Arc::clone(&picture))),
            picture,
            planes: Planes::default(),
            keys: keys::Standing::default(),
            standing,
            voice,
            present: watch::Sender::new(false),
            troubles: std::sync::Mutex::default(),
            attached: std::sync::Mutex::default(),
            settings,
        };
        troubles.into_iter().for_each(|trouble| house.trouble(trouble));
        resources.news(&house.settings.warnings).into_iter().for_each(|trouble| house.trouble(trouble));
        house
    }

    /// The data plane serves: others may find it.
    pub(crate) fn is_serving(&self) {
        self.present.send_if_modified(|present| !std::mem::replace(present, true));
    }

    /// The data plane is about to end: others are told to go elsewhere.
    pub(crate) fn withdraw(&self) {
        self.present.send_if_modified(|present| std::mem::replace(present, false));
    }

    /// Keeps what clients attached to the sidecar. The data plane has the same bound, so that there is room.
    pub(crate) fn attach(&self, attached: &Attached) {
        let mut kept = self.attached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (key, value) in attached.iter() {
            if kept.put(key, value).is_err() {
                self.voice.line(Level::Warn, "dapr.runtime", "metadata beyond its limit is not kept");
            }
        }
    }

    /// What clients attached to the sidecar so far, if anything.
    pub(crate) fn attached(&self) -> Option<Attached> {
        let kept = self.attached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (!kept.is_empty()).then(|| Attached::of(kept.iter()))
    }

    /// Something is not as it should be, and stays so: logged once and shown by `status`.
    pub(crate) fn trouble(&self, words: String) {
        self.voice.line(Level::Warn, "dapr.runtime", &words);
        let mut troubles = self.troubles.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !troubles.contains(&words) && troubles.len() < 64 {
            troubles.push(words);
        }
    }
}

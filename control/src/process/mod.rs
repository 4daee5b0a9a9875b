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
mod picture;
#[cfg(test)]
pub(crate) mod testing;
mod usage;
mod ways;

pub use names::{LOOK_WITHIN, MAX_LOOKING, MAX_NAMES, Names, REFRESH};
pub use picture::Picture;
pub use usage::Usage;

use crate::channel::{self, Planes};
use crate::settings::{CONTROL_SOCKET, Log, STATUS_SOCKET, Settings};
use crate::supervisor::Voice;
use crate::{exporter, status};
use proto::log::Level;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// The log.
    pub(crate) voice: Voice,
    /// Whether this sidecar is to be found by others.
    pub(crate) present: watch::Sender<bool>,
    /// Things worth a warning that came up after the start.
    pub(crate) troubles: std::sync::Mutex<Vec<String>>,
}

/// Runs the control process; its exit code. `supervised`: the parent is the supervisor of this sidecar.
pub fn run(runtime: &Path, supervised: bool) -> i32 {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = executor
        .map_err(|e| e.to_string())
        .and_then(|executor| executor.block_on(serve(runtime, supervised)));
    done.map_or_else(|reason| crate::cli::complain(&reason), |()| 0)
}

async fn serve(runtime: &Path, supervised: bool) -> Result<(), String> {
    let words = |e: io::Error| e.to_string();
    let mut terminate = signal(SignalKind::terminate()).map_err(words)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(words)?;
    let settings = Settings::load(runtime).map_err(words)?;
    let planes_socket = channel::listen(&runtime.join(CONTROL_SOCKET)).map_err(words)?;
    let status_socket = channel::listen(&runtime.join(STATUS_SOCKET)).map_err(words)?;
    let metrics = exporter::listener(settings.metrics.as_ref());
    let house = Arc::new(House::new(settings, runtime, supervised)?);
    tokio::spawn(Arc::clone(&house.names).refresh());
    tokio::spawn(channel::serve(planes_socket, Arc::clone(&house)));
    tokio::spawn(status::serve(status_socket, Arc::clone(&house)));
    match metrics {
        Ok(Some(listener)) => drop(tokio::spawn(exporter::serve(listener, Arc::clone(&house)))),
        Ok(None) => {}
        Err(e) => house.trouble(format!("no metrics: {e}")),
    }
    let presence = tokio::spawn(ways::be_present(Arc::clone(&house), house.present.subscribe()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    presence.abort();
    house.names.resolver().withdraw().await;
    Ok(())
}

impl House {
    pub(crate) fn new(settings: Settings, runtime: &Path, supervised: bool) -> Result<House, String> {
        let log = Log { file: None, ..settings.log.clone() };
        let voice = Voice::new(&log, &settings.app_id, &settings.host_name)?;
        let picture = picture::first(&settings, |name| std::env::var(name).ok());
        let picture = Arc::new(Picture::new(picture));
        let (resolver, troubles) = ways::of(&settings);
        let house = House {
            runtime: runtime.to_owned(),
            supervised,
            names: Arc::new(Names::new(resolver, Arc::clone(&picture))),
            picture,
            planes: Planes::default(),
            voice,
            present: watch::Sender::new(false),
            troubles: std::sync::Mutex::default(),
            settings,
        };
        troubles.into_iter().for_each(|trouble| house.trouble(trouble));
        Ok(house)
    }

    /// The data plane serves: others may find it.
    pub(crate) fn is_serving(&self) {
        self.present.send_if_modified(|present| !std::mem::replace(present, true));
    }

    /// The data plane is about to end: others are told to go elsewhere.
    pub(crate) fn withdraw(&self) {
        self.present.send_if_modified(|present| std::mem::replace(present, false));
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

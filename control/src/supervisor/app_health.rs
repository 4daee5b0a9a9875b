//! Whether the app fails its health probes: the data plane knows, control asks it, and this asks control.

use crate::settings::STATUS_SOCKET;
use crate::status::Document;
use proto::control::report::APP_UNHEALTHY;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer in bytes.
const LARGEST: u64 = 64 << 20;

/// Waits until the app of the sidecar with this runtime directory fails its health probes. While nobody answers, nothing
/// is known.
pub(super) async fn fails(runtime: PathBuf) {
    let socket = runtime.join(STATUS_SOCKET);
    while !matches!(timeout(PATIENCE, ask(&socket)).await, Ok(Ok(true))) {
        sleep(PAUSE).await;
    }
}

async fn ask(socket: &Path) -> io::Result<bool> {
    let mut answer = Vec::new();
    UnixStream::connect(socket).await?.take(LARGEST).read_to_end(&mut answer).await?;
    let document: Document = serde_json::from_slice(&answer)?;
    Ok(document.counts.get(APP_UNHEALTHY).is_some_and(|count| *count > 0))
}

//! Control's end of the local channel: data planes connect to `control.sock`, get the snapshot and every change to it, ask for
//! names and report their numbers.

mod connection;
mod planes;

#[cfg(test)]
mod tests;

pub use planes::{COLLECT_WITHIN, MAX_PLANES, Plane, Planes};

use crate::process::House;
use proto::log::Level;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};

/// Scope of this part's log lines.
const SCOPE: &str = "dapr.runtime.control";

/// Listens on a Unix socket that only its owner may use, in place of one that a dead process left.
///
/// # Errors
/// The socket cannot be made.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(named(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(named)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(named)?;
    Ok(listener)
}

/// Whether the process at the other end runs as the same user, or as root. The socket's mode says the same; this
/// holds even if the directory was opened up.
pub(crate) fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// Accepts data planes; never ends.
pub async fn serve(listener: UnixListener, house: Arc<House>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_ours(&stream) => {
                tokio::spawn(connection::converse(stream, Arc::clone(&house)));
            }
            Ok(_) => house.voice.line(Level::Warn, SCOPE, "a process of another user was turned away"),
            // out of descriptors, most likely: the listener stays readable, so this must not spin
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

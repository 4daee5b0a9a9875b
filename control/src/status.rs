//! What a running sidecar says about itself: the document, and asking for it.
//!
//! Whoever connects to `status.sock` in the runtime directory gets one JSON document, then the end of the stream; nothing
//! has to be sent. Control serves it.

mod document;
mod server;

pub use server::serve;

pub use document::{
    Call, Certificate, DataPlaneStatus, Document, EndpointStatus, IdentityStatus, Latency, PeerRoute,
    Process, SidecarStatus,
};

use crate::settings::STATUS_SOCKET;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a sidecar may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer in bytes.
const LARGEST: u64 = 64 << 20;

/// Asks the sidecar with this runtime directory.
///
/// # Errors
/// Nobody listens, or the answer takes too long or is no status document.
pub fn ask(runtime: &Path) -> io::Result<Document> {
    let mut answer = Vec::new();
    let stream = UnixStream::connect(runtime.join(STATUS_SOCKET))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.take(LARGEST).read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

//! The app and the pairs of sidecars that stand in front of it.

mod app;
mod daprd;
mod haproxy;
mod outrigger;

pub(crate) use app::App;

use crate::host::Guard;
use rig::Program;
use rig::scratch::Scratch;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Two sidecars in a row, ready.
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    /// Where a client of the first sidecar connects.
    pub(crate) front: SocketAddr,
    /// What stands before the app's own path.
    pub(crate) prefix: &'static str,
    pub(crate) caller: Guard,
    pub(crate) callee: Guard,
    /// From start to ready, the slower of the two.
    pub(crate) ready: Duration,
    /// Further processes that the pair needs and that serve no request (a certificate authority).
    pub(crate) _others: Vec<Guard>,
    pub(crate) _folder: Scratch,
}

/// An Outrigger pair with mTLS and everything else at its default.
pub(crate) fn outrigger(app: &App) -> Result<Pair, String> {
    outrigger::start(app, "outrigger", Program::outrigger(None).path(), false)
}

/// The same with the app on a Unix socket.
pub(crate) fn outrigger_unix(app: &App) -> Result<Pair, String> {
    outrigger::start(app, "outrigger, unix app", Program::outrigger(None).path(), true)
}

/// The same as the first with another executable.
pub(crate) fn also(app: &App, program: &Path) -> Result<Pair, String> {
    outrigger::start(app, "also", program, false)
}

/// An HAProxy pair: mTLS and HTTP/2 between, no policy.
pub(crate) fn haproxy(app: &App) -> Result<Pair, String> {
    haproxy::start(app)
}

/// A daprd pair with mTLS, where `OUTRIGGER_PEERS` has daprd and sentry.
pub(crate) fn daprd(app: &App) -> Option<Result<Pair, String>> {
    daprd::start(app)
}

/// Waits until `ready` holds, and says how long it took since `begin`.
fn await_ready(
    begin: Instant,
    what: &str,
    process: &mut Guard,
    mut ready: impl FnMut() -> bool,
) -> Result<Duration, String> {
    let limit = begin + Duration::from_secs(20);
    loop {
        if ready() {
            return Ok(begin.elapsed());
        }
        if process.has_ended() {
            return Err(format!("{what} ended while starting"));
        }
        if Instant::now() > limit {
            return Err(format!("{what} is not ready after 20 s"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn accepts(port: u16) -> bool {
    std::net::TcpStream::connect(local(port)).is_ok()
}

fn healthy(port: u16) -> bool {
    rig::http1::client::status(local(port), "/v1.0/healthz") == Some(204)
}

fn local(port: u16) -> SocketAddr {
    rig::sidecar::local(port)
}

/// `N` free ports.
fn ports<const N: usize>() -> [u16; N] {
    rig::port::free(N).try_into().unwrap_or([0; N])
}

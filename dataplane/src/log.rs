//! Log lines on standard output in daprd's form (`proto::log`). One `write` a line; lines are rare.
//!
//! [`install`] says how lines look, [`identify`] whose they are. Before both, lines are text at level info.

pub use proto::log::Level;
use proto::log::{Format, Line, Origin, Value, write};
use std::fmt::Display;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `scope` of the runtime's own lines.
pub const RUNTIME: &str = "dapr.runtime";

static FORM: OnceLock<(Format, Level)> = OnceLock::new();
static WHO: RwLock<(String, String)> = RwLock::new((String::new(), String::new()));

/// Says how lines look. Only the first call counts.
pub fn install(format: Format, level: Level) {
    let _ = FORM.set((format, level));
}

/// Says whose lines they are: app id and host name.
pub fn identify(app_id: &str, instance: &str) {
    *WHO.write().unwrap_or_else(PoisonError::into_inner) = (app_id.into(), instance.into());
}

/// Whether lines of this level are written.
pub fn writes(level: Level) -> bool {
    level >= FORM.get().map_or(Level::Info, |(_, level)| *level)
}

/// What happens.
pub fn info(scope: &str, message: impl Display) {
    line(Level::Info, scope, message);
}

/// Something needs a look.
pub fn warn(scope: &str, message: impl Display) {
    line(Level::Warn, scope, message);
}

/// Something failed for good.
pub fn error(scope: &str, message: impl Display) {
    line(Level::Error, scope, message);
}

/// What happens in detail.
pub fn debug(scope: &str, message: impl Display) {
    line(Level::Debug, scope, message);
}

/// One line, if its level is written. A closed standard output loses it.
pub fn line(level: Level, scope: &str, message: impl Display) {
    if writes(level) {
        put(&formatted(level, scope, &message.to_string(), &[]));
    }
}

/// A line about a call, with fields. A thread of its own writes it, so that a reader of the log that stands still holds up
/// no call; of more than [`MOST_WAITING`] lines that wait the rest is lost and counted.
pub fn call(scope: &str, message: &str, fields: &[(&str, Value<'_>)]) {
    let line = formatted(Level::Info, scope, message, fields);
    if let Err(TrySendError::Full(_)) = writer().try_send(Job::Line(line)) {
        LOST.fetch_add(1, Relaxed);
    }
}

/// Waits until the lines about calls are written, for a moment at most.
pub fn flush() {
    if let Some(writer) = WRITER.get() {
        let (done, written) = sync_channel(1);
        let _ = writer.try_send(Job::Flush(done)); // a queue that is full is not waited for
        let _ = written.recv_timeout(FLUSH_TIME); // nor a reader that stands still
    }
}

fn formatted(level: Level, scope: &str, message: &str, fields: &[(&str, Value<'_>)]) -> Vec<u8> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_nanos = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    let line = Line { unix_nanos, level, scope, message, fields };
    let who = WHO.read().unwrap_or_else(PoisonError::into_inner);
    let origin = Origin { app_id: &who.0, instance: &who.1, version: env!("CARGO_PKG_VERSION") };
    let format = FORM.get().map_or(Format::Text, |(format, _)| *format);
    let mut out = Vec::with_capacity(256);
    write(&mut out, format, &origin, &line);
    out
}

fn put(line: &[u8]) {
    let _ = std::io::stdout().lock().write_all(line); // a closed standard output loses it
}

/// Most lines about calls that wait to be written.
pub const MOST_WAITING: usize = 4096;

/// How long the end of the process waits for lines about calls.
const FLUSH_TIME: Duration = Duration::from_millis(200);

enum Job {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

static WRITER: OnceLock<SyncSender<Job>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

fn writer() -> &'static SyncSender<Job> {
    WRITER.get_or_init(|| {
        let (sender, jobs) = sync_channel(MOST_WAITING);
        // without a thread the lines are lost, which they count as
        let _ = std::thread::Builder::new().name("log".into()).spawn(move || jobs.iter().for_each(work));
        sender
    })
}

fn work(job: Job) {
    match job {
        Job::Line(line) => put(&line),
        Job::Flush(done) => _ = done.send(()), // who waited may have given up
    }
    let lost = LOST.swap(0, Relaxed);
    if lost > 0 {
        warn(RUNTIME, format_args!("{lost} lines about calls were lost: nobody read the log fast enough"));
    }
}

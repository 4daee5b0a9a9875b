//! Log lines on standard output in daprd's form (`proto::log`). One `write` a line; lines are rare.
//!
//! [`install`] says how lines look, [`identify`] whose they are. Before both, lines are text at level info.

use proto::log::{Format, Level, Line, Origin, write};
use std::fmt::Display;
use std::io::Write as _;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

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
    if !writes(level) {
        return;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = Line {
        unix_nanos: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        level,
        scope,
        message: &message.to_string(),
        fields: &[],
    };
    let who = WHO.read().unwrap_or_else(PoisonError::into_inner);
    let origin = Origin { app_id: &who.0, instance: &who.1, version: env!("CARGO_PKG_VERSION") };
    let format = FORM.get().map_or(Format::Text, |(format, _)| *format);
    let mut out = Vec::with_capacity(256);
    write(&mut out, format, &origin, &line);
    let _ = std::io::stdout().lock().write_all(&out);
}

//! daprd's log lines: `key=value` text, or JSON with `--log-as-json` (spec/invocation 6.4, vectors surface/logs).
//!
//! ```
//! use proto::log::{Format, Level, Line, Origin, Value, write};
//!
//! let origin = Origin { app_id: "orders", instance: "node1", version: "1.0" };
//! let line = Line {
//!     unix_nanos: 1_700_000_000_000_000_000,
//!     level: Level::Info,
//!     scope: "dapr.runtime",
//!     message: "app id: orders",
//!     fields: &[("code", Value::Number(200))],
//! };
//! let mut out = Vec::new();
//! write(&mut out, Format::Text, &origin, &line);
//! assert_eq!(
//!     String::from_utf8(out).unwrap(),
//!     "time=\"2023-11-14T22:13:20Z\" level=info msg=\"app id: orders\" app_id=orders code=200 instance=node1 \
//!      scope=dapr.runtime type=log ver=1.0\n"
//! );
//! ```

use crate::http1::encode::{civil, two};
use crate::invoke::quote;

/// How grave a line is; the order is that of `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Detail.
    Debug,
    /// The usual.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
    /// The process ends.
    Fatal,
}

impl Level {
    /// As it stands in a line.
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warning",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    /// The value of `--log-level`, in any case; `None` for anything unknown.
    pub fn parse(text: &str) -> Option<Level> {
        let level = match text.to_ascii_lowercase().as_str() {
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" | "warning" => Level::Warn,
            "error" => Level::Error,
            "fatal" => Level::Fatal,
            _ => return None,
        };
        Some(level)
    }
}

/// The form of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `key=value`.
    #[default]
    Text,
    /// One JSON object a line, keys in alphabetical order.
    Json,
}

/// Who logs: the same in every line of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// `--app-id`.
    pub app_id: &'a str,
    /// The host name.
    pub instance: &'a str,
    /// The version of the executable.
    pub version: &'a str,
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number, never quoted.
    Number(i64),
}

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Wall-clock time, nanoseconds since 1970.
    pub unix_nanos: i64,
    /// How grave.
    pub level: Level,
    /// The part that logs, such as `dapr.runtime`.
    pub scope: &'a str,
    /// What happened.
    pub message: &'a str,
    /// Further fields, with keys of letters, digits and underscores.
    pub fields: &'a [(&'a str, Value<'a>)],
}

/// Appends one line with its line end.
pub fn write(out: &mut Vec<u8>, format: Format, origin: &Origin<'_>, line: &Line<'_>) {
    let time = timestamp(line.unix_nanos);
    let mut fields = vec![
        ("app_id", Value::Text(origin.app_id)),
        ("instance", Value::Text(origin.instance)),
        ("scope", Value::Text(line.scope)),
        ("type", Value::Text("log")),
        ("ver", Value::Text(origin.version)),
    ];
    fields.extend_from_slice(line.fields);
    let head = [
        ("time", Value::Text(&time)),
        ("level", Value::Text(line.level.name())),
        ("msg", Value::Text(line.message)),
    ];
    match format {
        Format::Text => {
            fields.sort_by_key(|(key, _)| *key);
            text(out, head.iter().chain(&fields));
        }
        Format::Json => {
            fields.extend_from_slice(&head);
            fields.sort_by_key(|(key, _)| *key);
            json(out, &fields);
        }
    }
    out.push(b'\n');
}

fn text<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = &'a (&'a str, Value<'a>)>) {
    for (at, (key, value)) in fields.enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        match value {
            Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Value::Text(text) if text.bytes().all(is_bare) => out.extend_from_slice(text.as_bytes()),
            Value::Text(text) => {
                let mut quoted = String::new();
                quote::go(&mut quoted, text);
                out.extend_from_slice(quoted.as_bytes());
            }
        }
    }
}

/// What logrus leaves unquoted.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte)
}

fn json(out: &mut Vec<u8>, fields: &[(&str, Value<'_>)]) {
    out.push(b'{');
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        quote::json(out, key);
        out.push(b':');
        match value {
            Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Value::Text(text) => quote::json(out, text),
        }
    }
    out.push(b'}');
}

/// RFC 3339 in UTC with as many digits of a second as needed, as Go's RFC3339Nano.
pub fn timestamp(unix_nanos: i64) -> String {
    let (seconds, nanos) = (unix_nanos.div_euclid(1_000_000_000), unix_nanos.rem_euclid(1_000_000_000));
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let mut text = format!("{year:04}");
    for (separator, number) in
        [('-', month), ('-', day), ('T', of_day / 3600), (':', of_day / 60 % 60), (':', of_day % 60)]
    {
        text.push(separator);
        text.extend(two(number).map(char::from));
    }
    if nanos > 0 {
        text.push('.');
        text.push_str(format!("{nanos:09}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: [(Format, &str); 2] = [
        (Format::Text, include_str!("../../tests/vectors/surface/logs/full-text.log")),
        (Format::Json, include_str!("../../tests/vectors/surface/logs/full-json.log")),
    ];
    const ORIGIN: Origin<'_> = Origin { app_id: "gv-log", instance: "gv-host", version: "unknown" };

    fn written(format: Format, level: Level, scope: &str, message: &str) -> String {
        let line = Line { unix_nanos: 0, level, scope, message, fields: &[] };
        let mut out = Vec::new();
        write(&mut out, format, &ORIGIN, &line);
        String::from_utf8(out).unwrap().replace("1970-01-01T00:00:00Z", "{TIME}")
    }

    #[test]
    fn lines_look_like_daprds() {
        for (format, recorded) in RECORDED {
            for (level, scope, message) in [
                (Level::Info, "dapr.runtime", "Starting Dapr Runtime -- version edge -- commit "),
                (
                    Level::Warn,
                    "dapr.runtime.security",
                    "mTLS is disabled. Skipping certificate request and tls validation",
                ),
                (Level::Info, "dapr.runtime.diagnostics", "metric spec: {\"enabled\":true}"),
            ] {
                let line = written(format, level, scope, message);
                assert!(recorded.contains(line.trim_end()), "{line}");
            }
        }
    }

    #[test]
    fn times_have_the_digits_they_need() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(1_709_210_096_120_000_000), "2024-02-29T12:34:56.12Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn levels_are_read_in_any_case() {
        assert_eq!(Level::parse("DEBUG"), Some(Level::Debug));
        assert_eq!(Level::parse("warn"), Some(Level::Warn));
        assert_eq!(Level::parse("loud"), None);
    }
}

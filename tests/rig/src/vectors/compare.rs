//! The comparison that `tests/vectors/http/README.md` ("How a test should compare") asks for.

use super::bytes::Text;
use super::http;
use super::observe::Known;
use super::tokens::{Found, matches, prefix, resolve};
use crate::h2app;
use crate::http1::body::Framing;
use crate::http1::{app, client};
use crate::machine::Account;
use std::time::Duration;

/// Where the words of Go's libraries begin inside a message; only what stands before them is compared.
pub const GO_WORDS: [&str; 20] = [
    "dial tcp",
    "read tcp",
    "write tcp",
    "readfrom tcp",
    "net/http: ",
    "http: ",
    "parse \"",
    "dns: ",
    "EOF",
    "unexpected EOF",
    "stream error: ",
    "chunked line ends with",
    "chunked encoding contains",
    "malformed chunked encoding",
    "malformed HTTP",
    "invalid byte in chunk length",
    "http chunk length too large",
    "header line too long",
    "gzip: ",
    "trying to send message larger than max",
];

/// The trace context that means none.
const NO_TRACE: &[u8] = b"00-00000000000000000000000000000000-0000000000000000-00";

/// By how much another time than the rounded one it may take: half a second, and the rounding itself.
const AROUND: f64 = 0.75;
/// By how much more at most where the machine is busy.
const LATE: f64 = 3.0;

/// By how much later than recorded something may be done, in seconds, on a machine that was used so much since: as much
/// more as what was left of it is smaller.
#[must_use]
pub fn lateness(machine: &Account) -> f64 {
    (AROUND / (1.0 - machine.used()).max(0.1)).min(LATE)
}

/// Whether something that took `expected` seconds when it was recorded, rounded, may take `actual`.
#[must_use]
pub fn took_about(expected: f64, actual: f64, lateness: f64) -> bool {
    expected - AROUND <= actual && actual <= expected + lateness
}

/// What is known about a case while its parts are compared.
pub struct Context<'a> {
    /// Tokens known beforehand.
    pub known: &'a Known,
    /// Values found for the others.
    pub found: Found,
    /// What differs so far.
    pub differences: Vec<String>,
    /// Names of header fields that the client sent, in lower case.
    pub client_fields: Vec<String>,
    /// Whether the app named the type of its answer's body.
    pub app_names_type: bool,
    /// Whether the request was a HEAD.
    pub head: bool,
    /// By how much later than recorded something may be done ([`lateness`]).
    pub lateness: f64,
}

impl Context<'_> {
    fn differs(&mut self, what: &str, expected: impl std::fmt::Display, actual: impl std::fmt::Display) {
        self.differences.push(format!("{what}:\n    expected {expected}\n    got      {actual}"));
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: T, actual: T) {
        if expected != actual {
            self.differs(what, format!("{expected:?}"), format!("{actual:?}"));
        }
    }

    fn bytes(&mut self, what: &str, expected: &[u8], actual: &[u8]) {
        let expected = resolve(expected, self.known);
        if !matches(&expected, actual, &mut self.found) {
            self.differs(what, excerpt(&expected), excerpt(actual));
        }
    }

    fn time(&mut self, what: &str, expected: Option<&String>, actual: Duration) {
        let Some(expected) = expected else { return };
        let seconds: f64 = expected.trim_end_matches('s').parse().expect("a time in seconds");
        if !took_about(seconds, actual.as_secs_f64(), self.lateness) {
            self.differs(what, expected, format!("{:.2}s", actual.as_secs_f64()));
        }
    }

    /// Compares one answer.
    pub fn answer(&mut self, what: &str, expected: &http::Got, actual: &client::Got) {
        self.equal(&format!("{what}.status"), expected.status.unwrap_or(0), actual.status);
        self.equal(&format!("{what}.end"), expected.end.as_deref().unwrap_or(""), actual.end.as_str());
        if let Some(version) = &expected.version {
            self.equal(&format!("{what}.version"), version.as_str(), actual.version.as_str());
        }
        let interim: Vec<u16> = expected.interim.iter().map(|i| i.status).collect();
        self.equal(&format!("{what}.interim"), interim, actual.interim.iter().map(|i| i.0).collect());
        if expected.status == Some(actual.status) {
            self.answer_fields(what, expected, actual);
            self.answer_body(what, expected, actual);
        }
        if let Some(then) = &expected.then {
            assert_eq!(then, "HTTP/2 frames", "the only thing recorded behind a 101");
            self.equal(
                &format!("{what}.then begins with a SETTINGS frame"),
                true,
                actual.rest.get(3) == Some(&4),
            );
        }
        self.time(&format!("{what}.elapsed"), expected.elapsed.as_ref(), actual.elapsed);
    }

    fn answer_fields(&mut self, what: &str, expected: &http::Got, actual: &client::Got) {
        let length_counts = self.head || actual.status == 304;
        let type_counts = self.app_names_type || is_own_error(expected.body().as_deref().unwrap_or_default());
        let skip = |name: &str| match name {
            "date" | "connection" | "keep-alive" | "transfer-encoding" => true,
            "content-length" => !length_counts,
            "content-type" => !type_counts,
            _ => false,
        };
        let expected_fields = fields(&expected.headers, skip);
        let actual_fields = grouped(actual.headers.iter().map(|(n, v)| (n.clone(), v.clone())), skip);
        self.fields(&format!("{what}.headers"), expected_fields, actual_fields);
        let trailers = grouped(actual.trailers.iter().cloned(), |_| false);
        self.fields(&format!("{what}.trailers"), fields(&expected.trailers, |_| false), trailers);
    }

    fn answer_body(&mut self, what: &str, expected: &http::Got, actual: &client::Got) {
        if let Some(begins) = &expected.message_begins {
            return self.message_begins(what, begins, actual);
        }
        if let Some(whole) = &expected.begins {
            let whole = whole.bytes();
            if actual.body.is_empty() || !whole.starts_with(&actual.body) {
                self.differs(&format!("{what}.body, a part of"), excerpt(&whole), excerpt(&actual.body));
            }
            return;
        }
        let Some(body) = expected.body() else { return };
        match own_error(&resolve(&body, self.known)) {
            Some(error) => self.own_error(what, &error, actual),
            // What Go's server says of a malformed request: the status line, sometimes with a reason.
            None if is_bare_refusal(expected, &body) && actual.body.starts_with(&body) => (),
            None => self.bytes(&format!("{what}.body"), &body, &actual.body),
        }
    }

    fn message_begins(&mut self, what: &str, begins: &str, actual: &client::Got) {
        let begins = resolve(begins.as_bytes(), self.known);
        let message = own_error(&actual.body).map(|e| e.message).unwrap_or_default();
        if prefix(&begins, message.as_bytes(), &mut self.found).is_none() {
            self.differs(&format!("{what}.body message"), excerpt(&begins), excerpt(&actual.body));
        }
    }

    fn own_error(&mut self, what: &str, expected: &OwnError, actual: &client::Got) {
        let Some(got) = own_error(&actual.body) else {
            return self.differs(&format!("{what}.body"), &expected.message, excerpt(&actual.body));
        };
        self.equal(&format!("{what}.body errorCode"), expected.code.as_str(), got.code.as_str());
        let go = GO_WORDS.iter().filter_map(|words| expected.message.find(words)).min();
        // Which ways a name was looked for in stands behind the recorded words.
        let open = go.is_some() || expected.message.contains("couldn't find service: ");
        let compared = &expected.message[..go.unwrap_or(expected.message.len())];
        let rest = prefix(compared.as_bytes(), got.message.as_bytes(), &mut self.found).map(<[u8]>::len);
        if !rest.is_some_and(|length| open || length == 0) {
            self.differs(&format!("{what}.body message"), compared, &got.message);
        }
    }

    /// Compares what reached an HTTP/1 app.
    pub fn app_saw(&mut self, expected: &[http::Saw], actual: &[app::Saw]) {
        let lines =
            |saw: &[app::Saw]| saw.iter().map(|s| excerpt(&s.head.line)).collect::<Vec<_>>().join(", ");
        if expected.len() != actual.len() {
            self.differs(
                "app_saw (requests)",
                expected.len(),
                format!("{} ({})", actual.len(), lines(actual)),
            );
        }
        let first = actual.first().map(|s| s.at);
        for (n, (expected, actual)) in expected.iter().zip(actual).enumerate() {
            self.request(&format!("app_saw[{n}]"), expected, actual);
            let after = first.map(|first| actual.at - first).unwrap_or_default();
            self.time(&format!("app_saw[{n}].after"), expected.after.as_ref(), after);
        }
    }

    fn request(&mut self, what: &str, expected: &http::Saw, actual: &app::Saw) {
        self.bytes(&format!("{what}.line"), &expected.line.bytes(), &actual.head.line);
        let got = actual.head.headers.iter().cloned();
        self.request_fields(what, expected, grouped(got, |_| false));
        let framing = match actual.framing {
            _ if actual.unread => "not read",
            Framing::Chunked => "chunked",
            Framing::Length(_) => "content-length",
            Framing::None | Framing::ToEnd => "none",
        };
        let empty =
            actual.body.bytes.is_empty() && expected.body().is_empty() && expected.body_note.is_none();
        if !(empty && expected.framing.as_deref() == Some("chunked") && framing != "not read") {
            self.equal(&format!("{what}.framing"), expected.framing.as_deref().unwrap_or(framing), framing);
        }
        if expected.body_note.is_none() {
            self.bytes(&format!("{what}.body"), &expected.body(), &actual.body.bytes);
        }
        let trailers = grouped(actual.body.trailers.iter().cloned(), |_| false);
        self.fields(&format!("{what}.trailers"), fields(&expected.trailers, |_| false), trailers);
        self.equal(&format!("{what}.body_cut"), expected.body_cut, actual.body.cut.is_some());
        self.equal(&format!("{what}.sidecar_closed"), expected.sidecar_closed, actual.left);
        if expected.on_connection.as_deref() == Some("reused") {
            self.equal(&format!("{what} on a reused connection"), true, actual.reused);
        }
    }

    fn request_fields(&mut self, what: &str, expected: &http::Saw, actual: Fields) {
        let client = self.client_fields.clone();
        let sent = |name: &str| client.iter().any(|n| n == name);
        let empty = expected.body().is_empty();
        let skip = |name: &str| match name {
            "user-agent" | "accept-encoding" => !sent(name),
            "transfer-encoding" => true,
            "content-length" => empty,
            _ => false,
        };
        let actual = actual.into_iter().filter(|(name, _)| !skip(name)).collect();
        self.fields(&format!("{what}.headers"), fields(&expected.headers, skip), actual);
    }

    /// Compares what reached an HTTP/2 app.
    pub fn h2_app_saw(&mut self, expected: &[http::Saw], actual: &[h2app::Saw]) {
        self.equal("app_saw (requests)", expected.len(), actual.len());
        for (n, (expected, actual)) in expected.iter().zip(actual).enumerate() {
            let what = format!("app_saw[{n}]");
            let pairs = actual.headers.iter().map(|(n, v)| (n.clone().into_bytes(), v.clone().into_bytes()));
            self.request_fields(&what, expected, grouped(pairs, |_| false));
            self.bytes(&format!("{what}.body"), &expected.body(), &actual.body);
            self.equal(&format!("{what}.body_cut"), expected.body_cut, actual.cut);
        }
    }

    /// Compares header fields by name, with the order of one name's values.
    fn fields(&mut self, what: &str, expected: Fields, actual: Fields) {
        for (name, values) in &expected {
            let got = actual.iter().find(|(n, _)| n == name).map_or(&[][..], |(_, v)| v);
            if !self.same_values(name, values, got) {
                self.differs(&format!("{what} {name}"), listed(values), listed(got));
            }
        }
        for (name, got) in &actual {
            if !expected.iter().any(|(n, _)| n == name) && !self.same_values(name, &[], got) {
                self.differs(&format!("{what} {name}"), "no such field", listed(got));
            }
        }
    }

    fn same_values(&mut self, name: &str, expected: &[Vec<u8>], got: &[Vec<u8>]) -> bool {
        if name == "traceparent" && expected.iter().all(|v| v == NO_TRACE) {
            return got.len() <= 1;
        }
        let known = self.known;
        let found = &mut self.found;
        let same = |(e, g): (&Vec<u8>, &Vec<u8>)| matches(&resolve(e, known), g, found);
        expected.len() == got.len() && expected.iter().zip(got).all(same)
    }
}

/// Values by lower-case name, in order of first appearance.
type Fields = Vec<(String, Vec<Vec<u8>>)>;

fn fields(recorded: &[(Text, Text)], skip: impl Fn(&str) -> bool) -> Fields {
    grouped(recorded.iter().map(|(n, v)| (n.bytes(), v.bytes())), skip)
}

fn grouped(pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>, skip: impl Fn(&str) -> bool) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in pairs {
        let name = String::from_utf8_lossy(&name).to_ascii_lowercase();
        if skip(&name) {
            continue;
        }
        match fields.iter_mut().find(|(n, _)| *n == name) {
            Some((_, values)) => values.push(value),
            None => fields.push((name, vec![value])),
        }
    }
    fields
}

struct OwnError {
    code: String,
    message: String,
}

/// The sidecar's own error in a body.
fn own_error(body: &[u8]) -> Option<OwnError> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| value.get(name).and_then(|v| v.as_str()).map(str::to_owned);
    Some(OwnError { code: text("errorCode")?, message: text("message")? })
}

fn is_own_error(body: &[u8]) -> bool {
    body.starts_with(b"{\"errorCode\"")
}

/// Whether a body is only the status line's code and phrase.
fn is_bare_refusal(expected: &http::Got, body: &[u8]) -> bool {
    let line = format!("{} {}", expected.status.unwrap_or(0), expected.reason.as_deref().unwrap_or_default());
    expected.end.as_deref() == Some("closed") && body == line.as_bytes()
}

fn listed(values: &[Vec<u8>]) -> String {
    if values.is_empty() {
        return "no such field".to_owned();
    }
    values.iter().map(|v| excerpt(v)).collect::<Vec<_>>().join(" | ")
}

/// Bytes for a message, cut where they are long.
pub fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(400)];
    let more =
        if shown.len() < bytes.len() { format!(" … ({} bytes)", bytes.len()) } else { String::new() };
    format!("{:?}{more}", String::from_utf8_lossy(shown))
}

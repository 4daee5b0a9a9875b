//! The form of `tests/vectors/http`.

use super::bytes::{self, Fill, Text};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;

/// A value or a list of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// A list.
    Many(Vec<T>),
    /// One.
    One(T),
}

impl<T> OneOrMany<T> {
    /// As a list.
    pub fn list(&self) -> &[T] {
        match self {
            OneOrMany::Many(list) => list,
            OneOrMany::One(one) => std::slice::from_ref(one),
        }
    }

    /// Whether a list was written.
    pub fn is_many(&self) -> bool {
        matches!(self, OneOrMany::Many(_))
    }
}

/// One case.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Begins with its family.
    pub name: String,
    /// The arrangement of processes.
    pub topology: String,
    /// Done before sending.
    #[serde(default)]
    pub before: Vec<Before>,
    /// What the client sends.
    pub send: OneOrMany<Send>,
    /// What the app answers.
    #[serde(default)]
    pub app: Vec<Answer>,
    /// What the scripted peer answers.
    #[serde(default)]
    pub peer: Vec<PeerAnswer>,
    /// What reached the app.
    pub app_saw: Option<Vec<Saw>>,
    /// What reached the peer.
    pub peer_saw: Option<Vec<PeerSaw>>,
    /// What the client got.
    pub got: OneOrMany<Got>,
    /// Most requests in work at the app.
    pub app_peak: Option<usize>,
    /// Sidecars that ended by themselves.
    #[serde(default)]
    pub sidecar_died: Vec<String>,
    /// Fields that differed between recordings.
    #[serde(default)]
    pub differs: Vec<String>,
    /// A second outcome that was seen.
    pub other: Option<Other>,
}

/// A second outcome.
#[derive(Clone, Debug, Deserialize)]
pub struct Other {
    /// What the client got.
    pub got: OneOrMany<Got>,
    /// What reached the app.
    pub app_saw: Option<Vec<Saw>>,
}

/// One thing done before sending.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// The app answers its health probe with this.
    pub app_health: Option<u16>,
    /// A pause.
    pub wait_ms: Option<u64>,
    /// The app starts.
    pub start_app: Option<bool>,
    /// The app closes its idle connections.
    pub drop_app_connections: Option<bool>,
    /// One GET through `caller`, answered by the default answer.
    pub warm: Option<String>,
    /// SIGKILL to that sidecar.
    pub kill: Option<String>,
    /// SIGKILL later, see `who`.
    pub kill_later_ms: Option<u64>,
    /// Who is killed later.
    pub who: Option<String>,
}

/// A request, or a script of steps, on a connection of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// Another port than `caller`'s HTTP port.
    pub to: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The target.
    pub target: Option<Text>,
    /// `HTTP/1.1` when absent.
    pub version: Option<String>,
    /// Complete, in order.
    #[serde(default)]
    pub headers: Vec<(Text, Text)>,
    body: Option<String>,
    body_b64: Option<String>,
    body_fill: Option<Fill>,
    raw: Option<String>,
    raw_b64: Option<String>,
    /// Instead of all that.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Number of responses expected.
    pub answers: Option<usize>,
    /// Milliseconds after a common start.
    pub at_ms: Option<u64>,
    /// A pause before the request.
    pub wait_ms: Option<u64>,
}

impl Send {
    /// The body.
    pub fn body(&self) -> Vec<u8> {
        bytes::any(self.body.as_ref(), self.body_b64.as_ref(), self.body_fill.as_ref()).unwrap_or_default()
    }

    /// The exact bytes, where they are given.
    pub fn raw(&self) -> Option<Vec<u8>> {
        bytes::any(self.raw.as_ref(), self.raw_b64.as_ref(), None)
    }
}

/// A step of a script.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    bytes: Option<String>,
    bytes_b64: Option<String>,
    bytes_fill: Option<Fill>,
    /// A pause.
    pub wait_ms: Option<u64>,
    /// `interim` or `response`.
    #[serde(rename = "await")]
    pub awaits: Option<String>,
    /// `half-close`, `close`, `reset`, `hold`.
    pub end: Option<String>,
}

impl Step {
    /// The bytes to send, where the step sends some.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        bytes::any(self.bytes.as_ref(), self.bytes_b64.as_ref(), self.bytes_fill.as_ref())
    }
}

/// What the app answers to one request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The script.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// `head`: play as soon as the request head is in.
    pub when: Option<String>,
    /// `false`: never read the body.
    pub read: Option<bool>,
    /// For the h2c app.
    pub h2: Option<H2Answer>,
}

/// What the h2c app answers.
#[derive(Clone, Debug, Deserialize)]
pub struct H2Answer {
    /// The status.
    #[serde(default)]
    pub status: u16,
    /// The fields.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// Reset the stream.
    #[serde(default)]
    pub reset: serde_json::Value,
}

/// What the scripted peer answers.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerAnswer {
    /// The code.
    pub grpc_status: u8,
    /// The message.
    #[serde(default)]
    pub grpc_message: String,
}

/// A request at the app.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saw {
    /// The start line.
    pub line: Text,
    /// Order and case as received.
    #[serde(default)]
    pub headers: Vec<(Text, Text)>,
    /// `none`, `content-length`, `chunked`, `http2`, `not read`.
    pub framing: Option<String>,
    body: Option<String>,
    body_b64: Option<String>,
    body_fill: Option<Fill>,
    /// Replaces a body whose cut-off point varies.
    pub body_note: Option<String>,
    /// Behind a chunked body.
    #[serde(default)]
    pub trailers: Vec<(Text, Text)>,
    /// The connection ended inside the body.
    #[serde(default)]
    pub body_cut: bool,
    /// The sidecar closed before the app was done.
    #[serde(default)]
    pub sidecar_closed: bool,
    /// Time since the first request.
    pub after: Option<String>,
    /// `reused` or not said.
    pub on_connection: Option<String>,
}

impl Saw {
    /// The body.
    pub fn body(&self) -> Vec<u8> {
        bytes::any(self.body.as_ref(), self.body_b64.as_ref(), self.body_fill.as_ref()).unwrap_or_default()
    }
}

/// A call at the peer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSaw {
    /// `:path`.
    pub path: String,
    /// Time since the first call.
    pub after: Option<String>,
}

/// The client's answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Got {
    /// Absent when no answer came.
    pub status: Option<u16>,
    /// Incidental.
    pub reason: Option<String>,
    /// If not HTTP/1.1.
    pub version: Option<String>,
    /// 1xx answers that came first.
    #[serde(default)]
    pub interim: Vec<Interim>,
    /// Header lines.
    #[serde(default)]
    pub headers: Vec<(Text, Text)>,
    body: Option<String>,
    body_b64: Option<String>,
    body_fill: Option<Fill>,
    /// A file of JSON values of our own beside the recordings: the beginning of the `message` of an error.
    pub message_begins: Option<String>,
    /// The same, of a body that is cut off at a place that varies: it is not empty, and this begins with it.
    pub begins: Option<Fill>,
    /// Behind a chunked body.
    #[serde(default)]
    pub trailers: Vec<(Text, Text)>,
    /// What followed a 101.
    pub then: Option<String>,
    /// Bytes that are no answer.
    pub bytes: Option<serde_json::Value>,
    /// Whole half seconds.
    pub elapsed: Option<String>,
    /// How it ended.
    pub end: Option<String>,
}

impl Got {
    /// The body.
    pub fn body(&self) -> Option<Vec<u8>> {
        bytes::any(self.body.as_ref(), self.body_b64.as_ref(), self.body_fill.as_ref())
    }
}

/// A 1xx answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Interim {
    /// 1xx.
    pub status: u16,
    /// Header lines.
    #[serde(default)]
    pub headers: Vec<(Text, Text)>,
}

/// An arrangement of processes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// What it is.
    pub about: String,
    /// Its sidecars.
    pub daprds: Vec<Daprd>,
    /// Its app.
    pub app: Option<AppPlan>,
    /// Its scripted gRPC peer.
    pub peer: Option<PeerPlan>,
    /// Further ids that the resolver knows, and the ports they lead to.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
}

/// A sidecar of a topology.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Daprd {
    /// `caller` or `callee`.
    pub role: String,
    /// `--app-id`.
    pub app_id: String,
    /// The other flags.
    pub flags: Vec<String>,
    /// Variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A Configuration.
    pub config: Option<String>,
    /// Other resources.
    #[serde(default)]
    pub resources: Vec<String>,
}

/// The app of a topology.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppPlan {
    /// `http`, `https`, `h2c`.
    pub protocol: String,
    /// Where.
    pub port: String,
    /// `false`: a case starts it.
    pub start: Option<bool>,
    /// Answers health probes.
    pub health: Option<Health>,
}

/// How the app answers health probes.
#[derive(Clone, Debug, Deserialize)]
pub struct Health {
    /// Which path is the probe's.
    pub path: String,
    /// The first answer.
    pub status: u16,
}

/// The scripted peer of a topology.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerPlan {
    /// Where.
    pub port: String,
}

/// The topologies by name.
pub fn topologies() -> BTreeMap<String, Topology> {
    let text = fs::read_to_string(super::folder("http").join("topologies.json")).expect("topologies.json");
    serde_json::from_str(&text).expect("topologies.json has its form")
}

/// All recorded cases, by file and line.
pub fn cases() -> Vec<Case> {
    let folder = fs::read_dir(super::folder("http")).expect("the recordings");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    files.iter().flat_map(|file| lines(&fs::read_to_string(file).expect("a file of recordings"))).collect()
}

/// The cases of one file.
fn lines(text: &str) -> Vec<Case> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:.120}"));
    text.lines().filter(|l| !l.is_empty()).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_recordings_have_their_form() {
        assert_eq!(cases().len(), 955);
        let topologies = topologies();
        assert!(cases().iter().all(|c| topologies.contains_key(&c.topology)));
    }
}

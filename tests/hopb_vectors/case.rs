//! A recorded case, what waits for later work, and where our answer differs on purpose.

use rig::vectors::bytes::base64;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs::read_to_string;
use std::sync::OnceLock;

/// One line of the recordings.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// Our own expectation where `compat.md` differs: members that replace those of the recording.
#[derive(Deserialize)]
struct Ours {
    name: String,
    /// The subject of the row in ARCHITECTURE.md's compatibility table.
    #[expect(dead_code, reason = "for the reader")]
    row: String,
    #[serde(flatten)]
    instead: Map<String, Value>,
}

/// Cases that need what is not built yet; a name that ends in `/` covers its family.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Later {
    reason: String,
    names: Vec<String>,
    /// Whether this runner cannot play them, whoever plays the sidecar.
    #[serde(default)]
    runner: bool,
    /// Whether only the real daprd cannot play them.
    #[serde(default)]
    daprd: bool,
}

/// All cases of a file.
pub(crate) fn load(file: &str) -> Vec<Case> {
    let named = |value: Value| Case { name: value["name"].as_str().expect("a name").to_owned(), value };
    lines("hopb", file).into_iter().map(named).collect()
}

fn lines<T: for<'d> Deserialize<'d>>(set: &str, file: &str) -> Vec<T> {
    let text = read_to_string(rig::vectors::folder(set).join(file)).expect("a file of cases");
    let kept = text.lines().filter(|l| !l.trim().is_empty());
    kept.map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{file}: {e} in {l:.160}"))).collect()
}

impl Case {
    /// Why it is not played, if it is not.
    pub(crate) fn later(&self, ours: bool) -> Option<String> {
        static LATER: OnceLock<Vec<Later>> = OnceLock::new();
        let covers = |listed: &String| {
            *listed == self.name || (listed.ends_with('/') && self.name.starts_with(listed.as_str()))
        };
        let later = LATER.get_or_init(|| lines("hopb-outrigger", "later.jsonl"));
        let applies = |l: &&Later| l.runner || ours != l.daprd;
        let found = later.iter().filter(applies).find(|l| l.names.iter().any(covers));
        found.map(|l| l.reason.clone())
    }

    /// The case with our own expectation in place of the recorded one, where we play.
    pub(crate) fn as_expected(&self, ours: bool) -> Case {
        static OURS: OnceLock<Vec<Ours>> = OnceLock::new();
        let table = OURS.get_or_init(|| lines("hopb-outrigger", "ours.jsonl"));
        let mut case = self.clone();
        if let Some(own) = table.iter().find(|o| ours && o.name == self.name) {
            for (member, value) in &own.instead {
                case.value[member] = value.clone();
            }
        }
        case
    }

    /// The name without the role.
    pub(crate) fn short(&self) -> &str {
        self.name.split_once('/').map_or("", |(_, short)| short)
    }
}

/// The test bodies of the recordings: `a` to `w`, repeating.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (b'a'..=b'w').cycle().take(length).collect()
}

/// Recorded bytes: `text`, `hex`, or `len` with the beginning.
pub(crate) fn bytes(recorded: &Value) -> Vec<u8> {
    if let Some(text) = recorded["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(digits) = recorded["hex"].as_str() {
        return hex(digits);
    }
    let length = recorded["len"].as_u64().expect("text, hex or len") as usize;
    match recorded["starts"]["text"].as_str() {
        Some(text) if text.starts_with('z') => vec![b'z'; length],
        Some(text) if text.starts_with("3\r\none") => {
            [b"3\r\none\r\n7\r\ntwo-two\r\nbb8\r\n", &pattern(3000)[..], b"\r\n0\r\n\r\n"].concat()
        }
        _ => pattern(length),
    }
}

/// Bytes from hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|p| std::str::from_utf8(p).expect("ASCII"));
    pairs.map(|p| u8::from_str_radix(p, 16).expect("hexadecimal digits")).collect()
}

/// A recorded list of pairs.
pub(crate) fn pairs(recorded: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    recorded.as_array().into_iter().flatten().map(|p| (text(&p[0]), text(&p[1]))).collect()
}

/// A recorded message, where its bytes are there.
pub(crate) fn message(recorded: &Value) -> Option<Vec<u8>> {
    recorded["base64"].as_str().map(base64)
}

/// Recorded JSON without what stands for long bytes beside their length, and without default values.
pub(crate) fn plain(recorded: &Value) -> Value {
    match recorded {
        Value::Object(members) if members.contains_key("sha256") => {
            serde_json::json!({ "len": members["len"] })
        }
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, v)| **v != "APIVERSION_UNSPECIFIED");
            Value::Object(kept.map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(plain).collect()),
        other => other.clone(),
    }
}

/// What differs, as the report shows it.
pub(crate) fn differs(
    what: &str,
    expected: impl std::fmt::Display,
    actual: impl std::fmt::Display,
) -> Option<String> {
    let (expected, actual) = (expected.to_string(), actual.to_string());
    (expected != actual)
        .then(|| format!("{what}:\n    expected {expected:.1200}\n    got      {actual:.1200}"))
}

/// Texts alike up to where the words of Go's libraries begin; `{SPACE}` is a plain or a no-break space.
pub(crate) fn alike(what: &str, expected: &str, actual: &str) -> Option<String> {
    let expected = expected.replace("{SPACE}", " ").replace('\u{a0}', " ");
    let actual = actual.replace('\u{a0}', " ");
    let go = rig::vectors::compare::GO_WORDS.iter().filter_map(|words| expected.find(words)).min();
    let same = match go {
        Some(at) => actual.starts_with(&expected[..at]),
        None => actual == expected,
    };
    if same { None } else { differs(what, expected, actual) }
}

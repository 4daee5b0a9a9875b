//! The HTTP recordings that can be replayed without sockets.
#![allow(dead_code, unreachable_pub, missing_docs)]

use super::cases;
use proto::http1::head::{Head, Limits, Request, Slots};
use serde_json::Value;

/// What daprd writes where nobody sent a context; we never do (compat.md).
pub const NO_TRACE: &str = "00-00000000000000000000000000000000-0000000000000000-00";

/// Who takes part in a topology.
pub struct Cast {
    pub callee: &'static str,
    pub own: bool,
}

pub fn cast(topology: &str) -> Option<Cast> {
    Some(match topology {
        "remote" | "tracing-off" | "small-body" | "small-header" | "app-token" | "h2c-off" => {
            Cast { callee: "hv-callee", own: false }
        }
        "self" | "small-body-self" | "no-body-limit" => Cast { callee: "hv-self", own: true },
        _ => return None,
    })
}

/// Cases about other routes, other ports, or timing.
fn is_elsewhere(case: &Value) -> bool {
    let name = case["name"].as_str().unwrap();
    let routes = [
        "dapr-route-wins",
        "state-route-wins",
        "options-asterisk",
        "metadata-put",
        "upgrade/h2c",
        "preface-only",
    ];
    routes.iter().any(|route| name.contains(route) && !name.ends_with("wrong-verb-of-dapr-route"))
        || name.starts_with("limits/concurrency")
        || name.starts_with("limits/body")
        || name.starts_with("http1/slow")
        || name == "http1/upgrade/h2c-bad-settings"
}

const FAMILIES: [&str; 11] = [
    "addressing",
    "query",
    "verbs",
    "request-headers",
    "request-bodies",
    "trace-headers",
    "http1",
    "limits",
    "response-headers",
    "statuses",
    "response-bodies",
];

pub fn recorded() -> impl Iterator<Item = (Value, Cast)> {
    let cases = FAMILIES.into_iter().flat_map(|family| cases(&format!("http/{family}.jsonl")));
    cases.filter(|case| !is_elsewhere(case)).filter_map(|case| {
        let cast = cast(case["topology"].as_str().unwrap())?;
        Some((case, cast))
    })
}

pub fn lines(head: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let mut slots = Slots::new();
    let large = Limits { max_head: 1 << 20 };
    let Ok(Head::Complete(request)) = Request::parse(head, &mut slots, &large) else {
        // a port token is no valid Host: take the head apart as text
        let text = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut text = text.filter(|line| !line.is_empty());
        let first = String::from_utf8(text.next().unwrap().to_vec()).unwrap();
        let pair = |line: &[u8]| {
            let at = line.iter().position(|byte| *byte == b':').unwrap();
            (String::from_utf8(line[..at].to_vec()).unwrap(), line[at + 1..].trim_ascii().to_vec())
        };
        return (first, text.map(pair).collect());
    };
    let headers = request.headers.iter().map(|line| (line.name.to_owned(), line.value.to_vec()));
    (format!("{} {} HTTP/1.1", request.method, request.target), headers.collect())
}

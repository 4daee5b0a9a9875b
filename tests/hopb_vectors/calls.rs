//! The sidecar as the caller: an HTTP client before it, a scripted gRPC callee behind it.

use crate::case::{Case, bytes, differs, pairs, pattern, plain};
use crate::scripts;
use rig::grpc::Callee;
use rig::grpc::callee::Saw;
use rig::grpc::messages::{Message, Request, StreamRequest};
use rig::http1::client::{Client, Got};
use rig::http1::{End, Step};
use rig::machine::Account;
use rig::mdns::Responder;
use rig::scratch::Scratch;
use rig::sidecar::{Launch, Ready, Sidecar, local};
use rig::vectors::compare::{Context, lateness, took_about};
use rig::vectors::http;
use rig::vectors::observe::Known;
use rig::vectors::tokens::Found;
use rig::{Program, netns};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

const HTTP: u16 = 45001;
const CALLEE: u16 = 45500;
const NOBODY: u16 = 45501;
const OTHER: u16 = 45502;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a call may be in work at the callee after the answer.
const SETTLE: Duration = Duration::from_secs(6);
/// Largest piece of a body towards a daprd peer, bytes.
const PIECE: usize = 2048;
/// The trace context that means none.
const NO_TRACE: &str = "00-00000000000000000000000000000000-0000000000000000-00";

/// A caller with its callee.
pub(crate) struct Stage {
    player: Program,
    callee: Callee,
    /// The second address of `gv-multi`.
    other: Callee,
    sidecar: Sidecar,
    /// With which setting the sidecar runs.
    setting: Setting,
    files: Scratch,
    _names: Responder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Usual,
    SmallBodies,
    EmptyNamespace,
}

impl Setting {
    fn of(case: &Case) -> Setting {
        match case.short() {
            "setting/namespace-empty" => Setting::EmptyNamespace,
            name if name.starts_with("setting/max-body-size") => Setting::SmallBodies,
            _ => Setting::Usual,
        }
    }
}

impl Stage {
    /// Moves this thread into a namespace of its own and starts everything there.
    pub(crate) fn open(player: &Program) -> Stage {
        netns::enter_as_host("gv-host").expect("a network namespace");
        netns::add_address(Ipv4Addr::new(10, 77, 0, 1)).expect("a second address");
        let names = [("gv-fake", CALLEE), ("gv-dead", NOBODY)];
        let files = Scratch::new();
        let table: String =
            names.map(|(id, port)| format!("{id} 127.0.0.1:{port}\n{id}. 127.0.0.1:{port}\n")).concat();
        files.file("names", format!("{table}gv-multi 127.0.0.1:{CALLEE} 127.0.0.1:{OTHER}\n"));
        Stage {
            player: player.clone(),
            callee: Callee::start_at(local(CALLEE)),
            other: Callee::start_at(local(OTHER)),
            sidecar: start(player, &files, Setting::Usual),
            setting: Setting::Usual,
            files,
            _names: Responder::start(HashMap::from(names.map(|(id, port)| (id.to_owned(), port)))),
        }
    }

    /// Plays a case; what differs.
    pub(crate) fn play(&mut self, case: &Case) -> Vec<String> {
        let setting = Setting::of(case);
        if setting != self.setting {
            self.sidecar.terminate();
            self.sidecar = start(&self.player, &self.files, setting);
            self.setting = setting;
        }
        self.callee.script(scripts::of(case));
        self.other.script(scripts::of(case));
        let sent = Sent::of(case);
        let mut client = Client::new(local(HTTP));
        client.patience = PATIENCE;
        let machine = Account::now();
        let got = client.run(&sent.steps, 1).pop().expect("one answer");
        let saw = self.callee.saw(SETTLE);
        let lateness = lateness(&machine);
        let mut differences = answer(case, &got, lateness);
        differences.extend(calls(case, &saw, &sent.body, lateness));
        differences.extend(attempts(case, saw.len(), self.other.saw(SETTLE).len()));
        differences
    }
}

fn start(player: &Program, files: &Scratch, setting: Setting) -> Sidecar {
    let mut launch = Launch::daprd(player)
        .args(["--app-id", "gv-caller", "--dapr-listen-addresses", "127.0.0.1"])
        .args(["--metrics-listen-address", "127.0.0.1"])
        .args([format!("--dapr-http-port={HTTP}")])
        .args(["--dapr-grpc-port=45002", "--dapr-internal-grpc-port=45003", "--metrics-port=45004"])
        .env("DAPR_HOST_IP", "10.77.0.1");
    if player.is_ours() {
        launch = launch.args(["--registry", "off", "--mdns", "off"]);
        launch = launch.arg("--name-table").arg(files.path().join("names"));
    }
    launch = match setting {
        Setting::Usual => launch,
        Setting::SmallBodies => launch.arg("--max-body-size=10Ki"),
        Setting::EmptyNamespace => launch.env("NAMESPACE", ""),
    };
    launch.ready(Ready::Healthz(HTTP)).start()
}

/// What the client plays, and the body that it thereby sends.
struct Sent {
    steps: Vec<Step>,
    body: Vec<u8>,
}

impl Sent {
    fn of(case: &Case) -> Sent {
        let recorded = &case.value["client_sent"];
        if recorded["line"].is_string() {
            return Sent::recorded(recorded);
        }
        let post = |length: usize| posted("gv-fake", &pattern(length));
        let mut sent = match case.short() {
            "early-answer" => post(100_000),
            "retry/body-replayed-5000" => post(5_000),
            "retry/refused-chunked" => posted_chunked("gv-dead", b"hi"),
            "retry/two-addresses" => posted("gv-multi", b"hi"),
            name => match name.rsplit_once("max-body-size-") {
                Some((_, kind)) if kind.starts_with("chunked-") => {
                    posted_chunked("gv-fake", &pattern(number(kind)))
                }
                Some((_, kind)) => post(number(kind)),
                None => posted("gv-fake", b"hi"),
            },
        };
        if case.short().starts_with("client-leaves") {
            sent.steps.extend([Step::wait_ms(300), Step::End(End::Close)]);
        }
        sent
    }

    fn recorded(recorded: &Value) -> Sent {
        let mut head = format!("{}\r\n", recorded["line"].as_str().expect("a line")).into_bytes();
        for (name, value) in pairs(&recorded["headers"]) {
            // The recordings show each byte of a value as one character.
            head.extend(format!("{name}: ").bytes());
            head.extend(value.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")));
            head.extend(b"\r\n");
        }
        head.extend(b"\r\n");
        let mut body = bytes(&recorded["body"]);
        head.extend(&body);
        let mut steps = vec![Step::Bytes(head)];
        for then in recorded["then"].as_array().into_iter().flatten() {
            steps.push(Step::Wait(Duration::from_secs_f64(then["after_s"].as_f64().expect("seconds"))));
            steps.push(Step::Bytes(bytes(&then["bytes"])));
            body.extend(bytes(&then["bytes"]));
        }
        let chunked = pairs(&recorded["headers"]).iter().any(|(n, _)| n == "Transfer-Encoding");
        Sent { steps, body: if chunked { unchunked(&body) } else { body } }
    }
}

fn number(kind: &str) -> usize {
    kind.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a length at the end of the name")
}

fn posted(id: &str, body: &[u8]) -> Sent {
    let head = format!(
        "POST /v1.0/invoke/{id}/method/echo HTTP/1.1\r\nHost: 127.0.0.1:{HTTP}\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    Sent { steps: vec![Step::Bytes([head.as_bytes(), body].concat())], body: body.to_vec() }
}

fn posted_chunked(id: &str, body: &[u8]) -> Sent {
    let head = format!(
        "POST /v1.0/invoke/{id}/method/echo HTTP/1.1\r\nHost: 127.0.0.1:{HTTP}\r\nContent-Type: text/plain\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        body.len()
    );
    Sent { steps: vec![Step::Bytes([head.as_bytes(), body, b"\r\n0\r\n\r\n"].concat())], body: body.to_vec() }
}

/// The content of a chunked body without extensions and trailers.
fn unchunked(mut coded: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = coded.windows(2).position(|w| w == b"\r\n") {
        let length =
            usize::from_str_radix(std::str::from_utf8(&coded[..end]).expect("ASCII"), 16).expect("a length");
        body.extend(&coded[end + 2..end + 2 + length]);
        coded = &coded[end + 2 + length + 2..];
    }
    body
}

/// Compares the answer at the client.
fn answer(case: &Case, got: &Got, lateness: f64) -> Vec<String> {
    static NONE: Known = Known::new();
    let recorded = &case.value["client_got"];
    if recorded.is_null() {
        return Vec::new();
    }
    if recorded["error"].is_string() {
        return differs("status", 0, got.status).into_iter().collect();
    }
    let mut context = Context {
        known: &NONE,
        found: Found::new(),
        differences: Vec::new(),
        client_fields: Vec::new(),
        // A type with this parameter was guessed by Go from the body.
        app_names_type: !pairs(&recorded["headers"]).iter().any(|(_, v)| v == "text/plain; charset=utf-8"),
        head: false,
        lateness,
    };
    context.answer("client_got", &as_http(recorded, got), got);
    let after = recorded["after_s"].as_f64();
    if let Some(after) = after.filter(|after| !took_about(*after, got.elapsed.as_secs_f64(), lateness)) {
        context.differences.extend(differs("seconds", after, got.elapsed.as_secs_f64()));
    }
    context.differences
}

/// In the form of the HTTP recordings.
fn as_http(recorded: &Value, got: &Got) -> http::Got {
    let headers: Vec<_> = pairs(&recorded["headers"]);
    let headers: Vec<_> = headers.into_iter().filter(|(n, _)| n != "Date").collect();
    let whole = got.end == "keepalive" || got.end == "closed";
    let end = match recorded["ended"].as_str() {
        Some("complete") if whole => got.end.as_str(),
        Some("complete") => "complete",
        Some(other) => other,
        None => "no answer, closed",
    };
    let body =
        String::from_utf8(bytes(&recorded["body"]).clone()).expect("a body of text").replace("{SPACE}", " ");
    serde_json::from_value(json!({
        "status": recorded["status"],
        // Interim answers the recording's client did not show.
        "interim": got.interim.iter().map(|(status, _)| json!({ "status": status })).collect::<Vec<_>>(), "headers": headers, "body": body, "end": end,
        "message_begins": recorded["message_begins"],
    }))
    .expect("the form of the HTTP recordings")
}

/// Compares how many calls reached each of two addresses.
fn attempts(case: &Case, one: usize, other: usize) -> Option<String> {
    let expected = case.value["attempts_per_address"].as_array()?;
    let sorted = [one.min(other), one.max(other)];
    differs("attempts per address", Value::from(expected.clone()), Value::from(sorted.to_vec()))
}

/// Compares the calls that reached the callee.
fn calls(case: &Case, saw: &[Saw], body: &[u8], lateness: f64) -> Vec<String> {
    let Some(recorded) = case.value["callee_saw"].as_array() else { return Vec::new() };
    let mut found = vec![differs("calls", recorded.len(), saw.len())];
    for (n, (expected, actual)) in recorded.iter().zip(saw).enumerate() {
        let mut differences = call(case, expected, actual, body);
        let since = (actual.at - saw[n.saturating_sub(1)].at).as_secs_f64();
        let after = expected["after_s"].as_f64().filter(|after| !took_about(*after, since, lateness));
        differences.extend(after.map(|after| differs("after_s", after, since)));
        found.extend(differences.into_iter().flatten().map(|d| Some(format!("callee_saw[{n}] {d}"))));
    }
    found.into_iter().flatten().collect()
}

fn call(case: &Case, expected: &Value, actual: &Saw, body: &[u8]) -> Vec<Option<String>> {
    let mut found = Vec::new();
    if let Some(half_closed) = expected["half_closed"].as_bool() {
        found.push(differs("half-closed", half_closed, actual.half_closed));
    }
    // Behind the answer's end a reset may come or not, and when is a matter of timing.
    if let Some(reset) = expected["reset"].as_str().filter(|_| case.short().starts_with("client-leaves")) {
        found.push(differs("reset", reset, actual.reset.as_deref().unwrap_or("none")));
    }
    found.extend(fields(&pairs(&expected["headers"]), &actual.headers));
    if let Some(first) = expected["messages"].get(0) {
        let is_unary = first["decoded"].get("request").is_none();
        found.extend(if is_unary { unary(first, actual) } else { streamed(first, actual, body) });
    }
    if let Some(length) = expected["payload_bytes"].as_u64() {
        let decoded = actual.messages.iter().filter_map(|(_, m)| StreamRequest::decode(&m[..]).ok());
        let actual: usize = decoded.filter_map(|m| m.payload).map(|p| p.data.len()).sum();
        found.push(differs("payload bytes", length, actual));
    }
    found
}

/// The fields that the contract is about; an all-zero trace context stands for none.
fn fields(expected: &[(String, String)], actual: &[(String, String)]) -> Vec<Option<String>> {
    let value = |fields: &[(String, String)], name: &str| {
        fields.iter().find(|(n, _)| n == name).map_or("none".to_owned(), |(_, v)| v.clone())
    };
    let traced = expected.iter().any(|(n, v)| n == "traceparent" && v != NO_TRACE);
    let mut names = vec![":authority", ":method", ":path", ":scheme", "content-type", "te"];
    if traced {
        names.extend(["traceparent", "grpc-trace-bin"]);
    }
    let kept = names.into_iter().filter(|_| !expected.is_empty());
    kept.map(|name| differs(name, value(expected, name), value(actual, name))).collect()
}

fn unary(expected: &Value, actual: &Saw) -> Vec<Option<String>> {
    let decoded =
        actual.messages.first().map(|(_, m)| Request::decode(&m[..]).expect("an InternalInvokeRequest"));
    vec![differs("message", plain(&expected["decoded"]), decoded.map_or(Value::Null, |d| d.json()))]
}

fn streamed(expected: &Value, actual: &Saw, body: &[u8]) -> Vec<Option<String>> {
    let decode = |(_, m): &(u8, Vec<u8>)| StreamRequest::decode(&m[..]).expect("a message of the stream");
    let messages: Vec<StreamRequest> = actual.messages.iter().map(decode).collect();
    let request = messages.first().and_then(|m| m.request.as_ref()).map_or(Value::Null, Request::json);
    let mut found = vec![differs("request", plain(&expected["decoded"]["request"]), request)];
    found.push(differs(
        "a request in later messages",
        false,
        messages.iter().skip(1).any(|m| m.request.is_some()),
    ));
    let payloads: Vec<_> = messages.iter().filter_map(|m| m.payload.as_ref()).collect();
    let data = payloads.iter().map(|p| &p.data[..]).collect::<Vec<_>>().concat();
    if data != body {
        let show = |b: &[u8]| rig::vectors::compare::excerpt(b);
        found.push(differs("joined payload", show(body), show(&data)));
    }
    found.push(differs(
        "numbers in order",
        true,
        payloads.iter().enumerate().all(|(n, p)| p.seq == n as u64),
    ));
    let largest = payloads.iter().map(|p| p.data.len()).max().unwrap_or_default();
    found.push(differs("no piece is larger than 2,048 bytes", true, largest <= PIECE));
    found
}

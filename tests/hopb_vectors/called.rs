//! The sidecar as the callee: a raw gRPC caller before it, a scripted HTTP app behind it.

use crate::app::{self, Asked};
use crate::case::{Case, alike, bytes, differs, message, pairs, pattern, plain};
use rig::grpc::messages::{
    HttpExtension, InvokeRequest, Message, Payload, Request, Response, StreamRequest, StreamResponse, Values,
};
use rig::grpc::{Call, Reply};
use rig::h2app::{self, H2App};
use rig::http1::App;
use rig::sidecar::{Launch, Ready, Sidecar, local};
use rig::vectors::compare::Context;
use rig::vectors::http::Saw;
use rig::vectors::observe::Known;
use rig::vectors::tokens::Found;
use rig::{Program, netns, wait};
use serde_json::{Value, json};
use std::time::Duration;

const APP: u16 = 45040;
const HTTP: u16 = 45011;
const INTERNAL: u16 = 45013;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long no answer is watched for.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a request that must reach the app may take once its caller has the answer.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long a request may be in work at the app after the answer.
const SETTLE: Duration = Duration::from_secs(4);
/// Largest piece of a body towards a daprd peer, bytes.
const PIECE: usize = 2048;

/// The case whose caller resets the stream while the app works.
const LEFT: &str = "callee/wire/reset-waiting";

/// The app behind the callee.
enum Behind {
    Http(App),
    H2(H2App),
}

/// A callee with its app.
pub(crate) struct Stage {
    app: Option<Behind>,
    player: Program,
    family: String,
    sidecar: Sidecar,
}

impl Stage {
    /// Moves this thread into a namespace of its own and starts everything there.
    pub(crate) fn open(player: &Program, family: &str) -> Stage {
        netns::enter_as_host("gv-host").expect("a network namespace");
        let app = if family == "h2c-app/" {
            Behind::H2(H2App::start_at(local(APP)))
        } else {
            let app = App::start_at(local(APP), None);
            app.answer_health("/healthz", 500);
            Behind::Http(app)
        };
        let sidecar = start(player, family);
        let app = Some(app).filter(|_| family != "app-down/");
        Stage { app, player: player.clone(), family: family.to_owned(), sidecar }
    }

    /// Plays a case; what differs.
    pub(crate) fn play(&mut self, case: &Case) -> Vec<String> {
        if self.sidecar.has_ended().is_some() {
            // A recorded case ends the real daprd.
            self.sidecar = start(&self.player, &self.family);
        }
        let saw = expected_saw(case);
        let body = saw.first().map(|saw| self.script(saw)).unwrap_or_default();
        if let (Some(Behind::Http(app)), true) = (&self.app, saw.is_empty()) {
            app.script(Vec::new());
        }
        let reply = call(case).run(local(INTERNAL));
        if case.name == LEFT {
            let Some(Behind::Http(app)) = &self.app else { panic!("an HTTP/1 app") };
            let left = app.saw(SETTLE).iter().all(|saw| saw.left);
            return differs("the reset reaches the app", true, left).into_iter().collect();
        }
        let mut context = context(case);
        match &self.app {
            Some(Behind::Http(app)) => {
                // a request may reach the app after its caller has the answer
                wait::within(ARRIVAL, || (app.arrived() >= saw.len()).then_some(()));
                context.app_saw(&saw.iter().map(as_http).collect::<Vec<_>>(), &app.saw(SETTLE))
            }
            Some(Behind::H2(app)) => {
                context.h2_app_saw(&saw.iter().map(as_http).collect::<Vec<_>>(), &app.saw(SETTLE))
            }
            None => assert!(saw.is_empty(), "there is no app"),
        }
        let mut differences = context.differences;
        // What became of the app's connection was recorded only where a request was cut off.
        differences.retain(|d| !d.contains("sidecar_closed"));
        if !self.player.is_ours() {
            // The order of two keys that are one in HTTP differs from run to run; one recorded case ends the process.
            differences.retain(|d| !d.contains("headers dapr-caller-app-id"));
            if case.value["daprd_process"].is_object() {
                return differences;
            }
        }
        differences.extend(compare(case, &reply, &body));
        differences
    }

    /// Scripts the app for the request that the recording says it sees; the body it answers with.
    fn script(&self, saw: &Value) -> Vec<u8> {
        let app = match self.app.as_ref().expect("an app") {
            Behind::Http(app) => app,
            Behind::H2(app) => return h2_script(app, saw),
        };
        let line: Vec<&str> = saw["line"].as_str().expect("an HTTP/1 request").split(' ').collect();
        let fields = pairs(&saw["headers"]);
        let content_type = fields.iter().find(|(n, _)| n == "Content-Type").map(|(_, v)| v.as_str());
        let body = bytes(&saw["body"]);
        let asked = Asked { method: line[0], path: line[1], content_type, body: &body };
        app.script(vec![app::answers(&asked)]);
        app::sized(line[1]).unwrap_or(body)
    }
}

/// The recorded h2c app answers `h2c ` and the request's body.
fn h2_script(app: &H2App, saw: &Value) -> Vec<u8> {
    let body = [b"h2c ", &bytes(&saw["body"])[..]].concat();
    let headers = [("content-type", "text/plain"), ("x-app", "1")];
    let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    app.script(vec![h2app::Answer { status: 200, headers, body: body.clone().into(), reset: false }]);
    body
}

fn start(player: &Program, family: &str) -> Sidecar {
    let mut launch = Launch::daprd(player)
        .args(["--app-id", "gv-callee", "--dapr-listen-addresses", "127.0.0.1"])
        .args(["--dapr-internal-grpc-listen-address", "127.0.0.1", "--metrics-listen-address", "127.0.0.1"])
        .args([format!("--dapr-http-port={HTTP}"), format!("--dapr-internal-grpc-port={INTERNAL}")])
        .args(["--dapr-grpc-port=45012", "--metrics-port=45014"])
        .env("DAPR_HOST_IP", "127.0.0.1");
    if family != "no-app-port/" {
        launch = launch.arg(format!("--app-port={APP}"));
    }
    if family == "h2c-app/" {
        launch = launch.arg("--app-protocol=h2c");
    }
    if family == "unhealthy/" {
        launch = launch.args(["--enable-app-health-check", "--app-health-threshold", "1"]);
    }
    if player.is_ours() {
        launch = launch.args(["--registry", "off", "--mdns", "off"]);
    }
    launch.ready(Ready::Healthz(HTTP)).start()
}

fn expected_saw(case: &Case) -> Vec<Value> {
    case.value["app_saw"].as_array().cloned().unwrap_or_default()
}

/// In the form of the HTTP recordings.
fn as_http(saw: &Value) -> Saw {
    let framing = saw["framing"].as_str().unwrap_or("http2").split(' ').next();
    let line = saw["line"].as_str().unwrap_or("HTTP/2");
    // of HTTP/2 it is said that the request ended
    let cut = saw.get("ended").is_some_and(|ended| *ended != true);
    let body = String::from_utf8(bytes(&saw["body"])).expect("a body of text");
    serde_json::from_value(json!({
        "line": line, "headers": saw["headers"], "framing": framing, "body": body,
        "body_cut": cut, "sidecar_closed": cut,
    }))
    .expect("the form of the HTTP recordings")
}

fn context(case: &Case) -> Context<'static> {
    static NONE: Known = Known::new();
    let request = &case.value["caller_sent"]["messages"][0]["decoded"];
    let metadata = [&request["request"]["metadata"], &request["metadata"]];
    let names = metadata.iter().filter_map(|m| m.as_object()).flat_map(|m| m.keys());
    Context {
        known: &NONE,
        found: Found::new(),
        differences: Vec::new(),
        client_fields: names.map(|n| n.to_ascii_lowercase()).collect(),
        app_names_type: true,
        head: false,
        lateness: 0.0, // no time is compared here
    }
}

/// The recorded call.
fn call(case: &Case) -> Call {
    let sent = &case.value["caller_sent"];
    let content_type = sent.get("content-type").map_or(Some("application/grpc"), Value::as_str);
    let silent = case.value["caller_got"]["ended"] == "nothing within the time watched";
    let mut call = Call {
        path: sent["rpc"]
            .as_str()
            .unwrap_or("/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream")
            .to_owned(),
        method: sent[":method"].as_str().unwrap_or("POST").to_owned(),
        content_type: content_type.map(str::to_owned),
        metadata: pairs(&sent["metadata"]),
        messages: messages(case),
        half_close: sent["half_closed"] != false,
        leave_after: None,
        patience: if silent { SILENCE } else { PATIENCE },
    };
    if case.name == LEFT {
        call.messages = vec![(0, request("hang", 1, None).encode_to_vec())];
        call.leave_after = Some(Duration::from_millis(300));
    }
    call
}

fn messages(case: &Case) -> Vec<(u8, Vec<u8>)> {
    match case.short() {
        "http/post-100000" => in_pieces("echo", &pattern(100_000)),
        "http/post-too-big-message" => {
            vec![(0, request("echo", 3, Some(vec![b'z'; (4 << 20) + 1])).encode_to_vec())]
        }
        "unary/post-100000" => vec![(0, unary_100000())],
        _ => {
            let recorded = case.value["caller_sent"]["messages"].as_array().cloned().unwrap_or_default();
            let one = |m: &Value| {
                let flag = m["compressed"].as_u64().unwrap_or_default() as u8;
                (flag, message(m).unwrap_or_else(|| panic!("no bytes in {m:.200}")))
            };
            recorded.iter().map(one).collect()
        }
    }
}

fn in_pieces(method: &str, body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    for (seq, data) in body.chunks(PIECE).enumerate() {
        let mut message = if seq == 0 { request(method, 3, None) } else { StreamRequest::default() };
        message.payload = Some(Payload { data: data.to_vec(), seq: seq as u64 });
        messages.push((0, message.encode_to_vec()));
    }
    messages
}

/// A first message with the metadata that most recorded calls have.
fn request(method: &str, verb: i32, data: Option<Vec<u8>>) -> StreamRequest {
    let metadata = [
        ("dapr-callee-app-id", "gv-callee"),
        ("dapr-caller-app-id", "gv-peer"),
        ("dapr-caller-namespace", "default"),
        ("destination-app-id", "gv-callee"),
    ];
    let value = |v: &str| Values { values: vec![v.to_owned()] };
    let request = Request {
        ver: 1,
        metadata: metadata.iter().map(|(n, v)| ((*n).to_owned(), value(v))).collect(),
        message: Some(invoke(method, verb)),
    };
    StreamRequest { request: Some(request), payload: data.map(|data| Payload { data, seq: 0 }) }
}

fn invoke(method: &str, verb: i32) -> InvokeRequest {
    InvokeRequest {
        method: method.to_owned(),
        data: None,
        content_type: "text/plain".to_owned(),
        http_extension: Some(HttpExtension { verb, querystring: String::new() }),
    }
}

fn unary_100000() -> Vec<u8> {
    let mut message = invoke("echo", 3);
    message.data = Some(rig::grpc::messages::Any { type_url: String::new(), value: pattern(100_000) });
    let value = |v: &str| Values { values: vec![v.to_owned()] };
    let metadata = [("Content-Length", "100000"), ("dapr-caller-app-id", "gv-peer")];
    let metadata = metadata.iter().map(|(n, v)| ((*n).to_owned(), value(v))).collect();
    Request { ver: 1, metadata, message: Some(message) }.encode_to_vec()
}

/// Compares the answer at the caller.
fn compare(case: &Case, reply: &Reply, body: &[u8]) -> Vec<String> {
    let got = &case.value["caller_got"];
    let mut found: Vec<Option<String>> = Vec::new();
    let silent = got["ended"] == "nothing within the time watched";
    found.push(differs("the call is open in the end", silent, reply.open));
    found.push(differs(
        "reset",
        got["reset"].as_str().unwrap_or("none"),
        reply.reset.as_deref().unwrap_or("none"),
    ));
    let recorded = [pairs(&got["headers"]), pairs(&got["trailers"])].concat();
    let field = |name: &str| recorded.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    // Whether headers come early is no part of the answer.
    let compared: &[&str] =
        if silent { &["grpc-status"] } else { &[":status", "content-type", "grpc-status"] };
    for &name in compared {
        found.push(differs(name, field(name).unwrap_or("none"), reply.last(name).unwrap_or("none")));
    }
    let said = unescaped(reply.last("grpc-message").unwrap_or_default());
    found.push(alike("grpc-message", field("grpc-message").unwrap_or_default(), &said));
    if case.value["caller_sent"]["rpc"].as_str().is_some_and(|rpc| rpc.ends_with("/CallLocal")) {
        found.push(unary(got, reply));
    } else {
        found.extend(streamed(got, reply, body));
    }
    found.into_iter().flatten().collect()
}

/// `grpc-message` is percent-encoded.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match code.and_then(|d| u8::from_str_radix(d, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn unary(got: &Value, reply: &Reply) -> Option<String> {
    let expected = plain(&got["messages"][0]["decoded"]);
    let actual =
        reply.messages.first().map(|(_, m)| Response::decode(&m[..]).expect("an InternalInvokeResponse"));
    differs("the message", expected, actual.map_or(Value::Null, |a| a.json()))
}

fn streamed(got: &Value, reply: &Reply, body: &[u8]) -> Vec<Option<String>> {
    let recorded = got["messages"].as_array().cloned().unwrap_or_default();
    let decode = |(_, m): &(u8, Vec<u8>)| StreamResponse::decode(&m[..]).expect("a message of the stream");
    let actual: Vec<StreamResponse> = reply.messages.iter().map(decode).collect();
    let first = |m: Option<Value>| m.unwrap_or(Value::Null);
    let expected = first(recorded.first().map(|m| plain(&m["decoded"]["response"])));
    let response = first(actual.first().and_then(|m| m.response.as_ref()).map(Response::json));
    let mut found = vec![differs("the first message's response", expected, response)];
    let later = recorded.get(1).map(|m| m["decoded"].get("response").is_some());
    if let (Some(later), Some(message)) = (later, actual.get(1)) {
        found.push(differs("a response in later messages", later, message.response.is_some()));
    }
    let payloads: Vec<&Payload> = actual.iter().filter_map(|m| m.payload.as_ref()).collect();
    let data = payloads.iter().map(|p| &p.data[..]).collect::<Vec<_>>().concat();
    let expected = joined(&recorded, body);
    if data != expected {
        let show = |b: &[u8]| rig::vectors::compare::excerpt(b);
        found.push(differs("the joined payload", show(&expected), show(&data)));
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

/// The body that the recorded messages carry together; where some were left out it is the app's.
fn joined(recorded: &[Value], body: &[u8]) -> Vec<u8> {
    let decoded = |m: &Value| message(m).map(|m| StreamResponse::decode(&m[..]).expect("a recorded message"));
    let messages: Option<Vec<StreamResponse>> = recorded.iter().map(decoded).collect();
    let Some(messages) = messages else { return body.to_vec() };
    messages.into_iter().filter_map(|m| m.payload).flat_map(|p| p.data).collect()
}

//! Messages of another sidecar that would inject a header, a request or a length. As the callee we are judged by the
//! bytes that the app's sockets received, as the caller by those of the client's.

use crate::from_clients::{Pair, Want, judge};
use crate::raw::{Kind, exchange, messages};
use Want::{Cut, Nothing, One};
use rig::ground::Ground;
use rig::grpc::messages::{
    HttpExtension, InvokeRequest, InvokeResponse, Message, Payload, Request, Response, Status, StreamRequest,
    StreamResponse, Values,
};
use rig::grpc::{Call, Callee, Reply, Step, framed};
use rig::{port, sidecar};
use std::collections::BTreeMap;
use std::time::Duration;

const PATH: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream";

fn fields(all: &[(&str, &[&str])]) -> BTreeMap<String, Values> {
    let values = |values: &[&str]| Values { values: values.iter().map(|&v| v.to_owned()).collect() };
    all.iter().map(|(name, all)| ((*name).to_owned(), values(all))).collect()
}

/// A call with these fields, method, query and pieces of a body.
fn call(metadata: &[(&str, &[&str])], method: &str, query: &str, pieces: &[&str]) -> Call {
    let payload = |(seq, data): (usize, &&str)| Payload { data: data.as_bytes().to_vec(), seq: seq as u64 };
    let mut payloads = pieces.iter().enumerate().map(payload);
    let message = InvokeRequest {
        method: method.to_owned(),
        http_extension: Some(HttpExtension { verb: 3, querystring: query.to_owned() }),
        ..InvokeRequest::default()
    };
    let request = Request { ver: 1, metadata: fields(metadata), message: Some(message) };
    let first = StreamRequest { request: Some(request), payload: payloads.next() };
    let rest = payloads.map(|payload| StreamRequest { request: None, payload: Some(payload) });
    let messages = std::iter::once(first).chain(rest).map(|m| (0, m.encode_to_vec())).collect();
    Call {
        path: PATH.to_owned(),
        method: "POST".to_owned(),
        content_type: Some("application/grpc".to_owned()),
        metadata: Vec::new(),
        messages,
        half_close: true,
        leave_after: None,
        patience: Duration::from_secs(10),
    }
}

fn calls() -> Vec<(&'static str, Call, Want)> {
    let with = |metadata: &[(&str, &[&str])], body: &[&str]| call(metadata, "seen", "", body);
    vec![
        ("a line end in a value", with(&[("x-a", &["b\r\nX-Hidden: yes"])], &["hello"]), Nothing),
        (
            "a request in a value",
            with(&[("x-a", &["b\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"])], &["hello"]),
            Nothing,
        ),
        ("a NUL in a value", with(&[("x-a", &["hidden\0"])], &["hello"]), Nothing),
        ("a line end in a name", with(&[("x-a\r\nx-hidden", &["yes"])], &["hello"]), Nothing),
        ("a colon in a name", with(&[("x-a: hidden\r\nx", &["yes"])], &["hello"]), Nothing),
        ("a space in a name", with(&[("content-length ", &["500"])], &["hello"]), Nothing),
        ("an empty name", with(&[("", &["hidden"])], &["hello"]), Nothing),
        (
            "a coding",
            with(
                &[("transfer-encoding", &["chunked"])],
                &["5\r\nhello\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n"],
            ),
            One("5\r\nhello\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n"),
        ),
        ("a coding in capitals", with(&[("Transfer-Encoding", &["chunked"])], &["hello"]), One("hello")),
        ("a length that is too small", with(&[("content-length", &["2"])], &["hello"]), Cut),
        ("a length that is too large", with(&[("content-length", &["50"])], &["hello"]), Cut),
        (
            "a length of nothing before a request",
            with(&[("content-length", &["0"])], &["GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"]),
            Cut,
        ),
        ("two lengths", with(&[("content-length", &["5", "50"])], &["hello"]), One("hello")),
        (
            "two lengths by two names",
            with(&[("content-length", &["5"]), ("Content-Length", &["50"])], &["hello"]),
            Cut,
        ),
        ("a length that is no number", with(&[("content-length", &["0x5"])], &["hello"]), Cut),
        (
            "hop-by-hop fields",
            with(
                &[
                    ("connection", &["close, x-hidden"]),
                    ("upgrade", &["hidden"]),
                    ("keep-alive", &["hidden"]),
                    ("te", &["hidden"]),
                ],
                &["hello"],
            ),
            One("hello"),
        ),
        ("two hosts", with(&[("host", &["hidden"]), (":authority", &["other"])], &["hello"]), One("hello")),
        ("an expectation", with(&[("expect", &["100-continue"])], &["hello"]), One("hello")),
        ("the caller's name", with(&[("dapr-caller-app-id", &["seen\r\nX-Hidden: y"])], &["hello"]), Nothing),
        (
            "a line end in the method",
            call(&[], "seen HTTP/1.1\r\nX-Hidden: yes\r\n\r\n", "", &["hello"]),
            Nothing,
        ),
        ("a space in the method", call(&[], "seen hidden", "", &["hello"]), Nothing),
        ("dot segments in the method", call(&[], "../../hidden", "", &["hello"]), Nothing),
        ("a line end in the query", call(&[], "seen", "a=b HTTP/1.1\r\nX-Hidden: yes", &["hello"]), Cut),
        ("a fragment in the method", call(&[], "seen#hidden", "", &["hello"]), Nothing),
        (
            "pieces out of order",
            {
                let mut call = call(&[], "seen", "", &["hello", "hidden", "hidden"]);
                call.messages.swap(1, 2);
                call
            },
            Cut,
        ),
    ]
}

#[test]
fn messages_of_a_peer_inject_nothing_into_the_apps_request() {
    let pair = Pair::open(&["--no-mtls"]);
    let mut wrong = Vec::new();
    for (what, call, want) in calls() {
        pair.app.forget();
        let reply: Reply = call.run(pair.callee.mesh);
        let verdict = judge(&pair.app.heard(), want).map(drop);
        if let Err(why) = verdict.and_then(|()| pair.still_serves(pair.caller.http)) {
            wrong.push(format!("{what}: {why}; reply {:?} {:?}", reply.trailers, reply.reset));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// An answer with these fields and pieces of a body.
fn answer(code: i32, headers: &[(&str, &[&str])], content_type: &str, pieces: &[&str]) -> Vec<Step> {
    let payload = |(seq, data): (usize, &&str)| Payload { data: data.as_bytes().to_vec(), seq: seq as u64 };
    let mut payloads = pieces.iter().enumerate().map(payload);
    let response = Response {
        status: Some(Status { code, ..Status::default() }),
        headers: fields(headers),
        message: Some(InvokeResponse { content_type: content_type.to_owned(), ..InvokeResponse::default() }),
        ..Response::default()
    };
    let first = StreamResponse { response: Some(response), payload: payloads.next() };
    let rest = payloads.map(|payload| StreamResponse { response: None, payload: Some(payload) });
    let text =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let mut steps =
        vec![Step::Head(text(&[(":status", "200"), ("content-type", "application/grpc")]), false)];
    steps
        .extend(std::iter::once(first).chain(rest).map(|m| Step::Data(framed(0, &m.encode_to_vec()), false)));
    steps.push(Step::Trailers(text(&[("grpc-status", "0")])));
    steps
}

fn answers() -> Vec<(&'static str, Vec<Step>, Option<&'static str>)> {
    let with = |headers: &[(&str, &[&str])], body: &[&str]| answer(200, headers, "text/plain", body);
    vec![
        ("a line end in a value", with(&[("x-a", &["b\r\nX-Hidden: yes"])], &["hello"]), Some("hello")),
        (
            "an answer in a value",
            with(&[("x-a", &["b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhidden"])], &["hello"]),
            Some("hello"),
        ),
        ("a line end in a name", with(&[("x-a\r\nx-hidden", &["yes"])], &["hello"]), Some("hello")),
        ("a space in a name", with(&[("content-length ", &["500"])], &["hello"]), Some("hello")),
        ("an empty name", with(&[("", &["hidden"])], &["hello"]), Some("hello")),
        (
            "a coding",
            with(&[("transfer-encoding", &["chunked"])], &["0\r\n\r\nhidden"]),
            Some("0\r\n\r\nhidden"),
        ),
        ("a length that is too small", with(&[("content-length", &["2"])], &["hel", "lo"]), Some("hello")),
        ("a length that is too large", with(&[("content-length", &["50"])], &["hel", "lo"]), Some("hello")),
        ("two lengths", with(&[("content-length", &["5", "50"])], &["hello"]), Some("hello")),
        (
            "a line end in the content type",
            answer(200, &[], "a/b\r\nX-Hidden: yes", &["hello"]),
            Some("hello"),
        ),
        (
            "hop-by-hop fields",
            with(
                &[("connection", &["x-hidden"]), ("upgrade", &["hidden"]), ("trailer", &["hidden"])],
                &["hello"],
            ),
            Some("hello"),
        ),
        ("a status of 101", answer(101, &[], "text/plain", &["hello"]), None),
        ("a status of 1000", answer(1000, &[], "text/plain", &["hello"]), None),
        ("a status below zero", answer(-1, &[], "text/plain", &["hello"]), None),
        ("a body behind a 204", answer(204, &[], "text/plain", &["hidden"]), Some("")),
        (
            "a body behind a 304",
            answer(304, &[("content-length", &["6"])], "text/plain", &["hidden"]),
            Some(""),
        ),
    ]
}

#[test]
fn messages_of_a_peer_inject_nothing_into_the_clients_answer() {
    let ground = Ground::new(rig::outrigger!());
    let at = port::one();
    let callee = Callee::start_at(sidecar::local(at));
    let names = ground.folder().file("names", format!("callee 127.0.0.1:{at}\n"));
    let caller = ground.start("caller", None, &["--no-mtls", "--name-table", names.to_str().unwrap()]);
    let mut wrong = Vec::new();
    for (what, steps, want) in answers() {
        callee.script(vec![steps.into()]);
        let request = b"GET /v1.0/invoke/callee/method/seen HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let (bytes, closed) = exchange(caller.http, request, true);
        if let Err(why) = judge_answer(&bytes, closed, want) {
            wrong.push(format!("{what}: {why}; answer {:?}", String::from_utf8_lossy(&bytes)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// One well-formed answer with this body; without a body: an error of the sidecar's, or a connection cut off.
fn judge_answer(bytes: &[u8], closed: bool, want: Option<&str>) -> Result<(), String> {
    let (all, rest) = messages(bytes, Kind::Response { closed: false })?;
    let hidden = |text: &str| text.to_ascii_lowercase().contains("hidden");
    if all.iter().flat_map(|one| &one.headers).any(|(name, value)| hidden(name) || hidden(value)) {
        return Err("what was hidden shows".to_owned());
    }
    let right = match (all.as_slice(), want) {
        ([one], Some(body)) => one.body == body.as_bytes() && rest.is_empty(),
        ([one], None) => one.second().starts_with('5') && rest.is_empty(),
        ([], None) => closed,
        _ => false,
    };
    if right { Ok(()) } else { Err(format!("wanted {want:?}, got {all:?} and {} bytes", rest.len())) }
}

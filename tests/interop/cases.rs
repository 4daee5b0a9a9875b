//! What must hold between Outrigger and daprd, whoever calls.

use crate::pair::Pair;
use rig::http1::body::Framing;
use rig::http1::client::{self, Client, Got};
use rig::http1::{Answer, Saw, Step};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

/// How long a request may be in work at the app after its answer came.
const SETTLE: Duration = Duration::from_secs(5);
/// How long an answer may take when the sidecar tries four times, one second apart.
const WITH_RETRIES: Duration = Duration::from_secs(30);

/// A name and what it does.
pub(crate) type Case = (&'static str, fn(&Pair));

/// Without and with mTLS.
pub(crate) const EVERYWHERE: [Case; 13] = [
    ("get-with-query", get_with_query),
    ("post-small", post_small),
    ("post-5000-both-ways", |pair| echo_of_size(pair, 5_000)),
    ("post-300000-both-ways", |pair| echo_of_size(pair, 300_000)),
    ("reply-chunked-300000", reply_chunked),
    ("app-404", |pair| status_passes(pair, 404)),
    ("app-500", |pair| status_passes(pair, 500)),
    ("app-204", no_content),
    ("repeated-headers", repeated_headers),
    ("head", head),
    ("upload-chunked", upload_chunked),
    ("sixteen-at-once", sixteen_at_once),
    ("unknown-id", unknown_id),
];

/// With mTLS alone.
pub(crate) const UNDER_MTLS: [Case; 2] =
    [("callee-with-another-identity", impostor), ("caller-under-another-root", stranger)];

fn body(n: usize) -> Vec<u8> {
    (b'a'..=b'w').cycle().take(n).collect()
}

/// An answer with this body and header lines.
fn answer(status: u16, headers: &str, body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 {status} S\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    Answer::bytes([head.as_bytes(), body].concat())
}

fn target(method: &str) -> String {
    format!("/v1.0/invoke/callee/method/{method}")
}

fn post(pair: &Pair, body: &[u8]) -> Got {
    client::request(pair.caller, "POST", &target("echo"), &[("Content-Type", "text/plain")], body)
}

/// The one request that the app saw.
fn only(pair: &Pair) -> Saw {
    let mut saw = pair.app.saw(SETTLE);
    assert_eq!(saw.len(), 1, "requests at the app: {saw:?}");
    saw.remove(0)
}

fn get_with_query(pair: &Pair) {
    let got = client::get(pair.caller, &target("a/b%20c?x=1&y=%C3%A9&z"));
    assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{got:?}");
    let saw = only(pair);
    assert_eq!((saw.method().as_str(), saw.framing), ("GET", Framing::None), "{saw:?}");
    assert_eq!(saw.target(), "/a/b%20c?x=1&y=%C3%A9&z");
}

fn post_small(pair: &Pair) {
    let got = post(pair, b"hi");
    assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{got:?}");
    let saw = only(pair);
    assert_eq!((saw.method().as_str(), saw.body.bytes.as_slice()), ("POST", &b"hi"[..]), "{saw:?}");
    assert_eq!(saw.head.value("content-type"), Some(&b"text/plain"[..]));
    assert_eq!(saw.head.value("dapr-caller-app-id"), Some(&b"caller"[..]));
}

fn echo_of_size(pair: &Pair, n: usize) {
    pair.app.script(vec![answer(200, "Content-Type: text/plain\r\n", &body(n + 1))]);
    let got = post(pair, &body(n));
    assert_eq!((got.status, got.body.len(), got.end.as_str()), (200, n + 1, "keepalive"));
    assert!(got.body == body(n + 1), "the answer's bytes differ");
    let saw = only(pair);
    assert_eq!((saw.framing, saw.body.bytes.len()), (Framing::Length(n), n));
    assert!(saw.body.bytes == body(n), "the request's bytes differ");
}

fn reply_chunked(pair: &Pair) {
    let content = body(300_000);
    let mut bytes =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in content.chunks(7_001) {
        bytes.extend(format!("{:x}\r\n", part.len()).bytes());
        bytes.extend([part, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    pair.app.script(vec![Answer::bytes(bytes)]);
    let got = client::get(pair.caller, &target("stream"));
    assert_eq!((got.status, got.end.as_str()), (200, "keepalive"), "{}", got.body.len());
    assert!(got.body == content, "the answer's bytes differ: {} of {}", got.body.len(), content.len());
}

fn status_passes(pair: &Pair, status: u16) {
    let text = format!("the app says {status}");
    pair.app.script(vec![answer(status, "Content-Type: text/x-own\r\n", text.as_bytes())]);
    let got = post(pair, b"hi");
    assert_eq!((got.status, got.text()), (status, text), "{got:?}");
    assert_eq!(got.header("content-type").as_deref(), Some("text/x-own"));
    only(pair);
}

fn no_content(pair: &Pair) {
    pair.app.script(vec![Answer::bytes("HTTP/1.1 204 No Content\r\n\r\n")]);
    let got = post(pair, b"hi");
    assert_eq!((got.status, got.body.len(), got.end.as_str()), (204, 0, "keepalive"), "{got:?}");
}

fn repeated_headers(pair: &Pair) {
    pair.app.script(vec![answer(
        200,
        "X-Back: 1\r\nX-Back: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n",
        b"ok",
    )]);
    let sent = [("X-Many", "one"), ("X-Many", "two")];
    let got = client::request(pair.caller, "GET", &target("headers"), &sent, b"");
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(values(&got.headers, "x-back"), ["1", "2"]);
    assert_eq!(values(&got.headers, "set-cookie"), ["a=1", "b=2"]);
    assert_eq!(values(&only(pair).head.headers, "x-many"), ["one", "two"]);
}

fn values(headers: &[(Vec<u8>, Vec<u8>)], name: &str) -> Vec<String> {
    let named = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
    named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

fn head(pair: &Pair) {
    let got = client::request(pair.caller, "HEAD", &target("head"), &[], b"");
    assert_eq!((got.status, got.body.len(), got.end.as_str()), (200, 0, "keepalive"), "{got:?}");
    assert_eq!(only(pair).method(), "HEAD");
}

fn upload_chunked(pair: &Pair) {
    let (content, path) = (body(20_000), target("upload"));
    let mut steps = vec![Step::text(&format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    ))];
    for part in content.chunks(4_999) {
        steps.push(Step::Bytes([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()));
    }
    steps.push(Step::text("0\r\n\r\n"));
    let got = Client::new(pair.caller).run(&steps, 1).remove(0);
    assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{got:?}");
    let saw = only(pair);
    assert_eq!(saw.framing, Framing::Chunked);
    assert!(saw.body.bytes == content, "the request's bytes differ: {}", saw.body.bytes.len());
}

fn sixteen_at_once(pair: &Pair) {
    thread::scope(|scope| {
        let calls: Vec<_> = (0..16).map(|_| scope.spawn(|| post(pair, &body(3_000)))).collect();
        for call in calls {
            let got = call.join().expect("a client ends");
            assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{got:?}");
        }
    });
    let saw = pair.app.saw(SETTLE);
    assert_eq!(saw.len(), 16);
    assert!(saw.iter().all(|s| s.body.bytes == body(3_000)));
}

fn unknown_id(pair: &Pair) {
    let got = patient(pair.caller, "nobody");
    assert_eq!((got.status, error_code(&got)), (500, true), "{got:?}");
    assert_eq!(pair.app.arrived(), 0);
}

/// The callee's certificate names `callee`, not the id that was asked for.
fn impostor(pair: &Pair) {
    let got = patient(pair.caller, "impostor");
    refused(pair, &got);
    assert!(got.text().contains("SPIFFE"), "another reason than the identity: {}", got.text());
}

/// The caller's certificate comes from a root that the callee does not know, and the other way round.
fn stranger(pair: &Pair) {
    let got = patient(pair.stranger.expect("a stranger under mTLS"), "callee");
    refused(pair, &got);
    assert!(got.text().contains("certificate"), "another reason than the root: {}", got.text());
}

fn refused(pair: &Pair, got: &Got) {
    assert_eq!((got.status, error_code(got)), (500, true), "{got:?}");
    assert_eq!(pair.app.arrived(), 0, "the app was called: {got:?}");
}

fn error_code(got: &Got) -> bool {
    got.text().contains("\"errorCode\":\"ERR_DIRECT_INVOKE\"")
}

fn patient(to: SocketAddr, id: &str) -> Got {
    let mut client = Client::new(to);
    client.patience = WITH_RETRIES;
    let request = client::bytes_of("GET", &format!("/v1.0/invoke/{id}/method/x"), &[], b"");
    client.run(&[Step::Bytes(request)], 1).remove(0)
}

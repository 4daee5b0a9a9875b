//! Calls of peers that are scripted here: what a sidecar answers whatever it is sent.

use super::*;
use crate::mesh::{CallError, GrpcEnd, Mesh, MeshLimits, Next, PeerKey, Start};
use crate::rt::{Shards, Tick};
use proto::envelope::{Fixed, Identity as Own, Peer, payload, request, response};
use proto::http1::head::{Head, Limits as HeadLimits, Request, Slots};

const STREAM: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream";
const UNARY: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";

/// What came back: messages and the end.
type Came = (Vec<Vec<u8>>, Result<GrpcEnd, CallError>);

/// Sends `frames` as one call and half-closes.
fn call(at: SocketAddr, path: &'static str, literals: Vec<(&'static str, Vec<u8>)>, frames: Vec<u8>) -> Came {
    let (answer, answered) = std::sync::mpsc::channel();
    let shards = Shards { backend: backends().swap_remove(0), ..Shards::default() };
    let running = rt::start_shards(shards, move |_| {
        let (answer, literals, frames) = (answer.clone(), literals.clone(), frames.clone());
        async move {
            let literals: Vec<(&str, &[u8])> = literals.iter().map(|(n, v)| (*n, &v[..])).collect();
            let mesh = Mesh::new(MeshLimits::default());
            let key = PeerKey { address: at, expected: None };
            let checkout = mesh.checkout(&key, rt::now() + Duration::from_secs(5)).await.unwrap();
            let mut call = checkout.start(Start { path, literals: &literals });
            call.write(true, |out| out.extend_from_slice(&frames)).unwrap();
            let mut messages = Vec::new();
            let end = loop {
                match call.next(Tick::NEVER).await {
                    Ok(Next::Message) => messages.extend(call.take(<[u8]>::to_vec)),
                    Ok(Next::End(end)) => break Ok(end),
                    Err(error) => break Err(error),
                }
            };
            answer.send((messages, end)).unwrap();
        }
    })
    .unwrap();
    let came = answered.recv_timeout(Duration::from_secs(10)).unwrap();
    running.join().unwrap();
    came
}

/// The first message for this HTTP head, streamed or whole.
fn message(head: &str, callee: &str, body: &[u8], whole: bool) -> Vec<u8> {
    let mut slots = Slots::new();
    let Ok(Head::Complete(head)) = Request::parse(head.as_bytes(), &mut slots, &HeadLimits::default()) else {
        panic!("a head")
    };
    let own = Own { app_id: "peer", namespace: "default", host_address: "10.0.0.1", host_name: "n" };
    let fixed = Fixed::new(&own, callee);
    let outgoing = request::Outgoing {
        headers: &head.headers,
        verb: head.method,
        method: head.target.trim_start_matches('/'),
        query: "",
        fixed: &fixed,
        peer: Peer::Outrigger,
        dropped: 0,
    };
    let mut out = Vec::new();
    if whole { request::whole(&mut out, &outgoing, body) } else { request::first(&mut out, &outgoing, body) }
        .unwrap();
    out
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

fn callee(app: SocketAddr) -> Sidecar {
    let callee = Sidecar::start(backends().swap_remove(0));
    callee.apply(snapshot("callee", Some(app), &[]));
    callee
}

#[test]
fn a_unary_call_is_answered_in_one_message() {
    let app = FakeApp::start(HELLO);
    let callee = callee(app.at);
    let post = "POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
    let (messages, end) = call(callee.internal, UNARY, Vec::new(), message(post, "callee", b"ping", true));
    assert_eq!(end.unwrap().status, 0);
    let answer = response::open_whole(&messages[0], Peer::Daprd).unwrap();
    assert_eq!((answer.code, answer.data, messages.len()), (200, &b"hello"[..], 1));
    assert!(app.saw().join("").ends_with("\r\n\r\nping"));
}

#[test]
fn what_is_no_call_is_refused_with_a_status() {
    let app = FakeApp::start(HELLO);
    let callee = callee(app.at);
    let status = |path, frames| call(callee.internal, path, Vec::new(), frames).1.unwrap().status;
    assert_eq!(
        status("/dapr.proto.internals.v1.ServiceInvocation/CallActor", message(GET, "callee", b"", false)),
        12
    );
    assert_eq!(status(STREAM, Vec::new()), 3, "no message at all");
    assert_eq!(status(STREAM, vec![0, 0, 0, 0, 2, 0x0a, 0]), 3, "a request without message and metadata");
    assert_eq!(status(STREAM, vec![0, 0, 0, 0, 2, 0xff, 0xff]), 13, "no protobuf");
    assert_eq!(status(STREAM, message(GET, "somebody", b"", false)), 14, "for another app");
    assert_eq!(
        status(STREAM, message(&GET.replace("/x", "/a?b"), "callee", b"", false)),
        3,
        "a forbidden method"
    );
    assert_eq!(
        status(STREAM, message(&GET.replace("GET", "CONNECT"), "callee", b"", false)),
        13,
        "no such call"
    );
    assert!(app.saw().is_empty());
    assert_eq!(status(STREAM, message(GET, "callee", b"", false)), 0);
}

#[test]
fn a_payload_out_of_sequence_reaches_neither_the_app_nor_an_answer() {
    let app = FakeApp::start(HELLO);
    let callee = callee(app.at);
    let mut frames =
        message("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n", "callee", b"one", false);
    payload::frame(&mut frames, 2, b"two");
    let (_, end) = call(callee.internal, STREAM, Vec::new(), frames);
    let end = end.unwrap();
    assert_eq!(end.status, 13);
    assert!(end.message.ends_with("invalid sequence number received: 2 (expected: 1)"), "{}", end.message);
    assert!(app.saw().is_empty(), "the app never has a whole request");
}

#[test]
fn a_deadline_of_the_caller_ends_the_call_in_the_app() {
    let (gone, ended) = std::sync::mpsc::channel();
    let gone = Mutex::new(gone);
    let app = FakeApp::with(move |mut stream, _| {
        if request_head(&mut stream).is_some() {
            let _ = stream.read(&mut [0; 1]);
            gone.lock().unwrap().send(()).unwrap();
        }
    });
    let callee = callee(app.at);
    let timeout = vec![("grpc-timeout", b"50m".to_vec())];
    let (messages, end) = call(callee.internal, STREAM, timeout, message(GET, "callee", b"", false));
    assert!(messages.is_empty());
    assert_eq!(end.unwrap().status, 4);
    ended.recv_timeout(Duration::from_secs(5)).unwrap();
    eventually("the record is written", || callee.common.registry.calls() == 0);
}

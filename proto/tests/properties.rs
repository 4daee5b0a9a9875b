//! What must hold for any input, tried with seeded random ones. A failure prints its round; `SEED` repeats it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // in a test, a panic is the finding

mod common;

use common::messages as by_prost;
use prost::Message;
use proto::envelope::{Fixed, Identity, Peer, request, response};
use proto::grpc::{base64, frame, metadata};
use proto::http1::head::{Head, Limits, Request, Response, Slots, may_end};
use proto::invoke::headers::app::{self, Added};
use proto::invoke::{escape, method, target};
use proto::rng::Rng;
use proto::trace::Context;
use std::collections::HashMap;

const SEED: u64 = 20_260_731;

fn pick<'a, T>(rng: &mut Rng, items: &'a [T]) -> &'a T {
    &items[rng.below(items.len() as u64) as usize]
}

fn text(rng: &mut Rng, alphabet: &[&str], most: u64) -> String {
    (0..rng.below(most + 1)).map(|_| *pick(rng, alphabet)).collect()
}

fn bytes(rng: &mut Rng, most: u64) -> Vec<u8> {
    (0..rng.below(most + 1)).map(|_| rng.draw() as u8).collect()
}

const PATHS: &[&str] = &[
    "a", "b", "/", "/", ".", "..", "%", "%2F", "%2e", "%41", "é", "😀", " ", "?", "#", "\0", "\u{7f}", "\\",
    "x y", ";", "\n", "method", "invoke", "v1.0",
];
const VALUES: &[&str] = &["a", "B", " ", ",", "é", "=", "\t", "1", "text/plain", "close", "x-a"];
const NAMES: &[&str] = &[
    "X-A",
    "x-a",
    "X-B",
    "Content-Type",
    "content-length",
    "Connection",
    "Cookie",
    "traceparent",
    "Baggage",
    "dapr-caller-app-id",
    "X-Forwarded-For",
    "grpc-x",
    "x-bin",
    "User-Agent",
    "Accept",
    "Te",
    ":authority",
];

#[test]
fn a_normal_method_is_normal_for_good() {
    let mut rng = Rng::new(SEED);
    for round in 0..20_000 {
        let raw = text(&mut rng, PATHS, 12);
        let Ok(normal) = method::normalise(&raw) else {
            assert!(
                raw.contains(['#', '?']) || raw.contains(|letter: char| letter.is_ascii_control()),
                "{round} {raw:?}"
            );
            continue;
        };
        assert_eq!(method::normalise(&normal).unwrap(), normal, "{round}: {raw:?}");
        let relative = normal.strip_prefix('/').unwrap_or(&normal);
        let segments = relative.split('/');
        let clean = segments.into_iter().all(|segment| !matches!(segment, "." | "..") && !segment.is_empty());
        assert!(relative.is_empty() || clean, "{round}: {raw:?} gives {normal:?}");
        let mut line = Vec::new();
        if escape::path(&mut line, &normal).is_ok() {
            assert!(line.iter().all(|byte| (b'!'..=b'~').contains(byte)), "{round}: {normal:?}");
            let read = escape::decode(core::str::from_utf8(&line).unwrap(), false).unwrap();
            let meant = escape::decode(&normal, false).unwrap();
            assert_eq!(read, meant, "{round}: {normal:?}");
        }
    }
}

#[test]
fn any_target_is_found_or_refused() {
    let mut rng = Rng::new(SEED);
    for round in 0..20_000 {
        let path = text(&mut rng, PATHS, 6).replace(|letter: char| letter <= ' ' || letter == '\u{7f}', "");
        let line = format!("GET /v1.0/invoke/{path}/method/{path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut slots = Slots::new();
        let Ok(Head::Complete(head)) = Request::parse(line.as_bytes(), &mut slots, &Limits::default()) else {
            panic!("{round}: {line}")
        };
        let Ok(split) = target::split(head.target) else { continue };
        if let Ok(found) = target::find(&split, &head.headers) {
            assert!(!found.id.is_empty() || path.is_empty(), "{round}: {line}");
            assert!(!found.method.starts_with('/'), "{round}: {line}");
            let _ = target::destination(&found.id);
        }
    }
}

/// A head made of known and odd parts, sometimes broken by one changed byte.
fn some_head(rng: &mut Rng) -> Vec<u8> {
    let mut head =
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n", text(rng, &["a", "/", "%41", "b"], 5)).into_bytes();
    for _ in 0..rng.below(90) {
        let (name, value) = (pick(rng, NAMES), text(rng, VALUES, 4));
        let refused = name.starts_with(':') || *name == "content-length"; // by nearly every value
        if refused && rng.below(50) > 0 {
            continue;
        }
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    if rng.below(3) == 0 {
        let at = rng.below(head.len() as u64) as usize;
        head[at] = *pick(rng, &[b'\r', b'\n', b' ', b':', 0, 0x80, b'a']);
    }
    head
}

#[test]
fn a_head_means_the_same_in_one_piece_and_in_many() {
    let mut rng = Rng::new(SEED);
    for round in 0..3000 {
        let head = some_head(&mut rng);
        let limits = Limits { max_head: 64 << 10 };
        let mut whole = Slots::new();
        let parsed = Request::parse(&head, &mut whole, &limits);
        let (mut at, mut ended) = (0, None);
        while at < head.len() && ended.is_none() {
            let before = at;
            at = head.len().min(at + 1 + rng.below(60) as usize);
            if may_end(&head[..at], before) {
                let mut slots = Slots::new();
                match Request::parse(&head[..at], &mut slots, &limits) {
                    Ok(Head::Partial) => {}
                    Ok(Head::Complete(found)) => ended = Some(Ok(found.len)),
                    Err(error) => ended = Some(Err(error)),
                }
            }
        }
        match (parsed, ended) {
            (Ok(Head::Complete(found)), Some(Ok(len))) => assert_eq!(found.len, len, "{round}"),
            (Ok(Head::Partial), None) | (Err(_), Some(Err(_)) | None) => {}
            (parsed, ended) => panic!("{round}: {parsed:?} {ended:?} {}", String::from_utf8_lossy(&head)),
        }
    }
}

#[test]
fn a_clients_head_becomes_exactly_one_request_for_the_app() {
    let mut rng = Rng::new(SEED);
    let own = Identity { app_id: "shop", namespace: "default", host_address: "10.0.0.5", host_name: "n" };
    let fixed = Fixed::new(&own, "orders");
    let mut passed = 0;
    for round in 0..3000 {
        let head = some_head(&mut rng);
        let mut slots = Slots::new();
        let Ok(Head::Complete(client)) = Request::parse(&head, &mut slots, &Limits::default()) else {
            continue;
        };
        let peer = *pick(&mut rng, &[Peer::Daprd, Peer::Outrigger]);
        let call = request::Outgoing {
            headers: &client.headers,
            verb: client.method,
            method: "x",
            query: "",
            fixed: &fixed,
            peer,
            dropped: 0,
        };
        let mut wire = Vec::new();
        if request::first(&mut wire, &call, b"body").is_err() {
            assert!(wire.is_empty(), "{round}");
            continue;
        }
        let message = frame::split(&wire, 1 << 20).unwrap().unwrap().message;
        if peer == Peer::Daprd {
            by_prost::InternalInvokeRequestStream::decode(message).unwrap();
        }
        let (invoke, body) = request::open(message, peer).unwrap().leading().unwrap();
        assert_eq!(body.unwrap().data, b"body", "{round}");
        let added = Added { host: "app:1", app_id: "orders", ..Added::default() };
        let mut out = Vec::new();
        if app::from_mesh(&mut out, &invoke, peer, "x", &added, None).is_ok() {
            let mut slots = Slots::new();
            let Ok(Head::Complete(seen)) = Request::parse(&out, &mut slots, &Limits { max_head: 1 << 20 })
            else {
                panic!("{round}: {}", String::from_utf8_lossy(&out))
            };
            assert_eq!(seen.len, out.len(), "{round}: nothing follows the head");
            passed += 1;
        }
    }
    assert!(passed > 500, "only {passed} passed");
}

fn some_map(rng: &mut Rng) -> HashMap<String, by_prost::ListStringValue> {
    let entries = rng.below(8);
    let list = |rng: &mut Rng| by_prost::ListStringValue {
        values: (0..rng.below(4)).map(|_| text(rng, VALUES, 5)).collect(),
    };
    (0..entries).map(|_| ((*pick(rng, NAMES)).to_owned(), list(rng))).collect()
}

fn some_any(rng: &mut Rng) -> Option<by_prost::Any> {
    (rng.below(2) == 0).then(|| by_prost::Any { type_url: text(rng, VALUES, 3), value: bytes(rng, 200) })
}

fn some_payload(rng: &mut Rng) -> Option<by_prost::StreamPayload> {
    let seq = if rng.below(2) == 0 { rng.below(3) } else { rng.draw() };
    (rng.below(4) > 0).then(|| by_prost::StreamPayload { data: bytes(rng, 300), seq })
}

fn some_request(rng: &mut Rng) -> by_prost::InternalInvokeRequestStream {
    let extension = (rng.below(4) > 0)
        .then(|| by_prost::HttpExtension { verb: rng.below(12) as i32, querystring: text(rng, PATHS, 4) });
    let message = by_prost::InvokeRequest {
        method: text(rng, PATHS, 6),
        data: some_any(rng),
        content_type: text(rng, VALUES, 2),
        http_extension: extension,
    };
    let request = by_prost::InternalInvokeRequest {
        ver: rng.below(3) as i32,
        metadata: some_map(rng),
        message: (rng.below(6) > 0).then_some(message),
    };
    by_prost::InternalInvokeRequestStream {
        request: (rng.below(6) > 0).then_some(request),
        payload: some_payload(rng),
    }
}

#[test]
fn requests_that_prost_writes_are_read_alike() {
    let mut rng = Rng::new(SEED);
    for round in 0..5000 {
        let message = some_request(&mut rng);
        let wire = message.encode_to_vec();
        let opened = request::open(&wire, Peer::Daprd).unwrap();
        let complete = message
            .request
            .as_ref()
            .filter(|request| request.message.is_some() && !request.metadata.is_empty());
        match (opened.leading(), complete) {
            (Ok((invoke, payload)), Some(request)) => {
                same_request(round, &invoke, request);
                let theirs = message.payload.as_ref().map(|payload| (&payload.data[..], payload.seq));
                assert_eq!(payload.map(|payload| (payload.data, payload.seq)), theirs, "{round}");
            }
            (Err(_), None) => {}
            (ours, _) => panic!("{round}: {ours:?} for {message:?}"),
        }
        assert_eq!(
            opened.following().is_err(),
            message.request.is_some_and(|request| request.message.is_some() || !request.metadata.is_empty()),
            "{round}"
        );
    }
}

fn same_request(round: u32, ours: &request::Invoke<'_>, theirs: &by_prost::InternalInvokeRequest) {
    let message = theirs.message.as_ref().unwrap();
    let extension = message.http_extension.clone().unwrap_or_default();
    let data = message.data.clone().unwrap_or_default();
    assert_eq!(ours.version, theirs.ver as u64, "{round}");
    assert_eq!(
        (ours.method, ours.content_type),
        (&message.method[..], message.content_type.as_bytes()),
        "{round}"
    );
    assert_eq!(ours.query, extension.querystring, "{round}");
    assert_eq!(ours.verb.is_some(), message.http_extension.is_some(), "{round}");
    assert_eq!((ours.type_url, ours.data), (&data.type_url[..], &data.value[..]), "{round}");
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let entries: HashMap<String, Vec<String>> = ours
        .metadata
        .entries()
        .map(|entry| (String::from_utf8(entry.key.to_vec()).unwrap(), entry.values().map(text).collect()))
        .collect();
    let expected: HashMap<String, Vec<String>> =
        theirs.metadata.iter().map(|(key, list)| (key.clone(), list.values.clone())).collect();
    assert_eq!(entries, expected, "{round}");
}

#[test]
fn answers_that_prost_writes_are_read_alike() {
    let mut rng = Rng::new(SEED);
    for round in 0..5000 {
        let status = by_prost::Status {
            code: rng.draw() as i32,
            message: text(&mut rng, VALUES, 4),
            details: some_any(&mut rng).into_iter().collect(),
        };
        let message =
            by_prost::InvokeResponse { data: some_any(&mut rng), content_type: text(&mut rng, VALUES, 2) };
        let answer = by_prost::InternalInvokeResponse {
            status: (rng.below(6) > 0).then_some(status),
            headers: some_map(&mut rng),
            trailers: some_map(&mut rng),
            message: (rng.below(3) > 0).then_some(message),
        };
        let wire = answer.encode_to_vec();
        match (response::open_whole(&wire, Peer::Daprd), answer.status) {
            (Ok(ours), Some(status)) => {
                assert_eq!((ours.code, ours.message), (status.code, &status.message[..]), "{round}");
                let message = answer.message.unwrap_or_default();
                assert_eq!(ours.content_type, message.content_type.as_bytes(), "{round}");
                assert_eq!(ours.data, message.data.unwrap_or_default().value, "{round}");
                assert_eq!(ours.headers.entries().count(), answer.headers.len(), "{round}");
            }
            (Err(_), None) => {}
            (ours, _) => panic!("{round}: {ours:?}"),
        }
    }
}

#[test]
fn broken_messages_are_refused_or_read_as_prost_reads_them() {
    let mut rng = Rng::new(SEED);
    let mut read = 0;
    for round in 0..20_000 {
        let mut wire = some_request(&mut rng).encode_to_vec();
        for _ in 0..=rng.below(3) {
            if let Some(last) = wire.len().checked_sub(1) {
                match rng.below(3) {
                    0 => wire[rng.below(last as u64 + 1) as usize] = rng.draw() as u8,
                    1 => wire.truncate(rng.below(last as u64 + 1) as usize),
                    _ => wire.insert(rng.below(last as u64 + 1) as usize, rng.draw() as u8),
                }
            }
        }
        let Ok(opened) = request::open(&wire, Peer::Daprd) else { continue };
        // where both read it they read the same; prost refuses more (wire types of known fields, deep groups)
        if let (Ok((invoke, _)), Ok(theirs)) =
            (opened.leading(), by_prost::InternalInvokeRequestStream::decode(&wire[..]))
        {
            let theirs = theirs.request.unwrap();
            assert_eq!(invoke.method, theirs.message.unwrap().method, "{round}");
            let keys: std::collections::HashSet<_> =
                invoke.metadata.entries().map(|entry| entry.key).collect();
            assert_eq!(keys.len(), theirs.metadata.len(), "{round}");
            read += 1;
        }
    }
    assert!(read > 200, "only {read} were read");
}

#[test]
fn random_bytes_are_no_panic_anywhere() {
    let mut rng = Rng::new(SEED);
    for _ in 0..20_000 {
        let input = bytes(&mut rng, 120);
        let (mut first, mut second) = (Slots::new(), Slots::new());
        let _ = Request::parse(&input, &mut first, &Limits::default());
        let _ = Response::parse(&input, &mut second, &Limits::default());
        let _ = request::open(&input, Peer::Outrigger).map(|message| message.leading());
        let _ = response::open(&input, Peer::Outrigger).map(|message| message.leading());
        let _ = frame::split(&input, 64);
        let _ = Context::parse(&input);
        let _ = Context::from_header(&input);
        let _ = metadata::parse_timeout(&input);
        let _ = metadata::decode_message(&input);
        let _ = proto::trace::baggage::check([&input[..]].into_iter());
        let _ = proto::trace::state::is_valid(&input);
    }
}

#[test]
fn base64_survives() {
    let mut rng = Rng::new(SEED);
    for round in 0..5000 {
        let data = bytes(&mut rng, 60);
        for padding in [base64::Padding::Padded, base64::Padding::Bare] {
            let mut out = Vec::new();
            base64::encode(&mut out, &data, padding);
            assert_eq!(base64::decode(&out).unwrap(), data, "{round}");
        }
    }
}

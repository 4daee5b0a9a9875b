use super::app::{self, Added, Caller, Refused};
use super::client::{self, Asked, Body};
use crate::envelope::{EncodeError, Fixed, Identity, Peer, request, response};
use crate::grpc::frame;
use crate::http1::framing::Framing;
use crate::http1::head::{Head, Limits, Request, Response, Slots, Version};
use crate::trace::Context;

const OWN: Identity<'_> =
    Identity { app_id: "shop", namespace: "blue", host_address: "10.0.0.5", host_name: "node1" };
const ADDED: Added<'_> =
    Added { host: "127.0.0.1:3000", app_id: "orders", caller: None, token: None, trace: None, upgrade: None };

/// A client's request as message bytes.
fn message(verb: &str, lines: &[u8], peer: Peer) -> Result<Vec<u8>, EncodeError> {
    let bytes = [verb.as_bytes(), b" /x HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat();
    let mut slots = Slots::new();
    let Ok(Head::Complete(head)) = Request::parse(&bytes, &mut slots, &Limits::default()) else { panic!() };
    let call = request::Outgoing {
        headers: &head.headers,
        verb: head.method,
        method: "x",
        query: "",
        fixed: &Fixed::new(&OWN, "orders"),
        peer,
        dropped: 0,
    };
    let mut out = Vec::new();
    request::first(&mut out, &call, b"")?;
    Ok(frame::split(&out, 1 << 20).unwrap().unwrap().message.to_vec())
}

/// What the app sees of it.
fn to_app(message: &[u8], peer: Peer, added: &Added<'_>) -> Result<String, Refused> {
    let (invoke, _) = request::open(message, peer).unwrap().leading().unwrap();
    let mut out = b"kept".to_vec();
    let written = app::from_mesh(&mut out, &invoke, peer, invoke.method, added, Some(0));
    assert!(written.is_ok() || out == b"kept", "an error leaves nothing behind");
    written.map(|_| String::from_utf8_lossy(&out[4..]).into_owned())
}

fn sees(lines: &str) -> String {
    to_app(&message("GET", lines.as_bytes(), Peer::Daprd).unwrap(), Peer::Daprd, &ADDED).unwrap()
}

/// A message with metadata of our choice.
fn forged(entries: &[(&str, &[u8])]) -> Vec<u8> {
    use crate::envelope::wire;
    let mut request = vec![0x08, 1];
    for (key, value) in entries {
        let mut list = Vec::new();
        wire::put_field(&mut list, 1, value);
        let mut entry = Vec::new();
        wire::put_field(&mut entry, 1, key.as_bytes());
        wire::put_field(&mut entry, 2, &list);
        wire::put_field(&mut request, 2, &entry);
    }
    wire::put_field(&mut request, 3, b"\x0a\x01x\x22\x02\x08\x01"); // method x, verb GET
    let mut message = Vec::new();
    wire::put_field(&mut message, 1, &request);
    message
}

/// compat.md: caller identity headers are replaced, whatever their case.
#[test]
fn a_client_cannot_say_who_calls() {
    let seen =
        sees("Dapr-Caller-App-Id: evil\r\nDAPR-CALLEE-APP-ID: evil\r\ndapr-caller-namespace: evil\r\n");
    assert!(!seen.contains("evil"), "{seen}");
    assert!(
        seen.contains("Dapr-Caller-App-Id: shop\r\n") && seen.contains("Dapr-Caller-Namespace: blue\r\n")
    );
    assert!(seen.contains("Dapr-Callee-App-Id: orders\r\n"), "{seen}");
}

/// compat.md: with mTLS the callee overwrites them from the peer's SPIFFE ID.
#[test]
fn a_proven_caller_replaces_what_its_sidecar_says() {
    let message = forged(&[
        ("dapr-caller-app-id", b"liar"),
        ("Dapr-Caller-App-Id", b"liar"),
        ("dapr-caller-namespace", b"liar"),
    ]);
    let caller = Some(Caller { app_id: "true-shop", namespace: "blue" });
    let seen = to_app(&message, Peer::Daprd, &Added { caller, ..ADDED }).unwrap();
    assert!(!seen.contains("liar"), "{seen}");
    assert!(seen.contains("Dapr-Caller-App-Id: true-shop\r\n"), "{seen}");
}

/// compat.md: `dapr-api-token` of the client never leaves the sidecar that checks it.
#[test]
fn a_clients_api_token_reaches_neither_the_peer_nor_the_app() {
    let message =
        message("GET", b"dapr-api-token: secret\r\nDAPR-API-TOKEN: secret\r\n", Peer::Daprd).unwrap();
    assert!(!String::from_utf8_lossy(&message).contains("secret"));
    let from_old_daprd = forged(&[("Dapr-Api-Token", b"secret")]);
    let added = Added { token: Some("apps-own"), ..ADDED };
    let seen = to_app(&from_old_daprd, Peer::Daprd, &added).unwrap();
    assert!(seen.contains("Dapr-Api-Token: apps-own\r\n") && !seen.contains("secret"), "{seen}");
}

/// compat.md: hop-by-hop rules apply to the client's headers only.
#[test]
fn connection_cannot_name_what_the_sidecar_adds() {
    let seen = sees("Connection: X-Forwarded-For, Forwarded, dapr-caller-app-id, x-own\r\nX-Own: 1\r\n");
    for added in ["X-Forwarded-For: 10.0.0.5", "Forwarded: for=10.0.0.5", "Dapr-Caller-App-Id: shop"] {
        assert!(seen.contains(added), "{seen}");
    }
    assert!(!seen.contains("X-Own"), "{seen}");
}

/// compat.md: `X-Forwarded-*`, `Forwarded` once per call, after the client's own.
#[test]
fn forwarding_headers_get_one_value_more() {
    let seen = sees("X-Forwarded-For: 203.0.113.7\r\nx-forwarded-for: 203.0.113.8\r\n");
    let lines: Vec<_> = seen.lines().filter(|line| line.starts_with("X-Forwarded-For")).collect();
    assert_eq!(
        lines,
        ["X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 203.0.113.8", "X-Forwarded-For: 10.0.0.5"]
    );
    assert_eq!(seen.matches("X-Forwarded-Host: node1").count(), 1);
}

/// compat.md: header values that are not UTF-8 are carried between Outriggers; towards a daprd an error names the header.
#[test]
fn values_that_are_not_utf8_travel_between_outriggers_only() {
    let lines = b"X-Latin: caf\xe9\r\n";
    let error = message("GET", lines, Peer::Daprd).unwrap_err();
    assert!(error.to_string().contains("X-Latin"), "{error}");
    let message = message("GET", lines, Peer::Outrigger).unwrap();
    assert!(to_app(&message, Peer::Outrigger, &ADDED).unwrap().contains("X-Latin: caf\u{fffd}\r\n"));
    assert!(request::open(&message, Peer::Daprd).is_err(), "a daprd's strings are UTF-8");
}

/// compat.md: unknown verbs travel as POST to a daprd; between our own sidecars the real verb travels too.
#[test]
fn a_verb_without_a_number_is_post_for_a_daprd_and_itself_for_an_outrigger() {
    let for_daprd = message("PROPFIND", b"", Peer::Daprd).unwrap();
    assert!(to_app(&for_daprd, Peer::Daprd, &ADDED).unwrap().starts_with("POST /x "));
    let for_us = message("PROPFIND", b"", Peer::Outrigger).unwrap();
    let seen = to_app(&for_us, Peer::Outrigger, &ADDED).unwrap();
    assert!(seen.starts_with("PROPFIND /x ") && !seen.to_lowercase().contains("outrigger-verb"), "{seen}");
    assert!(
        to_app(&for_us, Peer::Daprd, &ADDED).unwrap().starts_with("POST /x "),
        "only an Outrigger may say so"
    );
}

#[test]
fn a_client_cannot_send_the_private_verb() {
    let message = message("GET", b"Outrigger-Verb: DELETE\r\n", Peer::Outrigger).unwrap();
    let seen = to_app(&message, Peer::Outrigger, &ADDED).unwrap();
    assert!(seen.starts_with("GET /x ") && !seen.contains("DELETE"), "{seen}");
}

/// spec/security 8.4: what would change the message is refused, never written.
#[test]
fn metadata_that_would_inject_a_header_is_refused() {
    for (key, value) in [
        ("X-A", &b"a\r\nX-Injected: y"[..]),
        ("X-A", b"a\0b"),
        ("X-A\r\nX-Injected", b"y"),
        ("X A", b"y"),
        ("", b"y"),
        (":odd", b"y"),
        ("traceparent", b"x\r\ny"),
        ("baggage", b"x\ny"),
        ("dapr-caller-app-id", b"x\r\ny"),
        ("user-agent", b"x\r\ny"),
    ] {
        let message = forged(&[("x-first", b"1"), (key, value)]);
        let refused = to_app(&message, Peer::Daprd, &ADDED).unwrap_err();
        assert_eq!(refused.status().code.0, 3, "{key:?}");
    }
}

#[test]
fn a_method_and_a_query_cannot_end_the_request_line() {
    let message = forged(&[("x", b"1")]);
    let (mut invoke, _) = request::open(&message, Peer::Daprd).unwrap().leading().unwrap();
    let mut out = Vec::new();
    invoke.query = "q HTTP/1.1\r\nX: y";
    app::from_mesh(&mut out, &invoke, Peer::Daprd, "a HTTP/1.1", &ADDED, Some(0)).unwrap();
    assert!(out.starts_with(b"GET /a%20HTTP/1.1?q%20HTTP/1.1%0D%0AX:%20y HTTP/1.1\r\n"));
}

/// compat.md: an all-zero context is never written.
#[test]
fn contexts_of_zeros_never_reach_an_app_or_a_client() {
    let zeros = "00-00000000000000000000000000000000-0000000000000000-00";
    let seen = sees(&format!("traceparent: {zeros}\r\ntracestate: a=1\r\n"));
    assert!(!seen.contains("race"), "{seen}");
    assert!(!sees("").contains("Traceparent"));
}

#[test]
fn an_app_gets_a_declared_length_of_zero_as_such() {
    assert!(sees("Content-Length: 0\r\n").contains("\r\nContent-Length: 0\r\n"));
    let message = message("POST", b"", Peer::Daprd).unwrap();
    assert!(to_app(&message, Peer::Daprd, &ADDED).unwrap().contains("\r\nContent-Length: 0\r\n"));
    assert!(!sees("").contains("Content-Length"), "a GET without body says nothing");
}

#[test]
fn only_requests_that_usually_have_no_body_wait_for_their_end() {
    for (verb, lines, waits) in [
        ("GET", "", true),
        ("DELETE", "", true),
        ("POST", "", false),
        ("GET", "Content-Length: 4\r\n", false),
    ] {
        let message = message(verb, lines.as_bytes(), Peer::Daprd).unwrap();
        let (invoke, _) = request::open(&message, Peer::Daprd).unwrap().leading().unwrap();
        assert_eq!(app::should_wait(&invoke), waits, "{verb} {lines}");
    }
}

fn asked() -> Asked<'static> {
    Asked {
        version: Version::Http11,
        head: false,
        events: false,
        streaming: false,
        close: false,
        trace: None,
        tracestate: None,
        baggage: None,
        date: b"Thu, 01 Jan 1970 00:00:00 GMT",
        extra: &[],
        upgrade: None,
    }
}

/// What a client sees of an app's answer over the mesh, and how the body is framed.
fn answered(app: &str, peer: Peer, asked: &Asked<'_>, told: bool) -> (String, Framing) {
    let mut slots = Slots::new();
    let Ok(Head::Complete(head)) = Response::parse(app.as_bytes(), &mut slots, &Limits::default()) else {
        panic!()
    };
    let mut wire = Vec::new();
    response::first(&mut wire, &response::Outgoing { head: &head, peer }, b"").unwrap();
    let message = frame::split(&wire, 1 << 20).unwrap().unwrap().message;
    let (answer, _) = response::open(message, peer).unwrap().leading().unwrap();
    let body = if told { client::declared(&answer, peer) } else { Body::Unknown };
    let mut out = Vec::new();
    let (_, framing) = client::from_mesh(&mut out, &answer, asked, body).unwrap();
    (String::from_utf8(out).unwrap(), framing)
}

/// compat.md: HEAD, 204, 304 as RFC 9110 says.
#[test]
fn answers_without_body_keep_their_declared_length() {
    let head = Asked { head: true, ..asked() };
    let (seen, framing) =
        answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Peer::Outrigger, &head, true);
    assert!(seen.contains("Content-Length: 5\r\n"), "{seen}");
    assert_eq!(framing, Framing::None);
    let not_modified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
    let (seen, framing) = answered(not_modified, Peer::Outrigger, &asked(), true);
    assert!(seen.contains("Content-Length: 5\r\n") && framing == Framing::None, "{seen}");
    let (seen, framing) = answered("HTTP/1.1 204 No Content\r\n\r\n", Peer::Outrigger, &asked(), true);
    assert!(
        !seen.contains("Content-Length") && !seen.contains("chunked") && framing == Framing::None,
        "{seen}"
    );
}

#[test]
fn a_declared_length_is_told_by_an_outrigger_only() {
    let app = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let (seen, framing) = answered(app, Peer::Outrigger, &asked(), true);
    assert!(seen.contains("Content-Length: 5\r\n") && framing == Framing::Length(5), "{seen}");
    let (seen, framing) = answered(app, Peer::Daprd, &asked(), true);
    assert!(seen.contains("Transfer-Encoding: chunked\r\n") && framing == Framing::Chunked, "{seen}");
}

#[test]
fn an_http10_client_gets_no_chunks() {
    let old = Asked { version: Version::Http10, ..asked() };
    let (seen, framing) = answered("HTTP/1.1 200 OK\r\n\r\n", Peer::Daprd, &old, false);
    assert_eq!(framing, Framing::UntilClose);
    assert!(seen.contains("Connection: close\r\n") && !seen.contains("chunked"), "{seen}");
}

#[test]
fn a_failed_answer_without_type_is_called_json_as_daprd_calls_it() {
    let failed = "HTTP/1.1 500 Oops\r\n\r\n";
    assert!(answered(failed, Peer::Daprd, &asked(), false).0.contains("Content-Type: application/json\r\n"));
    let streaming = Asked { streaming: true, ..asked() };
    assert!(!answered(failed, Peer::Daprd, &streaming, false).0.contains("Content-Type"));
    assert!(!answered("HTTP/1.1 200 OK\r\n\r\n", Peer::Daprd, &asked(), false).0.contains("Content-Type"));
}

#[test]
fn the_requests_context_is_told_unless_the_app_tells_its_own() {
    let trace = Context::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let asked = Asked { trace, tracestate: Some(b"a=1"), ..asked() };
    let (seen, _) = answered("HTTP/1.1 200 OK\r\n\r\n", Peer::Daprd, &asked, false);
    assert!(seen.contains("Traceparent: 00-0af7") && seen.contains("Tracestate: a=1\r\n"), "{seen}");
    let (seen, _) = answered("HTTP/1.1 200 OK\r\nTraceparent: own\r\n\r\n", Peer::Daprd, &asked, false);
    assert!(seen.contains("Traceparent: own\r\n") && !seen.contains("0af7"), "{seen}");
}

#[test]
fn headers_that_would_change_the_answer_are_dropped() {
    use crate::envelope::wire;
    let mut answer = vec![0x0a, 3, 0x08, 0xc8, 0x01]; // status 200
    for (key, value) in [
        ("X-A", &b"a\r\nX-Injected: y"[..]),
        ("X-B\r\nX-Injected", b"y"),
        ("X C", b"y"),
        ("X-Kept", b"1"),
        ("Connection", b"x-named"),
        ("X-Named", b"1"),
        ("Transfer-Encoding", b"gzip"),
        ("Content-Length", b"99"),
    ] {
        let mut list = Vec::new();
        wire::put_field(&mut list, 1, value);
        let mut entry = Vec::new();
        wire::put_field(&mut entry, 1, key.as_bytes());
        wire::put_field(&mut entry, 2, &list);
        wire::put_field(&mut answer, 2, &entry);
    }
    let answer = response::open_whole(&answer, Peer::Daprd).unwrap();
    let mut out = Vec::new();
    client::from_mesh(&mut out, &answer, &asked(), Body::Complete(2)).unwrap();
    let seen = String::from_utf8(out).unwrap();
    assert_eq!(
        seen,
        "HTTP/1.1 200 OK\r\nX-Kept: 1\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n"
    );
}

#[test]
fn a_status_that_cannot_be_written_is_none() {
    for code in [1000u64, 70_000, u64::MAX] {
        let mut status = vec![0x08];
        crate::envelope::wire::put_varint(&mut status, code);
        let mut answer = Vec::new();
        crate::envelope::wire::put_field(&mut answer, 1, &status);
        let answer = response::open_whole(&answer, Peer::Daprd).unwrap();
        assert_eq!(client::from_mesh(&mut Vec::new(), &answer, &asked(), Body::Unknown), None, "{code}");
    }
}

#[test]
fn the_apps_own_cors_lines_win_and_both_vary() {
    let extra: &[(&str, &[u8])] = &[("Vary", b"Origin"), ("Access-Control-Allow-Origin", b"*")];
    let asked = Asked { extra, ..asked() };
    let own = "HTTP/1.1 200 OK\r\naccess-control-allow-origin: http://app\r\nVary: Accept\r\nContent-Length: 0\r\n\r\n";
    let (head, _) = answered(own, Peer::Outrigger, &asked, true);
    assert_eq!(head.to_lowercase().matches("access-control-allow-origin: http://app\r\n").count(), 1);
    assert!(
        !head.contains("Origin: *") && head.contains("Vary: Accept\r\n") && head.contains("Vary: Origin\r\n"),
        "{head}"
    );
    let (head, _) = answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Peer::Outrigger, &asked, true);
    assert!(head.contains("Access-Control-Allow-Origin: *\r\n"), "{head}");
}

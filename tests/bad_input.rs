//! What is malformed, foreign, broken or missing: each has its answer, and the sidecars that got it serve on.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::ca::Authority;
use rig::echo::Echo;
use rig::ground::{Ground, Member};
use rig::http1::{Answer, App, Client, End, Got, Step, client};
use rig::tls::{Heard, say, say_plainly};
use rig::{port, wait};
use std::net::TcpListener;
use std::time::Duration;

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// A caller and a callee whose app is the echo app, both under the test's own authority.
struct House {
    caller: Member,
    callee: Member,
    authority: Authority,
    _app: Echo,
    _ground: Ground,
    levels: [usize; 2],
}

impl House {
    fn open(more: &[&str]) -> House {
        let ground = Ground::new(rig::outrigger!());
        let authority = Authority::new("the house");
        let issuer = authority.write_issuer(&ground.folder().path().join("issuer"));
        let app = Echo::start("one");
        let mut arguments = more.to_vec();
        if !more.contains(&"--no-mtls") {
            arguments.extend(["--issuer-credentials", issuer.to_str().unwrap()]);
        }
        let callee = ground.start("callee", Some(app.port()), &arguments);
        ground.await_registered("callee", 1);
        let caller = ground.start("caller", None, &arguments);
        let mut house = House { caller, callee, authority, _app: app, _ground: ground, levels: [0, 0] };
        house.still_serves("before");
        house.levels = [settled(&house.caller), settled(&house.callee)];
        house
    }

    /// A good call is answered; `after` says what happened before.
    fn still_serves(&self, after: &str) {
        let got =
            client::request(self.caller.http, "POST", "/v1.0/invoke/callee/method/echo", &[], b"still here");
        assert_eq!((got.status, got.text().as_str()), (200, "still here"), "after {after}: {got:?}");
    }

    /// Descriptors are back at their level.
    fn nothing_is_left(&self) {
        for (member, level) in [&self.caller, &self.callee].into_iter().zip(self.levels) {
            wait::until(PATIENCE, &format!("{level} descriptors as before"), || {
                member.descriptors() <= level
            });
        }
    }
}

/// The number of descriptors once it does not change any more.
fn settled(member: &Member) -> usize {
    let mut last = (0, 0);
    wait::some(PATIENCE, "descriptors settle", || {
        let now = member.descriptors();
        last = if last.0 == now { (now, last.1 + 1) } else { (now, 0) };
        (last.1 > 20).then_some(now)
    })
}

/// Raw bytes to the HTTP API, then FIN.
fn raw(member: &Member, bytes: &[u8]) -> Got {
    let steps = [Step::Bytes(bytes.to_vec()), Step::End(End::HalfClose)];
    Client::new(member.http).run(&steps, 1).pop().unwrap()
}

const POST: &str = "POST /v1.0/invoke/callee/method/echo HTTP/1.1\r\nHost: a\r\n";

#[test]
fn malformed_requests_have_their_answers_and_leave_nothing() {
    let house = House::open(&[]);
    let big = "x".repeat(80 << 10);
    let cases: Vec<(&str, String, u16)> = vec![
        ("nothing", String::new(), 0),
        ("half a line", "POST /v1.0/invoke/ca".into(), 0),
        ("half a head", POST.into(), 0),
        ("an oversized header", format!("{POST}X: {big}\r\n\r\n"), 431),
        (
            "an oversized target",
            format!("GET /v1.0/invoke/callee/method/{big} HTTP/1.1\r\nHost: a\r\n\r\n"),
            431,
        ),
        ("no HTTP", "what is this\r\n\r\n".into(), 400),
        ("TLS", "\x16\x03\x01\x02\r\n\r\n".into(), 400),
        ("a foreign version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n".into(), 505),
        ("a line without a colon", format!("{POST}nothing\r\n\r\n"), 400),
        ("a space before the colon", format!("{POST}Content-Length : 5\r\n\r\nhello"), 400),
        ("a NUL in a value", format!("{POST}X: a\0b\r\n\r\n"), 400),
        ("a CR in a value", format!("{POST}X: a\rb\r\n\r\n"), 400),
        ("a length that is no number", format!("{POST}Content-Length: five\r\n\r\nhello"), 400),
        ("a signed length", format!("{POST}Content-Length: +5\r\n\r\nhello"), 400),
        ("a negative length", format!("{POST}Content-Length: -5\r\n\r\nhello"), 400),
        (
            "a length beyond 64 bits",
            format!("{POST}Content-Length: 99999999999999999999999\r\n\r\nhello"),
            400,
        ),
        ("two different lengths", format!("{POST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), 400),
        ("a list of different lengths", format!("{POST}Content-Length: 5, 6\r\n\r\nhello!"), 400),
        (
            "a coding and a length",
            format!("{POST}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
            400,
        ),
        ("an unknown coding", format!("{POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 501),
        ("chunked not last", format!("{POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 501),
        (
            "a chunk size that is none",
            format!("{POST}Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"),
            500,
        ),
        (
            "a chunk size beyond 64 bits",
            format!("{POST}Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nhello\r\n0\r\n\r\n"),
            500,
        ),
        (
            "a chunk longer than its size",
            format!("{POST}Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"),
            500,
        ),
        ("a body that ends early", format!("{POST}Content-Length: 10\r\n\r\nhello"), 500),
        ("chunks that end early", format!("{POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhel"), 500),
        ("a body beyond the limit", format!("{POST}Content-Length: 5000000\r\n\r\n"), 413),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, status) in &cases {
        let got = raw(&house.caller, bytes.as_bytes());
        if got.status != *status || got.end.starts_with("keepalive") {
            wrong.push(format!("{what}: {} {:?} in place of {status}, {}", got.status, got.text(), got.end));
        }
        house.still_serves(what);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    house.nothing_is_left();
}

/// Each of these holds a second request for a proxy that reads the framing in another way. The app must see one request
/// or none, never the hidden one.
#[test]
fn no_request_is_smuggled_past_the_framing() {
    let ground = Ground::new(rig::outrigger!());
    let app = App::start();
    let callee = ground.start("callee", Some(app.port()), &[]);
    ground.await_registered("callee", 1);
    let caller = ground.start("caller", None, &[]);
    let hidden = "GET /v1.0/invoke/callee/method/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = hidden.len() + 5;
    let cases = [
        format!("{POST}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!(
            "{POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5\r\nhello\r\n0\r\n\r\n{hidden}"
        ),
        format!("{POST}Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{POST}Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{POST}Transfer-Encoding:\x0bchunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{hidden}"),
        format!(
            "{POST}X: a\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!("{POST}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("{POST}Content-Length: 0, {}\r\n\r\n{hidden}", hidden.len()),
        format!(
            "{POST}Transfer-Encoding: chunked\r\n\r\n5;a=\"\r\n\r\n0\r\n\r\n{hidden}\"\r\nhello\r\n0\r\n\r\n"
        ),
    ];
    for case in &cases {
        app.script(vec![Answer::text(200, "seen")]);
        let got = Client::new(caller.http).run(&[Step::text(case), Step::End(End::HalfClose)], 2);
        let saw: Vec<String> = app.saw(PATIENCE).iter().map(|s| s.target()).collect();
        assert!(!saw.iter().any(|target| target.contains("hidden")), "{case:?}: {saw:?} {got:?}");
        assert!(got.iter().filter(|g| g.status == 200).count() <= 1, "{case:?}: {got:?}");
    }
    let got = client::get(caller.http, "/v1.0/invoke/callee/method/after");
    assert_eq!((got.status, got.text().as_str()), (200, "seen"), "{got:?}");
    drop(callee);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The preface and settings, and a frame after them.
fn h2(frame: &[u8]) -> Vec<u8> {
    [PREFACE, SETTINGS, frame].concat()
}

/// The code of the GOAWAY with which an HTTP/2 connection was ended.
fn goaway(heard: &Heard) -> Option<u32> {
    let mut rest = heard.bytes.as_slice();
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        let payload = rest.get(9..9 + length)?;
        if rest[3] == 7 {
            return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().unwrap()));
        }
        rest = &rest[9 + length..];
    }
    None
}

/// What is said to a mesh port, with the code of the GOAWAY; `None` for none.
fn broken_http2() -> Vec<(&'static str, Vec<u8>, Option<u32>)> {
    const PROTOCOL_ERROR: Option<u32> = Some(1);
    const FRAME_SIZE_ERROR: Option<u32> = Some(6);
    const COMPRESSION_ERROR: Option<u32> = Some(9);
    vec![
        ("HTTP/1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), PROTOCOL_ERROR),
        ("a broken preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec(), PROTOCOL_ERROR),
        ("garbage", vec![0xa5; 4096], PROTOCOL_ERROR),
        ("no settings", [PREFACE, &[0, 0, 8, 6, 0, 0, 0, 0, 0], &[0; 8]].concat(), PROTOCOL_ERROR),
        ("a frame that is too large", h2(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]), FRAME_SIZE_ERROR),
        ("data for no stream", h2(&[0, 0, 1, 0, 0, 0, 0, 0, 1, 7]), PROTOCOL_ERROR),
        ("headers that are no HPACK", h2(&[0, 0, 2, 1, 5, 0, 0, 0, 1, 0xff, 0xff]), COMPRESSION_ERROR),
    ]
}

#[test]
fn a_broken_preface_and_garbage_end_the_connection_of_a_trusted_peer_only() {
    let house = House::open(&[]);
    let trusted = house.authority.uri("spiffe://public/ns/default/caller");
    for (what, bytes, code) in broken_http2() {
        let heard = say(house.callee.mesh, Some(&trusted), &bytes);
        assert_eq!(goaway(&heard), code, "{what}: {heard:?}");
        house.still_serves(what);
    }
    house.nothing_is_left();
}

/// The API port takes what does not begin like HTTP/2 for HTTP/1.
#[test]
fn broken_http2_of_a_local_client_ends_its_connection_only() {
    let house = House::open(&[]);
    for (what, bytes, code) in broken_http2().into_iter().filter(|(_, bytes, _)| bytes.starts_with(b"PRI")) {
        let heard = say_plainly(house.caller.http, &bytes);
        assert_eq!(goaway(&heard), code, "{what}: {heard:?}");
        house.still_serves(what);
    }
    house.nothing_is_left();
}

#[test]
fn a_broken_preface_and_garbage_end_the_connection_without_mtls() {
    let house = House::open(&["--no-mtls"]);
    for (what, bytes, code) in broken_http2() {
        let heard = say_plainly(house.callee.mesh, &bytes);
        assert_eq!(goaway(&heard), code, "{what}: {heard:?}");
        house.still_serves(what);
    }
    house.nothing_is_left();
}

#[test]
fn a_peer_without_the_right_certificate_is_turned_away() {
    let house = House::open(&[]);
    let foreign = Authority::new("another house");
    let impostor = foreign.uri("spiffe://public/ns/default/caller");
    let nameless = house.authority.host(&["localhost"]);
    let stranger = house.authority.uri("https://public/ns/default/caller");
    let cases = [
        ("no certificate", None, "CertificateRequired"),
        ("a foreign authority's certificate", Some(&impostor), "BadCertificate"),
        ("a certificate without a SPIFFE ID", Some(&nameless), "BadCertificate"),
        ("a certificate with another URI", Some(&stranger), "BadCertificate"),
    ];
    let hello = [PREFACE, SETTINGS].concat();
    let mut wrong = Vec::new();
    for (what, identity, alert) in cases {
        let heard = say(house.callee.mesh, identity, &hello);
        assert!(heard.bytes.is_empty(), "{what}: it was answered {heard:?}");
        if !heard.end.contains(alert) {
            wrong.push(format!("{what}: {heard:?}"));
        }
        house.still_serves(what);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let plainly = say_plainly(house.callee.mesh, &hello);
    assert!(goaway(&plainly).is_none(), "no HTTP/2 without TLS: {plainly:?}");
    house.still_serves("plain text");
    house.nothing_is_left();
}

#[test]
fn an_app_that_is_down_is_said_to_be_and_found_when_it_comes() {
    let ground = Ground::new(rig::outrigger!());
    let app_port = port::one();
    let callee = ground.start("callee", Some(app_port), &[]);
    ground.await_registered("callee", 1);
    let caller = ground.start("caller", None, &[]);
    let call = || client::get(caller.http, "/v1.0/invoke/callee/method/x");
    let got = call();
    assert_eq!(got.status, 500, "{got:?}");
    assert!(got.text().contains("\"errorCode\":\"ERR_DIRECT_INVOKE\""), "{got:?}");
    let app = App::start_at(([127, 0, 0, 1], app_port).into(), None);
    wait::until(PATIENCE, "the app is found", || call().status == 200);
    drop(app);
    let got = call();
    assert_eq!(got.status, 500, "{got:?}");
    assert!(got.text().contains("\"errorCode\":\"ERR_DIRECT_INVOKE\""), "{got:?}");
    drop(callee);
}

#[test]
fn an_app_that_dies_in_the_middle_of_its_answer_is_seen_to() {
    let ground = Ground::new(rig::outrigger!());
    let app = App::start();
    let callee = ground.start("callee", Some(app.port()), &[]);
    ground.await_registered("callee", 1);
    let caller = ground.start("caller", None, &[]);
    let with_length = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nonly this";
    let in_chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n";
    for begun in [with_length, in_chunks] {
        for end in [End::Close, End::Reset] {
            app.script(vec![Answer::steps(vec![Step::text(begun), Step::wait_ms(100), Step::End(end)])]);
            for member in [&caller, &callee] {
                let got = client::get(member.http, "/v1.0/invoke/callee/method/x");
                // The head may be out already, or not: then the failure has its own answer.
                let visible = got.end.starts_with("truncated") || got.status >= 500;
                assert!(visible, "{begun:?} {end:?}: {got:?}");
            }
            app.script(vec![Answer::text(200, "whole")]);
            let got = client::get(caller.http, "/v1.0/invoke/callee/method/x");
            assert_eq!((got.status, got.text().as_str()), (200, "whole"), "{got:?}");
        }
    }
}

#[test]
fn a_mistake_in_a_configuration_is_named_with_its_place_and_stops_the_start() {
    let ground = Ground::new(rig::outrigger!());
    let text = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: c\nspec:\n  tracingg:\n    samplingRate: \"1\"\n";
    let cases = [
        ("misspelt.yaml", text, "misspelt.yaml:6:3"),
        ("broken.yaml", "kind: Configuration\nspec: [\n", "broken.yaml:"),
    ];
    for (name, text, place) in cases {
        let file = ground.folder().file(name, text);
        let mut sidecar = ground.launch("strict", None).arg("--config").arg(file).spawn();
        let ended = sidecar.ends_within(PATIENCE);
        assert_eq!(ended.and_then(|e| e.code()), Some(1), "{}", sidecar.tail());
        assert!(sidecar.output().contains(place), "{}", sidecar.tail());
    }
    assert_eq!(ground.registered("strict"), 0);
}

#[test]
fn a_port_in_use_is_named_with_its_flag_and_stops_the_start() {
    let ground = Ground::new(rig::outrigger!());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--dapr-http-port", "--dapr-internal-grpc-port", "--metrics-port"] {
        let mut sidecar = ground.launch("late", None).args([flag, &port]).spawn();
        let ended = sidecar.ends_within(PATIENCE);
        assert_eq!(ended.and_then(|e| e.code()), Some(1), "{flag}: {}", sidecar.tail());
        let output = sidecar.output();
        assert!(output.contains(flag) && output.contains(&port), "{flag}: {output}");
    }
    assert_eq!(ground.registered("late"), 0);
}

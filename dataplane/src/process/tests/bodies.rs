//! Bodies: large, slow, chunked, limited, early.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const MEGABYTE: usize = 1 << 20;

fn unlimited(mut snapshot: Snapshot) -> Snapshot {
    snapshot.limits = Arc::new(Limits { max_body: None, ..Limits::default() });
    snapshot
}

fn unlimited_pair(backend: &Backend, app: SocketAddr) -> (Sidecar, Sidecar) {
    let (caller, callee) = (Sidecar::start(backend.clone()), Sidecar::start(backend.clone()));
    callee.apply(unlimited(snapshot("callee", Some(app), &[])));
    caller.apply(unlimited(snapshot("caller", None, &[("callee", callee.internal)])));
    (caller, callee)
}

/// Bytes that are not all the same, so that lost and doubled pieces show.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

/// An app that answers with the body it gets, as it comes.
fn echo() -> FakeApp {
    FakeApp::with(|mut stream, _| {
        while let Some(head) = request_head(&mut stream) {
            let length = head.split("Content-Length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let mut left: usize = length.parse().unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n").unwrap();
            let mut buffer = [0; 65536];
            while left > 0 {
                let read = stream.read(&mut buffer).unwrap();
                stream.write_all(&buffer[..read]).unwrap();
                left -= read;
            }
        }
    })
}

#[test]
fn large_bodies_pass_both_ways_at_a_time_byte_for_byte() {
    for backend in backends() {
        let app = echo();
        let (caller, callee) = unlimited_pair(&backend, app.at);
        for target in [format!("{} callee", caller.http), format!("{} callee", callee.http)] {
            let (at, id) = target.split_once(' ').unwrap();
            let body = pattern(20 * MEGABYTE + 17);
            let mut client = connect(at.parse().unwrap());
            let mut reader = client.try_clone().unwrap();
            let head = format!(
                "POST /v1.0/invoke/{id}/method/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let sent = body.clone();
            let writing = std::thread::spawn(move || {
                client.write_all(head.as_bytes()).unwrap();
                client.write_all(&sent).unwrap();
            });
            let mut answer = Vec::new();
            reader.read_to_end(&mut answer).unwrap();
            writing.join().unwrap();
            let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            assert!(answer[at..] == body[..], "{} of {} bytes", answer.len() - at, body.len());
        }
    }
}

#[test]
fn a_reader_that_stops_holds_up_the_app_and_not_memory() {
    for backend in backends() {
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        let app = FakeApp::with(move |mut stream, _| {
            if request_head(&mut stream).is_none() {
                return;
            }
            let piece = vec![7; 64 << 10];
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n");
            while stream.write_all(&piece).is_ok() {
                count.fetch_add(piece.len(), SeqCst);
            }
        });
        let (caller, callee) = unlimited_pair(&backend, app.at);
        let mut client = connect(caller.http);
        client.write_all(b"GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        read_until(&mut client, "\r\n\r\n");
        let mut last = usize::MAX;
        eventually("the app is held up", || {
            std::thread::sleep(Duration::from_millis(100));
            let now = written.load(SeqCst);
            std::mem::replace(&mut last, now) == now && now > 0
        });
        assert!(written.load(SeqCst) < 48 * MEGABYTE, "{} bytes on the way", written.load(SeqCst));
        assert!(get(caller.http, "/v1.0/healthz").starts_with("HTTP/1.1 204"), "nobody else is held up");
        drop(client);
        eventually("the call ends with its client", || {
            caller.common.registry.calls() + callee.common.registry.calls() == 0
        });
    }
}

#[test]
fn a_chunked_body_reaches_the_app_chunked() {
    let app = FakeApp::start(HELLO);
    let (caller, _callee) = pair(&backends()[0], app.at);
    let answer = ask(
        caller.http,
        "POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nX-Trailer: t\r\n\r\n",
    );
    assert!(answer.ends_with("hello"), "{answer}");
    let saw = app.saw().join("");
    assert!(
        saw.contains("Transfer-Encoding: chunked\r\n") && saw.ends_with("3\r\nabc\r\n0\r\n\r\n"),
        "{saw}"
    );
}

#[test]
fn a_body_beyond_the_limit_is_refused_and_names_the_flag() {
    let app = FakeApp::start(HELLO);
    let sidecar = Sidecar::start(backends().swap_remove(0));
    let mut small = snapshot("me", Some(app.at), &[]);
    small.limits = Arc::new(Limits { max_body: Some(4096), ..Limits::default() });
    sidecar.apply(small);
    let post = |headers: &str, body: &str| {
        ask(
            sidecar.http,
            &format!(
                "POST /v1.0/invoke/me/method/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n\r\n{body}"
            ),
        )
    };
    let x = "x".repeat(4097);
    for (headers, body) in [
        ("Content-Length: 4097", x.clone()),
        ("Transfer-Encoding: chunked", format!("1001\r\n{x}\r\n0\r\n\r\n")),
    ] {
        let answer = post(headers, &body);
        assert!(
            answer.starts_with("HTTP/1.1 413 ") && answer.contains("--max-body-size (4096 bytes)"),
            "{answer}"
        );
    }
    assert!(post("Content-Length: 4096", &x[1..]).ends_with("hello"), "exactly the limit passes");
}

#[test]
fn an_answer_beyond_the_limit_is_refused_and_names_the_flag() {
    let app = FakeApp::start("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let (caller, callee) = pair(&backends()[0], app.at);
    for (sidecar, app_id, app, routes) in [
        (&caller, "caller", None, vec![("callee", callee.internal)]),
        (&callee, "callee", Some(app.at), vec![]),
    ] {
        let mut small = snapshot(app_id, app, &routes);
        small.version = 2;
        small.limits = Arc::new(Limits { max_body: Some(4), ..Limits::default() });
        sidecar.apply(small);
        let answer = get(sidecar.http, "/v1.0/invoke/callee/method/x");
        assert!(answer.contains("the response body is larger than --max-body-size (4 bytes)"), "{answer}");
    }
}

#[test]
fn an_answer_comes_before_the_request_has_ended() {
    for backend in backends() {
        let app = FakeApp::with(|mut stream, saw| {
            let Some(_) = request_head(&mut stream) else { return };
            stream.write_all(HELLO.as_bytes()).unwrap();
            saw.lock().unwrap().push(read_until(&mut stream, "0\r\n\r\n"));
        });
        let (caller, _callee) = pair(&backend, app.at);
        let mut client = connect(caller.http);
        client
            .write_all(
                b"POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                  2\r\nhi\r\n",
            )
            .unwrap();
        assert!(read_until(&mut client, "hello").starts_with("HTTP/1.1 200 OK"));
        client.write_all(b"3\r\nyou\r\n0\r\n\r\n").unwrap();
        eventually("the app gets the rest", || app.saw() == ["2\r\nhi\r\n3\r\nyou\r\n0\r\n\r\n"]);
        client.write_all(b"GET /v1.0/healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        read_until(&mut client, "HTTP/1.1 204");
    }
}

#[test]
fn a_client_that_waits_for_it_is_told_to_send_its_body() {
    let app = FakeApp::start(HELLO);
    let (caller, _callee) = pair(&backends()[0], app.at);
    let mut client = connect(caller.http);
    let head = "POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\
                Expect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"ping").unwrap();
    assert!(read_until(&mut client, "hello").starts_with("HTTP/1.1 200 OK"));
    assert!(app.saw().join("").ends_with("ping"));
}

#[test]
fn interim_answers_of_the_app_are_swallowed() {
    let app = FakeApp::start(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    );
    let (caller, _callee) = pair(&backends()[0], app.at);
    let answer = get(caller.http, "/v1.0/invoke/callee/method/x");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
}

#[test]
fn events_arrive_one_by_one() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = FakeApp::with(move |mut stream, _| {
        let Some(_) = request_head(&mut stream) else { return };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for event in ["data: 1", "data: 2"] {
            stream.write_all(format!("9\r\n{event}\n\n\r\n").as_bytes()).unwrap();
            let _ = wait.lock().unwrap().recv();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let (caller, _callee) = pair(&backends()[0], app.at);
    let mut client = connect(caller.http);
    client
        .write_all(
            b"GET /v1.0/invoke/callee/method/e HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\
              Connection: close\r\n\r\n",
        )
        .unwrap();
    read_until(&mut client, "data: 1\n\n");
    release.send(()).unwrap();
    read_until(&mut client, "data: 2\n\n");
    drop(release);
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
}

//! Calls that go wrong, and their one answer.

use super::*;

/// Where nobody listens: an address that no other test uses.
fn unused() -> SocketAddr {
    TcpListener::bind("127.9.9.9:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_dead_instance_is_left_for_a_live_one_at_once_and_then_avoided() {
    for backend in backends() {
        let app = FakeApp::start(HELLO);
        let (caller, callee) = pair(&backend, app.at);
        let mut both = snapshot("caller", None, &[]);
        let endpoints = [unused(), callee.internal].map(|address| Endpoint { address }).to_vec();
        both.version = 2;
        both.routes.insert(
            AppRef { app_id: "callee".into(), namespace: "default".into() },
            Arc::new(Route::Endpoints(endpoints)),
        );
        caller.apply(both);
        let began = Instant::now();
        for _ in 0..6 {
            assert!(get(caller.http, "/v1.0/invoke/callee/method/x").ends_with("hello"));
        }
        assert!(
            began.elapsed() < Duration::from_millis(900),
            "no call waited for the second that separates retries"
        );
        assert!(counted(&caller, "outrigger_retries_total") < 1.5, "the dead one was tried once");
    }
}

#[test]
fn an_unreachable_sidecar_is_tried_four_times_one_second_apart() {
    let caller = Sidecar::start(backends().swap_remove(0));
    let nobody = unused();
    caller.apply(snapshot("caller", None, &[("callee", nobody)]));
    let began = Instant::now();
    let answer = get(caller.http, "/v1.0/invoke/callee/method/x");
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    let text = format!(
        "failed to invoke, id: callee, err: failed to invoke target callee after 3 retries. Error: rpc error: code = \
         Unavailable desc = connection error: desc = \\\"transport: Error while dialing: dial tcp {nobody}: connect: \
         connection refused\\\""
    );
    assert!(answer.contains(&text), "{answer}");
}

#[test]
fn a_streaming_request_is_not_repeated() {
    let caller = Sidecar::start(backends().swap_remove(0));
    caller.apply(snapshot("caller", None, &[("callee", unused())]));
    let began = Instant::now();
    let answer = ask(
        caller.http,
        "POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    );
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(answer.contains("err: rpc error: code = Unavailable"), "{answer}");
}

#[test]
fn an_app_that_is_down_is_told_in_daprds_words() {
    let app = unused();
    for backend in backends() {
        let (caller, callee) = (Sidecar::start(backend.clone()), Sidecar::start(backend));
        let listener = TcpListener::bind(app).unwrap();
        callee.apply(snapshot("callee", Some(app), &[]));
        drop(listener);
        caller.apply(snapshot("caller", None, &[("callee", callee.internal)]));
        let answer = get(caller.http, "/v1.0/invoke/callee/method/x?q=1");
        let text = format!(
            "rpc error: code = Internal desc = error invoking app channel: Get \\\"http://{app}/x?q=1\\\": dial tcp \
             {app}: connect: connection refused"
        );
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains(&text), "{answer}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_seen_by_the_client() {
    for backend in backends() {
        for broken in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ] {
            let app = FakeApp::with(move |mut stream, _| {
                if request_head(&mut stream).is_some() {
                    stream.write_all(broken.as_bytes()).unwrap();
                }
            });
            let (caller, callee) = pair(&backend, app.at);
            let mut client = connect(caller.http);
            client.write_all(b"GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            let ended = client.read_to_end(&mut answer);
            assert!(ended.is_err(), "reset, not a clean end: {:?}", String::from_utf8_lossy(&answer));
            assert_eq!(counted(&callee, "outrigger_failures_total") as u32, 1);
            assert_eq!(caller.common.registry.calls() + callee.common.registry.calls(), 0);
        }
    }
}

#[test]
fn a_reused_app_connection_that_closed_costs_an_idempotent_call_nothing() {
    let app = FakeApp::with(|mut stream, saw| {
        // keeps the connection open after the first answer, then closes it upon the second request
        for answer in [HELLO, ""] {
            let Some(head) = request_head(&mut stream) else { return };
            saw.lock().unwrap().push(head);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let (caller, callee) = pair(&backends()[0], app.at);
    for _ in 0..2 {
        assert!(get(caller.http, "/v1.0/invoke/callee/method/x").ends_with("hello"));
    }
    assert_eq!(app.saw().len(), 3);
    assert_eq!(counted(&callee, "outrigger_events_total") as u32, 1);
    let posted = "POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                  Content-Length: 2\r\n\r\nhi";
    let answer = ask(caller.http, posted);
    assert!(answer.contains("error invoking app channel: Post"), "a POST is not repeated: {answer}");
}

#[test]
fn a_sidecar_serves_its_own_app_only() {
    let app = FakeApp::start(HELLO);
    let (caller, callee) =
        (Sidecar::start(backends().swap_remove(0)), Sidecar::start(backends().swap_remove(0)));
    callee.apply(snapshot("other", Some(app.at), &[]));
    caller.apply(snapshot("caller", None, &[("callee", callee.internal)]));
    let answer = get(caller.http, "/v1.0/invoke/callee/method/x");
    assert!(answer.contains("this sidecar serves app other, not callee"), "{answer}");
    assert!(app.saw().is_empty());
}

#[test]
fn mistakes_of_the_client_are_answered_and_close_or_keep_the_connection() {
    let sidecar = Sidecar::start(backends().swap_remove(0));
    sidecar.apply(snapshot("me", None, &[]));
    let cases = [
        ("GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 ", false),
        ("GET /v1.0/invoke/a.b.c/method/x HTTP/1.1\r\nHost: a\r\n\r\n", "invalid app id a.b.c", false),
        ("GET /v1.0/invoke/a/method/x%3Fy HTTP/1.1\r\nHost: a\r\n\r\n", "forbidden character", false),
        ("GET /v1.0/invoke/a/method/../../x HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 ", false),
        ("GET /v1.0/invoke/a/method/%zz HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 ", true),
        ("GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 400 ", true),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ", true),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 1\r\n\r\n", "HTTP/1.1 417 ", true),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 400 ",
            true,
        ),
        ("PRI * HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 ", true),
    ];
    for (request, expected, closes) in cases {
        let mut client = connect(sidecar.http);
        client.write_all(request.as_bytes()).unwrap();
        let answer = read_until(&mut client, expected);
        assert!(answer.contains(expected), "{request}: {answer}");
        client
            .write_all(b"GET /v1.0/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap_or_default();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        let next = format!("{answer}{}", String::from_utf8_lossy(&rest)).contains("HTTP/1.1 204");
        assert_eq!(next, !closes, "{request}");
    }
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(80_000));
    assert!(ask(sidecar.http, &large).starts_with("HTTP/1.1 431 "));
}

#[test]
fn without_the_api_token_only_health_is_told() {
    let sidecar = Sidecar::start(backends().swap_remove(0));
    let mut guarded = snapshot("me", None, &[]);
    guarded.api = Arc::new(Api { token: Some("secret".into()), tracing: true, ..Api::default() });
    sidecar.apply(guarded);
    assert!(get(sidecar.http, "/v1.0/metadata").starts_with("HTTP/1.1 401 "));
    for (token, expected) in [("wrong", "401"), ("secretly", "401"), ("secret", "200")] {
        let answer = ask(
            sidecar.http,
            &format!(
                "GET /v1.0/metadata HTTP/1.1\r\nHost: a\r\nConnection: close\r\ndapr-api-token: {token}\r\n\r\n"
            ),
        );
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{token}: {answer}");
    }
}

/// A peer that speaks HTTP/2 and has never heard of Outrigger: its settings are empty.
fn daprd_like() -> SocketAddr {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const ACKNOWLEDGED: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.write_all(&[SETTINGS, ACKNOWLEDGED].concat()).unwrap();
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    at
}

#[test]
fn a_protocol_switch_towards_a_daprd_is_501_with_the_reason() {
    for backend in backends() {
        let caller = Sidecar::start(backend);
        caller.apply(snapshot("caller", None, &[("callee", daprd_like())]));
        let request = "GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\n\
                       Upgrade: websocket\r\n\r\n";
        let got = ask(caller.http, request);
        assert!(got.starts_with("HTTP/1.1 501 "), "{got}");
        assert!(got.contains("which only an Outrigger sidecar beside callee can pass on"), "{got}");
    }
}

//! Calls that go well.

use super::*;

#[test]
fn one_call_goes_through_two_sidecars() {
    for backend in backends() {
        let app = FakeApp::start(HELLO);
        let (caller, callee) = (Sidecar::start(backend.clone()), Sidecar::start(backend));
        callee.apply(snapshot("callee", Some(app.at), &[]));
        caller.apply(snapshot("caller", None, &[("callee", callee.internal)]));
        let answer = ask(
            caller.http,
            "POST /v1.0/invoke/callee/method/a/b?x=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\
             Connection: close\r\n\r\nping",
        );
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
        let saw = app.saw.lock().unwrap().join("");
        assert!(saw.starts_with("POST /a/b?x=1 HTTP/1.1\r\n") && saw.ends_with("\r\n\r\nping"), "{saw}");
        for line in ["Dapr-Caller-App-Id: caller", "Dapr-Callee-App-Id: callee", "X-Forwarded-For: 127.0.0.1"]
        {
            assert!(saw.contains(line), "{line} in {saw}");
        }
        assert_eq!(caller.common.registry.calls(), 0);
    }
}

#[test]
fn a_call_to_the_own_app_stays_in_the_sidecar() {
    for backend in backends() {
        let app = FakeApp::start(HELLO);
        let sidecar = Sidecar::start(backend);
        sidecar.apply(snapshot("me", Some(app.at), &[]));
        let answer = get(sidecar.http, "/v1.0/invoke/me/method/x");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
        assert!(!app.saw.lock().unwrap().join("").contains("X-Forwarded-For"));
    }
}

#[test]
fn an_unknown_app_is_an_error_that_says_what_was_tried() {
    let sidecar = Sidecar::start(backends().swap_remove(0));
    sidecar.apply(snapshot("me", None, &[]));
    let answer = get(sidecar.http, "/v1.0/invoke/nobody/method/x");
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.ends_with("couldn't find service: nobody (test: no such app)\"}"), "{answer}");
}

#[test]
fn a_connection_carries_one_call_after_the_other_and_pipelined_ones() {
    for backend in backends() {
        let app = FakeApp::start(HELLO);
        let (caller, _callee) = pair(&backend, app.at);
        let mut client = connect(caller.http);
        let one = "GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for _ in 0..3 {
            client.write_all(one.as_bytes()).unwrap();
            assert!(read_until(&mut client, "\r\n\r\nhello").starts_with("HTTP/1.1 200 OK"));
        }
        client
            .write_all(
                one.repeat(3)
                    .replace(
                        "method/x HTTP/1.1\r\nHost: localhost\r\n\r\nGET",
                        "method/y HTTP/1.1\r\nHost: localhost\r\n\r\nGET",
                    )
                    .as_bytes(),
            )
            .unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).unwrap();
        assert_eq!(rest.matches("hello").count(), 3, "{rest}");
        assert_eq!(app.saw().len(), 6);
    }
}

#[test]
fn the_app_connection_is_used_again() {
    let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = connections.clone();
    let app = FakeApp::with(move |stream, saw| {
        let first = Mutex::new(Vec::new());
        serve(stream, HELLO, &first);
        let requests = first.into_inner().unwrap();
        count.fetch_add(usize::from(!requests.is_empty()), std::sync::atomic::Ordering::SeqCst);
        saw.lock().unwrap().extend(requests);
    });
    let (caller, callee) = pair(&backends()[0], app.at);
    for _ in 0..5 {
        assert!(get(caller.http, "/v1.0/invoke/callee/method/x").ends_with("hello"));
    }
    drop(callee);
    eventually("all five came over one connection", || app.saw().len() == 5);
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn head_keeps_the_length_and_has_no_body() {
    let app = FakeApp::start("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    let (caller, _callee) = pair(&backends()[0], app.at);
    let head = "HEAD /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = ask(caller.http, head);
    assert!(answer.contains("\r\nContent-Length: 5\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn healthz_says_what_is_missing_and_knows_its_app() {
    let sidecar = Sidecar::start(backends().swap_remove(0));
    eventually("it listens", || !get(sidecar.http, "/v1.0/healthz").is_empty());
    assert!(get(sidecar.http, "/v1.0/healthz").ends_with("\"message\":\"dapr is not ready: [runtime]\"}"));
    assert!(get(sidecar.http, "/v1.0/healthz/outbound").starts_with("HTTP/1.1 500"));
    sidecar.apply(snapshot("me", None, &[]));
    assert!(get(sidecar.http, "/v1.0/healthz?appid=me").starts_with("HTTP/1.1 204"));
    assert!(get(sidecar.http, "/v1.0/healthz?appid=you").contains("ERR_HEALTH_APPID_NOT_MATCH"));
    assert!(get(sidecar.http, "/v1.0/healthz/outbound").starts_with("HTTP/1.1 204"));
    assert!(get(sidecar.http, "/v1.0/metadata").contains("{\"id\":\"me\","));
}

#[test]
fn at_most_so_many_calls_are_in_the_app_at_a_time() {
    let (inside, most) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let (now, peak) = (inside.clone(), most.clone());
    let app = FakeApp::with(move |mut stream, _| {
        while request_head(&mut stream).is_some() {
            let mut count = now.lock().unwrap();
            *count += 1;
            let mut peak = peak.lock().unwrap();
            *peak = (*peak).max(*count);
            drop((count, peak));
            std::thread::sleep(Duration::from_millis(10));
            *now.lock().unwrap() -= 1; // before the answer: the next call may come with it
            stream.write_all(HELLO.as_bytes()).unwrap();
        }
    });
    let sidecar = Sidecar::start(backends().swap_remove(0));
    let mut limited = snapshot("me", Some(app.at), &[]);
    let channel = AppChannel { max_concurrency: Some(2), ..(**limited.app.as_ref().unwrap()).clone() };
    limited.app = Some(Arc::new(channel));
    sidecar.apply(limited);
    let at = sidecar.http;
    let clients: Vec<_> =
        (0..8).map(|_| std::thread::spawn(move || get(at, "/v1.0/invoke/me/method/x"))).collect();
    assert!(clients.into_iter().all(|c| c.join().unwrap().ends_with("hello")));
    assert_eq!(*most.lock().unwrap(), 2);
}

#[test]
fn more_cold_clients_than_receive_buffers_are_all_served() {
    for backend in backends() {
        let app = FakeApp::start(HELLO);
        let (caller, _callee) = pair(&backend, app.at);
        let request = format!(
            "POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n{}",
            "x".repeat(2000)
        );
        let mut clients: Vec<_> = (0..300).map(|_| connect(caller.http)).collect();
        clients.iter_mut().for_each(|c| c.write_all(request.as_bytes()).unwrap());
        clients.iter_mut().for_each(|c| assert!(read_until(c, "hello").starts_with("HTTP/1.1 200")));
    }
}

#[test]
fn several_shards_share_the_connections() {
    for backend in backends() {
        let app = FakeApp::start(HELLO);
        let (caller, callee) = (Sidecar::sharded(backend.clone(), 3), Sidecar::sharded(backend, 2));
        callee.apply(snapshot("callee", Some(app.at), &[]));
        caller.apply(snapshot("caller", None, &[("callee", callee.internal)]));
        let mut clients: Vec<_> = (0..80).map(|_| connect(caller.http)).collect();
        for _ in 0..3 {
            let request = b"GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\n\r\n";
            clients.iter_mut().for_each(|c| c.write_all(request).unwrap());
            clients.iter_mut().for_each(|c| assert!(read_until(c, "hello").starts_with("HTTP/1.1 200")));
        }
        assert_eq!(counted(&caller, "outrigger_client_connections") as u32, 80);
        assert!(counted(&callee, "outrigger_peer_connections") > 1.5, "more than one shard called");
    }
}

//! HTTP/2 without TLS: local clients with prior knowledge or by upgrade.

// Peers of tests only: what the table of layers allows is for what is below it.
#[cfg(test)]
use super::*;
use bytes::Bytes;
use h2::{Reason, client};
use http::{Request, Response};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    status: u16,
    length: Option<String>,
    body: String,
}

pub(super) fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let local = tokio::task::LocalSet::new();
        local.run_until(what).await
    })
}

async fn connect_h2(at: SocketAddr) -> client::SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let (client, connection) = client::handshake(stream).await.unwrap();
    tokio::task::spawn_local(async move { drop(connection.await) });
    client
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://localhost{path}")).body(()).unwrap()
}

async fn read(answer: Response<h2::RecvStream>) -> Result<Got, h2::Error> {
    let (head, mut body) = answer.into_parts();
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len()).unwrap();
        all.extend_from_slice(&piece);
    }
    let length = head.headers.get("content-length").map(|v| v.to_str().unwrap().to_owned());
    Ok(Got { status: head.status.as_u16(), length, body: String::from_utf8(all).unwrap() })
}

/// Sends a request, with a body where there is one, and reads the answer.
async fn exchange(
    client: &client::SendRequest<Bytes>,
    request: Request<()>,
    body: Option<&'static [u8]>,
) -> Result<Got, h2::Error> {
    let mut client = client.clone().ready().await?;
    let (answer, mut sender) = client.send_request(request, body.is_none())?;
    if let Some(body) = body {
        sender.send_data(Bytes::from_static(body), true)?;
    }
    read(answer.await?).await
}

#[test]
fn a_client_with_prior_knowledge_gets_what_any_client_gets() {
    for backend in backends() {
        let app = FakeApp::start(HELLO);
        let (caller, callee) = pair(&backend, app.at);
        run(async {
            for at in [caller.http, callee.http] {
                let client = connect_h2(at).await;
                let got = exchange(&client, request("GET", "/v1.0/healthz"), None).await.unwrap();
                assert_eq!((got.status, &*got.body), (204, ""));
                let call = || request("POST", "/v1.0/invoke/callee/method/x?q=1");
                let got = exchange(&client, call(), Some(b"ping")).await.unwrap();
                assert_eq!((got.status, &*got.body), (200, "hello"));
                app.saw.lock().unwrap().clear();
                let unknown = request("GET", "/v1.0/invoke/nobody/method/x");
                let got = exchange(&client, unknown, None).await.unwrap();
                assert!(got.status == 500 && got.body.contains("ERR_DIRECT_INVOKE"), "{got:?}");
                let mut by_header = request("GET", "/some/path");
                by_header.headers_mut().insert("dapr-app-id", "callee".parse().unwrap());
                assert_eq!(exchange(&client, by_header, None).await.unwrap().body, "hello");
                let saw = app.saw().pop().unwrap();
                assert!(saw.starts_with("GET /some/path HTTP/1.1\r\nHost: "), "{saw}");
            }
        });
        eventually("every request has its record", || {
            caller.common.registry.calls() + callee.common.registry.calls() == 0
        });
    }
}

#[test]
fn the_body_of_a_request_reaches_the_app_whole_and_declared_as_it_was() {
    let app = FakeApp::start(HELLO);
    let (caller, _callee) = pair(&backends().swap_remove(0), app.at);
    run(async {
        let client = connect_h2(caller.http).await;
        let mut declared = request("POST", "/v1.0/invoke/callee/method/x");
        declared.headers_mut().insert("content-length", "4".parse().unwrap());
        exchange(&client, declared, Some(b"ping")).await.unwrap();
        let open = request("POST", "/v1.0/invoke/callee/method/x");
        exchange(&client, open, Some(&[b'x'; 100_000])).await.unwrap();
        let short = request("POST", "/v1.0/invoke/callee/method/x");
        exchange(&client, short, Some(b"pong")).await.unwrap();
    });
    let saw = app.saw();
    assert!(saw[0].contains("Content-Length: 4\r\n") && saw[0].ends_with("\r\n\r\nping"), "{}", saw[0]);
    assert!(saw[1].contains("Transfer-Encoding: chunked\r\n"));
    assert!(saw[2].contains("\r\npong\r\n"), "{}", saw[2]);
    assert_eq!(saw[1].split("\r\n\r\n").nth(1).unwrap().matches('x').count(), 100_000);
}

#[test]
fn many_requests_share_a_connection_and_do_not_wait_for_each_other() {
    let (app, release) = waits_for(20);
    let (caller, _callee) = pair(&backends().swap_remove(0), app.at);
    run(async {
        let client = connect_h2(caller.http).await;
        let calls = (0..20).map(|_| {
            let client = client.clone();
            tokio::task::spawn_local(async move {
                exchange(&client, request("GET", "/v1.0/invoke/callee/method/x"), None).await.unwrap().body
            })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap(), "hello");
        }
    });
    assert_eq!(release.load(SeqCst), 20);
}

/// An app that answers once `most` requests are with it.
fn waits_for(most: usize) -> (FakeApp, Arc<AtomicUsize>) {
    let count: Arc<AtomicUsize> = Arc::default();
    let here = count.clone();
    let app = FakeApp::with(move |mut stream, _| {
        while request_head(&mut stream).is_some() {
            here.fetch_add(1, SeqCst);
            eventually("the others", || here.load(SeqCst) >= most);
            stream.write_all(HELLO.as_bytes()).unwrap();
        }
    });
    (app, count)
}

#[test]
fn a_stream_that_the_client_resets_ends_the_call_in_the_app_and_spares_the_others() {
    for backend in backends() {
        let app = FakeApp::with(|mut stream, saw| {
            let Some(head) = request_head(&mut stream) else { return };
            if head.starts_with("GET /quick") {
                return stream.write_all(HELLO.as_bytes()).unwrap();
            }
            saw.lock().unwrap().push("asked".into());
            let _ = stream.read(&mut [0; 16]);
            saw.lock().unwrap().push("gone".into());
        });
        let (caller, callee) = pair(&backend, app.at);
        for at in [caller.http, callee.http] {
            app.saw.lock().unwrap().clear();
            run(async {
                let client = connect_h2(at).await;
                let mut ready = client.clone().ready().await.unwrap();
                let slow = request("GET", "/v1.0/invoke/callee/method/slow");
                let (answer, mut sender) = ready.send_request(slow, true).unwrap();
                while app.saw() != ["asked"] {
                    tokio::task::yield_now().await;
                }
                sender.send_reset(Reason::CANCEL);
                drop(answer);
                let quick = request("GET", "/v1.0/invoke/callee/method/quick");
                assert_eq!(exchange(&client, quick, None).await.unwrap().body, "hello");
                eventually("the app's connection ends", || app.saw() == ["asked", "gone"]);
            });
        }
    }
}

#[test]
fn an_answer_that_breaks_off_resets_the_stream_and_the_connection_goes_on() {
    let app = FakeApp::with(|mut stream, _| {
        while let Some(head) = request_head(&mut stream) {
            if head.starts_with("GET /cut") {
                return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").unwrap();
            }
            stream.write_all(HELLO.as_bytes()).unwrap();
        }
    });
    let (caller, callee) = pair(&backends().swap_remove(0), app.at);
    run(async {
        for at in [caller.http, callee.http] {
            let client = connect_h2(at).await;
            let cut = request("GET", "/v1.0/invoke/callee/method/cut");
            let error = exchange(&client, cut, None).await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
            let whole = request("GET", "/v1.0/invoke/callee/method/whole");
            assert_eq!(exchange(&client, whole, None).await.unwrap().body, "hello");
        }
    });
}

#[test]
fn what_http1_could_read_otherwise_is_refused_and_a_body_above_the_limit_too() {
    let app = FakeApp::start(HELLO);
    let sidecar = Sidecar::start(backends().swap_remove(0));
    let mut small = snapshot("me", Some(app.at), &[]);
    small.limits = Arc::new(Limits { max_body: Some(10), ..Limits::default() });
    sidecar.apply(small);
    run(async {
        let client = connect_h2(sidecar.http).await;
        let large = request("POST", "/v1.0/invoke/me/method/x");
        let got = exchange(&client, large, Some(b"more than ten bytes")).await.unwrap();
        assert!(got.body.contains("--max-body-size"), "{got:?}");
    });
    // a path with a blank, as the h2 crate would not send it: HPACK literals
    let mut socket = connect(sidecar.http);
    let path = b"/a HTTP/1.1\x20x";
    let mut block = vec![0x82, 0x86, 0x04, path.len() as u8];
    block.extend_from_slice(path);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1]);
    bytes.extend_from_slice(&block);
    socket.write_all(&bytes).unwrap();
    assert!(raw_until(&mut socket, b"invalid :path").windows(3).any(|w| w == b"400"));
    assert!(app.saw().is_empty());
}

fn raw_until(socket: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
    while !came.windows(end.len()).any(|w| w == end) {
        match socket.read(&mut buffer).unwrap() {
            0 => panic!("ended after {:?}", String::from_utf8_lossy(&came)),
            n => came.extend_from_slice(&buffer[..n]),
        }
    }
    came
}

#[test]
fn an_upgraded_request_is_answered_on_the_first_stream_with_or_without_a_body() {
    for backend in backends() {
        let app = FakeApp::start(HELLO);
        let (caller, _callee) = pair(&backend, app.at);
        for (verb, body) in [("GET", ""), ("POST", "Content-Length: 4\r\n\r\nping")] {
            let mut client = connect(caller.http);
            let body = if body.is_empty() { "\r\n" } else { body };
            write!(
                client,
                "{verb} /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                 Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n{body}"
            )
            .unwrap();
            let head = read_until(&mut client, "Upgrade: h2c\r\n\r\n");
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
            if !head.contains("hello") {
                raw_until(&mut client, b"hello");
            }
        }
        let saw = app.saw();
        assert!(saw[0].starts_with("GET /x ") && !saw[0].contains("pgrade"), "{}", saw[0]);
        assert!(saw[1].ends_with("\r\n\r\nping"), "{}", saw[1]);
    }
}

#[test]
fn a_body_of_unknown_length_is_served_without_the_upgrade() {
    let app = FakeApp::start(HELLO);
    let (caller, _callee) = pair(&backends().swap_remove(0), app.at);
    let answer = ask(
        caller.http,
        "POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("hello"), "{answer}");
}

//! An app that speaks HTTP/2 without TLS.

// Peers of tests only: what the table of layers allows is for what is below it.
#[cfg(test)]
use super::h2c::run;
use super::*;
use bytes::Bytes;
use h2::{Reason, server};
use http::Response;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// An app that speaks HTTP/2: what it does with its n-th request, and how many connections it had.
struct H2App {
    at: SocketAddr,
    /// Every connection takes so many requests, and says goodbye then.
    most: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    saw: Arc<Mutex<Vec<String>>>,
}

impl H2App {
    fn start(act: impl Fn(usize, server::SendResponse<Bytes>) + Send + Sync + 'static) -> H2App {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let app = H2App {
            at,
            most: Arc::new(AtomicUsize::new(usize::MAX)),
            connections: Arc::default(),
            saw: Arc::default(),
        };
        let (connections, saw, act) = (app.connections.clone(), app.saw.clone(), Arc::new(act));
        let most = app.most.clone();
        std::thread::spawn(move || {
            run(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let (connections, saw, act) = (connections.clone(), saw.clone(), act.clone());
                    let most = most.clone();
                    tokio::task::spawn_local(async move {
                        let Ok(mut connection) = server::handshake(stream).await else { return };
                        connections.fetch_add(1, SeqCst);
                        let mut taken = 0;
                        while let Some(Ok((request, respond))) = connection.accept().await {
                            taken += 1;
                            if taken == most.load(SeqCst) {
                                connection.graceful_shutdown();
                            }
                            let (saw, act) = (saw.clone(), act.clone());
                            tokio::task::spawn_local(async move {
                                let (head, mut body) = request.into_parts();
                                let mut all = Vec::new();
                                while let Some(Ok(piece)) = body.data().await {
                                    all.extend_from_slice(&piece);
                                    let _ = body.flow_control().release_capacity(piece.len());
                                }
                                let line = format!("{} {} {}", head.method, head.uri.path(), all.len());
                                let n = {
                                    let mut saw = saw.lock().unwrap();
                                    saw.push(line);
                                    saw.len() - 1
                                };
                                act(n, respond);
                            });
                        }
                    });
                }
            });
        });
        app
    }

    fn sidecar(&self, backend: Backend) -> Sidecar {
        let sidecar = Sidecar::start(backend);
        let mut snapshot = snapshot("callee", Some(self.at), &[]);
        let app = (**snapshot.app.as_ref().unwrap()).clone();
        snapshot.app = Some(Arc::new(AppChannel { protocol: AppProtocol::H2c, ..app }));
        sidecar.apply(snapshot);
        sidecar
    }
}

fn hello(mut respond: server::SendResponse<Bytes>) {
    let mut sender = respond.send_response(Response::new(()), false).unwrap();
    sender.send_data(Bytes::from_static(b"hello"), true).unwrap();
}

const CALL: &str = "/v1.0/invoke/callee/method/x";

#[test]
fn an_h2c_app_is_called_over_one_connection() {
    for backend in backends() {
        let app = H2App::start(|_, respond| hello(respond));
        let callee = app.sidecar(backend.clone());
        let caller = Sidecar::start(backend);
        caller.apply(snapshot("caller", None, &[("callee", callee.internal)]));
        for at in [caller.http, callee.http] {
            for _ in 0..3 {
                assert!(get(at, CALL).contains("hello"));
            }
            let body = "x".repeat(300_000);
            let post = format!(
                "POST {CALL} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n{body}"
            );
            assert!(ask(at, &post).contains("hello"));
        }
        assert_eq!(app.connections.load(SeqCst), 1);
        assert_eq!(app.saw().last().unwrap(), "POST /x 300000");
        eventually("every request has its record", || {
            caller.common.registry.calls() + callee.common.registry.calls() == 0
        });
    }
}

impl H2App {
    fn saw(&self) -> Vec<String> {
        self.saw.lock().unwrap().clone()
    }
}

#[test]
fn a_stream_that_the_app_refuses_goes_out_again_and_one_that_it_resets_does_not() {
    let app = H2App::start(|n, mut respond| match n {
        0 => respond.send_reset(Reason::REFUSED_STREAM),
        2 => respond.send_reset(Reason::INTERNAL_ERROR),
        _ => hello(respond),
    });
    let callee = app.sidecar(backends().swap_remove(0));
    assert!(get(callee.http, CALL).contains("hello"));
    assert_eq!(app.saw().len(), 2);
    let answer = get(callee.http, CALL);
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("INTERNAL_ERROR"), "{answer}");
    assert_eq!(app.saw().len(), 3);
    assert!(get(callee.http, CALL).contains("hello"), "the connection goes on");
}

#[test]
fn an_answer_that_the_app_cuts_off_is_never_shown_as_whole() {
    let app = H2App::start(|_, mut respond| {
        let mut sender = respond.send_response(Response::new(()), false).unwrap();
        sender.send_data(Bytes::from_static(b"half"), false).unwrap();
        sender.send_reset(Reason::INTERNAL_ERROR);
    });
    let callee = app.sidecar(backends().swap_remove(0));
    let answer = get(callee.http, CALL);
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[test]
fn a_client_that_leaves_resets_the_stream_of_the_app() {
    let (told, gone) = std::sync::mpsc::channel();
    let held = Arc::new(Mutex::new(Vec::new()));
    let app = H2App::start(move |_, mut respond| {
        let _ =
            respond.send_response(Response::new(()), false).map(|sender| held.lock().unwrap().push(sender));
        told.send(held.clone()).unwrap();
    });
    let callee = app.sidecar(backends().swap_remove(0));
    let mut client = connect(callee.http);
    write!(client, "GET {CALL} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let held = gone.recv_timeout(Duration::from_secs(10)).unwrap();
    read_until(&mut client, "\r\n\r\n");
    drop(client);
    eventually("the stream is reset", || {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        held.lock().unwrap().iter_mut().all(|sender| sender.poll_reset(&mut cx).is_ready())
    });
}

#[test]
fn an_app_that_says_goodbye_gets_further_requests_on_another_connection() {
    let app = H2App::start(|_, respond| hello(respond));
    app.most.store(2, SeqCst);
    let callee = app.sidecar(backends().swap_remove(0));
    for _ in 0..6 {
        assert!(get(callee.http, CALL).contains("hello"));
    }
    assert_eq!(app.saw().len(), 6);
    assert!(app.connections.load(SeqCst) >= 3);
}

#[test]
fn calls_at_once_are_streams_of_one_connection_to_the_app() {
    let waiting: Mutex<Vec<server::SendResponse<Bytes>>> = Mutex::default();
    let app = H2App::start(move |_, respond| {
        let mut waiting = waiting.lock().unwrap();
        waiting.push(respond);
        if waiting.len() == 10 {
            waiting.drain(..).for_each(hello);
        }
    });
    let callee = app.sidecar(backends().swap_remove(0));
    let at = callee.http;
    let calls: Vec<_> = (0..10).map(|_| std::thread::spawn(move || get(at, CALL))).collect();
    for call in calls {
        assert!(call.join().unwrap().contains("hello"));
    }
    assert_eq!(app.connections.load(SeqCst), 1);
}

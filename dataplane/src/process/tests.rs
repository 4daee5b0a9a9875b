//! Two data planes in one process, without control: snapshots are handed to them directly.

use super::seat::ToShard;
use super::{NamesEverywhere, Plane, Start};
use crate::config::{ListenAt, Listening, Role};
use crate::rt::{self, Backend, BackendChoice, Running, Sender};
use crate::shard::{Common, Names};
use crate::subscribe::Update;
use proto::snapshot::{
    Api, AppAddress, AppChannel, AppProtocol, AppRef, Endpoint, Limits, Route, Snapshot, Tried, Workload,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Names that lead nowhere.
struct Nowhere(Mutex<Vec<Sender<ToShard>>>);

impl Names for Nowhere {
    fn resolve(&self, app: &AppRef) -> bool {
        let tried = vec![Tried { way: "test".into(), answer: "no such app".into() }];
        for shard in self.0.lock().unwrap().iter() {
            let route = Arc::new(Route::NotFound { tried: tried.clone() });
            let _ = shard.send(ToShard::Update(Update::Resolved { target: app.clone(), route }));
        }
        true
    }

    fn failed(&self, _app: &AppRef, _endpoint: SocketAddr) {}
}

/// A data plane with free ports.
struct Sidecar {
    http: SocketAddr,
    internal: SocketAddr,
    to: Vec<Sender<ToShard>>,
    running: Option<Running>,
    common: Arc<Common>,
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Sidecar {
    fn start(backend: Backend) -> Sidecar {
        let (http, internal) = (free_port(), free_port());
        let plane = Plane::new(1);
        let to = plane.to.clone();
        let common: Arc<Common> = Arc::default();
        let listening = |role, at| Listening { role, at: ListenAt::Tcp(at) };
        let names: Arc<dyn NamesEverywhere> = Arc::new(Nowhere(Mutex::new(to.clone())));
        let running = plane
            .start(Start {
                backend,
                common: common.clone(),
                listeners: vec![listening(Role::Http, http), listening(Role::Internal, internal)],
                failure: Arc::new(OnceLock::new()),
                names,
                draining: Arc::new(|_| {}),
                trace_steps: true,
                began: Instant::now(),
            })
            .unwrap();
        Sidecar { http, internal, to, running: Some(running), common }
    }

    fn apply(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        for shard in &self.to {
            let update = Update::Snapshot { snapshot: snapshot.clone(), identity: None };
            shard.send(ToShard::Update(update)).ok().unwrap();
        }
        let by = Instant::now() + Duration::from_secs(10);
        while !get(self.http, "/v1.0/healthz").starts_with("HTTP/1.1 204") {
            assert!(Instant::now() < by, "the sidecar gets ready");
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        for shard in &self.to {
            let _ = shard.send(ToShard::End);
        }
        if let Some(running) = self.running.take() {
            running.join().unwrap();
        }
    }
}

fn snapshot(app_id: &str, app: Option<SocketAddr>, routes: &[(&str, SocketAddr)]) -> Snapshot {
    let mut snapshot = Snapshot {
        version: 1,
        workload: Arc::new(Workload {
            app_id: app_id.into(),
            namespace: "default".into(),
            trust_domain: "public".into(),
            host_address: "127.0.0.1".into(),
            host_name: "node1".into(),
            internal_port: 1,
            mtls: false,
        }),
        app: app.map(|at| {
            Arc::new(AppChannel {
                address: AppAddress::Tcp { host: at.ip().to_string(), port: at.port() },
                protocol: AppProtocol::Http,
                max_concurrency: None,
                token: None,
            })
        }),
        api: Arc::new(Api { token: None, tracing: true }),
        limits: Arc::new(Limits::default()),
        ..Snapshot::default()
    };
    for (name, address) in routes {
        let app = AppRef { app_id: (*name).into(), namespace: "default".into() };
        let route = Route::Endpoints(vec![Endpoint { address: *address }]);
        snapshot.routes.insert(app, Arc::new(route));
    }
    snapshot
}

/// An app that answers every request with `answer`, closing after each, and tells what it saw.
struct FakeApp {
    at: SocketAddr,
    saw: Arc<Mutex<Vec<String>>>,
}

impl FakeApp {
    fn start(answer: &'static str) -> FakeApp {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let saw: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = saw.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(stream, answer, &seen));
            }
        });
        FakeApp { at, saw }
    }
}

fn serve(mut stream: TcpStream, answer: &str, saw: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => request.extend_from_slice(&buffer[..n]),
        }
        while let Some(end) = whole(&request) {
            let rest = request.split_off(end);
            saw.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            request = rest;
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// Where the first request ends.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("transfer-encoding: chunked") {
        return bytes[head..].windows(5).position(|w| w == b"0\r\n\r\n").map(|at| head + at + 5);
    }
    let length = text.split("content-length: ").nth(1).and_then(|v| v.split("\r\n").next()?.parse().ok());
    let length: usize = length.unwrap_or(0);
    (bytes.len() >= head + length).then_some(head + length)
}

fn get(at: SocketAddr, path: &str) -> String {
    ask(at, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

fn ask(at: SocketAddr, request: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(at) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn backends() -> Vec<Backend> {
    let mut all = vec![rt::preflight(BackendChoice::Readiness).unwrap()];
    all.extend(rt::preflight(BackendChoice::Completion));
    all
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

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

//! Two data planes in one process, without control: snapshots are handed to them directly.

mod bodies;
mod calls;
mod clients;
mod failures;
mod h2c;
mod h2c_app;
mod identity;
mod inbound;

use super::seat::ToShard;
use super::{NamesEverywhere, Plane, Start};
use crate::admin::Scope;
use crate::config::{ListenAt, Listening, Role};
use crate::mesh::Call;
use crate::proxy::inbound as callee;
use crate::rt::{self, Backend, BackendChoice, Running, Sender};
use crate::shard::{Common, Names, Shard};
use crate::subscribe::Update;
use crate::tls::Identity;
use proto::snapshot::{
    Api, AppAddress, AppChannel, AppProtocol, AppRef, Endpoint, Limits, Route, Snapshot, Tried, Workload,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
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

    fn attached(&self, _key: &str, _value: &str, _told: Sender<()>) {}
}

/// A data plane with free ports.
pub(super) struct Sidecar {
    http: SocketAddr,
    internal: SocketAddr,
    to: Vec<Sender<ToShard>>,
    running: Option<Running>,
    common: Arc<Common>,
    /// As a supervisor does, the test binds the sockets and the data plane inherits them.
    _inherited: [TcpListener; 2],
}

impl Sidecar {
    fn start(backend: Backend) -> Sidecar {
        Sidecar::sharded(backend, 1)
    }

    fn sharded(backend: Backend, shards: usize) -> Sidecar {
        let inherited = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, internal] = inherited.each_ref().map(|listener| listener.local_addr().unwrap());
        let plane = Plane::new(shards);
        let to = plane.to.clone();
        let common: Arc<Common> = Arc::default();
        let listening = |role, at: &TcpListener| Listening { role, at: ListenAt::Fd(at.as_raw_fd()) };
        let names: Arc<dyn NamesEverywhere> = Arc::new(Nowhere(Mutex::new(to.clone())));
        let running = plane
            .start(Start {
                backend,
                tcp_congestion: rt::Congestion::default(),
                common: common.clone(),
                listeners: vec![
                    listening(Role::Http, &inherited[0]),
                    listening(Role::Internal, &inherited[1]),
                ],
                failure: Arc::new(OnceLock::new()),
                names,
                draining: Arc::new(|_| {}),
                trace_steps: true,
                max_memory: 0,
                began: Instant::now(),
            })
            .unwrap();
        Sidecar { http, internal, to, running: Some(running), common, _inherited: inherited }
    }

    fn apply(&self, snapshot: Snapshot) {
        let identity = snapshot.identity.as_ref().map(|material| Identity::new(material).unwrap());
        let snapshot = Arc::new(snapshot);
        for shard in &self.to {
            let update = Update::Snapshot { snapshot: snapshot.clone(), identity: identity.clone() };
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
                health: None,
                asks_config: false,
            })
        }),
        api: Arc::new(Api { token: None, tracing: true, ..Api::default() }),
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

/// An app in threads of its own, and what it saw.
struct FakeApp {
    at: SocketAddr,
    saw: Arc<Mutex<Vec<String>>>,
}

impl FakeApp {
    fn start(answer: &'static str) -> FakeApp {
        FakeApp::with(move |stream, saw| serve(stream, answer, saw))
    }

    /// An app whose every connection is served by `serve`.
    fn with(serve: impl Fn(TcpStream, &Mutex<Vec<String>>) + Send + Sync + 'static) -> FakeApp {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let saw: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, serve) = (saw.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, serve) = (seen.clone(), serve.clone());
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        FakeApp { at, saw }
    }

    fn saw(&self) -> Vec<String> {
        self.saw.lock().unwrap().clone()
    }
}

/// Reads one request without its body; `None` when the connection ends. The sidecar's look for the port sends none.
fn request_head(stream: &mut TcpStream) -> Option<String> {
    let (mut came, mut byte) = (Vec::new(), [0]);
    while !came.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        came.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&came).into_owned())
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

/// A caller and a callee with `app`.
fn pair(backend: &Backend, app: SocketAddr) -> (Sidecar, Sidecar) {
    let (caller, callee) = (Sidecar::start(backend.clone()), Sidecar::start(backend.clone()));
    callee.apply(snapshot("callee", Some(app), &[]));
    caller.apply(snapshot("caller", None, &[("callee", callee.internal)]));
    (caller, callee)
}

/// The value of a counter or gauge, summed over its series.
fn counted(sidecar: &Sidecar, name: &str) -> f64 {
    let report = sidecar.common.registry.collect("x");
    let family = report.families.iter().find(|f| f.name == name);
    family.map_or(0.0, |f| f.series.iter().map(|s| s.value).sum())
}

/// Waits until `fact` holds.
fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let by = Instant::now() + Duration::from_secs(10);
    while !fact() {
        assert!(Instant::now() < by, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Reads until `end` stands in what came.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&came).into_owned();
        if text.contains(end) {
            return text;
        }
        match stream.read(&mut buffer) {
            Ok(n) if n > 0 => came.extend_from_slice(&buffer[..n]),
            other => panic!("{other:?} after {text}"),
        }
    }
}

fn backends() -> Vec<Backend> {
    let mut all = vec![rt::preflight(BackendChoice::Readiness).unwrap()];
    all.extend(rt::preflight(BackendChoice::Completion));
    all
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

/// A future that is moved into another is stored twice; these sizes show it when it happens.
#[test]
fn the_state_of_a_connection_and_of_a_call_stays_small() {
    fn connection<F: Future>(_: fn(Rc<Shard>, rt::Stream, Scope) -> F) -> usize {
        std::mem::size_of::<F>()
    }
    fn call<F: Future>(_: fn(Rc<Shard>, Call) -> F) -> usize {
        std::mem::size_of::<F>()
    }
    assert!(connection(crate::admin::serve) <= 560, "{} bytes", connection(crate::admin::serve));
    assert!(call(callee::handle) <= 8 << 10, "{} bytes", call(callee::handle));
}

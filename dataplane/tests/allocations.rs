//! After warm-up a small request allocates nothing on its way: client, sidecar, mesh hop, sidecar, app, and back.
//!
//! Two data planes run in this process, each with a control process of the test's own. Every allocation counts, on
//! whatever thread, except those of the client, the app and control.
//!
//! There are no exceptions: records are opened where they lie and sealed in the buffer that is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

#[path = "mesh/pki.rs"]
#[allow(dead_code)]
mod pki;

use dataplane::config::{BackendChoice, Config, ListenAt, Listening, LogLevel, Role};
use proto::control::frame::{self, Decoder};
use proto::control::session::{Event, Publisher};
use proto::snapshot::{
    AppAddress, AppChannel, AppProtocol, AppRef, Endpoint, IdentityMaterial, Route, Snapshot, Workload,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

thread_local! {
    /// The client, the app, control: what they allocate is nobody's business.
    static APART: Cell<bool> = const { Cell::new(false) };
}

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

impl Counting {
    fn note(size: usize) {
        if !COUNTING.load(SeqCst) || APART.try_with(Cell::get).unwrap_or(true) {
            return;
        }
        ALLOCATIONS.fetch_add(1, SeqCst);
        APART.set(true);
        if std::env::var_os("SHOW_ALLOCATIONS").is_some() {
            eprintln!("{size} bytes\n{}", std::backtrace::Backtrace::force_capture());
        }
        APART.set(false);
    }
}

// SAFETY: everything is passed on to the system's allocator as it came; counting allocates only where it does not count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::note(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Counting::note(size);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Starts a thread whose allocations do not count.
fn apart(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        APART.set(true);
        work();
    });
}

/// Says whatever is in `picture` to one data plane, and takes what that says.
fn control(socket: &std::path::Path, picture: Arc<Snapshot>) {
    let listener = UnixListener::bind(socket).unwrap();
    apart(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut decoder, mut publisher, mut bytes) = (Decoder::new(), Publisher::new(), [0; 4096]);
        while let Ok(n @ 1..) = stream.read(&mut bytes) {
            decoder.push(&bytes[..n]);
            while let Some(message) = decoder.take().unwrap() {
                if let Event::Greeted(_) = publisher.received(message).unwrap() {
                    say(&mut stream, &mut publisher, &picture);
                }
            }
        }
    });
}

fn say(stream: &mut UnixStream, publisher: &mut Publisher, picture: &Arc<Snapshot>) {
    for message in publisher.publish(picture) {
        let mut bytes = Vec::new();
        frame::encode(&message, &mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    }
}

/// A data plane that runs to the end of this process.
struct Sidecar {
    http: SocketAddr,
    internal: SocketAddr,
}

fn sidecar(backend: BackendChoice, picture: Snapshot) -> Sidecar {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!("outrigger-allocations-{}-{}", std::process::id(), NUMBER.fetch_add(1, SeqCst));
    let socket = std::env::temp_dir().join(name);
    control(&socket, Arc::new(picture));
    let inherited = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [http, internal] = inherited.each_ref().map(|listener| listener.local_addr().unwrap());
    let listening = |role, at: &TcpListener| Listening { role, at: ListenAt::Fd(at.as_raw_fd()) };
    let config = Config {
        listeners: vec![listening(Role::Http, &inherited[0]), listening(Role::Internal, &inherited[1])],
        backend,
        log_level: LogLevel::Error,
        ..Config::new(socket.clone())
    };
    std::thread::spawn(move || {
        let _inherited = inherited;
        dataplane::run(config)
    });
    let by = Instant::now() + Duration::from_secs(20);
    while !is_ready(http) {
        assert!(Instant::now() < by, "the sidecar gets ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = std::fs::remove_file(socket);
    Sidecar { http, internal }
}

fn is_ready(at: SocketAddr) -> bool {
    let (mut stream, mut answer) = (connect(at), Vec::new());
    stream.write_all(b"GET /v1.0/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 204")
}

fn picture(app_id: &str, identity: Option<&IdentityMaterial>) -> Snapshot {
    let workload = Workload {
        app_id: app_id.into(),
        namespace: "default".into(),
        trust_domain: "public".into(),
        host_address: "127.0.0.1".into(),
        host_name: "node1".into(),
        internal_port: 1,
        mtls: identity.is_some(),
    };
    let identity = identity.map(|material| Arc::new(material.clone()));
    Snapshot { version: 1, workload: Arc::new(workload), identity, ..Snapshot::default() }
}

/// An app that says hello, on as many connections as come.
fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    apart(move || {
        for mut stream in listener.incoming().flatten() {
            apart(move || {
                let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    came.extend_from_slice(&buffer[..n]);
                    if came.ends_with(b"\r\n\r\n") || came.ends_with(b"hiho") {
                        came.clear();
                        stream.write_all(ANSWER).unwrap();
                    }
                }
            });
        }
    });
    at
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: app\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nX-App-Version: 1\r\n\r\nhello world\n";

const REQUESTS: [&str; 2] = [
    "GET /v1.0/invoke/callee/method/orders/7?x=1 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\nAccept: */*\r\nX-Request-Id: 4711\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    "POST /v1.0/invoke/callee/method/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nhiho",
];

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// One request and its answer on a connection that stays open.
fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut buffer).unwrap();
        came.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&came);
        if n == 0 || text.ends_with("hello world\n") || text.ends_with("0\r\n\r\n") {
            return text.into_owned();
        }
    }
}

/// Allocations for each of `calls` calls, after as many to warm up.
fn counted(at: SocketAddr, calls: u32) -> f64 {
    let mut stream = connect(at);
    let mut all = |calls| {
        for i in 0..calls {
            let answer = ask(&mut stream, REQUESTS[i as usize % REQUESTS.len()]);
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        }
    };
    all(calls);
    ALLOCATIONS.store(0, SeqCst);
    COUNTING.store(true, SeqCst);
    all(calls);
    COUNTING.store(false, SeqCst);
    ALLOCATIONS.load(SeqCst) as f64 / f64::from(calls)
}

fn pair(backend: BackendChoice, identities: Option<[IdentityMaterial; 2]>) -> Sidecar {
    let identities = identities.as_ref();
    let mut callee = picture("callee", identities.map(|all| &all[1]));
    let app = app();
    callee.app = Some(Arc::new(AppChannel {
        address: AppAddress::Tcp { host: app.ip().to_string(), port: app.port() },
        protocol: AppProtocol::Http,
        max_concurrency: None,
        token: None,
        health: None,
        asks_config: false,
    }));
    let callee = sidecar(backend, callee);
    let mut caller = picture("caller", identities.map(|all| &all[0]));
    let route = Route::Endpoints(vec![Endpoint { address: callee.internal }]);
    caller.routes.insert(AppRef { app_id: "callee".into(), namespace: "default".into() }, Arc::new(route));
    sidecar(backend, caller)
}

#[test]
fn no_allocation_on_the_path_of_a_small_request_after_warm_up() {
    APART.set(true);
    for backend in [BackendChoice::Readiness, BackendChoice::Auto] {
        let plain = counted(pair(backend, None).http, 200);
        let secret = counted(pair(backend, Some(pki::materials(["caller", "callee"]))).http, 200);
        eprintln!("{backend:?}: {plain:.2} allocations a call, {secret:.2} with TLS");
        assert!(plain <= 0.05, "{backend:?}: {plain} allocations a call");
        assert!(secret <= 0.05, "{backend:?}: {secret} allocations a call with TLS");
    }
}

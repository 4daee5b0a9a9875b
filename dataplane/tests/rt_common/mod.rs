//! What the tests of the seam share: every one runs on both backends.
#![allow(dead_code)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

use dataplane::rt::{self, Address, Backend, BackendChoice, Counts, Shards, Stream, Tick};
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

/// Runs `test` with readiness, and with completion where it works; says so loudly where it does not.
pub(crate) fn on_both(test: impl Fn(Backend)) {
    test(rt::preflight(BackendChoice::Readiness).unwrap());
    match rt::preflight(BackendChoice::Completion) {
        Ok(backend) => test(backend),
        Err(reason) => eprintln!("SKIPPED on the completion backend: {reason}"),
    }
}

/// Runs `body` on one shard with default limits.
pub(crate) fn run<F: Future<Output = ()> + 'static>(
    backend: Backend,
    body: impl Fn() -> F + Clone + Send + 'static,
) {
    run_with(Shards { backend, ..Shards::default() }, body);
}

/// Runs `body` on every shard; a panic of a task or a minute without end fails the test.
pub(crate) fn run_with<F: Future<Output = ()> + 'static>(
    shards: Shards,
    body: impl Fn() -> F + Clone + Send + 'static,
) {
    let name = shards.backend.clone();
    let running = rt::start_shards(shards, move |_| body()).unwrap();
    join(running, &name);
}

/// Waits for the end of shards, a minute at most.
pub(crate) fn join(running: rt::Running, name: &Backend) {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(running.join()));
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{name}: {error}"),
        Err(_) => panic!("{name}: the shards did not end within a minute"),
    }
}

/// Waits until `done`, twenty seconds at most.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let by = rt::now() + Duration::from_secs(20);
    while !done() {
        assert!(rt::now() < by, "not within twenty seconds: {what}; {:?}", rt::counts());
        rt::sleep_until(rt::now() + Duration::from_millis(1)).await;
    }
}

/// Waits until all buffers are back and no more than `sockets` are open.
pub(crate) async fn settled(buffers: u16, sockets: usize) {
    let rest = |counts: Counts| counts.buffers_free == usize::from(buffers) && counts.sockets == sockets;
    until("all buffers back, all slots free", || rest(rt::counts())).await;
}

/// Ten seconds from now.
pub(crate) fn soon() -> Tick {
    rt::now() + Duration::from_secs(10)
}

/// Any free port on loopback.
pub(crate) fn loopback() -> Address {
    Address::Tcp(([127, 0, 0, 1], 0).into())
}

/// A connection with the other end in the hands of the test's own threads.
pub(crate) fn pair() -> (TcpStream, Stream) {
    let (theirs, ours) = raw_pair();
    (theirs, Stream::adopt(OwnedFd::from(ours)).unwrap())
}

/// Two connected sockets.
pub(crate) fn raw_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    theirs.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nodelay(true).unwrap();
    (theirs, ours)
}

/// Reads to the end on another thread: a test must not hold up the shard that it watches.
pub(crate) async fn read_all(mut from: TcpStream) -> (Vec<u8>, std::io::Result<()>) {
    rt::blocking(move || {
        let mut all = Vec::new();
        let result = std::io::Read::read_to_end(&mut from, &mut all).map(drop);
        (all, result)
    })
    .await
}

/// Waits for a thread without holding up the shard.
pub(crate) async fn join_thread<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> T {
    rt::blocking(move || thread.join().unwrap()).await
}

/// Receives exactly `count` bytes.
pub(crate) async fn take(stream: &mut Stream, count: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < count {
        got.extend_from_slice(&stream.recv(soon()).await.unwrap().expect("not the end yet"));
    }
    assert_eq!(got.len(), count);
    got
}

/// A small generator of numbers that only look random.
pub(crate) struct Lcg(pub(crate) u64);

impl Lcg {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A directory of this test's own, removed when dropped.
pub(crate) struct Directory(pub(crate) std::path::PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("outrigger-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

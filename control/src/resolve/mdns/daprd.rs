//! The real daprd on a network of the test's own: a namespace with loopback and one multicast interface.

use super::*;
use rig::{Program, netns, port, wait};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const WAIT: Duration = Duration::from_secs(30);

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Adds an interface with `ADDRESS` to this thread's namespace; `name` tells several apart.
fn add_interface(name: &str, address: Ipv4Addr) -> bool {
    let commands = [
        format!("link add {name} type veth peer name {name}-end"),
        format!("addr add {address}/24 dev {name}"),
        format!("link set {name} up"),
        format!("link set {name}-end up"),
    ];
    let run = |line: &String| Command::new("ip").args(line.split(' ')).stderr(Stdio::null()).status();
    commands.iter().all(|line| run(line).is_ok_and(|status| status.success()))
}

/// Runs `test` on a thread in a namespace of its own, or says loudly that it cannot.
fn in_a_network(test: impl FnOnce() + Send + 'static) {
    let outcome = std::thread::spawn(|| {
        if netns::enter().is_err() || !add_interface("or0", ADDRESS) {
            eprintln!("SKIPPED: this user may not make network namespaces, or there is no `ip`");
            return;
        }
        test();
    });
    outcome.join().unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn daprd(program: &Program, http: u16, internal: u16) -> Process {
    let free = port::free(2);
    let child = Command::new(program.path())
        .env("DAPR_HOST_IP", ADDRESS.to_string())
        .args(["--app-id", "theirs", "--dapr-listen-addresses", "127.0.0.1", "--enable-metrics=false"])
        .args(["--dapr-http-port", &http.to_string(), "--dapr-internal-grpc-port", &internal.to_string()])
        .args(["--dapr-grpc-port", &free[0].to_string(), "--dapr-graceful-shutdown-seconds", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process(child);
    wait::until(WAIT, "daprd is ready", || {
        request(http, "GET /v1.0/healthz").is_some_and(|a| a.contains("204"))
    });
    process
}

/// The first bytes of the answer, if there is one.
fn request(http: u16, line: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, http)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut head = [0; 32];
    let n = stream.read(&mut head).ok()?;
    Some(String::from_utf8_lossy(&head[..n]).into_owned())
}

#[test]
fn a_real_daprd_and_we_find_each_other_and_its_goodbye_counts_at_once() {
    let Some(program) = Program::daprd() else {
        return rig::program::skipped_without_peers("mDNS with daprd");
    };
    in_a_network(move || {
        let (http, internal) = (port::one(), port::one());
        let mut daprd = daprd(&program, http, internal);
        runtime().block_on(async {
            let ours = Mdns::start(Scope::All).unwrap();
            let found = ours.look("theirs", Duration::from_secs(10)).await;
            assert_eq!(found, [SocketAddr::from((ADDRESS, internal))], "we find daprd");
            let listener = TcpListener::bind((ADDRESS, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            ours.present(Instance {
                app_id: "ours".into(),
                host: "here".into(),
                pid: 7,
                port,
                address: ADDRESS.into(),
            });
            let called = std::thread::spawn(move || {
                let mut preface = [0; 14];
                listener.accept().unwrap().0.read_exact(&mut preface).map(|()| preface)
            });
            let caller = std::thread::spawn(move || request(http, "GET /v1.0/invoke/ours/method/x"));
            let called = tokio::task::spawn_blocking(move || called.join().unwrap().unwrap());
            let preface = tokio::time::timeout(WAIT, called).await.unwrap().unwrap();
            assert_eq!(&preface, b"PRI * HTTP/2.0", "daprd finds us and speaks HTTP/2");
            let mut changes = ours.shared.changed.subscribe();
            let pid = daprd.0.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            let gone = changes.wait_for(|_| ours.seen("theirs").is_empty());
            tokio::time::timeout(WAIT, gone).await.expect("daprd says goodbye").unwrap();
            daprd.0.wait().unwrap();
            drop(caller.join());
        });
    });
}

#[test]
fn a_network_that_comes_later_is_joined_and_hears_of_us() {
    in_a_network(|| {
        runtime().block_on(async {
            let ours = Mdns::start(Scope::All).unwrap();
            let before = ours.shared.sockets.look_again();
            assert!(!before, "nothing has changed");
            assert!(add_interface("or1", Ipv4Addr::new(10, 78, 0, 1)));
            // It runs a moment after it was told to.
            wait::until(WAIT, "the network is there", || ours.shared.sockets.look_again());
            wait::until(WAIT, "nothing more changes", || !ours.shared.sockets.look_again());
            let packet = packet::question("anybody", 1).unwrap();
            ours.shared.sockets.send(&packet).await.unwrap();
        });
    });
}

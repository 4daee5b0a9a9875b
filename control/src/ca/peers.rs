//! The real Sentry and daprd on the same issuer files. `OUTRIGGER_PEERS` names the folder with both executables.

use super::tests::{Folder, id};
use super::{Authority, Lifetime};
use proto::snapshot::IdentityMaterial;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(30);

/// The executable, if there is one.
fn peer(name: &str) -> Option<PathBuf> {
    let found =
        std::env::var_os("OUTRIGGER_PEERS").map(|dir| Path::new(&dir).join(name)).filter(|p| p.exists());
    if found.is_none() {
        eprintln!("SKIPPED: no real {name}; OUTRIGGER_PEERS names no folder that holds it");
    }
    found
}

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The status that `path` is answered with; `None` while nobody answers.
fn status(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    Some(String::from_utf8_lossy(&head[9..]).into_owned())
}

fn wait_for(what: &str, log: &Path, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !ready() {
        let log = || fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < deadline, "{what}\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A Sentry on the issuer files in `ca/` of the folder, ready.
fn sentry(program: &Path, folder: &Folder) -> (Process, u16) {
    let (port, health, metrics) = (free_port(), free_port(), free_port());
    let log = folder.path("sentry.log");
    File::create(folder.path("daprsystem")).unwrap();
    let child = Command::new(program)
        .current_dir(&folder.0)
        .arg("--issuer-credentials")
        .arg(folder.path("ca"))
        .args(["--trust-domain", "localhost", "--listen-address", "127.0.0.1"])
        .args(["--port", &port.to_string(), "--healthz-listen-address", "127.0.0.1"])
        .args(["--healthz-port", &health.to_string(), "--metrics-listen-address", "127.0.0.1"])
        .args(["--metrics-port", &metrics.to_string()])
        .stdout(File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process(child);
    wait_for("sentry is not ready", &log, || status(health, "/healthz").as_deref() == Some("200"));
    (process, port)
}

fn file(folder: &Folder, name: &str) -> Vec<u8> {
    fs::read(folder.path("ca").join(name)).unwrap()
}

#[test]
fn sentry_starts_on_our_files_and_keeps_them() {
    let Some(program) = peer("sentry") else { return };
    let folder = Folder::new();
    Authority::load_or_make(&folder.path("ca")).unwrap();
    let files = || ["ca.crt", "issuer.crt", "issuer.key"].map(|name| file(&folder, name));
    let before = files();
    let _sentry = sentry(&program, &folder);
    assert_eq!(files(), before);
}

#[test]
fn we_issue_from_files_that_sentry_made() {
    let Some(program) = peer("sentry") else { return };
    let folder = Folder::new();
    fs::create_dir(folder.path("ca")).unwrap();
    drop(sentry(&program, &folder));
    let authority = Authority::load(&folder.path("ca")).unwrap();
    let material = authority.issue(&id("a"), Lifetime::default()).unwrap();
    assert_eq!(material.chain.len(), 2);
    assert!(authority.not_after() > super::unix_now());
}

/// A daprd that got its certificate from `sentry`, with its internal port.
fn daprd(program: &Path, folder: &Folder, sentry: u16) -> (Process, u16) {
    let (http, grpc, internal, metrics) = (free_port(), free_port(), free_port(), free_port());
    let log = folder.path("daprd.log");
    let child = Command::new(program)
        .current_dir(&folder.0)
        .env("DAPR_TRUST_ANCHORS", String::from_utf8(file(folder, "ca.crt")).unwrap())
        .env("DAPR_HOST_IP", "127.0.0.1")
        .env("NAMESPACE", "default")
        .args(["--app-id", "callee", "--enable-mtls", "--sentry-address", &format!("127.0.0.1:{sentry}")])
        .args(["--dapr-listen-addresses", "127.0.0.1", "--metrics-listen-address", "127.0.0.1"])
        .args(["--dapr-internal-grpc-listen-address", "127.0.0.1"])
        .args(["--dapr-http-port", &http.to_string(), "--dapr-grpc-port", &grpc.to_string()])
        .args(["--dapr-internal-grpc-port", &internal.to_string()])
        .args(["--metrics-port", &metrics.to_string()])
        .stdout(File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process(child);
    wait_for("daprd is not ready", &log, || status(http, "/v1.0/healthz").as_deref() == Some("204"));
    (process, internal)
}

/// Connects with OpenSSL and the identity; what the peer sends after an HTTP/2 preface.
fn first_frame(folder: &Folder, port: u16, material: &IdentityMaterial) -> Vec<u8> {
    for (name, der) in [("leaf.der", &material.chain[0]), ("key.der", &first_version(&material.key))] {
        fs::write(folder.path(name), der).unwrap();
    }
    let mut client = Command::new("openssl")
        .current_dir(&folder.0)
        .args([
            "s_client",
            "-connect",
            &format!("127.0.0.1:{port}"),
            "-alpn",
            "h2",
            "-quiet",
            "-CAfile",
            "ca/ca.crt",
        ])
        .args(["-verify_return_error", "-cert", "leaf.der", "-certform", "DER", "-key", "key.der"])
        .args(["-keyform", "DER", "-cert_chain", "ca/issuer.crt"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(folder.path("openssl.log")).unwrap())
        .spawn()
        .unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    client.stdin.as_mut().unwrap().write_all(preface).unwrap();
    let mut frame = vec![0; 9];
    let read = client.stdout.as_mut().unwrap().read_exact(&mut frame);
    drop(Process(client));
    if read.is_ok() { frame } else { Vec::new() }
}

/// OpenSSL 3.0 does not read Ed25519 keys in PKCS#8 of version 2.
fn first_version(key: &[u8]) -> Vec<u8> {
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    [&HEAD, &key[16..48]].concat()
}

#[test]
fn daprd_accepts_our_leaf_and_no_foreign_one() {
    let (Some(sentry_program), Some(daprd_program)) = (peer("sentry"), peer("daprd")) else { return };
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED: no `openssl` on this machine");
        return;
    }
    let folder = Folder::new();
    let ours = Authority::load_or_make(&folder.path("ca")).unwrap();
    let (_sentry, port) = sentry(&sentry_program, &folder);
    let (_daprd, internal) = daprd(&daprd_program, &folder, port);
    let frame = first_frame(&folder, internal, &ours.issue(&id("caller"), Lifetime::default()).unwrap());
    let log = fs::read_to_string(folder.path("openssl.log")).unwrap();
    assert_eq!(frame.get(3), Some(&4), "a SETTINGS frame: {frame:?}\n{log}");
    let foreign = Authority::load_or_make(&folder.path("foreign")).unwrap();
    let frame = first_frame(&folder, internal, &foreign.issue(&id("caller"), Lifetime::default()).unwrap());
    assert!(frame.is_empty());
}

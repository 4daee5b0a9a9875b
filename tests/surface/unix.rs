//! Unix domain sockets: the API's and the app's.

use crate::stage::Stage;
use rig::scratch::Scratch;
use rig::sidecar::{Ready, Sidecar};
use rig::{port, wait};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Status and the rest of the answer; `None` while nobody answers.
fn ask(socket: &Path, line: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.get(9..12)?.parse().ok()?;
    Some((status, answer))
}

fn start(folder: &Scratch, more: &[&str]) -> (Sidecar, PathBuf) {
    let at = folder.path().to_string_lossy().into_owned();
    let stage = Stage::new("gv-uds").args(&["--unix-domain-socket", &at]).args(more);
    let sidecar = stage.launch.ready(Ready::Started).spawn();
    (sidecar, folder.path().join("dapr-gv-uds-http.socket"))
}

fn await_ready(sidecar: &Sidecar, socket: &Path) {
    let ready = || ask(socket, "GET /v1.0/healthz").is_some_and(|(status, _)| status == 204);
    wait::until(PATIENCE, &format!("204 on {}: {}", socket.display(), sidecar.tail()), ready);
}

/// Answers every request with its target.
fn app(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
}

fn serve(stream: UnixStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut stream = stream;
    while let Some(Ok(first)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let told = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len());
    }
}

#[test]
fn the_api_listens_on_its_socket_only_and_removes_it_at_the_end() {
    let (folder, tcp) = (Scratch::new(), port::one());
    let (mut sidecar, socket) = start(&folder, &["--dapr-http-port", &tcp.to_string()]);
    await_ready(&sidecar, &socket);
    assert!(TcpStream::connect(("127.0.0.1", tcp)).is_err(), "TCP is not listened on");
    let (status, answer) = ask(&socket, "GET /v1.0/metadata").unwrap();
    assert!(status == 200 && answer.contains("gv-uds"), "{answer}");
    assert_eq!(sidecar.terminate().and_then(|ended| ended.code()), Some(0));
    assert!(!socket.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_refused_with_its_flag() {
    let folder = Scratch::new();
    let (mut killed, socket) = start(&folder, &[]);
    await_ready(&killed, &socket);
    killed.kill_family();
    assert!(socket.exists());
    let (again, _) = start(&folder, &[]);
    await_ready(&again, &socket);
    let (mut third, _) = start(&folder, &[]);
    let ended = third.ends_within(PATIENCE).expect("an end");
    assert_eq!(ended.code(), Some(1));
    let said = third.output();
    assert!(said.contains("--unix-domain-socket") && said.contains("in use"), "{said}");
    await_ready(&again, &socket);
}

#[test]
fn an_app_on_a_unix_socket_is_waited_for_and_called() {
    let folder = Scratch::new();
    let at = folder.path().join("app.sock");
    let address = format!("unix:{}", at.display());
    let (sidecar, socket) = start(&folder, &["--app-channel-address", &address, "--app-protocol", "http"]);
    let waiting = || ask(&socket, "GET /v1.0/healthz").is_some_and(|(status, _)| status == 500);
    wait::until(PATIENCE, "a sidecar that waits for its app", waiting);
    app(&at);
    await_ready(&sidecar, &socket);
    let (status, answer) = ask(&socket, "GET /v1.0/invoke/gv-uds/method/hello?a=1").unwrap();
    assert!(status == 200 && answer.ends_with("/hello?a=1"), "{answer}");
    let (_, metadata) = ask(&socket, "GET /v1.0/metadata").unwrap();
    assert!(metadata.contains(&format!("\"channelAddress\":\"{}\"", at.display())), "{metadata}");
}

//! Memory above its high mark: new calls are refused, those in progress go on, and later ones are taken again.

use crate::house::{MIB, counted_and_said};
use crate::raw::PATIENCE;
use rig::echo::Echo;
use rig::ground::{Ground, Member, resident};
use rig::http1::client;
use rig::load::connect_narrow;
use rig::pattern::Check;
use rig::wait;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Bytes of each answer that is not read at first.
const ANSWER: u64 = 8 * MIB;

/// Clients that have asked and do not read. Returns as soon as calls are refused.
fn fill(to: SocketAddr, member: &Member) -> Vec<TcpStream> {
    let head = format!("GET /v1.0/invoke/callee/method/bytes/{ANSWER} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut open = Vec::new();
    wait::until(PATIENCE, "calls are refused", || {
        for _ in 0..20 {
            let mut stream = connect_narrow(to).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            open.push(stream);
        }
        member.reached("memory") > 0
    });
    open
}

/// The status of an answer, and of a whole one of [`ANSWER`] bytes whether they are the right ones.
fn read(mut stream: TcpStream) -> (u16, bool) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let status = String::from_utf8_lossy(&head[9..12]).parse().unwrap();
    let (mut check, mut left, mut buffer) = (Check::default(), ANSWER, vec![0; 64 << 10]);
    while status == 200 && left > 0 {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "{left} bytes are missing");
        check.take(&buffer[..n]);
        left -= n as u64;
    }
    (status, check.verdict() == format!("{ANSWER} bytes"))
}

/// Starts a pair, of which one sidecar may use little more than it does.
fn pair(ground: &Ground, app: &Echo, limited: &str) -> [Member; 2] {
    let start = |name: &str, port| {
        let more = ["--no-mtls", "--max-body-size", "1Gi"];
        let memory: &[&str] = if name == limited { &["--max-memory", "40Mi"] } else { &[] };
        let member = ground.start(name, port, &[&more, memory].concat());
        assert!(resident(member.data_plane()) < 30 * MIB);
        member
    };
    let callee = start("callee", Some(app.port()));
    ground.await_registered("callee", 1);
    [start("caller", None), callee]
}

#[test]
fn above_max_memory_new_calls_are_refused_and_those_in_progress_go_on() {
    let (ground, app) = (Ground::new(rig::outrigger!()), Echo::start("one"));
    let [caller, _callee] = pair(&ground, &app, "caller");
    let open = fill(caller.http, &caller);
    let refused = client::request(caller.http, "POST", "/v1.0/invoke/callee/method/echo", &[], b"x");
    assert_eq!((refused.status, refused.header("retry-after").as_deref()), (503, Some("1")), "{refused:?}");
    let text = refused.text();
    assert!(text.starts_with("{\"errorCode\":\"ERR_MEMORY_LIMIT\",\"message\":\""), "{text}");
    assert!(text.contains("--max-memory (41943040 bytes)"), "{text}");
    counted_and_said(&caller, "memory");
    caller.await_status("a warning", |status| status["warnings"].to_string().contains("--max-memory"));
    assert_eq!(client::status(caller.http, "/v1.0/healthz/outbound"), Some(204), "it is no call");

    let answers: Vec<(u16, bool)> = open.into_iter().map(read).collect();
    let whole = answers.iter().filter(|(status, right)| *status == 200 && *right).count();
    let refused = answers.iter().filter(|(status, _)| *status == 503).count();
    assert!(whole >= 20 && whole + refused == answers.len(), "{answers:?}");
    wait::until(PATIENCE, "calls are taken again", || {
        client::status(caller.http, "/v1.0/invoke/callee/method/echo") == Some(200)
    });
}

/// A refused call is tried again a second later, when the callee may have memory again.
#[test]
fn a_callee_above_max_memory_refuses_calls_of_peers_and_serves_again() {
    let (ground, app) = (Ground::new(rig::outrigger!()), Echo::start("one"));
    let [caller, callee] = pair(&ground, &app, "callee");
    let open = fill(caller.http, &callee);
    let got = client::request(caller.http, "POST", "/v1.0/invoke/callee/method/echo", &[], b"x");
    let refused = got.text().contains("Unavailable desc = the sidecar uses more memory");
    assert!(got.status == 200 || (got.status == 500 && refused), "{got:?}");
    counted_and_said(&callee, "memory");
    wait::until(PATIENCE, "the caller has tried again", || {
        let text = client::get(caller.metrics, "/metrics").text();
        text.lines().any(|line| line.starts_with("outrigger_retries_total{"))
    });
    drop(open);
    wait::until(PATIENCE, "calls are taken again", || {
        client::status(caller.http, "/v1.0/invoke/callee/method/echo") == Some(200)
    });
}

//! Clients that leave before their answer begins: their calls end in the app, wherever the client is.

use crate::house::connect;
use crate::raw::PATIENCE;
use rig::ground::Ground;
use rig::netns::{self, Neighbour};
use rig::wait;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

/// An app that works on every call until its connection ends, or until it is told to answer.
#[derive(Default)]
struct Patient {
    asked: AtomicUsize,
    gone: AtomicUsize,
    answers: AtomicUsize,
}

impl Patient {
    fn start() -> (Arc<Patient>, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, app) = (listener.local_addr().unwrap().port(), Arc::<Patient>::default());
        let shared = Arc::clone(&app);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        (app, port)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut buffer = [0; 4096];
        if !matches!(stream.read(&mut buffer), Ok(1..)) {
            return; // only a look whether somebody listens
        }
        self.asked.fetch_add(1, Relaxed);
        stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
        while let Err(error) = stream.read(&mut buffer) {
            if error.kind() != std::io::ErrorKind::WouldBlock {
                break;
            }
            if self.answers.load(Relaxed) > 0 {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                return;
            }
        }
        self.gone.fetch_add(1, Relaxed);
    }
}

fn ask(to: SocketAddr) -> TcpStream {
    let mut client = connect(to);
    client.write_all(b"GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client
}

/// On one host with another address than loopback's, and from another host: a client that closed its connection ends
/// its call in the app; one that only finished sending gets its answer.
#[test]
fn a_client_that_leaves_is_noticed_from_any_address() {
    let outcome = thread::spawn(|| {
        if let Err(why) = netns::enter() {
            return eprintln!("SKIPPED: this user may not make network namespaces ({why})");
        }
        let cable = match Neighbour::start("10.99.0.1", "10.99.0.2") {
            Ok(cable) => cable,
            Err(why) => return eprintln!("SKIPPED: no second namespace ({why})"),
        };
        noticed(cable);
    });
    outcome.join().unwrap();
}

fn noticed(cable: Neighbour) {
    let (app, port) = Patient::start();
    let ground = Ground::new(rig::outrigger!());
    let _callee = ground.start("callee", Some(port), &[]);
    ground.await_registered("callee", 1);
    let caller = ground.start("caller", None, &["--dapr-listen-addresses", "0.0.0.0"]);
    let to = SocketAddr::from(([10, 99, 0, 1], caller.http.port()));
    let mut calls = 0;
    let mut leaves = |what: &str| {
        let client = ask(to);
        calls += 1;
        wait::until(PATIENCE, "the app is asked", || app.asked.load(Relaxed) == calls);
        drop(client);
        wait::until(PATIENCE, what, || app.gone.load(Relaxed) == calls);
    };
    leaves("a client of this host is gone in the app");
    cable.enter().unwrap();
    leaves("a client of another host is gone in the app");

    let mut client = ask(to);
    client.shutdown(Shutdown::Write).unwrap();
    wait::until(PATIENCE, "the app is asked", || app.asked.load(Relaxed) == 3);
    let mut line = [0; 25];
    client.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n", "it is asked whether it is there");
    app.answers.store(1, Relaxed);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    assert_eq!(app.gone.load(Relaxed), 2);
}

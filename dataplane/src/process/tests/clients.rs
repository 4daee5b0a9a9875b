//! Clients that leave, half or altogether.

use super::*;

/// An app that reads a request, says so, and answers when it is told to, unless the connection ends before.
fn patient() -> (FakeApp, std::sync::mpsc::Sender<()>) {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = FakeApp::with(move |mut stream, saw| {
        let Some(_) = request_head(&mut stream) else { return };
        saw.lock().unwrap().push("asked".into());
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        loop {
            if wait.lock().unwrap().try_recv().is_ok() {
                stream.write_all(HELLO.as_bytes()).unwrap();
                return;
            }
            match stream.read(&mut [0; 16]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => return saw.lock().unwrap().push("gone".into()),
            }
        }
    });
    (app, release)
}

fn ask_for(id: &str, at: SocketAddr) -> TcpStream {
    let mut client = connect(at);
    write!(client, "GET /v1.0/invoke/{id}/method/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client
}

#[test]
fn a_client_that_closes_its_connection_ends_the_call_in_the_app() {
    for backend in backends() {
        let (app, _release) = patient();
        let (caller, callee) = pair(&backend, app.at);
        for at in [caller.http, callee.http] {
            app.saw.lock().unwrap().clear();
            let client = ask_for("callee", at);
            eventually("the app works", || app.saw() == ["asked"]);
            drop(client);
            eventually("the app's connection ends", || app.saw() == ["asked", "gone"]);
        }
        eventually("all records are written", || {
            caller.common.registry.calls() + callee.common.registry.calls() == 0
        });
    }
}

#[test]
fn a_client_that_only_finished_sending_gets_its_answer() {
    for backend in backends() {
        let (app, release) = patient();
        let (caller, _callee) = pair(&backend, app.at);
        let mut client = ask_for("callee", caller.http);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        eventually("the app works", || app.saw() == ["asked"]);
        release.send(()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
    }
}

#[test]
fn a_client_that_leaves_while_its_call_waits_for_a_slot_leaves_the_queue() {
    let (app, release) = patient();
    let sidecar = Sidecar::start(backends().swap_remove(0));
    let mut limited = snapshot("me", Some(app.at), &[]);
    limited.app =
        Some(Arc::new(AppChannel { max_concurrency: Some(1), ..(**limited.app.as_ref().unwrap()).clone() }));
    sidecar.apply(limited);
    let mut first = ask_for("me", sidecar.http);
    eventually("the app works", || app.saw() == ["asked"]);
    let second = ask_for("me", sidecar.http);
    eventually("the second waits", || counted(&sidecar, "outrigger_calls_waiting_for_app") > 0.5);
    let socket = second;
    socket.set_nonblocking(true).unwrap();
    reset(socket);
    eventually("it waits no longer", || counted(&sidecar, "outrigger_calls_waiting_for_app") < 0.5);
    release.send(()).unwrap();
    assert!(read_until(&mut first, "hello").starts_with("HTTP/1.1 200"));
}

/// Closes with unread data pending, so that the peer sees a reset.
fn reset(mut client: TcpStream) {
    let _ = client.write_all(b"x");
    drop(client);
}

#[test]
fn a_client_that_breaks_off_its_body_ends_the_call_and_the_sidecar_lives_on() {
    for backend in backends() {
        let app = FakeApp::start(HELLO);
        let (caller, callee) = pair(&backend, app.at);
        for body in ["Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"] {
            let mut client = connect(caller.http);
            write!(client, "POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\n{body}").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("unexpected EOF"), "{answer}");
        }
        eventually("nothing is left", || {
            caller.common.registry.calls() + callee.common.registry.calls() == 0
        });
        assert!(get(caller.http, "/v1.0/invoke/callee/method/x").ends_with("hello"));
    }
}

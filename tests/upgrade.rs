//! Protocol switches end to end, with a real WebSocket client and server.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

use rig::ground::{Ground, Member};
use rig::http1::client;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(20);

/// How a server's connections ended, in order.
type Ends = Receiver<String>;

/// An app that greets, echoes, and pushes when it is asked to; `/no` is forbidden.
fn websocket_app() -> (u16, Ends) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ended, ends) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let ended = ended.clone();
            thread::spawn(move || serve(stream, &ended));
        }
    });
    (port, ends)
}

fn serve(stream: TcpStream, ended: &Sender<String>) {
    let choose = |request: &Request, mut response: Response| {
        if request.uri().path() == "/no" {
            let mut refusal = ErrorResponse::new(Some("not you".into()));
            *refusal.status_mut() = tungstenite::http::StatusCode::FORBIDDEN;
            return Err(refusal);
        }
        let headers = response.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static("chat"));
        headers.insert("X-Asked", HeaderValue::from_str(&request.uri().to_string()).unwrap());
        Ok(response)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, choose) else { return };
    let _ = socket.send(Message::text("hello"));
    let end = loop {
        match socket.read() {
            Ok(Message::Text(text)) if text.as_str() == "push" => {
                (0..3).for_each(|n| socket.send(Message::text(format!("pushed {n}"))).unwrap());
            }
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).unwrap(),
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    let _ = ended.send(end);
}

fn open(
    to: SocketAddr,
    path: &str,
) -> Result<(WebSocket<TcpStream>, tungstenite::handshake::client::Response), String> {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("ws://{to}{path}").parse().unwrap();
    let request = tungstenite::ClientRequestBuilder::new(url).with_sub_protocol("chat");
    tungstenite::client(request, stream).map_err(|error| error.to_string())
}

/// The whole of a conversation.
fn converse(to: SocketAddr, app: &str) {
    let (mut socket, response) = open(to, &format!("/v1.0/invoke/{app}/method/chat?x=1")).unwrap();
    assert_eq!(response.headers()["x-asked"], "/chat?x=1");
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    socket.send(Message::text("grüße")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("grüße"));
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    socket.send(Message::binary(large.clone())).unwrap();
    assert!(socket.read().unwrap() == Message::binary(large), "beyond --max-body-size in sum");
    socket.send(Message::binary(vec![7; 3_000_000])).unwrap();
    assert_eq!(socket.read().unwrap().len(), 3_000_000);
    socket.send(Message::text("push")).unwrap();
    for n in 0..3 {
        assert_eq!(socket.read().unwrap(), Message::text(format!("pushed {n}")));
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

struct House {
    callee: Member,
    caller: Member,
    ends: Ends,
    _ground: Ground,
}

impl House {
    fn open() -> House {
        let ground = Ground::new(rig::outrigger!());
        let (port, ends) = websocket_app();
        let callee = ground.start("callee", Some(port), &[]);
        ground.await_registered("callee", 1);
        let caller = ground.start("caller", None, &[]);
        House { callee, caller, ends, _ground: ground }
    }
}

#[test]
fn a_websocket_passes_two_sidecars_and_the_own_one() {
    let house = House::open();
    converse(house.caller.http, "callee");
    assert_eq!(house.ends.recv_timeout(PATIENCE).unwrap(), "Connection closed normally");
    converse(house.callee.http, "callee");
    assert_eq!(house.ends.recv_timeout(PATIENCE).unwrap(), "Connection closed normally");
}

#[test]
fn an_app_that_refuses_is_heard_and_the_connection_goes_on() {
    let house = House::open();
    let lines = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for to in [house.caller.http, house.callee.http] {
        let got = client::request(to, "GET", "/v1.0/invoke/callee/method/no", &lines, b"");
        assert_eq!((got.status, got.text().as_str()), (403, "not you"), "{got:?}");
        assert_eq!(got.end, "keepalive");
    }
}

#[test]
fn whoever_leaves_the_other_end_sees_it() {
    let house = House::open();
    let (socket, _) = open(house.caller.http, "/v1.0/invoke/callee/method/chat").unwrap();
    drop(socket);
    let end = house.ends.recv_timeout(PATIENCE).unwrap();
    assert!(end.contains("without closing handshake") || end.contains("reset"), "{end}");
    let (socket, _) = open(house.callee.http, "/v1.0/invoke/callee/method/chat").unwrap();
    drop(socket);
    house.ends.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_sidecar_that_ends_ends_the_connections_it_carries() {
    for callee_ends in [true, false] {
        let mut house = House::open();
        let (mut socket, _) = open(house.caller.http, "/v1.0/invoke/callee/method/chat").unwrap();
        assert_eq!(socket.read().unwrap(), Message::text("hello"));
        let ending = if callee_ends { &house.callee } else { &house.caller };
        ending.sidecar.signal(15);
        assert!(socket.read().is_err(), "the client sees the end");
        house.ends.recv_timeout(PATIENCE).expect("the app sees the end");
        let ending = if callee_ends { &mut house.callee } else { &mut house.caller };
        let ended = ending.sidecar.ends_within(PATIENCE).expect("it ends");
        assert_eq!(ended.code(), Some(0), "{}", ending.sidecar.tail());
    }
}

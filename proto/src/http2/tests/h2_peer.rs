//! Against the h2 crate as the other end, in both roles, over a pipe that cuts the bytes at random.

use super::wire::{REQUEST, RESPONSE, START};
use crate::http2::{BlockId, Connection, Event, Limits, Literal, Slot};
use crate::rng::Rng;
use bytes::Bytes;
use core::time::Duration;
use http::{HeaderMap, Request, Response};
use std::collections::{HashMap, HashSet};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::LocalSet;

const CALLS: usize = 300;

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("a minute") };
    LocalSet::new().block_on(&runtime, limited);
}

fn pattern(call: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| (call * 131 + i * 17 + i / 256) as u8).collect()
}

/// Lengths of a call's request and response.
fn lengths(rng: &mut Rng, call: usize) -> (usize, usize) {
    let size = |rng: &mut Rng| match call % 10 {
        0 => 0,
        9 => rng.below(300_000) as usize,
        _ => rng.below(3_000) as usize,
    };
    (size(rng), size(rng))
}

/// Our end on a pipe: bytes are read and written in pieces of random size.
struct Ours {
    conn: Connection,
    pipe: DuplexStream,
    rng: Rng,
    buffer: Vec<u8>,
}

impl Ours {
    fn new(conn: Connection, pipe: DuplexStream, seed: u64) -> Ours {
        Ours { conn, pipe, rng: Rng::new(seed), buffer: vec![0; 30_000] }
    }

    /// Sends what there is and waits for more; false at the end.
    async fn turn(&mut self) -> bool {
        while self.conn.wants_write() {
            let out = std::mem::take(self.conn.write());
            let mut rest = &out[..];
            while !rest.is_empty() {
                let n = (1 + self.rng.below(20_000) as usize).min(rest.len());
                // the pipe is large enough for what is in flight: windows bound it
                self.pipe.write_all(&rest[..n]).await.unwrap();
                rest = &rest[n..];
            }
        }
        let most = 1 + self.rng.below(self.buffer.len() as u64) as usize;
        let n = self.pipe.read(&mut self.buffer[..most]).await.unwrap();
        self.conn.receive(&self.buffer[..n], START).unwrap();
        n > 0
    }
}

async fn h2_answers(mut incoming: h2::server::Connection<DuplexStream, Bytes>) {
    while let Some(request) = incoming.accept().await {
        let (request, mut respond) = request.unwrap();
        tokio::task::spawn_local(async move {
            assert_eq!(request.headers()["traceparent"], "00-abc");
            let (number, length) = request.uri().path()[1..].split_once('/').unwrap();
            let (number, length) = (number.parse().unwrap(), length.parse().unwrap());
            let mut body = request.into_body();
            let mut got = vec![];
            while let Some(part) = body.data().await {
                let part = part.unwrap();
                body.flow_control().release_capacity(part.len()).unwrap();
                got.extend_from_slice(&part);
            }
            let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut stream = respond.send_response(head, false).unwrap();
            assert_eq!(got, pattern(number, got.len()));
            stream.send_data(pattern(number + 1, length).into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            trailers.insert("x-length", got.len().to_string().parse().unwrap());
            stream.send_trailers(trailers).unwrap();
        });
    }
}

#[test]
fn our_client_and_the_server_of_h2_agree() {
    block_on(async {
        for seed in 0..3 {
            let (ours, theirs) = tokio::io::duplex(1 << 24);
            tokio::task::spawn_local(async move {
                let mut builder = h2::server::Builder::new();
                builder.max_concurrent_streams(20).initial_window_size(40_000).max_frame_size(20_000);
                builder.header_table_size(if seed == 1 { 0 } else { 4096 });
                h2_answers(builder.handshake(theirs).await.unwrap()).await;
            });
            our_client(Ours::new(Connection::client(Limits::default(), START), ours, seed)).await;
        }
    });
}

async fn our_client(mut ours: Ours) {
    let request: Vec<(&str, &str)> = REQUEST.iter().filter(|f| f.0 != ":path").copied().collect();
    let request = ours.conn.register(&[&[(":authority", "a")], &request[..]].concat()[..]);
    let mut rng = Rng::new(99);
    let mut waiting: Vec<usize> = (0..CALLS).collect();
    let mut open: HashMap<usize, (Slot, usize, usize, Vec<u8>)> = HashMap::new();
    while !(waiting.is_empty() && open.is_empty()) {
        assert!(ours.turn().await);
        while ours.conn.poll().is_some() {}
        while ours.conn.room() > 0
            && let Some(number) = waiting.pop()
        {
            let (sent, asked) = lengths(&mut rng, number);
            let path = format!("/{number}/{asked}");
            let slot = start(&mut ours.conn, request, &path);
            let (first, second) = (sent / 3, sent - sent / 3);
            let body = pattern(number, sent);
            ours.conn.data(slot, false, |out| out.extend_from_slice(&body[..first]));
            ours.conn.data(slot, true, |out| out.extend_from_slice(&body[first..][..second]));
            open.insert(number, (slot, sent, asked, vec![]));
        }
        open.retain(|number, (slot, sent, asked, got)| {
            assert_eq!(ours.conn.failure(*slot), None);
            got.extend_from_slice(ours.conn.received(*slot));
            ours.conn.take(*slot, usize::MAX);
            if !ours.conn.is_complete(*slot) {
                return true;
            }
            assert_eq!(*got, pattern(number + 1, *asked));
            assert_eq!(ours.conn.status(*slot), 200);
            assert_eq!(ours.conn.trailers(*slot).named(b"x-length"), Some(sent.to_string().as_bytes()));
            ours.conn.release(*slot);
            false
        });
    }
}

fn start(conn: &mut Connection, block: BlockId, path: &str) -> Slot {
    conn.start(block, Some(path.as_bytes()), &[Literal::new("traceparent", b"00-abc")]).unwrap()
}

#[test]
fn our_server_and_the_client_of_h2_agree() {
    block_on(async {
        for seed in 0..3 {
            let (ours, theirs) = tokio::io::duplex(1 << 24);
            let limits = Limits { concurrent_streams: 50, ..Limits::default() };
            let server = our_server(Ours::new(Connection::server(limits, START), ours, seed));
            let server = tokio::task::spawn_local(server);
            h2_asks(theirs, seed).await;
            server.await.unwrap();
        }
    });
}

async fn h2_asks(pipe: DuplexStream, seed: u64) {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(30_000).header_table_size(if seed == 1 { 100 } else { 4096 });
    let (send, connection) = builder.handshake::<_, Bytes>(pipe).await.unwrap();
    let driver = tokio::task::spawn_local(async move { connection.await.unwrap() });
    let mut rng = Rng::new(7);
    let mut calls = vec![];
    for number in 0..CALLS {
        let (sent, asked) = lengths(&mut rng, number);
        let mut send = send.clone().ready().await.unwrap();
        calls.push(tokio::task::spawn_local(async move {
            let request = Request::post(format!("http://a/{number}/{asked}"))
                .header("content-type", "application/grpc")
                .header("x-long", "v".repeat(sent % 20_000));
            let (answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
            body.send_data(pattern(number, sent).into(), true).unwrap();
            let mut body = answer.await.unwrap().into_body();
            let mut got = vec![];
            while let Some(part) = body.data().await {
                let part = part.unwrap();
                body.flow_control().release_capacity(part.len()).unwrap();
                got.extend_from_slice(&part);
            }
            assert_eq!(got, pattern(number + 1, asked));
            let trailers = body.trailers().await.unwrap().unwrap();
            assert_eq!(trailers["x-length"], sent.to_string());
        }));
    }
    for call in calls {
        call.await.unwrap();
    }
    drop(send);
    driver.await.unwrap();
}

async fn our_server(mut ours: Ours) {
    let head = ours.conn.register(&RESPONSE);
    let mut open: HashMap<usize, (Slot, usize, Vec<u8>)> = HashMap::new();
    let mut seen = HashSet::new();
    while ours.turn().await {
        while let Some(event) = ours.conn.poll() {
            if let Event::Opened(slot) = event {
                let path = std::str::from_utf8(ours.conn.head(slot).named(b":path").unwrap()).unwrap();
                let (number, asked) = path[1..].split_once('/').unwrap();
                let (number, asked) = (number.parse().unwrap(), asked.parse().unwrap());
                assert!(seen.insert(number));
                open.insert(number, (slot, asked, vec![]));
            }
        }
        open.retain(|number, (slot, asked, got)| {
            assert_eq!(ours.conn.failure(*slot), None);
            got.extend_from_slice(ours.conn.received(*slot));
            ours.conn.take(*slot, usize::MAX);
            if !ours.conn.is_complete(*slot) {
                return true;
            }
            assert_eq!(*got, pattern(*number, got.len()));
            ours.conn.headers(*slot, false, Some(head), &[]);
            let body = pattern(number + 1, *asked);
            ours.conn.data(*slot, false, |out| out.extend_from_slice(&body));
            let length = got.len().to_string();
            let fields = [Literal::new("grpc-status", b"0"), Literal::new("x-length", length.as_bytes())];
            ours.conn.headers(*slot, true, None, &fields);
            ours.conn.release(*slot);
            false
        });
    }
    assert_eq!(seen.len(), CALLS);
}

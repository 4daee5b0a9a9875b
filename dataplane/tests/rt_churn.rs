//! Connections that come, do something random and go, by the thousand, on both backends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use dataplane::rt::{self, Listener, Shards, Stream};
use rt_common::{Lcg, join_thread, loopback, on_both, run_with, settled, soon, until};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

const CLIENTS: u64 = 4;
const EACH: u64 = 3000;

/// Does something with a connection and lets go of it in one of many ways.
async fn play(mut stream: Stream, plan: u64) {
    if plan.is_multiple_of(8) {
        return; // dropped unread
    }
    let Ok(Some(chunk)) = stream.recv(soon()).await else { return };
    match plan % 8 {
        1 => {}
        2 => drop(stream.send(chunk).await), // dropped with the send under way
        3 => {
            let _ = stream.send(chunk).await;
            let _ = stream.send("tail").await;
            stream.close(Duration::from_millis(20));
        }
        4 => stream.abort(),
        5 => {
            let (reader, mut writer) = stream.split();
            drop(reader);
            let _ = writer.send(chunk).await;
            let _ = writer.sent(soon()).await;
        }
        6 => {
            let by = rt::now() + Duration::from_millis(plan % 3);
            let _ = stream.recv(by).await; // a deadline that may pass
        }
        _ => {
            let _ = stream.send(vec![1; 300_000]).await;
            let _ = stream.sent(rt::now() + Duration::from_millis(1)).await;
        }
    }
}

fn client(address: SocketAddr, each: u64, seed: u64) {
    let mut random = Lcg(seed);
    for _ in 0..each {
        let mut socket = TcpStream::connect(address).unwrap();
        let _ = socket.write_all(&vec![seed as u8; 10 + random.below(2000) as usize]);
        if random.below(3) > 0 {
            let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
            let _ = socket.read(&mut [0; 64]);
        }
    }
}

/// Serves clients until all have gone; everything is back then.
fn churn(shards: Shards, each: u64, seed: u64) {
    let buffers = shards.buffers;
    run_with(shards, move || async move {
        let listener = Listener::bind(&loopback()).unwrap();
        let rt::Address::Tcp(address) = listener.local().unwrap() else { panic!("TCP") };
        let start = |n| std::thread::spawn(move || client(address, each, seed * CLIENTS + n));
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        let ended = Rc::new(Cell::new(0));
        let acceptor = rt::spawn(serve(listener, Lcg(seed), ended.clone()));
        for client in clients {
            join_thread(client).await;
        }
        until("only the listener is left", || rt::counts().sockets == 1).await;
        assert!(ended.get() > CLIENTS * each * 8 / 10, "{} played to their end", ended.get());
        acceptor.cancel();
        settled(buffers, 0).await;
    });
}

async fn serve(listener: Listener, mut random: Lcg, ended: Rc<Cell<u64>>) {
    loop {
        let stream = listener.accept().await.unwrap().here().unwrap();
        let (plan, cut) = (random.below(1 << 20), random.below(10));
        let ended = ended.clone();
        let task = rt::spawn(async move {
            play(stream, plan).await;
            ended.set(ended.get() + 1);
        });
        if cut == 0 {
            task.cancel(); // before it ever ran
        } else if cut == 1 {
            rt::yield_now().await;
            task.cancel(); // in the middle, or after its end
        }
    }
}

#[test]
fn twelve_thousand_connections_leave_nothing_behind() {
    on_both(|backend| {
        let shards = Shards {
            backend,
            buffers: 32,
            extra_buffers: 0,
            buffer_size: 512,
            hot_buffers: 32,
            ..Shards::default()
        };
        churn(shards, EACH, 42);
    });
}

/// Eight entries: the submission queue is full all the time and the completion queue overflows.
#[test]
fn a_tiny_ring_loses_nothing() {
    on_both(|backend| {
        for seed in 0..4 {
            let tiny = Shards {
                ring_entries: 8,
                buffers: 12,
                buffer_size: 512,
                hot_buffers: 5,
                ..Shards::default()
            };
            churn(Shards { backend: backend.clone(), ..tiny }, 500, seed);
        }
    });
}

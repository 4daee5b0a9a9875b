//! Connections that come, do something random and go, by the thousand, on both backends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use dataplane::rt::{self, Listener, Shards, Stream};
use rt_common::{Lcg, join_thread, loopback, on_both, run_with, settled, soon, until};
use std::cell::{Cell, RefCell};
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

fn client(address: SocketAddr, seed: u64) {
    let mut random = Lcg(seed);
    for _ in 0..EACH {
        let mut socket = TcpStream::connect(address).unwrap();
        let _ = socket.write_all(&vec![seed as u8; 10 + random.below(2000) as usize]);
        if random.below(3) > 0 {
            let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
            let _ = socket.read(&mut [0; 64]);
        }
    }
}

#[test]
fn twelve_thousand_connections_leave_nothing_behind() {
    on_both(|backend| {
        let shards = Shards { backend, buffers: 32, buffer_size: 512, hot_buffers: 32, ..Shards::default() };
        run_with(shards, || async {
            let listener = Listener::bind(&loopback()).unwrap();
            let rt::Address::Tcp(address) = listener.local().unwrap() else { panic!("TCP") };
            let clients: Vec<_> =
                (0..CLIENTS).map(|n| std::thread::spawn(move || client(address, n))).collect();
            let ended = Rc::new(Cell::new(0));
            let count = ended.clone();
            let random = Rc::new(RefCell::new(Lcg(42)));
            let acceptor = rt::spawn(async move {
                loop {
                    let stream = listener.accept().await.unwrap().here().unwrap();
                    let plan = random.borrow_mut().below(1 << 20);
                    let cut = random.borrow_mut().below(10);
                    let count = count.clone();
                    let task = rt::spawn(async move {
                        play(stream, plan).await;
                        count.set(count.get() + 1);
                    });
                    if cut == 0 {
                        task.cancel(); // before it ever ran
                    } else if cut == 1 {
                        rt::yield_now().await;
                        task.cancel(); // in the middle, or after its end
                    }
                }
            });
            for client in clients {
                join_thread(client).await;
            }
            until("only the listener is left", || rt::counts().sockets == 1).await;
            assert!(ended.get() > CLIENTS * EACH * 8 / 10, "{} played to their end", ended.get());
            acceptor.cancel();
            settled(32, 0).await;
        });
    });
}

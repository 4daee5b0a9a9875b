//! The seam's sockets, on both backends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;
use dataplane::rt::{self, Address, Listener, Tick};
use rt_common::{on_both, run};
use std::time::Duration;

fn loopback() -> Address {
    Address::Tcp(([127, 0, 0, 1], 0).into())
}

#[test]
fn what_one_end_sends_the_other_receives() {
    on_both(|backend| {
        run(backend, || async {
            let listener = Listener::bind(&loopback()).unwrap();
            let address = listener.local().unwrap();
            let server = rt::spawn(async move {
                let mut stream = listener.accept().await.unwrap().here().unwrap();
                while let Some(chunk) = stream.recv(Tick::NEVER).await.unwrap() {
                    stream.send(chunk).await.unwrap();
                }
                stream.close(Duration::from_secs(1));
            });
            let mut client = rt::connect(&address, rt::now() + Duration::from_secs(5)).await.unwrap();
            for round in 0..100u8 {
                client.send(vec![round; 100]).await.unwrap();
                let mut got = Vec::new();
                while got.len() < 100 {
                    got.extend_from_slice(&client.recv(Tick::NEVER).await.unwrap().expect("not the end"));
                }
                assert_eq!(got, vec![round; 100]);
            }
            client.shutdown_write();
            assert!(client.recv(Tick::NEVER).await.unwrap().is_none());
            drop(client);
            while !server.is_finished() {
                rt::yield_now().await;
            }
        });
    });
}

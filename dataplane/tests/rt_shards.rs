//! Several shards, hand-over of connections, the end of shards; on both backends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use dataplane::rt::{self, Address, Listener, Mailbox, ShardId, Shards, Tick};
use rt_common::{Directory, join, loopback, on_both, pair, run, settled, soon};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

/// Greets each connection it is handed with its number and echoes one message.
async fn serve_adopted(number: u8) {
    loop {
        let accepted = rt::adopted().await;
        rt::spawn(async move {
            let mut stream = accepted.here().unwrap();
            stream.send(vec![number]).await.unwrap();
            if let Some(chunk) = stream.recv(soon()).await.unwrap() {
                stream.send(chunk).await.unwrap();
            }
            stream.close(Duration::from_secs(1));
        });
    }
}

fn ask(mut stream: impl Read + Write) -> u8 {
    let (mut number, mut answer) = ([0; 1], [0; 5]);
    stream.read_exact(&mut number).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    number[0]
}

#[test]
fn connections_reach_the_shard_they_are_handed_to_and_none_is_lost() {
    on_both(|backend| {
        let (to_us, from_first) = mpsc::channel::<SocketAddr>();
        let shards = Shards { backend: backend.clone(), count: 3, ..Shards::default() };
        let running = rt::start_shards(shards, move |id| {
            let to_us = to_us.clone();
            async move {
                assert_eq!((rt::shard(), rt::shard_count()), (Some(id), 3));
                rt::spawn(serve_adopted(id.index() as u8));
                if id.index() > 0 {
                    return rt::sleep_until(Tick::NEVER).await;
                }
                let listener = Listener::bind(&loopback()).unwrap();
                let Address::Tcp(address) = listener.local().unwrap() else { panic!("TCP") };
                to_us.send(address).unwrap();
                for n in 0.. {
                    let accepted = listener.accept().await.unwrap();
                    accepted.to(ShardId::new(n % 3)).map_err(|_| "refused").unwrap();
                }
            }
        })
        .unwrap();
        let address = from_first.recv().unwrap();
        let mut served = [0; 3];
        for _ in 0..20 {
            let burst: Vec<_> = (0..15).map(|_| TcpStream::connect(address).unwrap()).collect();
            burst.into_iter().for_each(|stream| served[usize::from(ask(stream))] += 1);
        }
        assert_eq!(served, [100; 3]);
        running.stop();
        join(running, &backend);
    });
}

#[test]
fn a_connection_for_a_shard_that_is_not_there_comes_back_and_unix_ones_travel_too() {
    on_both(|backend| {
        let directory = Directory::new("handover");
        let path = directory.0.join("socket");
        let address = Address::Unix(path.clone());
        let (to_us, from_first) = mpsc::channel();
        let shards = Shards { backend: backend.clone(), count: 3, ..Shards::default() };
        let running = rt::start_shards(shards, move |id| {
            let (to_us, address) = (to_us.clone(), address.clone());
            async move {
                match id.index() {
                    0 => {}
                    1 => return serve_adopted(1).await,
                    _ => return, // ends at once
                }
                let listener = Listener::bind(&address).unwrap();
                to_us.send(()).unwrap();
                loop {
                    let accepted = listener.accept().await.unwrap();
                    let accepted = accepted.to(ShardId::new(9)).unwrap_err();
                    // the third shard may be about to end; what it is handed then is closed with it
                    if let Err(back) = accepted.to(ShardId::new(2)) {
                        assert!(back.peer().is_none());
                        back.to(ShardId::new(1)).map_err(|_| "refused").unwrap();
                    }
                }
            }
        })
        .unwrap();
        from_first.recv().unwrap();
        let answers = || {
            let mut client = UnixStream::connect(&path).unwrap();
            client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut number = [0; 1];
            client.read_exact(&mut number).is_ok().then(|| {
                assert_eq!(number, [1]);
                client
            })
        };
        let mut client = (0..20).find_map(|_| answers()).expect("served by the second shard in the end");
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        running.stop();
        join(running, &backend);
    });
}

#[test]
fn more_hand_overs_than_a_shard_may_have_waiting_come_back() {
    on_both(|backend| {
        run(backend, || async {
            let listener = Listener::bind(&loopback()).unwrap();
            let address = listener.local().unwrap();
            let mut clients = Vec::new();
            let mut refused = 0;
            for _ in 0..1030 {
                clients.push(rt::connect(&address, soon()).await.unwrap());
                let accepted = listener.accept().await.unwrap();
                refused += u32::from(accepted.to(ShardId::new(0)).is_err());
                if clients.len() == 100 {
                    clients.clear();
                }
            }
            assert_eq!(refused, 6);
            drop(rt::adopted().await);
            drop((clients, listener));
            settled(128, 0).await;
        });
    });
}

#[test]
fn a_stop_from_anywhere_ends_every_shard_and_drops_its_tasks() {
    on_both(|backend| {
        for from_inside in [true, false] {
            let (sender, mut receiver) = Mailbox::<()>::new();
            let shards = Shards { backend: backend.clone(), count: 2, ..Shards::default() };
            let running = rt::start_shards(shards, move |id| {
                let sender = sender.clone();
                async move {
                    rt::spawn(async move {
                        let _held = sender;
                        rt::sleep_until(Tick::NEVER).await;
                    });
                    rt::sleep_until(rt::now() + Duration::from_millis(2)).await;
                    if from_inside && id.index() == 1 {
                        rt::stop();
                    }
                    rt::sleep_until(Tick::NEVER).await;
                }
            })
            .unwrap();
            if !from_inside {
                running.stop();
            }
            join(running, &backend);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(receiver.poll_recv(&mut cx).is_ready(), "all senders in tasks are dropped");
        }
    });
}

#[test]
fn an_ending_shard_sends_what_it_accepted() {
    on_both(|backend| {
        let (theirs, ours) = rt_common::raw_pair();
        let mut theirs = theirs;
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).map(|_| all.len())
        });
        let ours = std::sync::Arc::new(std::sync::Mutex::new(Some(ours)));
        run(backend, move || {
            let ours = ours.clone();
            async move {
                let socket = ours.lock().unwrap().take().unwrap();
                let mut stream = rt::Stream::adopt(socket.into()).unwrap();
                stream.send(vec![1; 5_000_000]).await.unwrap();
            }
        });
        assert_eq!(reader.join().unwrap().unwrap(), 5_000_000);
    });
}

#[test]
fn an_ending_shard_does_not_wait_for_peers_that_do_not_read() {
    on_both(|backend| {
        let (theirs, ours) = rt_common::raw_pair();
        let ours = std::sync::Arc::new(std::sync::Mutex::new(Some(ours)));
        run(backend, move || {
            let ours = ours.clone();
            async move {
                let socket = ours.lock().unwrap().take().unwrap();
                let mut stream = rt::Stream::adopt(socket.into()).unwrap();
                stream.send(vec![1; 50_000_000]).await.unwrap();
                let (_open, lingering) = pair();
                lingering.close(Duration::from_secs(3600));
                std::mem::forget(_open);
                std::mem::forget(stream); // even a leaked stream does not keep the shard
            }
        });
        drop(theirs);
    });
}

#[test]
fn settings_out_of_range_are_refused() {
    let fine = Shards::default();
    for bad in [
        Shards { count: 0, ..fine.clone() },
        Shards { buffers: 0, ..fine.clone() },
        Shards { buffer_size: 100, ..fine.clone() },
        Shards { buffer_size: 65_536, ..fine.clone() },
        Shards { hot_buffers: 0, ..fine.clone() },
        Shards { ring_entries: 100, ..fine.clone() },
    ] {
        let error = rt::start_shards(bad, |_| async {}).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_shard_runs_where_it_is_pinned_and_a_processor_that_is_not_there_is_an_error() {
    on_both(|backend| {
        // SAFETY: no memory is passed.
        let here = usize::try_from(unsafe { libc::sched_getcpu() }).unwrap();
        let shards = Shards { backend: backend.clone(), processors: vec![here], ..Shards::default() };
        rt_common::run_with(shards, move || async move {
            for _ in 0..20 {
                rt::sleep_until(rt::now() + Duration::from_micros(100)).await;
                // SAFETY: no memory is passed.
                assert_eq!(usize::try_from(unsafe { libc::sched_getcpu() }).unwrap(), here);
            }
        });
        let shards = Shards { backend, processors: vec![100_000], ..Shards::default() };
        assert!(rt::start_shards(shards, |_| async {}).is_err());
    });
}

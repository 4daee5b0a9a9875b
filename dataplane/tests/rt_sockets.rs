//! The seam's sockets, on both backends: bytes, ends, resets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use bytes::Bytes;
use dataplane::rt::{self, Address, Listener, Segment, Segments, SendError, Stream, Tick};
use rt_common::{Directory, join_thread, loopback, on_both, pair, read_all, run, settled, soon, take, until};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

async fn echo(mut stream: Stream) {
    while let Some(chunk) = stream.recv(soon()).await.unwrap() {
        stream.send(chunk).await.unwrap();
    }
    stream.close(Duration::from_secs(1));
}

#[test]
fn what_one_end_sends_the_other_receives() {
    on_both(|backend| {
        run(backend, || async {
            let listener = Listener::bind(&loopback()).unwrap();
            let address = listener.local().unwrap();
            rt::spawn(async move { echo(listener.accept().await.unwrap().here().unwrap()).await });
            let mut client = rt::connect(&address, soon()).await.unwrap();
            assert_eq!(client.peer(), Some(address));
            for round in 0..100u8 {
                client.send(vec![round; 100]).await.unwrap();
                assert_eq!(take(&mut client, 100).await, vec![round; 100]);
            }
            client.shutdown_write();
            assert!(client.recv(soon()).await.unwrap().is_none());
            drop(client);
            settled(128, 0).await;
        });
    });
}

#[test]
fn a_request_at_a_time_costs_one_look_at_the_kernel() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, ours) = pair();
            rt::spawn(echo(ours));
            let (sender, mut receiver) = rt::Mailbox::with_limit(1);
            let before = rt::counts().turns;
            std::thread::spawn(move || {
                for _ in 0..200 {
                    let mut answer = [0; 5];
                    theirs.write_all(b"hello").unwrap();
                    theirs.read_exact(&mut answer).unwrap();
                }
                sender.send(()).unwrap();
            });
            receiver.recv().await.unwrap();
            let turns = rt::counts().turns - before;
            assert!(turns <= 220, "{turns} turns for 200 requests");
        });
    });
}

#[test]
fn segments_of_every_kind_arrive_in_order() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            theirs.write_all(b"chunk").unwrap();
            let chunk = ours.recv(soon()).await.unwrap().unwrap();
            let mut all = Segments::from([
                Segment::from("static "),
                Segment::from(b"vec ".to_vec()),
                Segment::from(Bytes::from_static(b"bytes ")),
                Segment::from(chunk),
            ]);
            all.extend((0..200).map(|n| Segment::from(vec![b'a' + (n % 26) as u8])));
            all.push(Segment::from(Vec::new()));
            ours.send(all).await.unwrap();
            ours.send(" end").await.unwrap();
            let want = [
                b"static vec bytes chunk".to_vec(),
                (0..200).map(|n| b'a' + (n % 26) as u8).collect(),
                b" end".to_vec(),
            ];
            let mut got = vec![0; want.concat().len()];
            ours.sent(soon()).await.unwrap();
            theirs.read_exact(&mut got).unwrap();
            assert_eq!(got, want.concat());
        });
    });
}

/// The byte at a place of a long stream.
fn byte(at: usize) -> u8 {
    (at / 7 + at / 65_537) as u8
}

#[test]
fn a_slow_reader_gets_32_mib_byte_for_byte_and_the_sender_waits_for_it() {
    const TOTAL: usize = 32 << 20;
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            let (begin, may_begin) = std::sync::mpsc::channel();
            rt::spawn(async move {
                until("the socket is full", || rt::counts().short_sends > 0).await;
                begin.send(()).unwrap();
            });
            let reader = std::thread::spawn(move || {
                let (mut at, mut buffer) = (0, vec![0; 100_000]);
                may_begin.recv().unwrap();
                loop {
                    let n = theirs.read(&mut buffer).unwrap();
                    if n == 0 {
                        return at;
                    }
                    assert!(buffer[..n].iter().zip(at..).all(|(b, at)| *b == byte(at)), "near {at}");
                    at += n;
                    if at % 13 == 0 {
                        std::thread::sleep(Duration::from_micros(200)); // slow on purpose
                    }
                }
            });
            let mut at = 0;
            while at < TOTAL {
                let n = (10_000 + at % 50_000).min(TOTAL - at);
                let middle = at + n / 3;
                let part = |from: usize, to: usize| Segment::from((from..to).map(byte).collect::<Vec<u8>>());
                ours.send([part(at, middle), part(middle, at + n)]).await.unwrap();
                at += n;
            }
            drop(ours); // while the last sends are under way
            until("all sockets closed", || rt::counts().sockets == 0).await;
            assert_eq!(join_thread(reader).await, TOTAL);
            settled(128, 0).await;
        });
    });
}

#[test]
fn a_send_waits_while_an_earlier_one_is_blocked_and_a_dropped_one_leaves_nothing_behind() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            let mut accepted = 0usize;
            let mut full = false;
            for _ in 0..10_000 {
                let by = rt::now() + Duration::from_millis(100);
                match rt::within(by, ours.send(vec![7; 10_000])).await {
                    Some(sent) => {
                        sent.unwrap();
                        accepted += 10_000;
                    }
                    None => {
                        full = true;
                        break;
                    }
                }
            }
            assert!(full && !ours.can_send(), "the socket fills up");
            assert!(matches!(
                ours.sent(rt::now() + Duration::from_millis(20)).await,
                Err(SendError::Deadline)
            ));
            let reader = std::thread::spawn(move || {
                let mut all = Vec::new();
                theirs.read_to_end(&mut all).unwrap();
                all
            });
            ours.sent(soon()).await.unwrap();
            assert!(ours.can_send());
            ours.send(vec![8; 10]).await.unwrap();
            drop(ours);
            settled(128, 0).await;
            let all = join_thread(reader).await;
            assert_eq!(all.len(), accepted + 10);
            assert!(all[..accepted].iter().all(|b| *b == 7) && all[accepted..].iter().all(|b| *b == 8));
        });
    });
}

#[test]
fn more_than_a_turns_mark_waits_for_the_kernel_within_the_turn() {
    on_both(|backend| {
        run(backend, || async {
            let (theirs, mut ours) = pair();
            let (sender, mut all) = rt::Mailbox::with_limit(1);
            rt::spawn(async move { sender.send(read_all(theirs).await.0.len()).unwrap() });
            for _ in 0..1000 {
                ours.send(vec![1; 16_000]).await.unwrap();
            }
            drop(ours);
            settled(128, 0).await;
            assert_eq!(all.recv().await, Some(16_000_000));
        });
    });
}

#[test]
fn a_connection_is_quiet_until_something_comes() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            rt::yield_now().await;
            assert!(ours.is_quiet());
            theirs.write_all(b"x").unwrap();
            until("not quiet", || !ours.is_quiet()).await;
            take(&mut ours, 1).await;
            until("quiet again", || ours.is_quiet()).await;
            theirs.shutdown(Shutdown::Write).unwrap();
            until("not quiet at the end", || !ours.is_quiet()).await;
        });
    });
}

#[test]
fn unix_sockets_carry_bytes_and_ends_and_a_stale_file_is_replaced() {
    on_both(|backend| {
        run(backend, || async {
            let directory = Directory::new("unix");
            let path = directory.0.join("socket");
            let address = Address::Unix(path.clone());
            let stale = Listener::bind(&address).unwrap();
            assert_eq!(Listener::bind(&address).err().unwrap().kind(), ErrorKind::AddrInUse);
            drop(stale);
            until("the old listener is closed", || UnixStream::connect(&path).is_err()).await;
            let listener = Listener::bind(&address).unwrap();
            assert_eq!(listener.local().unwrap(), address);
            rt::spawn(async move {
                loop {
                    let accepted = listener.accept().await.unwrap();
                    assert_eq!(accepted.peer(), None);
                    rt::spawn(echo(accepted.here().unwrap()));
                }
            });
            let mut client = rt::connect(&address, soon()).await.unwrap();
            for n in [1, 100, 16_896, 16_897, 200_000] {
                client.send(vec![9; n]).await.unwrap();
                assert_eq!(take(&mut client, n).await, vec![9; n]);
            }
            client.shutdown_write();
            assert!(client.recv(soon()).await.unwrap().is_none());
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut adopted = Stream::adopt(OwnedFd::from(ours)).unwrap();
            theirs.write_all(b"last").unwrap();
            drop(theirs);
            assert_eq!(take(&mut adopted, 4).await, b"last");
            assert!(adopted.recv(soon()).await.unwrap().is_none());
        });
    });
}

#[test]
fn a_full_unix_backlog_is_waited_for() {
    on_both(|backend| {
        run(backend, || async {
            let directory = Directory::new("backlog");
            let address = Address::Unix(directory.0.join("socket"));
            let listener = Listener::bind(&address).unwrap();
            let mut clients = Vec::new();
            for _ in 0..1300 {
                let address = address.clone();
                clients.push(rt::spawn(async move { drop(rt::connect(&address, soon()).await.unwrap()) }));
            }
            for _ in 0..1300 {
                drop(listener.accept().await.unwrap());
            }
            until("every client has connected", || clients.iter().all(rt::Task::is_finished)).await;
        });
    });
}

#[test]
fn connecting_fails_with_the_reason() {
    on_both(|backend| {
        run(backend, || async {
            let listener = Listener::bind(&loopback()).unwrap();
            let address = listener.local().unwrap();
            drop(listener);
            until("refused", || true).await;
            rt::sleep_until(rt::now() + Duration::from_millis(1)).await;
            let refused = rt::connect(&address, soon()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let missing =
                rt::connect(&Address::Unix("/nonexistent/socket".into()), soon()).await.unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::NotFound);
            let long = "x".repeat(108);
            let refused = rt::connect(&Address::Unix(long.into()), soon()).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            settled(128, 0).await;
        });
    });
}

#[test]
fn a_listener_can_be_inherited_and_anything_else_is_refused() {
    on_both(|backend| {
        run(backend, || async {
            let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            inherited.set_nonblocking(true).unwrap();
            let listener = Listener::adopt(OwnedFd::from(inherited)).unwrap();
            let address = listener.local().unwrap();
            let client = rt::spawn(async move { drop(rt::connect(&address, soon()).await.unwrap()) });
            let accepted = listener.accept().await.unwrap();
            assert!(accepted.peer().is_some());
            until("the client is done", || client.is_finished()).await;
            let (one, _other) = UnixStream::pair().unwrap();
            assert_eq!(Listener::adopt(OwnedFd::from(one)).err().unwrap().kind(), ErrorKind::InvalidInput);
        });
    });
}

#[test]
fn an_accept_or_receive_that_is_given_up_loses_nothing() {
    on_both(|backend| {
        run(backend, || async {
            let listener = Listener::bind(&loopback()).unwrap();
            let address = listener.local().unwrap();
            for round in 0..50u8 {
                assert!(rt::within(rt::now(), listener.accept()).await.is_none());
                let mut client = rt::connect(&address, soon()).await.unwrap();
                rt::yield_now().await;
                let mut ours = listener.accept().await.unwrap().here().unwrap();
                assert!(rt::within(rt::now(), ours.recv(Tick::NEVER)).await.is_none());
                client.send(vec![round; 10]).await.unwrap();
                client.sent(soon()).await.unwrap();
                rt::yield_now().await;
                assert_eq!(take(&mut ours, 10).await, [round; 10]);
            }
        });
    });
}

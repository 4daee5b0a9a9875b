//! Ends of connections, on both backends: FIN, RST, grace, halves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use dataplane::rt::{self, RecvError, Tick};
use rt_common::{join_thread, on_both, pair, read_all, run, settled, soon, take, until};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

#[test]
fn the_peers_end_comes_after_its_last_bytes_and_the_other_direction_stays_open() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            theirs.write_all(&[3; 50_000]).unwrap();
            theirs.shutdown(Shutdown::Write).unwrap();
            assert_eq!(take(&mut ours, 50_000).await, vec![3; 50_000]);
            assert!(ours.recv(soon()).await.unwrap().is_none());
            assert!(ours.recv(soon()).await.unwrap().is_none(), "and stays the end");
            assert!(!ours.is_quiet());
            ours.send("late").await.unwrap();
            ours.shutdown_write();
            assert_eq!(read_all(theirs).await.0, b"late");
            assert!(ours.send("too late").await.is_err());
        });
    });
}

#[test]
fn close_sends_everything_and_lets_the_peer_finish_talking() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            ours.send(vec![5; 3_000_000]).await.unwrap();
            ours.close(Duration::from_secs(10));
            let peer = std::thread::spawn(move || {
                theirs.write_all(&[6; 500_000]).unwrap(); // nobody reads that, and it is no reset
                let mut all = Vec::new();
                theirs.read_to_end(&mut all).unwrap();
                all.len()
            });
            settled(128, 0).await;
            assert_eq!(join_thread(peer).await, 3_000_000);
        });
    });
}

#[test]
fn close_waits_no_longer_than_its_grace() {
    on_both(|backend| {
        run(backend, || async {
            let (reads_nothing, mut ours) = pair();
            ours.send(vec![5; 20_000_000]).await.unwrap();
            ours.close(Duration::from_millis(50));
            let (never_ends, quiet) = pair();
            quiet.close(Duration::from_millis(50));
            settled(128, 0).await;
            let cut = read_all(reads_nothing).await.1.unwrap_err();
            assert_eq!(cut.kind(), ErrorKind::ConnectionReset, "what was cut off is seen as cut off");
            assert_eq!(read_all(never_ends).await.0, b"");
        });
    });
}

#[test]
fn abort_is_a_reset_even_while_a_send_is_blocked() {
    on_both(|backend| {
        run(backend, || async {
            let (theirs, mut ours) = pair();
            ours.send("some").await.unwrap();
            ours.sent(soon()).await.unwrap();
            ours.abort();
            assert_eq!(read_all(theirs).await.1.unwrap_err().kind(), ErrorKind::ConnectionReset);

            let (theirs, mut ours) = pair();
            ours.send(vec![1; 20_000_000]).await.unwrap();
            assert!(ours.sent(rt::now() + Duration::from_millis(50)).await.is_err());
            ours.abort();
            settled(128, 0).await;
            assert_eq!(read_all(theirs).await.1.unwrap_err().kind(), ErrorKind::ConnectionReset);
        });
    });
}

#[test]
fn a_reset_by_the_peer_is_an_error_and_not_an_end() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            ours.send("unread").await.unwrap();
            ours.sent(soon()).await.unwrap();
            let mut first = [0; 1];
            theirs.read_exact(&mut first).unwrap();
            drop(theirs); // with unread bytes: the kernel resets
            match ours.recv(soon()).await {
                Err(RecvError::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                other => panic!("{other:?}"),
            }
            assert!(!ours.is_quiet());
            until("sending fails too", || {
                let _ = ours.send_nowait("x");
                ours.send_nowait("y").is_err()
            })
            .await;
        });
    });
}

#[test]
fn halves_work_apart_and_the_last_one_closes() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, ours) = pair();
            let (mut reader, mut writer) = ours.split();
            writer.send("to you").await.unwrap();
            theirs.write_all(b"to me").unwrap();
            assert_eq!(&*reader.recv(soon()).await.unwrap().unwrap(), b"to me");
            drop(reader);
            writer.send(", more").await.unwrap();
            writer.sent(soon()).await.unwrap();
            drop(writer);
            assert_eq!(read_all(theirs).await.0, b"to you, more");

            let (_theirs, ours) = pair();
            let (mut reader, writer) = ours.split();
            let waiting = rt::spawn(async move { assert!(reader.recv(Tick::NEVER).await.is_err()) });
            rt::yield_now().await;
            writer.abort();
            until("the reader hears of it", || waiting.is_finished()).await;
            settled(128, 0).await;
        });
    });
}

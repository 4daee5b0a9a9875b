//! The seam's receive buffers, on both backends: who owns them, what happens when there are none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use bytes::Bytes;
use dataplane::rt::{self, Chunk, RecvError, Shards, Stream};
use rt_common::{on_both, pair, read_all, run, run_with, settled, soon, take, until};
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn few(backend: rt::Backend, buffers: u16, buffer_size: usize, hot_buffers: u16) -> Shards {
    Shards { backend, buffers, extra_buffers: 0, buffer_size, hot_buffers, ..Shards::default() }
}

#[test]
fn chunks_outlive_their_connection_unharmed() {
    on_both(|backend| {
        run_with(few(backend, 8, 4096, 8), || async {
            let (mut theirs, mut ours) = pair();
            theirs.write_all(&[7; 4000]).unwrap();
            theirs.shutdown(Shutdown::Both).unwrap();
            let mut held: Vec<Chunk> = Vec::new();
            while let Some(chunk) = ours.recv(soon()).await.unwrap() {
                held.push(chunk);
            }
            drop(ours);
            until("the connection is gone", || rt::counts().sockets == 0).await;
            for round in 0..200u8 {
                let (mut theirs, mut ours) = pair();
                theirs.write_all(&[round | 128; 3000]).unwrap();
                assert_eq!(take(&mut ours, 3000).await, [round | 128; 3000]);
            }
            assert!(held.iter().all(|chunk| chunk.iter().all(|byte| *byte == 7)));
            assert_eq!(held.iter().map(|chunk| chunk.len()).sum::<usize>(), 4000);
            held.clear();
            settled(8, 0).await;
        });
    });
}

#[test]
fn with_four_buffers_and_64_senders_everybody_is_served_and_nothing_is_lost() {
    on_both(|backend| {
        run_with(few(backend, 4, 4096, 4), || async {
            let held: Rc<RefCell<Vec<Chunk>>> = Rc::default();
            let served = Rc::new(Cell::new(0));
            let mut peers = Vec::new();
            for number in 0..64u8 {
                let (mut theirs, mut ours) = pair();
                theirs.write_all(&[number; 100]).unwrap();
                peers.push(theirs);
                let (held, served) = (held.clone(), served.clone());
                rt::spawn(async move {
                    let chunk = ours.recv(soon()).await.unwrap().unwrap();
                    assert_eq!(*chunk, [number; 100]);
                    held.borrow_mut().push(chunk);
                    served.set(served.get() + 1);
                    assert!(ours.recv(soon()).await.unwrap().is_none());
                });
            }
            until("all four buffers are held", || served.get() == 4).await;
            for _ in 0..50 {
                rt::sleep_until(rt::now() + Duration::from_micros(100)).await;
            }
            assert_eq!(
                (served.get(), rt::counts().buffers_free),
                (4, 0),
                "nobody is served without a buffer"
            );
            let starved = rt::counts().starved;
            assert!(starved >= 60, "{starved}");
            until("the other sixty follow as buffers come back", || {
                held.borrow_mut().pop();
                served.get() == 64
            })
            .await;
            let again = rt::counts().starved - starved;
            assert!(again <= 4 * 64, "armed {again} times in vain: only as many as came back");
            held.borrow_mut().clear();
            drop(peers);
            settled(4, 0).await;
        });
    });
}

#[test]
fn a_sender_that_nobody_reads_keeps_its_share_of_the_buffers_and_no_more() {
    on_both(|backend| {
        run_with(few(backend, 256, 4096, 64), || async {
            let (mut theirs, mut ours) = pair();
            theirs.set_nonblocking(true).unwrap();
            let mut written = 0;
            for _ in 0..300 {
                written += theirs.write(&[1; 65_536]).unwrap_or(0);
                rt::sleep_until(rt::now() + Duration::from_micros(100)).await;
            }
            let taken = 256 - rt::counts().buffers_free;
            assert!((16..=16 + 32).contains(&taken), "the limit, and what was under way: {taken}");
            theirs.set_nonblocking(false).unwrap();
            let sender = std::thread::spawn(move || theirs.write_all(&[2; 1 << 20]).unwrap());
            let mut read = 0;
            while let Some(chunk) = ours.recv(soon()).await.unwrap() {
                assert!(chunk.iter().zip(read..).all(|(byte, at)| *byte == if at < written { 1 } else { 2 }));
                read += chunk.len();
            }
            assert_eq!(read, written + (1 << 20));
            rt_common::join_thread(sender).await;
            drop(ours);
            settled(256, 0).await;
        });
    });
}

#[test]
fn a_lower_limit_holds_fewer_chunks() {
    on_both(|backend| {
        run_with(few(backend, 64, 512, 4), || async {
            let (mut theirs, mut ours) = pair();
            ours.limit(2);
            theirs.write_all(&[1; 30_000]).unwrap();
            theirs.shutdown(Shutdown::Write).unwrap();
            until("something is queued", || rt::counts().buffers_free < 64).await;
            for _ in 0..20 {
                rt::sleep_until(rt::now() + Duration::from_micros(100)).await;
            }
            let taken = 64 - rt::counts().buffers_free;
            assert!(taken <= 2 + 4, "the limit, and what lay in the ring: {taken}");
            assert_eq!(take(&mut ours, 30_000).await.len(), 30_000);
            assert!(ours.recv(soon()).await.unwrap().is_none());
        });
    });
}

#[test]
fn views_on_one_buffer_are_apart_and_give_it_back_together() {
    on_both(|backend| {
        run_with(few(backend, 2, 4096, 2), || async {
            let (mut theirs, mut ours) = pair();
            theirs.write_all(b"head body tail").unwrap();
            let mut rest = ours.recv(soon()).await.unwrap().unwrap();
            let mut head = rest.split_to(5);
            let mut body = rest.split_to(5);
            head.truncate(4);
            body.advance(1);
            body[..3].copy_from_slice(b"BOD");
            assert_eq!((&*head, &*body, &*rest), (&b"head"[..], &b"BOD "[..], &b"tail"[..]));
            body.advance(100);
            assert!(body.is_empty());
            let all = rest.split_to(100);
            assert_eq!((&*all, rest.len()), (&b"tail"[..], 0));
            drop((head, rest, body));
            assert_eq!(rt::counts().buffers_free, 1);
            drop(all);
            assert_eq!(rt::counts().buffers_free, 2);
        });
    });
}

#[test]
fn bytes_made_of_a_chunk_may_end_on_another_thread_and_wake_a_starving_shard() {
    on_both(|backend| {
        run_with(few(backend, 2, 4096, 2), || async {
            let (mut first, mut ours) = pair();
            first.write_all(&[1; 100]).unwrap();
            let one = ours.recv(soon()).await.unwrap().unwrap().into_bytes();
            first.write_all(&[2; 100]).unwrap();
            let mut chunk = ours.recv(soon()).await.unwrap().unwrap();
            let two: Bytes = chunk.split_to(50).into_bytes();
            drop(chunk);
            assert_eq!(rt::counts().buffers_free, 0);
            let (mut second, mut waiting) = pair();
            second.write_all(b"at last").unwrap();
            let hungry = waiting.recv(rt::now() + Duration::from_millis(50)).await;
            assert!(matches!(hungry, Err(RecvError::Deadline)));
            std::thread::spawn(move || {
                let copy = one.clone();
                assert!(copy.iter().all(|byte| *byte == 1) && two.iter().all(|byte| *byte == 2));
                std::thread::sleep(Duration::from_millis(20)); // the shard sleeps by then
                drop((one, copy, two));
            });
            assert_eq!(take(&mut waiting, 7).await, b"at last");
            drop((ours, waiting, first, second));
            settled(2, 0).await;
        });
    });
}

#[test]
fn a_received_chunk_can_be_sent_on_and_returns_its_buffer() {
    on_both(|backend| {
        run_with(few(backend, 4, 1024, 4), || async {
            let (mut from, mut incoming) = pair();
            let (to, mut outgoing) = pair();
            let sender = std::thread::spawn(move || from.write_all(&[3; 1_000_000]).unwrap());
            let reader = rt::spawn(async move {
                assert_eq!(read_all(to).await.0, vec![3; 1_000_000]);
            });
            while let Some(chunk) = incoming.recv(soon()).await.unwrap() {
                outgoing.send(chunk).await.unwrap();
            }
            outgoing.close(Duration::from_secs(10));
            drop(incoming);
            until("everything has arrived", || reader.is_finished()).await;
            rt_common::join_thread(sender).await;
            settled(4, 0).await;
        });
    });
}

#[test]
fn idle_connections_hold_no_buffer() {
    on_both(|backend| {
        run(backend, || async {
            let mut connections = Vec::new();
            for _ in 0..200 {
                // in the Unix domain: two descriptors each, and no port
                let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
                connections.push((Stream::adopt(OwnedFd::from(ours)).unwrap(), theirs));
            }
            rt::yield_now().await;
            rt::sleep_until(rt::now() + Duration::from_millis(5)).await;
            assert_eq!(rt::counts().buffers_free, 128);
            assert!(connections.iter().all(|(ours, _)| ours.is_quiet()));
            drop(connections);
            settled(128, 0).await;
        });
    });
}

#[test]
fn an_ended_task_in_the_middle_of_everything_leaves_no_buffer_behind() {
    on_both(|backend| {
        run_with(few(backend, 16, 1024, 8), || async {
            for round in 0..200u64 {
                let (mut theirs, mut ours) = pair();
                theirs.set_nonblocking(true).unwrap();
                let task = rt::spawn(async move {
                    while let Ok(Some(chunk)) = ours.recv(soon()).await {
                        let held = chunk; // across the next wait, on purpose
                        if ours.send(vec![1; 3000]).await.is_err() {
                            return;
                        }
                        drop(held);
                    }
                });
                let _ = theirs.write(&[5; 20_000]);
                for _ in 0..round % 7 {
                    rt::yield_now().await;
                }
                if round % 3 == 0 {
                    rt::sleep_until(rt::now() + Duration::from_micros(round * 10)).await;
                }
                task.cancel();
            }
            settled(16, 0).await;
        });
    });
}

#[test]
fn a_starving_shard_borrows_buffers_up_to_its_limit_and_gives_them_back() {
    on_both(|backend| {
        run_with(Shards { extra_buffers: 30, ..few(backend, 4, 4096, 4) }, || async {
            let held: Rc<RefCell<Vec<Chunk>>> = Rc::default();
            let mut peers = Vec::new();
            for number in 0..64u8 {
                let (mut theirs, mut ours) = pair();
                theirs.write_all(&[number; 100]).unwrap();
                peers.push(theirs);
                let held = held.clone();
                rt::spawn(async move {
                    let chunk = ours.recv(soon()).await.unwrap().unwrap();
                    assert_eq!(*chunk, [number; 100]);
                    held.borrow_mut().push(chunk);
                    assert!(ours.recv(soon()).await.unwrap().is_none());
                });
            }
            until("all buffers there can be are held", || held.borrow().len() == 34).await;
            rt::sleep_until(rt::now() + Duration::from_millis(5)).await;
            assert_eq!((held.borrow().len(), rt::counts().buffers_extra), (34, 30));
            let intact = |chunk: &Chunk| chunk.iter().all(|byte| *byte == chunk[0]);
            assert!(held.borrow().iter().all(intact));
            let mut seen = 0;
            until("the others follow", || {
                seen += usize::from(held.borrow_mut().pop().is_some_and(|chunk| intact(&chunk)));
                seen == 64
            })
            .await;
            drop(peers);
            until("borrowed buffers are given back", || rt::counts().buffers_extra <= 4).await;
            until("all is back", || rt::counts().sockets == 0).await;
            assert!(rt::counts().buffers_free >= 4);
        });
    });
}

/// Passes on what arrives as it arrived.
async fn relay(mut from: Stream, mut to: Stream) {
    while let Ok(Some(chunk)) = from.recv(soon()).await {
        if to.send(chunk).await.is_err() {
            return;
        }
    }
}

#[test]
fn peers_that_do_not_read_hold_no_buffers_that_others_need() {
    on_both(|backend| {
        run_with(Shards { extra_buffers: 16, ..few(backend, 32, 4096, 8) }, || async {
            let stop = Arc::new(AtomicBool::new(false));
            let mut silent = Vec::new();
            let mut relays = Vec::new();
            for _ in 0..40 {
                let (mut source, from) = pair();
                let (sink, to) = pair();
                relays.push(rt::spawn(relay(from, to)));
                source.set_nonblocking(true).unwrap();
                silent.push((source.try_clone().unwrap(), sink));
                let stop = stop.clone();
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if source.write(&[1; 65_536]).is_err() {
                            std::thread::sleep(Duration::from_millis(1)); // full for now
                        }
                    }
                });
            }
            until("every way is full", || rt::counts().short_sends >= 40).await;
            let (mut theirs, mut ours) = pair();
            for round in 0..20 {
                theirs.write_all(&[round; 3000]).unwrap();
                assert_eq!(take(&mut ours, 3000).await, [round; 3000]);
            }
            assert!(rt::counts().buffers_extra < 16, "{:?}", rt::counts());
            stop.store(true, Ordering::Relaxed);
            relays.into_iter().for_each(rt::Task::cancel);
            drop((ours, silent));
            until("all is closed", || rt::counts().sockets == 0).await;
        });
    });
}

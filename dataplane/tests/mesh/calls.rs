//! Calls that go well, and their ends.

use super::common::*;
use super::pki;
use dataplane::mesh::{CallError, Mesh, MeshLimits, Next, PeerKey};
use dataplane::rt::{self, Tick};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn messages_come_back_in_their_order() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let mut call = start(&mesh, &callee.key(), "/echo").await;
        assert!(call.features().outrigger);
        let (answers, end) = exchange(&mut call, &[b"one", b"", b"three"]).await.unwrap();
        assert_eq!(answers, [&b"one"[..], b"", b"three"]);
        assert_eq!((end.status, end.message.as_str()), (0, ""));
        assert_eq!(call.header("content-type"), Some(&b"application/grpc"[..]));
    });
}

#[test]
fn the_caller_is_known_by_its_certificate_and_plaintext_has_none() {
    on_both(|| async {
        let [a, b] = pki::identities(["orders", "billing"]);
        let handler = |call: dataplane::mesh::Call| {
            let who = call.peer().map(|p| p.id().app_id.clone()).unwrap_or_default();
            assert_eq!(call.header("traceparent"), Some(&b"00-1-2-01"[..]));
            call.finish(5, &who);
        };
        let callee = Callee::with(MeshLimits::default(), Some(b), handler);
        let mesh = Mesh::new(MeshLimits::default());
        mesh.set_identity(Some(a));
        let to = PeerKey { address: callee.address, expected: Some(pki::id("billing")) };
        let (answers, end) = ask(&mesh, &to, "/who", b"").await;
        assert_eq!((answers.len(), end.status, end.message.as_str()), (0, 5, "orders"));
        let plain = Callee::with(MeshLimits::default(), None, handler);
        assert_eq!(ask(&mesh, &plain.key(), "/who", b"").await.1.message, "");
    });
}

#[test]
fn statuses_come_with_and_without_messages_before_them() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let (answers, end) = ask(&mesh, &callee.key(), "/status/7/no", b"").await;
        assert_eq!((answers.len(), end.status, end.message.as_str()), (0, 7, "no"));
        let (answers, end) = ask(&mesh, &callee.key(), "/late-status/13", b"").await;
        assert_eq!(answers, [b"before the error"]);
        assert_eq!((end.status, end.message.as_str()), (13, "tr\u{fc}b \u{2014} 100%"));
        assert_eq!(ask(&mesh, &callee.key(), "/nothing", b"").await.1.status, 12);
        assert_eq!(ask(&mesh, &callee.key(), "/status/0", b"").await.1.status, 0);
        assert_eq!(callee.serving.connections(), 1);
    });
}

#[test]
fn a_message_of_the_largest_size_passes_both_ways_with_mtls() {
    on_both(|| async {
        let [a, b] = pki::identities(["a", "b"]);
        let echo = |call| {
            rt::spawn(echo_one(call));
        };
        let callee = Callee::with(MeshLimits::default(), Some(b), echo);
        let mesh = Mesh::new(MeshLimits::default());
        mesh.set_identity(Some(a));
        let to = PeerKey { address: callee.address, expected: Some(pki::id("b")) };
        let large: Vec<u8> = (0..4usize << 20).map(|i| (i * 7 + i / 1000) as u8).collect();
        let (answers, end) = ask(&mesh, &to, "/echo", &large).await;
        assert_eq!(end.status, 0);
        assert!(answers == [large]);
    });
}

async fn echo_one(mut call: dataplane::mesh::Call) {
    while let Ok(Next::Message) = call.next(soon()).await {
        let message = call.take(<[u8]>::to_vec).unwrap();
        call.write(false, |out| put(out, &message)).unwrap();
    }
    call.finish(0, "");
}

#[test]
fn a_stream_of_many_messages_passes_both_ways_at_once() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let (_, end) = ask(&mesh, &callee.key(), "/big/200", b"").await;
        assert_eq!(end.status, 0);
        let mut call = start(&mesh, &callee.key(), "/echo").await;
        let message = vec![5; 16 << 10];
        let (mut sent, mut got) = (0, 0);
        while got < 200 {
            while sent < 200 && sent - got < 8 {
                sent += 1;
                call.write(sent == 200, |out| put(out, &message)).unwrap();
            }
            assert_eq!(call.next(soon()).await, Ok(Next::Message));
            assert!(call.take(|m| m == message).unwrap());
            got += 1;
        }
        assert!(matches!(call.next(soon()).await, Ok(Next::End(end)) if end.status == 0));
    });
}

#[test]
fn a_writer_waits_for_a_reader_that_takes_nothing() {
    on_both(|| async {
        let callee = Callee::with(MeshLimits::default(), None, |call| {
            rt::spawn(async move {
                rt::sleep_until(soon()).await;
                drop(call);
            });
        });
        let mesh = Mesh::new(MeshLimits::default());
        let mut call = start(&mesh, &callee.key(), "/x").await;
        let mut written = 0;
        let blocked = loop {
            match call.writable(soon_is(Duration::from_millis(300))).await {
                Ok(()) => call.write(false, |out| put(out, &[0; 10_000])).unwrap(),
                Err(error) => break error,
            }
            written += 10_000;
            assert!(written < 2_000_000, "nobody reads");
        };
        assert_eq!(blocked, CallError::Deadline);
        assert!(written > 64_000);
    });
}

/// Their windows are together several times what a connection usually has.
#[test]
fn hundreds_of_answers_that_nobody_takes_leave_another_call_its_megabyte() {
    const STALLED: usize = 300;
    /// The window of a stream, but for a little.
    const EACH: usize = 62 << 10;
    on_both(|| async {
        let written = Rc::new(Cell::new(0));
        let counted = Rc::clone(&written);
        let callee = Callee::with(MeshLimits::default(), None, move |call| {
            match call.path() {
                "/endless" => rt::spawn(endless(call, Rc::clone(&counted))),
                _ => rt::spawn(echo_one(call)),
            };
        });
        let mesh = Mesh::new(MeshLimits::default());
        let mut stalled = Vec::new();
        for _ in 0..STALLED {
            let mut call = start(&mesh, &callee.key(), "/endless").await;
            call.write(true, |_| ()).unwrap();
            stalled.push(call);
        }
        until("every window is used up", || written.get() > STALLED * EACH).await;
        let megabyte = vec![7; 1 << 20];
        let (answers, end) = ask(&mesh, &callee.key(), "/echo", &megabyte).await;
        assert_eq!((end.status, mesh.peers()[0].connections), (0, 1));
        assert!(answers == [megabyte]);
    });
}

/// Writes whenever it may, and counts the bytes.
async fn endless(mut call: dataplane::mesh::Call, written: Rc<Cell<usize>>) {
    while call.writable(Tick::NEVER).await.is_ok() {
        call.write(false, |out| put(out, &[0; 16 << 10])).unwrap();
        written.set(written.get() + (16 << 10));
    }
}

#[test]
fn a_deadline_leaves_the_call_as_it_was() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let mut call = start(&mesh, &callee.key(), "/echo").await;
        let before = rt::now();
        assert_eq!(call.next(soon_is(Duration::from_millis(30))).await, Err(CallError::Deadline));
        assert!(rt::now().since(before) >= Duration::from_millis(30));
        assert_eq!(call.next(before).await, Err(CallError::Deadline), "already over");
        let (answers, end) = exchange(&mut call, &[b"late"]).await.unwrap();
        assert_eq!((answers, end.status), (vec![b"late".to_vec()], 0));
    });
}

#[test]
fn an_early_end_stops_the_writer() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let mut call = start(&mesh, &callee.key(), "/status/9/enough").await;
        let mut stopped = None;
        for _ in 0..10_000 {
            let wrote =
                call.writable(soon()).await.and_then(|()| call.write(false, |out| put(out, &[0; 1000])));
            if let Err(error) = wrote {
                stopped = Some(error);
                break;
            }
            rt::yield_now().await;
        }
        assert_eq!(stopped, Some(CallError::Finished));
        assert!(matches!(call.next(soon()).await, Ok(Next::End(end)) if end.status == 9));
    });
}

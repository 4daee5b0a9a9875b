//! Calls that go wrong, and what each side hears of it.

use super::common::*;
use dataplane::mesh::{Call, CallError, Mesh, MeshLimits, Next};
use dataplane::rt::{self, Tick};
use std::cell::RefCell;
use std::rc::Rc;

type Notes = Rc<RefCell<Vec<Result<Next, CallError>>>>;

/// A callee that notes what `next` says last.
fn noting() -> (Callee, Notes) {
    let notes = Rc::new(RefCell::new(Vec::new()));
    let mine = notes.clone();
    let handler = move |mut call: Call| {
        let notes = mine.clone();
        rt::spawn(async move {
            loop {
                let next = call.next(Tick::NEVER).await;
                if next == Ok(Next::Message) {
                    call.take(|_| ());
                    continue;
                }
                notes.borrow_mut().push(next.clone());
                match next {
                    Ok(_) => {
                        let more = call.next(Tick::NEVER);
                        let _ = rt::within(soon_is(std::time::Duration::from_millis(1)), more).await;
                        call.finish(0, "");
                    }
                    Err(error) => call.finish(error.status().0 as u8, &error.to_string()),
                }
                return;
            }
        });
    };
    (Callee::with(MeshLimits { max_message: 1000, ..MeshLimits::default() }, None, handler), notes)
}

#[test]
fn a_reset_reaches_the_callee() {
    on_both(|| async {
        let (callee, notes) = noting();
        let mesh = Mesh::new(MeshLimits::default());
        for code in [8, 2] {
            let mut call = start(&mesh, &callee.key(), "/x").await;
            call.write(false, |out| put(out, b"x")).unwrap();
            until("it came", || callee.serving.calls() == 1).await;
            if code == 8 {
                drop(call)
            } else {
                call.reset(code)
            }
            until("noted", || notes.borrow().last() == Some(&Err(CallError::Reset { code }))).await;
        }
    });
}

#[test]
fn a_dropped_call_of_the_callee_is_a_reset_for_the_caller() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let mut call = start(&mesh, &callee.key(), "/drop").await;
        let error = exchange(&mut call, &[b"x"]).await.unwrap_err();
        assert_eq!(error, CallError::Reset { code: 8 });
        assert_eq!(error.status().to_string(), "Canceled");
        assert_eq!(error.to_string(), "stream terminated by RST_STREAM with error code: CANCEL");
        assert_eq!(ask(&mesh, &callee.key(), "/echo", b"").await.1.status, 0, "the connection lives");
        assert_eq!(callee.serving.connections(), 1);
    });
}

#[test]
fn messages_that_are_too_large_compressed_or_cut_are_refused_with_their_status() {
    on_both(|| async {
        let (callee, notes) = noting();
        let mesh = Mesh::new(MeshLimits::default());
        let cases: [(&[u8], u8, &str); 4] = [
            (&[0, 0, 0, 3, 233], 8, "grpc: received message larger than max (1001 vs. 1000)"),
            (&[1, 0, 0, 0, 1, b'x'], 13, "grpc: compressed flag set with identity or empty encoding"),
            (&[7, 0, 0, 0, 1, b'x'], 13, "grpc: received unexpected payload format 7"),
            (&[0, 0, 0, 0, 9, b'x'], 13, "unexpected EOF"),
        ];
        for (bytes, status, text) in cases {
            let mut call = start(&mesh, &callee.key(), "/x").await;
            call.write(true, |out| out.extend_from_slice(bytes)).unwrap();
            let (_, end) = read(&mut call).await.unwrap();
            assert_eq!((end.status, end.message.as_str()), (status, text));
            assert!(notes.borrow_mut().pop().unwrap().is_err());
        }
    });
}

#[test]
fn an_answer_above_the_callers_limit_ends_the_call_there() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits { max_message: 1000, ..MeshLimits::default() });
        let mut call = start(&mesh, &callee.key(), "/big/3").await;
        let error = exchange(&mut call, &[b"x"]).await.unwrap_err();
        assert_eq!(error, CallError::TooLarge { length: 16 << 10, limit: 1000 });
        drop(call);
        assert_eq!(ask(&mesh, &callee.key(), "/echo", b"x").await.0, [b"x"]);
    });
}

#[test]
fn metadata_above_the_peers_limit_is_not_sent_and_not_worth_another_try() {
    on_both(|| async {
        let http2 = proto::http2::Limits { header_list: 2000, ..Default::default() };
        let callee = Callee::plain(MeshLimits { http2, ..MeshLimits::default() });
        let mesh = Mesh::new(MeshLimits::default());
        let checkout = mesh.checkout(&callee.key(), soon()).await.unwrap();
        let long = [b'x'; 2000];
        let mut call = checkout.start(dataplane::mesh::Start { path: "/echo", literals: &[("long", &long)] });
        let error = call.write(true, |_| ()).unwrap_err();
        assert_eq!(error.status().to_string(), "ResourceExhausted");
        drop(call);
        assert_eq!(ask(&mesh, &callee.key(), "/echo", b"").await.1.status, 0);
    });
}

#[test]
fn a_lost_connection_may_have_processed_what_was_sent() {
    on_both(|| async {
        let streams = Rc::new(RefCell::new(Vec::new()));
        let listener = rt::Listener::bind(&rt::Address::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
        let rt::Address::Tcp(address) = listener.local().unwrap() else { panic!() };
        let kept = streams.clone();
        rt::spawn(async move {
            let mut stream = listener.accept().await.unwrap().here().unwrap();
            stream.send(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]).await.unwrap();
            kept.borrow_mut().push(stream);
        });
        let mesh = Mesh::new(MeshLimits::default());
        let to = dataplane::mesh::PeerKey { address, expected: None };
        let mut call = start(&mesh, &to, "/x").await;
        call.write(true, |out| put(out, b"x")).unwrap();
        rt::sleep_until(soon_is(std::time::Duration::from_millis(20))).await;
        streams.borrow_mut().pop().unwrap().abort();
        let error = call.next(soon()).await.unwrap_err();
        assert!(matches!(error, CallError::Lost { .. }), "{error:?}");
        assert_eq!(error.status().to_string(), "Unavailable");
        assert!(mesh.peers().is_empty());
    });
}

#[test]
fn calls_dropped_at_any_moment_leave_nothing_behind() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let (done, finished) = counter();
        for i in 0..300u64 {
            let (mesh, to, finished) = (mesh.clone(), callee.key(), finished.clone());
            rt::spawn(async move {
                let mut call = start(&mesh, &to, "/big/20").await;
                let patience = std::time::Duration::from_micros(i * 50);
                let _ = rt::within(soon_is(patience), exchange(&mut call, &[b"x"])).await;
                drop(call);
                finished();
            });
        }
        until("all dropped", || done.get() == 300).await;
        until("no call left", || callee.serving.calls() == 0).await;
        assert_eq!(mesh.peers()[0].calls, 0);
        assert_eq!(ask(&mesh, &callee.key(), "/count", &[1; 3000]).await.0, [b"3000"]);
    });
}

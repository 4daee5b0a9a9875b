//! How connections are shared.

use super::common::*;
use dataplane::mesh::{DialError, Mesh, MeshLimits, Phase, Start};
use dataplane::rt;
use proto::http2::Limits;
use std::time::Duration;

#[test]
fn five_hundred_cold_calls_share_one_connection() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let (done, finished) = counter();
        for i in 0..500u32 {
            let (mesh, to, finished) = (mesh.clone(), callee.key(), finished.clone());
            rt::spawn(async move {
                let message = i.to_be_bytes();
                let (answers, end) = ask(&mesh, &to, "/echo", &message).await;
                assert_eq!((answers, end.status), (vec![message.to_vec()], 0));
                finished();
            });
        }
        until("all calls", || done.get() == 500).await;
        assert_eq!(callee.serving.connections(), 1, "single flight");
        let peers = mesh.peers();
        assert_eq!((peers.len(), peers[0].connections, peers[0].calls), (1, 1, 0));
    });
}

#[test]
fn a_peer_with_few_streams_gets_more_connections_and_the_rest_waits() {
    on_both(|| async {
        let http2 = Limits { concurrent_streams: 2, ..Limits::default() };
        let callee = Callee::plain(MeshLimits { http2, ..MeshLimits::default() });
        let mesh = Mesh::new(MeshLimits { connections: 3, ..MeshLimits::default() });
        let (done, finished) = counter();
        for _ in 0..40 {
            let (mesh, to, finished) = (mesh.clone(), callee.key(), finished.clone());
            rt::spawn(async move {
                let mut call = start(&mesh, &to, "/echo").await;
                rt::sleep_until(soon_is(Duration::from_millis(5))).await;
                assert_eq!(exchange(&mut call, &[b"x"]).await.unwrap().1.status, 0);
                finished();
            });
        }
        until("all calls", || done.get() == 40).await;
        assert_eq!(callee.serving.connections(), 3);
    });
}

#[test]
fn waiting_for_room_ends_at_its_deadline() {
    on_both(|| async {
        let http2 = Limits { concurrent_streams: 1, ..Limits::default() };
        let callee = Callee::plain(MeshLimits { http2, ..MeshLimits::default() });
        let mesh = Mesh::new(MeshLimits { connections: 1, ..MeshLimits::default() });
        let _held = start(&mesh, &callee.key(), "/silent").await;
        let error = mesh.checkout(&callee.key(), soon_is(Duration::from_millis(50))).await.unwrap_err();
        assert_eq!(error.to_string(), "timed out waiting for a free stream");
    });
}

#[test]
fn those_who_give_up_waiting_leave_no_trace_and_pass_their_turn_on() {
    on_both(|| async {
        let http2 = Limits { concurrent_streams: 1, ..Limits::default() };
        let callee = Callee::plain(MeshLimits { http2, ..MeshLimits::default() });
        let mesh = Mesh::new(MeshLimits { connections: 1, waiting: 100, ..MeshLimits::default() });
        let held = start(&mesh, &callee.key(), "/silent").await;
        let (crowded, turned_away) = counter();
        let (done, finished) = counter();
        for i in 0..150u64 {
            let (mesh, to) = (mesh.clone(), callee.key());
            let (turned_away, finished) = (turned_away.clone(), finished.clone());
            rt::spawn(async move {
                // every other one gives up before there is room
                let patience = Duration::from_millis(if i % 2 == 0 { 30 } else { 20_000 });
                match mesh.checkout(&to, soon_is(patience)).await {
                    Ok(checkout) if i % 4 == 1 => drop(checkout),
                    Ok(checkout) => {
                        let mut call = checkout.start(Start { path: "/echo", literals: &[] });
                        assert_eq!(exchange(&mut call, &[b"x"]).await.unwrap().1.status, 0);
                    }
                    Err(DialError::Crowded) => turned_away(),
                    Err(error) => assert_eq!(error, DialError::TimedOut { phase: Phase::Room }),
                }
                finished();
            });
        }
        until("the impatient gave up", || done.get() >= 100).await;
        assert_eq!(crowded.get(), 50);
        drop(held);
        until("everybody", || done.get() == 150).await;
    });
}

#[test]
fn a_checkout_keeps_its_room_until_it_is_dropped() {
    on_both(|| async {
        let http2 = Limits { concurrent_streams: 1, ..Limits::default() };
        let callee = Callee::plain(MeshLimits { http2, ..MeshLimits::default() });
        let mesh = Mesh::new(MeshLimits { connections: 1, ..MeshLimits::default() });
        let kept = mesh.checkout(&callee.key(), soon()).await.unwrap();
        assert!(mesh.checkout(&callee.key(), soon_is(Duration::from_millis(20))).await.is_err());
        let (mine, to) = (mesh.clone(), callee.key());
        let (done, finished) = counter();
        rt::spawn(async move {
            assert_eq!(ask(&mine, &to, "/echo", b"").await.1.status, 0);
            finished();
        });
        rt::yield_now().await;
        drop(kept);
        until("the one who waited", || done.get() == 1).await;
    });
}

#[test]
fn an_idle_connection_is_closed_by_both_ends_and_forgotten() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let http2 = Limits { idle: Duration::from_millis(100), ..Limits::default() };
        let mesh = Mesh::new(MeshLimits { http2, ..MeshLimits::default() });
        assert_eq!(ask(&mesh, &callee.key(), "/echo", b"").await.1.status, 0);
        assert_eq!(callee.serving.connections(), 1);
        until("both ends closed", || callee.serving.connections() == 0 && mesh.peers().is_empty()).await;
        assert_eq!(ask(&mesh, &callee.key(), "/echo", b"").await.1.status, 0, "and made anew");
    });
}

#[test]
fn keepalive_finds_a_peer_that_is_gone_without_a_word() {
    on_both(|| async {
        // a peer that settles and then never answers
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let silent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut stream, &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0])
                .unwrap();
            std::io::Read::read_to_end(&mut stream, &mut vec![]).ok();
        });
        let (keepalive, keepalive_timeout) = (Duration::from_millis(50), Duration::from_millis(50));
        let http2 = Limits { keepalive, keepalive_timeout, ..Limits::default() };
        let mesh = Mesh::new(MeshLimits { http2, ..MeshLimits::default() });
        let to = dataplane::mesh::PeerKey { address, expected: None };
        let mut call = start(&mesh, &to, "/x").await;
        let error = exchange(&mut call, &[b"x"]).await.unwrap_err();
        assert!(error.may_have_acted());
        assert!(error.to_string().contains("keep-alive PING was not answered"), "{error}");
        assert!(mesh.peers().is_empty());
        rt::blocking(move || silent.join().unwrap()).await;
    });
}

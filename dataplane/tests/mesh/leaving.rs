//! GOAWAY from either end.

use super::common::*;
use dataplane::mesh::{CallError, DialError, Mesh, MeshLimits};
use dataplane::rt;

#[test]
fn a_draining_callee_finishes_its_calls_and_takes_no_more_on_that_connection() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let mut call = start(&mesh, &callee.key(), "/echo").await;
        call.write(false, |out| put(out, b"before")).unwrap();
        call.next(soon()).await.unwrap();
        callee.serving.drain();
        until("the caller knows", || mesh.peers().is_empty()).await;
        let (answers, end) = exchange(&mut call, &[b"after"]).await.unwrap();
        assert_eq!((answers, end.status), (vec![b"before".to_vec(), b"after".to_vec()], 0));
        drop(call);
        until("closed", || callee.serving.connections() == 0).await;
    });
}

#[test]
fn a_call_started_while_the_peer_says_goaway_is_served_or_unprocessed() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        ask(&mesh, &callee.key(), "/echo", b"warm").await;
        let kept = mesh.checkout(&callee.key(), soon()).await.unwrap();
        callee.serving.drain();
        // before the GOAWAY arrives
        let mut call = kept.start(dataplane::mesh::Start { path: "/echo", literals: &[] });
        assert_eq!(exchange(&mut call, &[b"x"]).await.unwrap().1.status, 0);
        let mesh = Mesh::new(MeshLimits::default());
        let serving = Callee::plain(MeshLimits::default());
        ask(&mesh, &serving.key(), "/echo", b"warm").await;
        let kept = mesh.checkout(&serving.key(), soon()).await.unwrap();
        serving.serving.drain();
        until("the caller knows", || mesh.peers().is_empty()).await;
        let mut call = kept.start(dataplane::mesh::Start { path: "/echo", literals: &[] });
        let error = exchange(&mut call, &[b"x"]).await.unwrap_err();
        assert!(matches!(error, CallError::Unprocessed { .. }), "{error:?}");
        assert!(!error.may_have_acted());
    });
}

#[test]
fn a_closed_mesh_finishes_its_calls() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        let mut call = start(&mesh, &callee.key(), "/echo").await;
        mesh.close();
        assert!(matches!(mesh.checkout(&callee.key(), soon()).await, Err(DialError::Closed)));
        assert_eq!(exchange(&mut call, &[b"x"]).await.unwrap().0, [b"x"]);
        drop(call);
        until("closed", || callee.serving.connections() == 0).await;
        assert_eq!(rt::counts().sockets, 1, "the listener is left");
    });
}

#[test]
fn sockets_and_buffers_come_back_when_everything_is_over() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let mesh = Mesh::new(MeshLimits::default());
        for _ in 0..20 {
            ask(&mesh, &callee.key(), "/echo", &[1; 5000]).await;
        }
        let key = callee.key();
        mesh.close();
        until("closed", || callee.serving.connections() == 0).await;
        callee.stop_listening();
        until("all sockets", || rt::counts().sockets == 0).await;
        until("all buffers", || rt::counts().buffers_free == 128).await;
        let mesh = Mesh::new(MeshLimits::default());
        assert!(mesh.checkout(&key, soon()).await.is_err());
    });
}

//! A sidecar that may not use io_uring.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::echo::Echo;
use rig::ground::Ground;
use rig::load::Load;

/// The error numbers that container runtimes refuse with.
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

fn serves_on_readiness(error: i32) {
    let ground = Ground::new(rig::outrigger!());
    let app = Echo::start("one");
    let refused = |app_id: &str, port| {
        ground.take(app_id, ground.launch(app_id, port).refused(rig::seccomp::IO_URING_SETUP, error))
    };
    let callee = refused("callee", Some(app.port()));
    ground.await_registered("callee", 1);
    let caller = refused("caller", None);
    let load = Load::start(caller.http, "callee", 2, 300);
    load.await_more(100);
    let tally = load.stop();
    assert!(tally.is_clean(), "{tally:?}");
    for member in [&caller, &callee] {
        let status = member.await_status("a data plane", |s| s["data_plane"]["connected"] == true);
        let backend = status["data_plane"]["backend"].as_str().unwrap();
        assert!(backend.contains("epoll") && backend.contains("seccomp"), "{backend}");
        assert_eq!(backend.lines().count(), 1, "{backend}");
    }
}

#[test]
fn a_sidecar_that_is_refused_io_uring_serves_on_readiness_and_says_why() {
    serves_on_readiness(EPERM);
}

#[test]
fn a_sidecar_that_io_uring_is_hidden_from_serves_on_readiness_and_says_why() {
    serves_on_readiness(ENOSYS);
}

#[test]
fn a_sidecar_that_must_use_io_uring_and_may_not_ends_with_the_reason() {
    let ground = Ground::new(rig::outrigger!());
    let launch = ground.launch("strict", None).args(["--backend", "completion"]);
    let mut sidecar = launch.refused(rig::seccomp::IO_URING_SETUP, EPERM).spawn();
    let ended = sidecar.ends_within(std::time::Duration::from_secs(20));
    assert_eq!(ended.and_then(|e| e.code()), Some(1), "{}", sidecar.tail());
    assert!(sidecar.output().contains("seccomp"), "{}", sidecar.tail());
}

//! Several instances of an app, none, and the own one.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::echo::Echo;
use rig::ground::{Ground, await_gone};
use rig::http1::client;
use rig::load::Load;
use std::time::Duration;

/// Longest wait for processes to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn two_instances_share_the_calls_and_one_that_is_killed_costs_none() {
    let ground = Ground::new(rig::outrigger!());
    let apps = ["one", "two"].map(Echo::start);
    let mut callees = apps.each_ref().map(|app| ground.start("callee", Some(app.port()), &[]));
    ground.await_registered("callee", 2);
    let caller = ground.start("caller", None, &[]);
    let load = Load::start(caller.http, "callee", 1, 300);
    load.await_more(200);
    let shares = load.stop().by;
    // round robin: exactly half each, but for a name that was found while one was not announced yet
    assert!(shares.len() == 2 && shares.values().all(|&n| n >= 90), "{shares:?}");

    let load = Load::start(caller.http, "callee", 4, 300);
    load.await_more(100);
    let family = callees[0].sidecar.processes();
    callees[0].sidecar.kill_family();
    await_gone(&family, PATIENCE);
    load.await_more(200);
    let tally = load.stop();
    // what was in flight at the one that was killed may have reached its app, so it cannot be sent again
    assert!(tally.wrong.is_empty() && tally.broken.is_empty() && tally.refused.len() <= 4, "{tally:?}");

    let load = Load::start(caller.http, "callee", 4, 300);
    load.await_more(200);
    let tally = load.stop();
    assert!(tally.is_clean() && !tally.by.contains_key("one"), "{tally:?}");
}

/// As [`two_instances_share_the_calls_and_one_that_is_killed_costs_none`], with nothing in flight when it happens: then
/// no call fails at all, because none can have been processed by the dead one.
#[test]
fn the_first_failure_at_a_dead_instance_ejects_it_and_the_call_goes_to_the_other() {
    let ground = Ground::new(rig::outrigger!());
    let apps = ["one", "two"].map(Echo::start);
    let mut callees = apps.each_ref().map(|app| ground.start("callee", Some(app.port()), &[]));
    ground.await_registered("callee", 2);
    let caller = ground.start("caller", None, &[]);
    let call = || client::request(caller.http, "POST", "/v1.0/invoke/callee/method/echo", &[], b"hello");
    for _ in 0..4 {
        assert_eq!(call().status, 200);
    }
    let family = callees[1].sidecar.processes();
    callees[1].sidecar.kill_family();
    await_gone(&family, PATIENCE);
    for _ in 0..20 {
        let got = call();
        assert_eq!((got.status, got.header("instance").as_deref()), (200, Some("one")), "{got:?}");
    }
}

#[test]
fn an_unknown_app_is_answered_with_the_ways_that_were_tried() {
    let ground = Ground::new(rig::outrigger!());
    let caller = ground.start("caller", None, &[]);
    let got = client::get(caller.http, "/v1.0/invoke/ghost/method/x");
    let text = got.text();
    assert_eq!(got.status, 500, "{got:?}");
    assert_eq!(got.header("content-type").as_deref(), Some("application/json"));
    assert!(text.starts_with("{\"errorCode\":\"ERR_DIRECT_INVOKE\",\"message\":\"failed to invoke, id: ghost, err: couldn't find service: ghost ("), "{text}");
    assert!(text.contains("registry: "), "{text}");
    // it is asked for anew by the next call, so that an app that comes later is found
    let app = Echo::start("late");
    let _ghost = ground.start("ghost", Some(app.port()), &[]);
    ground.await_registered("ghost", 1);
    let got = client::request(caller.http, "POST", "/v1.0/invoke/ghost/method/x", &[], b"here");
    assert_eq!((got.status, got.text().as_str()), (200, "here"), "{got:?}");
}

#[test]
fn the_own_app_is_called_without_any_way_of_finding_names() {
    let ground = Ground::new(rig::outrigger!());
    let app = Echo::start("own");
    let myself = ground.start("myself", Some(app.port()), &["--registry", "off"]);
    assert_eq!(ground.registered("myself"), 0);
    let got = client::request(myself.http, "POST", "/v1.0/invoke/myself/method/x", &[], b"to myself");
    assert_eq!((got.status, got.text().as_str()), (200, "to myself"), "{got:?}");
    let status = myself.await_status("an answer", |_| true);
    assert!(status["routes"].as_array().is_none_or(Vec::is_empty), "{status}");
}

//! What dies, restarts or is asked to end, while calls go on.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::echo::Echo;
use rig::ground::{Ground, Member, await_gone};
use rig::http1::client;
use rig::load::{Balancer, Load, Tally};
use rig::machine::Account;
use rig::sidecar::send_signal;
use rig::wait;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections of the load; so many calls are in flight at most.
const CONNECTIONS: u32 = 16;
/// Calls a second.
const RATE: u32 = 500;
/// From SIGKILL to a data plane to the first call that begins afterwards and is answered. Where other processes take
/// their part of the machine meanwhile it counts as much longer ([`Account::stretched`]).
const RESTART: Duration = Duration::from_secs(1);

/// One load at a time: the machine may be small.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a load, which came at its rate but for what others took of the machine.
fn ended(load: Load, machine: &Account) -> Tally {
    let tally = load.stop();
    let second = machine.stretched(Duration::from_secs(1)).as_secs_f64();
    println!("{:.0} calls/s for {:?}", tally.rate(), tally.time);
    assert!(tally.rate() * second >= f64::from(RATE) * 0.9, "{} calls/s: {tally:?}", tally.rate());
    tally
}

/// A caller without an app, a callee with the echo app, and the load between them.
struct Pair {
    load: Load,
    machine: Account,
    caller: Member,
    callee: Member,
    _app: Echo,
    ground: Ground,
    _turn: MutexGuard<'static, ()>,
}

impl Pair {
    fn start(more: &[&str]) -> Pair {
        let turn = turn();
        let ground = Ground::new(rig::outrigger!());
        let app = Echo::start("one");
        let callee = ground.start("callee", Some(app.port()), more);
        ground.await_registered("callee", 1);
        let caller = ground.start("caller", None, more);
        let (load, machine) = (Load::start(caller.http, "callee", CONNECTIONS, RATE), Account::now());
        load.await_more(100);
        Pair { load, machine, caller, callee, _app: app, ground, _turn: turn }
    }
}

fn kill(process: u32) {
    send_signal(i32::try_from(process).unwrap(), libc_signal::KILL);
}

/// Numbers of signals, the same on every Linux.
mod libc_signal {
    pub(crate) const INT: i32 = 2;
    pub(crate) const KILL: i32 = 9;
    pub(crate) const TERM: i32 = 15;
}

/// Waits for another process in place of `old` and a data plane that took its snapshot.
fn await_new_control(member: &Member, old: u32) {
    member.await_status("a new control process with an acknowledged snapshot", |status| {
        let id = status["processes"].as_array().and_then(|all| all.iter().find(|p| p["name"] == "control"));
        let data_plane = &status["data_plane"];
        let version = data_plane["snapshot"].as_u64().unwrap_or(0);
        id.is_some_and(|p| p["id"] != old)
            && data_plane["connected"] == true
            && version > 0
            && data_plane["applied"] == version
            && data_plane["refused"] == ""
    });
}

#[test]
fn a_killed_control_process_costs_no_call_and_comes_back_in_step() {
    let pair = Pair::start(&[]);
    for member in [&pair.caller, &pair.callee] {
        let old = member.control();
        kill(old);
        pair.load.await_more(100);
        await_new_control(member, old);
        pair.load.await_more(100);
    }
    pair.ground.await_registered("callee", 1);
    let tally = ended(pair.load, &pair.machine);
    assert!(tally.is_clean(), "{tally:?}");
}

/// Kills a data plane under load; within a second another one answers.
fn kill_data_plane(pair: &Pair, of: &Member) -> u32 {
    let old = of.data_plane();
    let (machine, killed) = (Account::now(), Instant::now());
    kill(old);
    await_gone(&[old], PATIENCE);
    let gone = killed.elapsed();
    pair.load.mark();
    let took = gone + pair.load.await_answer_after_mark();
    let bound = machine.stretched(RESTART);
    println!("served {took:?} after SIGKILL to the data plane, gone after {gone:?} (at most {bound:?})");
    assert!(took <= bound, "{took:?}, at most {bound:?}\n{}", of.sidecar.tail());
    old
}

#[test]
fn a_killed_data_plane_of_the_caller_costs_the_calls_in_flight_only_and_visibly() {
    let pair = Pair::start(&[]);
    let old = kill_data_plane(&pair, &pair.caller);
    pair.load.await_more(200);
    assert_ne!(pair.caller.data_plane(), old);
    let tally = pair.load.stop();
    assert!(tally.wrong.is_empty() && tally.refused.is_empty(), "{tally:?}\n{}", pair.caller.sidecar.tail());
    assert!(tally.broken.len() <= CONNECTIONS as usize, "{tally:?}");
    assert!(tally.broken.iter().all(|why| !why.contains("refused")), "{tally:?}");
}

#[test]
fn a_killed_data_plane_of_the_callee_costs_the_calls_in_flight_only_and_visibly() {
    let pair = Pair::start(&[]);
    let old = kill_data_plane(&pair, &pair.callee);
    pair.load.await_more(200);
    assert_ne!(pair.callee.data_plane(), old);
    let tally = pair.load.stop();
    assert!(tally.wrong.is_empty() && tally.broken.is_empty(), "{tally:?}");
    assert!(tally.refused.len() <= CONNECTIONS as usize, "{tally:?}");
    assert!(tally.refused.iter().all(|(s, b)| *s == 500 && b.contains("ERR_DIRECT_INVOKE")), "{tally:?}");
}

#[test]
fn nothing_stays_behind_a_killed_supervisor() {
    let ground = Ground::new(rig::outrigger!());
    let script = "sleep 600 & sleep 601 & wait";
    let mut member = ground.start("family", None, &["--", "sh", "-c", script]);
    // supervisor, control, data plane, keeper, shell, two sleeps
    wait::until(PATIENCE, "the whole family", || member.sidecar.processes().len() >= 7);
    let family = member.sidecar.processes();
    member.sidecar.kill();
    await_gone(&family, PATIENCE);
}

/// A call that is in flight when the callee is asked to end is answered, the name is withdrawn before, the exit code
/// is 0; the same for the caller, whose client waits.
fn ends_in_order(signal: i32) {
    let ground = Ground::new(rig::outrigger!());
    let app = Echo::start("one");
    let grace = ["--dapr-graceful-shutdown-seconds", "30"];
    let mut callee = ground.start("callee", Some(app.port()), &grace);
    ground.await_registered("callee", 1);
    let mut caller = ground.start("caller", None, &grace);
    ground.await_registered("caller", 1);
    let to = caller.http;
    let client = thread::spawn(move || {
        client::request(to, "POST", "/v1.0/invoke/callee/method/slow", &[], b"still in flight")
    });
    wait::until(PATIENCE, "the call is at the app", || app.held() == 1);
    callee.sidecar.signal(signal);
    caller.sidecar.signal(signal);
    ground.await_registered("callee", 0);
    ground.await_registered("caller", 0);
    assert!(callee.sidecar.has_ended().is_none() && caller.sidecar.has_ended().is_none());
    app.let_go();
    let got = client.join().unwrap();
    assert_eq!((got.status, got.text().as_str()), (200, "still in flight"), "{got:?}");
    for member in [&mut callee, &mut caller] {
        let ended = member.sidecar.ends_within(PATIENCE);
        assert_eq!(ended.and_then(|e| e.code()), Some(0), "{ended:?}\n{}", member.sidecar.tail());
    }
}

#[test]
fn a_terminated_sidecar_finishes_what_is_in_flight_and_exits_with_0() {
    ends_in_order(libc_signal::TERM);
}

#[test]
fn an_interrupted_sidecar_finishes_what_is_in_flight_and_exits_with_0() {
    ends_in_order(libc_signal::INT);
}

#[test]
fn the_apps_exit_code_is_that_of_run() {
    let ground = Ground::new(rig::outrigger!());
    let go = ground.folder().path().join("go");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; exit 7", go.display());
    let mut member = ground.start("leaver", None, &["--", "sh", "-c", &script]);
    let family = member.sidecar.processes();
    ground.await_registered("leaver", 1);
    std::fs::write(&go, "").unwrap();
    let ended = member.sidecar.ends_within(PATIENCE);
    assert_eq!(ended.and_then(|e| e.code()), Some(7), "{}", member.sidecar.tail());
    assert_eq!(ground.registered("leaver"), 0);
    await_gone(&family, PATIENCE);
}

/// Ends a sidecar in order, and waits until it is gone.
type End = fn(&mut Member);

fn by_signal(member: &mut Member) {
    let ended = member.sidecar.terminate();
    assert_eq!(ended.and_then(|e| e.code()), Some(0), "{}", member.sidecar.tail());
}

fn by_the_api(member: &mut Member) {
    assert_eq!(client::request(member.http, "POST", "/v1.0/shutdown", &[], b"").status, 204);
    let ended = member.sidecar.ends_within(PATIENCE);
    assert_eq!(ended.and_then(|e| e.code()), Some(0), "{}", member.sidecar.tail());
}

#[test]
fn three_callees_that_are_replaced_one_by_one_cost_no_call() {
    replace_callees(by_signal);
}

#[test]
fn three_callees_that_the_api_ends_one_by_one_cost_no_call() {
    replace_callees(by_the_api);
}

fn replace_callees(end: End) {
    let _turn = turn();
    let ground = Ground::new(rig::outrigger!());
    let apps = ["one", "two", "three"].map(Echo::start);
    let mut callees = apps.each_ref().map(|app| ground.start("callee", Some(app.port()), &[]));
    ground.await_registered("callee", 3);
    let caller = ground.start("caller", None, &[]);
    let (load, machine) = (Load::start(caller.http, "callee", CONNECTIONS, RATE), Account::now());
    load.await_more(100);
    for (app, callee) in apps.iter().zip(&mut callees) {
        end(callee);
        load.await_more(100);
        *callee = ground.start("callee", Some(app.port()), &[]);
        ground.await_registered("callee", 3);
        load.await_more(100);
    }
    let tally = ended(load, &machine);
    assert!(tally.is_clean() && tally.by.len() == 3, "{tally:?}");
}

#[test]
fn three_callers_that_are_replaced_one_by_one_cost_no_call() {
    replace_callers(by_signal);
}

#[test]
fn three_callers_that_the_api_ends_one_by_one_cost_no_call() {
    replace_callers(by_the_api);
}

/// Clients are where a balancer sends them, which looks at readiness: they stop when the sidecar says that it leaves.
fn replace_callers(end: End) {
    let _turn = turn();
    let ground = Ground::new(rig::outrigger!());
    let app = Echo::start("one");
    let _callee = ground.start("callee", Some(app.port()), &[]);
    ground.await_registered("callee", 1);
    let mut callers = [(); 3].map(|()| ground.start("caller", None, &[]));
    let balancer = Balancer::watch(&callers.each_ref().map(|caller| caller.http));
    let (load, machine) = (Load::balanced(&balancer, "callee", CONNECTIONS, RATE), Account::now());
    load.await_more(100);
    for caller in &mut callers {
        end(caller);
        load.await_more(100);
        let fresh = ground.start("caller", None, &[]);
        balancer.replace(caller.http, fresh.http);
        *caller = fresh;
        load.await_more(100);
    }
    let tally = ended(load, &machine);
    assert!(tally.is_clean(), "{tally:?}");
}

fn leaf(status: &Value) -> Option<i64> {
    let all = status["identity"]["certificates"].as_array()?;
    all.iter().find(|c| c["role"] == "leaf")?["not_after"].as_i64()
}

/// Certificates of ten seconds under load.
fn renewed(time: Duration) {
    let pair = Pair::start(&["--leaf-lifetime", "10s"]);
    let until = Instant::now() + time;
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    while Instant::now() < until {
        for (member, seen) in [&pair.caller, &pair.callee].into_iter().zip(&mut seen) {
            seen.extend(member.status().as_ref().and_then(leaf));
        }
        pair.load.await_more(u64::from(RATE));
    }
    let tally = ended(pair.load, &pair.machine);
    assert!(tally.is_clean(), "{tally:?}");
    assert!(seen.iter().all(|leaves| leaves.len() >= 4), "{seen:?}");
}

#[test]
fn leaves_of_ten_seconds_are_renewed_without_a_failed_call() {
    renewed(Duration::from_secs(33));
}

#[test]
#[ignore = "the same for the whole minute that the requirement names"]
fn leaves_of_ten_seconds_are_renewed_for_a_minute_without_a_failed_call() {
    renewed(Duration::from_secs(60));
}

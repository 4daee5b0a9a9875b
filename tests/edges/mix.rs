//! A long random mix of calls, aborts, errors and restarts, every one held against the [plan](crate::plan).

use crate::mix_app::{MixApp, Visit};
use crate::plan::{self, Client, Event, MOST, Outcome, Plan, To};
use rig::echo::{read_body, read_head};
use rig::ground::{Ground, Member, await_gone};
use rig::http1::body::Framing;
use rig::http1::{client, head};
use rig::sidecar::send_signal;
use rig::wait;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::thread;
use std::time::Duration;

/// Longest wait for one answer, and for a sidecar that was restarted.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clients at once.
const LANES: u64 = 4;
/// Calls between two events: so many that no sidecar loses a process more often than its supervisor puts up with.
const STRETCH: u64 = 500;
/// Calls of every run, and those that the requirement names.
const SOME: u64 = 3_000;
const ALL: u64 = 10_000;
/// The mix of every run, unless the variable `OUTRIGGER_MIX` says SEED or SEED:FROM-TO.
const SEED: u64 = 1;

/// Which calls of which mix.
fn chosen(count: u64) -> (u64, Range<u64>) {
    let Ok(text) = std::env::var("OUTRIGGER_MIX") else { return (SEED, 0..count) };
    let number = |text: &str| {
        text.parse().unwrap_or_else(|e| panic!("OUTRIGGER_MIX is SEED or SEED:FROM-TO, not {text}: {e}"))
    };
    match text.split_once(':') {
        None => (number(&text), 0..count),
        Some((seed, calls)) => {
            let (from, to) = calls.split_once('-').unwrap_or((calls, calls));
            (number(seed), number(from)..number(to) + 1)
        }
    }
}

struct House {
    caller: Member,
    callee: Member,
    app: MixApp,
    ground: Ground,
}

impl House {
    fn open(seed: u64) -> House {
        let ground = Ground::new(rig::outrigger!());
        let app = MixApp::start(seed);
        let callee = start_callee(&ground, &app);
        ground.await_registered("callee", 1);
        let caller = ground.start("caller", None, &["--max-body-size", &MOST.to_string()]);
        House { caller, callee, app, ground }
    }

    fn happens(&mut self, event: Event) {
        let who = |caller| if caller { &self.caller } else { &self.callee };
        match event {
            Event::Nothing => {}
            Event::KillControl(caller) => kill(who(caller).control()),
            Event::KillDataPlane(caller) => kill(who(caller).data_plane()),
            Event::ReplaceCallee => {
                let ended = self.callee.sidecar.terminate();
                assert_eq!(ended.and_then(|e| e.code()), Some(0), "{}", self.callee.sidecar.tail());
                self.callee = start_callee(&self.ground, &self.app);
                self.ground.await_registered("callee", 1);
            }
        }
        let serves =
            |to| client::request(to, "GET", "/v1.0/invoke/callee/method/ready", &[], b"").status == 200;
        wait::until(PATIENCE, &format!("both serve again after {event:?}"), || {
            serves(self.caller.http) && serves(self.callee.http)
        });
    }

    fn address(&self, to: To) -> SocketAddr {
        if to == To::Own { self.callee.http } else { self.caller.http }
    }
}

fn start_callee(ground: &Ground, app: &MixApp) -> Member {
    ground.start("callee", Some(app.port()), &["--max-body-size", &MOST.to_string()])
}

fn kill(process: u32) {
    send_signal(i32::try_from(process).unwrap(), 9);
    await_gone(&[process], PATIENCE);
}

/// One client with its connections, one to each sidecar.
#[derive(Default)]
struct Lane {
    open: Vec<(SocketAddr, BufReader<TcpStream>)>,
}

/// What a client got.
#[derive(Debug)]
struct Got {
    status: u16,
    number: Option<u64>,
    saw: Option<usize>,
    body: Vec<u8>,
    whole: Result<(), String>,
}

impl Lane {
    /// Makes the call; what is wrong with what came.
    fn call(&mut self, plan: &Plan, to: SocketAddr) -> Result<(), String> {
        let place = self.open.iter().position(|(at, _)| *at == to);
        let mut stream = match place {
            Some(place) => self.open.remove(place).1,
            None => connect(to).map_err(|e| format!("cannot connect: {e}"))?,
        };
        let sent = send(plan, stream.get_mut());
        if plan.client != Client::Stays {
            let _ = stream.get_ref().shutdown(Shutdown::Both);
            return Ok(());
        }
        let (got, close) =
            receive(plan, &mut stream).map_err(|e| format!("no answer: {e}; sending ended {sent:?}"))?;
        // the sidecar ends the connection of a body that is too large, whatever it said before it knew
        let usable = !close && got.whole.is_ok() && sent.is_ok() && plan.up <= MOST;
        if plan.keeps && usable {
            self.open.push((to, stream));
        }
        judge(plan, &got)
    }
}

fn connect(to: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// The request, as far as the client sends it.
fn send(plan: &Plan, to: &mut TcpStream) -> io::Result<()> {
    let target = match plan.to {
        To::Health => "/v1.0/healthz/outbound".to_owned(),
        To::Nobody => "/v1.0/invoke/nobody/method/x".to_owned(),
        To::App | To::Own => format!("/v1.0/invoke/callee/method/{}", plan.number),
    };
    let verb = if plan.to == To::Health { "GET" } else { plan.verb };
    let body = plan::bytes(plan.number, if plan.to == To::Health { 0 } else { plan.up });
    let framing = match plan.chunked && !body.is_empty() {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", body.len()),
    };
    let close = if plan.keeps { "" } else { "Connection: close\r\n" };
    let mut bytes = format!("{verb} {target} HTTP/1.1\r\nHost: a\r\n{close}{framing}\r\n\r\n").into_bytes();
    let until = match plan.client {
        Client::LeavesInBody(at) => at.min(body.len()),
        Client::Stays | Client::LeavesWaiting => body.len(),
    };
    if plan.chunked && !body.is_empty() {
        for chunk in body[..until].chunks(5_000) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        if until == body.len() {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
    } else {
        bytes.extend_from_slice(&body[..until]);
    }
    to.write_all(&bytes)
}

/// The answer, and whether the connection ends with it.
fn receive(plan: &Plan, from: &mut BufReader<TcpStream>) -> io::Result<(Got, bool)> {
    let Some(head) = read_head(from)? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    let text = |name| head.value(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let status = String::from_utf8_lossy(head.word(1)).parse().unwrap_or(0);
    let verb = if plan.to == To::Health { "GET" } else { plan.verb };
    let framing = Framing::of_response(&head, verb.as_bytes(), status);
    let mut body = Vec::new();
    let whole = read_body(from, framing, |part| body.extend_from_slice(part)).map_err(|e| e.to_string());
    let number = text("number").and_then(|n| n.parse().ok());
    let saw = text("saw").and_then(|n| n.parse().ok());
    let close = head::value(&head.headers, "connection").is_some_and(|v| v.eq_ignore_ascii_case(b"close"));
    Ok((Got { status, number, saw, body, whole }, close || framing == Framing::ToEnd))
}

/// What came, against what must.
fn judge(plan: &Plan, got: &Got) -> Result<(), String> {
    let wanted = plan::bytes(plan.number, plan.body());
    let is_error = |status: u16| {
        let names =
            plan.verb == "HEAD" || String::from_utf8_lossy(&got.body).contains("\"errorCode\":\"ERR_");
        got.status == status && got.whole.is_ok() && names && got.number.is_none()
    };
    let is_whole = || {
        let told =
            got.number == Some(plan.number) && (plan.way == plan::Way::Early || got.saw == Some(plan.up));
        got.status == plan.status && told && got.whole.is_ok() && got.body == wanted
    };
    let is_cut = || got.whole.is_err() && wanted.starts_with(&got.body) && got.number == Some(plan.number);
    let right = match plan.outcome() {
        Outcome::Whole => is_whole(),
        Outcome::WholeOrTooLarge => is_whole() || is_error(413) || is_cut(),
        Outcome::Cut => is_cut() || is_error(500),
        Outcome::Error(status) => is_error(status),
        Outcome::Own => got.status == 204 && got.body.is_empty(),
        Outcome::Nobody => true,
    };
    if right {
        return Ok(());
    }
    let (length, same) = (got.body.len(), wanted.iter().zip(&got.body).take_while(|(a, b)| a == b).count());
    let begin = String::from_utf8_lossy(&got.body[..length.min(200)]).into_owned();
    let Got { status, number, saw, whole, .. } = got;
    Err(format!(
        "got {status}, of call {number:?}, which saw {saw:?}, body of {length} ({same} right, {whole:?}): {begin:?}"
    ))
}

/// What the app saw, against what it may see.
fn judge_visits(plan: &Plan, visits: &[Visit]) -> Result<(), String> {
    let whole = |visit: &Visit| visit.verb == plan.verb && visit.body == plan::bytes(plan.number, plan.up);
    let cut = |visit: &Visit| visit.is_cut && plan::bytes(plan.number, plan.up).starts_with(&visit.body);
    let right = |visit: &Visit| if visit.is_cut { plan.may_be_cut() && cut(visit) } else { whole(visit) };
    let never_whole =
        matches!(plan.client, Client::LeavesInBody(_)) && visits.iter().any(|visit| !visit.is_cut);
    if plan.visits().contains(&visits.len()) && visits.iter().all(right) && !never_whole {
        return Ok(());
    }
    let brief: Vec<_> = visits.iter().map(|v| (&v.verb, v.body.len(), v.is_cut)).collect();
    Err(format!("the app saw {brief:?}"))
}

/// Plays a stretch with all lanes; what went wrong.
fn play(house: &House, seed: u64, calls: Range<u64>) -> Vec<(Plan, String)> {
    let lanes: Vec<Vec<(Plan, String)>> = thread::scope(|scope| {
        let lane = |n: u64| {
            let calls = calls.clone();
            scope.spawn(move || {
                let mut lane = Lane::default();
                let plans = calls.filter(|call| call % LANES == n).map(|call| Plan::of(seed, call));
                plans
                    .filter_map(|plan| Some((plan, lane.call(&plan, house.address(plan.to)).err()?)))
                    .collect()
            })
        };
        let running: Vec<_> = (0..LANES).map(lane).collect();
        running.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    let mut wrong: Vec<_> = lanes.into_iter().flatten().collect();
    let visits = house.app.visits(calls.clone());
    for plan in calls.map(|call| Plan::of(seed, call)) {
        if let Err(why) = judge_visits(&plan, visits.get(&plan.number).map_or(&[], Vec::as_slice)) {
            wrong.push((plan, why));
        }
    }
    wrong
}

fn mixed(count: u64) {
    let (seed, calls) = chosen(count);
    let mut house = House::open(seed);
    let mut at = calls.start;
    while at < calls.end {
        let stretch = at..calls.end.min((at / STRETCH + 1) * STRETCH);
        let event = plan::event(seed, stretch.start / STRETCH * STRETCH);
        house.happens(event);
        at = stretch.end;
        let wrong = play(&house, seed, stretch.clone());
        let Some((first, _)) = wrong.first() else { continue };
        let all: Vec<String> = wrong.iter().take(10).map(|(plan, why)| format!("{plan:?}: {why}")).collect();
        let from = stretch.start / STRETCH * STRETCH;
        let replay = format!(
            "OUTRIGGER_MIX={seed}:{from}-{} cargo test --test edges a_mix",
            wrong.iter().map(|(p, _)| p.number).fold(first.number, u64::max)
        );
        panic!("after {event:?}, {} calls went wrong:\n{}\nreplay: {replay}", wrong.len(), all.join("\n"));
    }
}

#[test]
fn a_mix_of_calls_aborts_errors_and_restarts_comes_out_as_it_must() {
    mixed(SOME);
}

#[test]
#[ignore = "the same with the 10,000 calls that the requirement names"]
fn a_mix_of_ten_thousand_calls_comes_out_as_it_must() {
    mixed(ALL);
}

//! Two ends against each other over byte streams that are cut anywhere. A failure names its seed; [`run`] replays it.

use super::wire::{REQUEST, RESPONSE, START};
use crate::http2::{BlockId, Code, Connection, Event, Failure, Limits, Literal, Slot};
use crate::rng::Rng;
use crate::time::Tick;
use core::time::Duration;
use std::collections::HashMap;

/// What one stream is to do, drawn from the seed.
#[derive(Clone, Copy, Debug)]
struct Plan {
    number: usize,
    request: usize,
    response: usize,
    /// The client resets it after so many request bytes; the server after so many response bytes.
    client_gives_up: Option<usize>,
    server_gives_up: Option<usize>,
    /// The server answers without waiting for the request's end.
    early: bool,
}

impl Plan {
    fn draw(rng: &mut Rng, number: usize) -> Plan {
        let size = |rng: &mut Rng| match rng.below(20) {
            0..10 => rng.below(200) as usize,
            10..19 => rng.below(5_000) as usize,
            _ => rng.below(80_000) as usize,
        };
        let (request, response) = (size(rng), size(rng));
        let mut rarely = |below: usize| (rng.below(20) == 0).then(|| rng.below(below as u64 + 1) as usize);
        let (client_gives_up, server_gives_up) = (rarely(request), rarely(response));
        Plan { number, request, response, client_gives_up, server_gives_up, early: rng.below(10) == 0 }
    }

    fn byte(&self, at: usize) -> u8 {
        (self.number * 31 + at * 7 + at / 251) as u8
    }
}

/// One end of one stream.
struct Run {
    plan: Plan,
    slot: Slot,
    sent: usize,
    got: usize,
    responded: bool,
}

struct Side {
    conn: Connection,
    head: BlockId,
    trailers: BlockId,
    runs: Vec<Run>,
    /// Bytes on their way to the other side.
    pipe: Vec<u8>,
    client: bool,
}

impl Side {
    fn new(mut conn: Connection, client: bool) -> Side {
        let request: Vec<(&str, &str)> = REQUEST.iter().filter(|f| f.0 != ":path").copied().collect();
        let head = conn.register(if client { &request } else { &RESPONSE });
        let trailers = conn.register(&[("grpc-status", "0")]);
        Side { conn, head, trailers, runs: vec![], pipe: vec![], client }
    }

    /// Whether this run's writing is finished, and whether its reading is.
    fn lengths(&self, plan: &Plan) -> (usize, usize) {
        if self.client { (plan.request, plan.response) } else { (plan.response, plan.request) }
    }

    fn write_some(&mut self, i: usize, rng: &mut Rng) {
        let run = &mut self.runs[i];
        let plan = run.plan;
        let (total, _) = if self.client { (plan.request, 0) } else { (plan.response, 0) };
        if !self.conn.has_room(run.slot) || !self.conn.is_writable(run.slot) {
            return;
        }
        if !self.client && !run.responded {
            if !plan.early && !self.conn.is_complete(run.slot) {
                return;
            }
            run.responded = true;
            self.conn.headers(run.slot, false, Some(self.head), &[]);
        }
        let n = (rng.below(6_000) as usize).min(total - run.sent);
        let from = run.sent;
        run.sent += n;
        let last = run.sent == total;
        let end = self.client && last && rng.below(2) == 0;
        let bytes: Vec<u8> = (from..from + n).map(|at| plan.byte(at)).collect();
        let (lead, body) = bytes.split_at(n.min(rng.below(40) as usize));
        match rng.below(2) {
            0 => self.conn.data(run.slot, end, |out| out.extend_from_slice(&bytes)),
            _ => self.conn.body(run.slot, end, |out| out.extend_from_slice(lead), body),
        }
        if self.client && last && !end {
            self.conn.data(run.slot, true, |_| ());
        }
        if !self.client && last {
            self.conn.headers(run.slot, true, Some(self.trailers), &[Literal::new("x", b"y")]);
        }
    }

    fn read_some(&mut self, i: usize, rng: &mut Rng) {
        let run = &mut self.runs[i];
        let bytes = self.conn.received(run.slot);
        let n = (rng.below(8_000) as usize).min(bytes.len());
        assert!(bytes[..n].iter().enumerate().all(|(k, b)| *b == run.plan.byte(run.got + k)), "bytes differ");
        run.got += n;
        match rng.below(3) {
            0 => self.conn.take(run.slot, n),
            1 => {
                let lent = self.conn.lend(run.slot);
                self.conn.restore(run.slot, lent, n);
            }
            _ => {
                let (buffer, at) = self.conn.detach(run.slot, n, Vec::new());
                assert!(buffer[at..at + n].iter().zip(run.got - n..).all(|(b, k)| *b == run.plan.byte(k)));
                self.conn.returned(run.slot, n / 2);
                self.conn.returned(run.slot, usize::MAX);
            }
        }
        if rng.below(4) == 0 {
            let missing = if self.client { run.plan.response } else { run.plan.request } - run.got;
            self.conn.wait_for(run.slot, missing.min(1 + rng.below(20_000) as usize));
        }
    }

    /// Ends a run that is over or is to be given up; true if it is gone.
    fn settle(&mut self, i: usize, outcomes: &mut Outcomes) -> bool {
        let run = &self.runs[i];
        let (plan, slot) = (run.plan, run.slot);
        let (write, read) = self.lengths(&plan);
        let gives_up = if self.client { plan.client_gives_up } else { plan.server_gives_up };
        let whole = self.conn.is_complete(slot) && run.got == read;
        assert!(run.got <= read);
        if let Some(failure) = self.conn.failure(slot) {
            outcomes.failed(self.client, &plan, failure);
        } else if whole && run.sent == write && !self.conn.is_writable(slot) {
            if self.client {
                assert_eq!(self.conn.trailers(slot).named(b"x"), Some(&b"y"[..]));
            }
            outcomes.whole(self.client, &plan);
        } else if self.client && whole {
            outcomes.whole(true, &plan); // answered early: the rest of the request is not needed
        } else if !self.client && run.sent == write && !self.conn.is_writable(slot) && plan.early {
            outcomes.whole(false, &plan);
        } else if gives_up.is_some_and(|at| run.sent >= at) {
            outcomes.gave_up(self.client, &plan);
            self.conn.reset(slot, Code::CANCEL);
        } else {
            return false;
        }
        self.conn.release(slot);
        self.runs.swap_remove(i);
        true
    }

    /// Moves up to `most` bytes to the other side.
    fn deliver(&mut self, to: &mut Side, most: usize, now: Tick) {
        self.pipe.append(self.conn.write());
        let n = most.min(self.pipe.len());
        to.conn.receive(&self.pipe[..n], now).expect("two ends of ours never violate the protocol");
        self.pipe.drain(..n);
    }
}

/// How the streams ended at both ends.
#[derive(Default)]
struct Outcomes {
    client: HashMap<usize, &'static str>,
    server: HashMap<usize, &'static str>,
}

impl Outcomes {
    fn note(&mut self, client: bool, plan: &Plan, what: &'static str) {
        let map = if client { &mut self.client } else { &mut self.server };
        assert_eq!(map.insert(plan.number, what), None, "ended twice");
    }

    fn whole(&mut self, client: bool, plan: &Plan) {
        self.note(client, plan, "whole");
    }

    fn gave_up(&mut self, client: bool, plan: &Plan) {
        self.note(client, plan, "gave up");
    }

    fn failed(&mut self, client: bool, plan: &Plan, failure: Failure) {
        match failure {
            Failure::Reset(Code::CANCEL) => {
                let given_up = plan.client_gives_up.is_some() || plan.server_gives_up.is_some();
                assert!(given_up || (plan.early && !client), "{plan:?}");
            }
            Failure::Reset(Code::NO_ERROR) => assert!(plan.early && client),
            Failure::Unprocessed => assert!(client, "the server executes too many"),
            other => panic!("{plan:?} failed by {other:?}"),
        }
        self.note(client, plan, "failed");
    }

    fn check(&self, streams: usize) {
        assert_eq!(self.client.len(), streams);
        for (number, client) in &self.client {
            match (*client, self.server.get(number).copied()) {
                // a server may reset what it has answered; a stream reset before it came is no call
                ("whole", Some("whole" | "failed" | "gave up")) | ("gave up" | "failed", _) => {}
                other => panic!("stream {number}: {other:?}"),
            }
        }
    }
}

fn limits(rng: &mut Rng) -> Limits {
    let windows = [100, 5_000, 65_536, 1 << 20];
    let stream_window = windows[rng.below(4) as usize];
    Limits {
        concurrent_streams: 1 + rng.below(50) as u32,
        stream_window,
        stream_window_grown: stream_window.max(windows[rng.below(4) as usize]),
        window_growth: (1 << 20) + rng.below(1 << 22) as u32,
        connection_window: 65_535 + rng.below(1 << 20) as u32,
        turn_bytes: 100 + rng.below(100_000) as usize,
        stream_unsent: 1 + rng.below(100_000) as usize,
        resets_per_second: u32::MAX,
        ..Limits::default()
    }
}

/// Runs `streams` streams over one connection as `seed` says.
fn run(seed: u64, streams: usize) {
    let mut rng = Rng::new(seed);
    let mut now = START;
    let mut client = Side::new(Connection::client(limits(&mut rng), now), true);
    let mut server = Side::new(Connection::server(limits(&mut rng), now), false);
    let mut plans: Vec<Plan> = (0..streams).map(|n| Plan::draw(&mut rng, n)).collect();
    let all = plans.clone();
    let mut outcomes = Outcomes::default();
    let mut steps = 0u64;
    while !(plans.is_empty() && client.runs.is_empty() && server.runs.is_empty()) {
        steps += 1;
        assert!(steps < 4_000 * streams as u64 + 100_000, "stuck");
        let cut = [1, 9, 50, 2_000, 100_000][rng.below(5) as usize];
        match rng.below(12) {
            0..3 => client.deliver(&mut server, cut, now),
            3..6 => server.deliver(&mut client, cut, now),
            6 => {
                now = now + Duration::from_millis(rng.below(50));
                client.conn.tick(now).unwrap();
                server.conn.tick(now).unwrap();
            }
            7 if client.conn.room() > 0 => {
                if let Some(plan) = plans.pop() {
                    let path = format!("/{}", plan.number);
                    let long = vec![b'l'; if rng.below(50) == 0 { 20_000 } else { 20 }];
                    let literals = [Literal::new("traceparent", &long)];
                    let slot = client.conn.start(client.head, Some(path.as_bytes()), &literals).unwrap();
                    client.runs.push(Run { plan, slot, sent: 0, got: 0, responded: false });
                }
            }
            _ => {}
        }
        while let Some(event) = server.conn.poll() {
            if let Event::Opened(slot) = event {
                let path = std::str::from_utf8(server.conn.head(slot).named(b":path").unwrap()).unwrap();
                let plan = all[path[1..].parse::<usize>().unwrap()];
                server.runs.push(Run { plan, slot, sent: 0, got: 0, responded: false });
            }
        }
        while client.conn.poll().is_some() {}
        for side in [&mut client, &mut server] {
            if side.runs.is_empty() {
                continue;
            }
            let i = rng.below(side.runs.len() as u64) as usize;
            if side.settle(i, &mut outcomes) || i >= side.runs.len() {
                continue;
            }
            if rng.below(2) == 0 { side.write_some(i, &mut rng) } else { side.read_some(i, &mut rng) }
        }
    }
    outcomes.check(streams);
    for _ in 0..4 {
        client.deliver(&mut server, usize::MAX, now);
        server.deliver(&mut client, usize::MAX, now);
    }
    client.conn.assert_settled_with(&server.conn);
    server.conn.assert_settled_with(&client.conn);
    server.conn.shutdown(now);
    for _ in 0..3 {
        server.deliver(&mut client, usize::MAX, now);
        client.deliver(&mut server, usize::MAX, now);
    }
    assert!(client.conn.is_over() && server.conn.is_over(), "both ends left in peace");
}

fn run_many(streams: usize) {
    const A_SEED: usize = 100;
    for seed in 0..(streams / A_SEED) as u64 {
        let result = std::panic::catch_unwind(|| run(seed, A_SEED));
        assert!(result.is_ok(), "seed {seed}, {A_SEED} streams");
    }
}

#[test]
fn two_ends_agree_on_twenty_thousand_streams() {
    run_many(20_000);
}

/// The long run: `cargo test -p proto --release a_million -- --ignored`; OUTRIGGER_STREAMS changes how many.
#[test]
#[ignore = "minutes: run before a release"]
fn two_ends_agree_on_a_million_streams() {
    let streams = std::env::var("OUTRIGGER_STREAMS").ok().and_then(|s| s.parse().ok());
    run_many(streams.unwrap_or(1_000_000));
}

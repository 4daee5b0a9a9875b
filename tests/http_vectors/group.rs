//! The cases of one topology, in order, against the same processes.

use crate::exceptions::{self, Exception};
use crate::observed;
use crate::players::Players;
use crate::stage::{Saw, Stage, names_type};
use rig::harness::{Group, Outcome, message};
use rig::http1::client::{Client, Got};
use rig::http1::{App, app};
use rig::machine::Account;
use rig::peer::{Called, Peer};
use rig::sidecar::send_signal;
use rig::vectors::compare::{Context, lateness};
use rig::vectors::http::{self, Case, OneOrMany, Send, Topology};
use rig::vectors::observe::client_steps;
use rig::vectors::tokens::Found;
use rig::wait;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(14);
/// How long it may take where the recording says that none comes.
const NO_ANSWER: Duration = Duration::from_secs(3);

/// How long a request that must reach the app may take once its client has its answer.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long one is waited for that may reach the app or not.
const MAYBE: Duration = Duration::from_millis(500);

/// A topology with its cases.
pub(crate) struct TopologyGroup {
    topology: Topology,
    cases: Vec<Case>,
    players: Players,
}

impl TopologyGroup {
    pub(crate) fn new(topology: &Topology, cases: Vec<Case>, players: Players) -> TopologyGroup {
        TopologyGroup { topology: topology.clone(), cases, players }
    }

    /// The name of a case with these players.
    fn name(&self, case: &Case) -> String {
        format!("{}{}", self.players.prefix(), case.name)
    }
}

/// What a real daprd does differently from run to run although the recordings agreed.
const VARYING: [(&str, &str); 4] = [
    ("early-answers/200-with-close", "got.end"),
    ("early-answers/200-with-close", "app_saw[0].sidecar_closed"),
    ("early-answers/413-with-close", "app_saw[0].sidecar_closed"),
    ("endpoints/named/status-099", "got"),
];

/// What depends on when the client looks: on a busy machine a process that was told to end at once may be gone by then.
const RACING: [(&str, &str); 1] = [("routes/shutdown-forced", "got.end")];

/// A client may look late where so much of the machine is used.
const BUSY: f64 = 0.5;

/// What a real daprd that is asked says more or less of, depending on how far its start has come.
const STARTING: [(&str, &str); 1] = [("errors/app-down/healthz-of-callee", "got.body")];

/// The order of a topology's cases where one changes what the next sees; all others keep the order of the files.
const ORDER: [&str; 12] = [
    "start/",
    "app-health/probe",
    "app-health/unhealthy",
    "app-health/becomes-healthy",
    "app-health/becomes-unhealthy",
    "app-health/healthy-again",
    "errors/app-down/healthz",
    "errors/app-down/local",
    "errors/app-down/remote",
    "errors/app-down/",
    "built-in-retries/callee-killed",
    "routes/shutdown",
];

/// Sorts cases into an order in which they can be played.
pub(crate) fn in_order(mut cases: Vec<Case>) -> Vec<Case> {
    let place = |case: &Case| match case.name.as_str() {
        // These change the topology for good.
        name if name.contains("after-app-starts") => 100,
        name if name.starts_with("built-in-retries/callee-killed") => 101,
        name if name.starts_with("start/") => 0,
        name => ORDER.iter().position(|prefix| name.starts_with(prefix)).unwrap_or(50),
    };
    cases.sort_by_key(place);
    cases
}

impl Group for TopologyGroup {
    fn cases(&self) -> Vec<String> {
        self.cases.iter().map(|c| self.name(c)).collect()
    }

    fn run(self: Box<Self>, chosen: &[String], tell: &mut dyn FnMut(&str, Outcome)) {
        let mut cases = Vec::new();
        for case in self.cases.iter().filter(|c| chosen.contains(&self.name(c))) {
            match exceptions::of(&case.name, &self.players) {
                Some(Exception::Later(why)) => tell(&self.name(case), Outcome::Ignored(why)),
                other => cases.push((case, other)),
            }
        }
        if cases.is_empty() {
            return;
        }
        let mut stage = Stage::open(&self.topology, &self.players);
        let mut warm = false;
        for (case, exception) in cases {
            if !warm
                && !case.name.starts_with("start/")
                && case.topology != "app-unhealthy"
                && case.topology != "app-down"
            {
                stage.script(&[], &[]);
                stage.warm();
                warm = true;
            }
            let outcome =
                catch_unwind(AssertUnwindSafe(|| play(&mut stage, case, exception.as_ref(), &self.players)));
            tell(&self.name(case), outcome.unwrap_or_else(|panic| Outcome::Failed(message(panic.as_ref()))));
        }
    }
}

fn play(stage: &mut Stage<'_>, case: &Case, exception: Option<&Exception>, players: &Players) -> Outcome {
    let about_start = case.name.starts_with("start/");
    let probes = stage.http_app().map_or(0, |app| app.probes().len());
    if !about_start {
        stage.script(&[], &[]);
    }
    stage.before(case);
    if case.name.starts_with("routes/shutdown") && case.name.ends_with("-after") {
        wait::within(PATIENCE, || (!stage.ended().is_empty()).then_some(()));
    }
    if !about_start {
        stage.script(&case.app, &case.peer);
    }
    let machine = Account::now();
    let got = send(stage, case);
    if case.name == "app-health/probe" {
        return probe_outcome(stage, case, probes);
    }
    let attempts = attempts(case, exception, players);
    let may_miss = recorded_as_varying("app_saw", case, exception, players);
    await_requests(stage, &attempts, may_miss);
    let saw = stage.app_saw();
    let called = stage.peer().map(Peer::called).unwrap_or_default();
    let (lateness, busy) = (lateness(&machine), machine.used() >= BUSY);
    let ended = finish(stage, case);
    let mut failures = Vec::new();
    for (expected, app_saw) in attempts {
        let mut differences = compare(
            stage,
            case,
            expected,
            app_saw,
            &Observed { got: &got, saw: saw.as_ref(), called: &called, lateness },
        );
        let excused = |d: &String| varies(d, case, exception, players) || (busy && races(d, case));
        differences.retain(|d| !excused(d));
        let died: &[String] = if players.are_daprd() { &case.sidecar_died } else { &[] };
        let may_die = !players.are_ours() && !players.are_daprd() && !case.sidecar_died.is_empty();
        if ended != died && !may_die {
            differences.push(format!("ended sidecars: expected {died:?}, got {ended:?}"));
        }
        if differences.is_empty() {
            return Outcome::Passed;
        }
        failures.push(differences.join("\n"));
    }
    observed::keep(&case.name, &stage.known, &got.iter().flatten().collect::<Vec<_>>(), saw.as_ref());
    let bodies: Vec<String> = got.iter().flatten().map(brief).collect();
    Outcome::Failed(format!("{}\nall answers: {}", failures.join("\nor else:\n"), bodies.join(" ; ")))
}

/// An answer that passes, and what reaches the app with it.
type Attempt<'a> = (&'a OneOrMany<http::Got>, Option<&'a [http::Saw]>);

/// What passes.
fn attempts<'a>(case: &'a Case, exception: Option<&'a Exception>, players: &Players) -> Vec<Attempt<'a>> {
    if let Some(Exception::Mixed(mixed)) = exception {
        let app_saw = mixed.app_saw.as_deref().or(case.app_saw.as_deref());
        return vec![(mixed.got.as_ref().unwrap_or(&case.got), app_saw)];
    }
    let mut attempts = vec![(&case.got, case.app_saw.as_deref())];
    attempts.extend(case.other.iter().map(|other| (&other.got, other.app_saw.as_deref())));
    if let Some(Exception::Ours(ours)) = exception {
        if players.are_ours() {
            attempts.clear();
        }
        // Beside a real daprd it depends on the role whose behaviour shows.
        let (got, app_saw) = (ours.got.as_ref(), ours.app_saw.as_deref());
        attempts.push((got.unwrap_or(&case.got), app_saw.or(case.app_saw.as_deref())));
        if !players.are_ours() {
            attempts.push((&case.got, app_saw.or(case.app_saw.as_deref())));
            attempts.push((got.unwrap_or(&case.got), case.app_saw.as_deref()));
            attempts.extend(ours.beside_daprd.iter().map(|got| (got, case.app_saw.as_deref())));
        }
    }
    attempts
}

/// Whether a difference is one of those that come and go from run to run.
fn varies(difference: &str, case: &Case, exception: Option<&Exception>, players: &Players) -> bool {
    let listed = |list: &[(&str, &str)]| {
        list.iter().any(|(name, path)| case.name.starts_with(name) && difference.starts_with(path))
    };
    recorded_as_varying(difference, case, exception, players)
        || !players.are_ours() && listed(&STARTING)
        || players.are_daprd() && listed(&VARYING)
}

/// Whether a difference is one of those that a late look makes.
fn races(difference: &str, case: &Case) -> bool {
    RACING.iter().any(|(name, path)| case.name.starts_with(name) && difference.starts_with(path))
}

/// Whether two recordings differed there: by how the client's bytes arrive, also between two of ours where they have no
/// answer of their own.
fn recorded_as_varying(
    difference: &str,
    case: &Case,
    exception: Option<&Exception>,
    players: &Players,
) -> bool {
    (!players.are_ours() || exception.is_none())
        && case.differs.iter().any(|path| difference.starts_with(path.as_str()))
}

/// A request may reach the app after its client has its answer: those that must come are waited for, those that may
/// come for a moment.
fn await_requests(stage: &Stage<'_>, attempts: &[Attempt<'_>], may_miss: bool) {
    let Some(app) = stage.http_app() else { return };
    let expected = attempts.iter().filter_map(|(_, saw)| Some(saw.as_ref()?.len()));
    let least = if may_miss { 0 } else { expected.clone().min().unwrap_or(0) };
    wait::within(ARRIVAL, || (app.arrived() >= least).then_some(()));
    if expected.max() > Some(least) {
        wait::within(MAYBE, || (app.arrived() > least).then_some(()));
    }
}

fn brief(got: &Got) -> String {
    format!("{} {} {}", got.status, got.end, rig::vectors::compare::excerpt(&got.body))
}

/// What ended although nobody killed it; those that are needed again are started.
fn finish(stage: &mut Stage<'_>, case: &Case) -> Vec<String> {
    let killed: Vec<&String> =
        case.before.iter().filter_map(|b| b.kill.as_ref().or(b.who.as_ref())).collect();
    let expected_end = case.name.starts_with("routes/shutdown");
    if !case.sidecar_died.is_empty() {
        // The process needs a moment to be gone.
        wait::within(Duration::from_secs(1), || (!stage.ended().is_empty()).then_some(()));
    }
    let ended = stage.ended();
    if expected_end {
        return Vec::new();
    }
    stage.restart(&ended);
    ended.into_iter().filter(|role| !killed.contains(&role)).collect()
}

/// What a case brought about.
struct Observed<'a> {
    got: &'a [Vec<Got>],
    saw: Option<&'a Saw>,
    called: &'a [Called],
    /// By how much later than recorded it may have happened.
    lateness: f64,
}

fn compare(
    stage: &Stage<'_>,
    case: &Case,
    expected: &OneOrMany<http::Got>,
    app_saw: Option<&[http::Saw]>,
    observed: &Observed<'_>,
) -> Vec<String> {
    let sends = case.send.list();
    let mut context = Context {
        known: &stage.known,
        found: Found::new(),
        differences: Vec::new(),
        client_fields: sends.iter().flat_map(client_fields).collect(),
        app_names_type: names_type(case, &stage.known),
        head: sends[0].method.as_deref() == Some("HEAD"),
        lateness: observed.lateness,
    };
    let flat: Vec<&Got> = observed.got.iter().flatten().collect();
    if flat.len() != expected.list().len() {
        context.differences.push(format!("answers: expected {}, got {}", expected.list().len(), flat.len()));
    }
    for (n, (expected, got)) in expected.list().iter().zip(&flat).enumerate() {
        let what = if expected_is_many(case) { format!("got[{n}]") } else { "got".to_owned() };
        context.answer(&what, expected, got);
    }
    match (app_saw, observed.saw) {
        (Some(expected), Some(Saw::Http(actual))) => context.app_saw(expected, actual),
        (Some(expected), Some(Saw::H2(actual))) => context.h2_app_saw(expected, actual),
        (Some([]), None) | (None, _) => (),
        (Some(_), None) => context.differences.push("there is no app".to_owned()),
    }
    peer_saw(case, observed.called, &mut context);
    if let (Some(expected), Some(Saw::Http(saw))) = (case.app_peak, observed.saw)
        && app::peak(saw) != expected
    {
        context
            .differences
            .push(format!("requests in work at once: expected {expected}, got {}", app::peak(saw)));
    }
    context.differences
}

fn expected_is_many(case: &Case) -> bool {
    case.got.is_many()
}

fn peer_saw(case: &Case, called: &[Called], context: &mut Context<'_>) {
    let Some(expected) = &case.peer_saw else { return };
    let paths: Vec<&str> = called.iter().map(|c| c.path.as_str()).collect();
    let wanted: Vec<&str> = expected.iter().map(|c| c.path.as_str()).collect();
    if paths != wanted {
        context.differences.push(format!("calls at the peer: expected {wanted:?}, got {paths:?}"));
    }
    for (n, (expected, call)) in expected.iter().zip(called).enumerate() {
        let after = (call.at - called[0].at).as_secs_f64();
        let wanted = expected.after.as_deref().and_then(|a| a.trim_end_matches('s').parse::<f64>().ok());
        if wanted.is_some_and(|w| (w - after).abs() > 0.75) {
            context
                .differences
                .push(format!("peer_saw[{n}].after: expected {:?}, got {after:.2}s", expected.after));
        }
    }
}

/// The names of the header fields that a client sends, in lower case.
fn client_fields(send: &Send) -> Vec<String> {
    let named =
        send.headers.iter().map(|(name, _)| String::from_utf8_lossy(&name.bytes()).to_ascii_lowercase());
    let raw = send.raw().or_else(|| send.steps.first().and_then(http::Step::bytes)).unwrap_or_default();
    let lines = String::from_utf8_lossy(&raw).into_owned();
    let in_raw = lines.lines().filter_map(|l| l.split_once(':')).map(|(name, _)| name.to_ascii_lowercase());
    named.chain(in_raw.collect::<Vec<_>>()).collect()
}

/// Sends everything a case sends; the answers by connection.
fn send(stage: &Stage<'_>, case: &Case) -> Vec<Vec<Got>> {
    let sends = case.send.list();
    let silent = |n: usize| {
        let got = case.got.list();
        got.get(n).or(got.first()).and_then(|g| g.end.as_deref()) == Some("no answer, still open")
    };
    let later = case.before.iter().find_map(|b| Some((b.kill_later_ms?, b.who.clone()?)));
    thread::scope(|scope| {
        if let Some((ms, role)) = &later {
            let family = stage.process(role).processes();
            scope.spawn(move || {
                sleep(Duration::from_millis(*ms));
                family.iter().for_each(|&id| send_signal(id as i32, 9));
            });
        }
        let begun = Instant::now();
        let mut running = Vec::new();
        let mut done = Vec::new();
        for (n, one) in sends.iter().enumerate() {
            let patience = if silent(n) { NO_ANSWER } else { PATIENCE };
            let (to, steps) = (stage.address(one.to.as_deref()), client_steps(one, &stage.known));
            let answers = one.answers.unwrap_or(1);
            let act = move || {
                let at = Duration::from_millis(one.at_ms.unwrap_or(0));
                sleep(at.saturating_sub(begun.elapsed()));
                sleep(Duration::from_millis(one.wait_ms.unwrap_or(0)));
                let mut client = Client::new(to);
                client.patience = patience;
                client.run(&steps, answers)
            };
            if one.at_ms.is_some() { running.push(scope.spawn(act)) } else { done.push(act()) }
        }
        done.extend(running.into_iter().map(|r| r.join().expect("a client ends")));
        done
    })
}

/// The case whose `app_saw` is one health probe.
fn probe_outcome(stage: &Stage<'_>, case: &Case, before: usize) -> Outcome {
    let probes = stage.http_app().map(App::probes).unwrap_or_default();
    let expected = &case.app_saw.as_ref().expect("a probe")[0];
    let Some(probe) = probes.get(before) else { return Outcome::Failed("no probe came".to_owned()) };
    if probe.line == expected.line.bytes() && probe.value("host").is_some() && probe.headers.len() <= 4 {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("an unlike probe: {probe:?}"))
    }
}

//! What waits to be told to control, each kind with its bound. No sockets, no clock.
//!
//! | kind | bound | when full | after a reconnect |
//! |---|---|---|---|
//! | answers to snapshots | [`MAX_ANSWERS`] | the connection is closed | dropped |
//! | names | [`MAX_ASKED`] | the call is refused | asked again |
//! | failed endpoints | [`MAX_HINTS`] | dropped, counted | told |
//! | report parts | one report | the older is dropped, counted | dropped |
//! | metadata that clients attached | [`MOST`](proto::control::attached::MOST) bytes | not stored, and the client is told | told again, all |
//! | draining | 1 | – | told again |

use super::TooManyNames;
use crate::rt::Sender;
use proto::control::attached::Attachments;
use proto::control::{Attached, FromDataplane, Report};
use proto::snapshot::AppRef;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Most names that wait for an answer.
pub const MAX_ASKED: usize = 1024;
/// Most failed endpoints that wait to be told.
pub const MAX_HINTS: usize = 256;
/// Longest app id or namespace that is asked for, in bytes.
pub const MAX_NAME: usize = 255;
/// How long a name may wait for its answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Most answers to snapshots that wait to be told. A control that sends on without reading is cut off.
pub(super) const MAX_ANSWERS: usize = 64;

/// Everything that waits.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    connected: bool,
    answers: VecDeque<FromDataplane>,
    asked: HashMap<AppRef, Instant>,
    /// The same, oldest first; entries that `asked` knows otherwise or not at all are stale.
    deadlines: VecDeque<(Instant, AppRef)>,
    unsent: VecDeque<AppRef>,
    hints: VecDeque<(AppRef, SocketAddr)>,
    parts: VecDeque<Report>,
    draining: Option<Duration>,
    draining_told: bool,
    attached: Kept,
    lost: u64,
}

/// Metadata that clients attached.
#[derive(Debug, Default)]
struct Kept {
    all: Attachments,
    untold: BTreeSet<String>,
    /// Whoever waits until control was told: of what is untold, and of what is being told.
    waiting: Vec<Sender<()>>,
    telling: Vec<Sender<()>>,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Tell control.
    Tell(FromDataplane),
    /// Nobody answered for this name in time, or nobody was asked.
    Unanswered {
        /// The name.
        target: AppRef,
        /// Why.
        why: Why,
    },
    /// Nothing before this moment, or at all.
    Wait(Option<Instant>),
}

/// Why a name has no answer of control's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Control is there and said nothing in time.
    Silent,
    /// Control was not there when the time was up.
    Away,
    /// It is no name that could be asked for.
    NoName,
}

fn is_name(target: &AppRef) -> bool {
    // an empty namespace is one too: NAMESPACE="" makes it
    (1..=MAX_NAME).contains(&target.app_id.len()) && target.namespace.len() <= MAX_NAME
}

impl Outbox {
    /// A connection was made: `hello` goes first, and everything that outlives a connection follows.
    pub(super) fn connected(&mut self, hello: FromDataplane) {
        self.disconnected();
        self.connected = true;
        self.answers.push_back(hello);
        self.draining_told = false;
        let asked = self.deadlines.iter().filter(|(until, app)| self.asked.get(app) == Some(until));
        self.unsent = asked.map(|(_, app)| app.clone()).collect();
        self.attached.untold = self.attached.all.iter().map(|(key, _)| key.to_owned()).collect();
    }

    /// The connection is gone, and with it what was meant for it alone.
    pub(super) fn disconnected(&mut self) {
        self.connected = false;
        self.answers.clear();
        self.attached.waiting.clear();
        self.lose_parts();
    }

    /// An answer to a snapshot; false if control does not read its answers.
    #[must_use]
    pub(super) fn answer(&mut self, answer: FromDataplane) -> bool {
        self.answers.push_back(answer);
        self.answers.len() <= MAX_ANSWERS
    }

    /// A name is wanted.
    pub(super) fn ask(&mut self, target: AppRef, now: Instant) -> Result<(), TooManyNames> {
        if self.asked.contains_key(&target) {
            return Ok(());
        }
        if self.asked.len() >= MAX_ASKED {
            return Err(TooManyNames);
        }
        if !is_name(&target) {
            self.asked.insert(target.clone(), now);
            self.deadlines.push_front((now, target));
            return Ok(());
        }
        let until = now + ANSWER_WITHIN;
        self.asked.insert(target.clone(), until);
        self.sweep();
        self.deadlines.push_back((until, target.clone()));
        self.unsent.push_back(target);
        Ok(())
    }

    /// A name's answer came; true if it was waited for.
    pub(super) fn answered(&mut self, target: &AppRef) -> bool {
        self.asked.remove(target).is_some()
    }

    /// An endpoint failed.
    pub(super) fn failed(&mut self, target: AppRef, endpoint: SocketAddr) {
        let hint = (target, endpoint);
        if self.hints.contains(&hint) || !is_name(&hint.0) {
            return;
        }
        if self.hints.len() >= MAX_HINTS {
            self.lost += 1;
        } else {
            self.hints.push_back(hint);
        }
    }

    /// The data plane ends.
    pub(super) fn draining(&mut self, grace: Duration) {
        self.draining = Some(grace);
    }

    /// A client attached metadata; `told` is dropped when control was told, or is away.
    pub(super) fn attached(&mut self, key: &str, value: &str, told: Sender<()>) {
        if self.attached.all.put(key, value).is_ok() && self.connected {
            self.attached.untold.insert(key.to_owned());
            self.attached.waiting.push(told);
        }
    }

    /// Control held this when the connection was made.
    pub(super) fn attached_earlier(&mut self, attached: &Attached) {
        self.attached.all.restore(attached.iter());
    }

    /// A report is ready. One that was not told yet is dropped: nobody waits for it any more.
    pub(super) fn report(&mut self, parts: Vec<Report>) {
        self.lose_parts();
        self.parts.extend(parts);
    }

    /// How many hints and report parts were dropped.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// What to do at `now`.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        self.forget_answered();
        self.attached.telling.clear(); // it was told: whoever tells asks for more afterwards
        if let Some((_, target)) = self.deadlines.pop_front_if(|(until, _)| *until <= now) {
            self.asked.remove(&target);
            let why = match self.connected {
                _ if !is_name(&target) => Why::NoName,
                true => Why::Silent,
                false => Why::Away,
            };
            return Next::Unanswered { target, why };
        }
        match self.message() {
            Some(message) => Next::Tell(message),
            None => Next::Wait(self.deadlines.front().map(|(until, _)| *until)),
        }
    }

    fn message(&mut self) -> Option<FromDataplane> {
        if !self.connected {
            return None;
        }
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        if let Some(grace) = self.draining.filter(|_| !self.draining_told) {
            self.draining_told = true;
            return Some(FromDataplane::draining(grace));
        }
        if let Some(attached) = self.attached.next() {
            return Some(FromDataplane::attached(attached));
        }
        while let Some(target) = self.unsent.pop_front() {
            if self.asked.contains_key(&target) {
                return Some(FromDataplane::resolve(&target));
            }
        }
        if let Some((target, endpoint)) = self.hints.pop_front() {
            return Some(FromDataplane::failed(&target, endpoint));
        }
        self.parts.pop_front().map(FromDataplane::report)
    }

    fn forget_answered(&mut self) {
        while let Some((until, target)) = self.deadlines.front() {
            if self.asked.get(target) == Some(until) {
                return;
            }
            self.deadlines.pop_front();
        }
    }

    /// Answered names leave their deadlines, and perhaps their place among the unsent, behind; these do not pile up.
    fn sweep(&mut self) {
        if self.deadlines.len() >= 2 * MAX_ASKED {
            self.deadlines.retain(|(until, target)| self.asked.get(target) == Some(until));
        }
        if self.unsent.len() >= 2 * MAX_ASKED {
            self.unsent.retain(|target| self.asked.contains_key(target));
        }
    }

    fn lose_parts(&mut self) {
        self.lost += self.parts.len() as u64;
        self.parts.clear();
    }
}

impl Kept {
    /// What control was not told yet, all at once.
    fn next(&mut self) -> Option<Attached> {
        let untold = std::mem::take(&mut self.untold);
        if untold.is_empty() {
            return None;
        }
        self.telling.append(&mut self.waiting);
        Some(Attached::of(self.all.iter().filter(|(key, _)| untold.contains(*key))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::Mailbox;
    use proto::control::from_dataplane::Message;

    fn app(n: usize) -> AppRef {
        AppRef { app_id: format!("a{n}"), namespace: "default".into() }
    }

    fn tell(next: Next) -> Message {
        match next {
            Next::Tell(message) => message.message.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn greeted() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.connected(FromDataplane::default());
        assert!(matches!(outbox.next(Instant::now()), Next::Tell(_)));
        outbox
    }

    #[test]
    fn a_name_is_asked_once_and_again_on_the_next_connection() {
        let (mut outbox, now) = (greeted(), Instant::now());
        assert_eq!((outbox.ask(app(1), now), outbox.ask(app(1), now)), (Ok(()), Ok(())));
        assert!(matches!(tell(outbox.next(now)), Message::Resolve(_)));
        assert_eq!(outbox.next(now), Next::Wait(Some(now + ANSWER_WITHIN)));
        outbox.connected(FromDataplane::default());
        outbox.next(now);
        assert!(matches!(tell(outbox.next(now)), Message::Resolve(_)));
        assert!(outbox.answered(&app(1)) && !outbox.answered(&app(1)));
        assert_eq!(outbox.next(now), Next::Wait(None));
    }

    #[test]
    fn a_name_without_an_answer_expires_whether_control_is_there_or_not() {
        let now = Instant::now();
        for (mut outbox, why) in [(greeted(), Why::Silent), (Outbox::default(), Why::Away)] {
            outbox.ask(app(1), now).unwrap();
            let late = now + ANSWER_WITHIN;
            assert_eq!(outbox.next(late), Next::Unanswered { target: app(1), why });
            assert_eq!(outbox.next(late), Next::Wait(None));
            assert!(!outbox.answered(&app(1)));
        }
    }

    #[test]
    fn what_is_no_name_is_answered_at_once_and_never_told() {
        let (mut outbox, now) = (greeted(), Instant::now());
        outbox.ask(app(1), now).unwrap();
        let empty = AppRef { app_id: String::new(), ..app(1) };
        let nowhere = AppRef { namespace: "x".repeat(MAX_NAME + 1), ..app(1) };
        let long = AppRef { app_id: "x".repeat(MAX_NAME + 1), ..app(1) };
        for target in [empty, nowhere, long] {
            outbox.ask(target.clone(), now).unwrap();
            assert_eq!(outbox.next(now), Next::Unanswered { target, why: Why::NoName });
        }
        assert!(matches!(tell(outbox.next(now)), Message::Resolve(_)));
        assert_eq!(outbox.next(now), Next::Wait(Some(now + ANSWER_WITHIN)));
    }

    #[test]
    fn names_beyond_the_bound_are_refused() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        (0..MAX_ASKED).for_each(|n| outbox.ask(app(n), now).unwrap());
        assert_eq!(outbox.ask(app(MAX_ASKED), now), Err(TooManyNames));
        assert_eq!(outbox.ask(app(0), now), Ok(()), "it waits already");
        outbox.answered(&app(0));
        assert_eq!(outbox.ask(app(MAX_ASKED), now), Ok(()));
    }

    #[test]
    fn names_that_come_and_go_leave_nothing_behind() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for n in 0..100_000 {
            outbox.ask(app(n), now).unwrap();
            outbox.answered(&app(n));
        }
        assert!(outbox.deadlines.len() <= 2 * MAX_ASKED && outbox.unsent.len() <= 2 * MAX_ASKED);
    }

    #[test]
    fn hints_beyond_the_bound_are_dropped_and_counted() {
        let mut outbox = greeted();
        for n in 0..MAX_HINTS + 3 {
            outbox.failed(app(n), ([127, 0, 0, 1], 1).into());
            outbox.failed(app(n.min(5)), ([127, 0, 0, 1], 1).into());
        }
        assert_eq!((outbox.hints.len(), outbox.lost()), (MAX_HINTS, 3));
    }

    #[test]
    fn a_report_that_was_not_told_is_replaced_and_its_parts_are_counted() {
        let mut outbox = greeted();
        outbox.report(vec![Report { id: 1, ..Report::default() }; 3]);
        tell(outbox.next(Instant::now()));
        outbox.report(vec![Report { id: 2, ..Report::default() }]);
        assert_eq!(outbox.lost(), 2);
        let Message::Report(report) = tell(outbox.next(Instant::now())) else { panic!("no report") };
        assert_eq!(report.id, 2);
    }

    #[test]
    fn draining_is_told_before_anything_but_answers_and_again_on_the_next_connection() {
        let (mut outbox, now) = (greeted(), Instant::now());
        outbox.ask(app(1), now).unwrap();
        outbox.draining(Duration::from_secs(3));
        assert!(matches!(tell(outbox.next(now)), Message::Draining(_)));
        outbox.connected(FromDataplane::default());
        outbox.next(now);
        assert!(matches!(tell(outbox.next(now)), Message::Draining(_)));
        assert!(matches!(tell(outbox.next(now)), Message::Resolve(_)));
    }

    fn told(next: Next) -> Vec<(String, String)> {
        let Message::Attached(attached) = tell(next) else { panic!("something else") };
        attached.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_clients_attached_is_told_once_and_all_of_it_on_the_next_connection() {
        let (mut outbox, now) = (greeted(), Instant::now());
        let (sender, _receiver) = Mailbox::new();
        outbox.attached_earlier(&Attached::of([("a", "0")]));
        outbox.attached("b", "1", sender.clone());
        outbox.attached("b", "2", sender.clone());
        assert_eq!(told(outbox.next(now)), [("b".to_owned(), "2".to_owned())]);
        assert_eq!(outbox.next(now), Next::Wait(None));
        outbox.connected(FromDataplane::default());
        outbox.next(now);
        assert_eq!(told(outbox.next(now)).len(), 2);
    }

    #[test]
    fn whoever_waits_for_control_waits_until_it_was_told_or_is_away() {
        let (mut outbox, now) = (greeted(), Instant::now());
        let (sender, mut receiver) = Mailbox::<()>::new();
        let mut over = || {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            receiver.poll_recv(&mut cx).is_ready()
        };
        outbox.attached("a", "1", sender);
        assert!(!over());
        told(outbox.next(now));
        assert!(!over(), "it is only being told");
        assert_eq!(outbox.next(now), Next::Wait(None));
        assert!(over());
        outbox.disconnected();
        let (sender, mut receiver) = Mailbox::<()>::new();
        outbox.attached("b", "1", sender);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(receiver.poll_recv(&mut cx).is_ready());
    }

    #[test]
    fn a_control_that_does_not_read_answers_is_noticed() {
        let mut outbox = greeted();
        assert!((0..MAX_ANSWERS).all(|_| outbox.answer(FromDataplane::default())));
        assert!(!outbox.answer(FromDataplane::default()));
    }
}

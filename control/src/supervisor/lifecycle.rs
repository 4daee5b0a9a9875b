//! The life of a sidecar, without its processes: what happens next when something happened.
//!
//! ```text
//!            ready to call out         signal with --dapr-block-shutdown-duration
//! Starting ───────────────────▶ Running ───────────────────────────▶ Blocking
//!    │                             │ signal, app ended, shutdown API      │ period over, app unhealthy
//!    │ signal, given up            ▼                                      ▼
//!    └────────────────────────▶ Draining ◀────────────────────────────────┘
//!                                  │ data plane ended
//!                                  ▼
//!                              EndingApp ── app ended ─▶ EndingControl ── control ended ─▶ Over
//! ```
//! Control and data plane that end unasked are started again; a second signal, or the deadline, ends everything at once.

use super::restart::Restarts;
use proto::control::exit::FORCED;
use std::time::Duration;

pub use proto::control::exit::BAD_CONFIGURATION;

/// What the data plane may take beyond the grace that it keeps itself.
const MARGIN: Duration = Duration::from_secs(1);
/// What app and control may take at least, also when the data plane used up the deadline.
const LAST_WORDS: Duration = Duration::from_secs(1);
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A child of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Names, identity, configuration.
    Control,
    /// Sockets.
    DataPlane,
    /// What the sidecar is for.
    App,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

impl End {
    /// As a shell reports it.
    pub(crate) fn exit_code(self) -> i32 {
        match self {
            End::Code(code) => code,
            End::Signal(signal) => 128 + signal,
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A child ended.
    Ended(Part, End),
    /// The data plane answers that it can call out.
    CanCallOut,
    /// TERM, INT or HUP to the supervisor.
    Signal,
    /// The app fails its health probes.
    AppUnhealthy,
    /// A moment that [`Lifecycle::next_due`] named has come.
    Due,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start(Part),
    Terminate(Part),
    Kill(Part),
    Say(Notice),
    /// The supervisor ends with this code.
    Exit(i32),
}

/// What is worth a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A child ended unasked and starts again after this delay.
    Restarting(Part, End, Duration),
    /// A child ended too often.
    GivenUp(Part, End),
    /// A child refused its configuration and said why itself.
    Refused(Part),
    /// The app ended by itself.
    AppEnded(End),
    /// A signal is noted, everything keeps serving.
    Blocking(Duration),
    /// The block is over.
    BlockOver,
    /// The block is over before its time: nobody is served any more.
    BlockedInVain,
    /// Draining begins.
    ShuttingDown,
    /// The deadline passed.
    Forced,
    /// Everything ended in order.
    Graceful,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Blocking { until: Duration },
    Draining,
    EndingApp,
    EndingControl,
    Over,
}

#[derive(Debug, Default)]
struct Child {
    alive: bool,
    restart_at: Option<Duration>,
    restarts: Restarts,
}

/// The state of one sidecar. Time is what the supervisor's clock shows.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    has_app: bool,
    grace: Duration,
    block: Duration,
    phase: Phase,
    control: Child,
    data_plane: Child,
    app: Child,
    /// The supervisor's exit code as far as it is known.
    code: i32,
    deadline: Option<Duration>,
    signals: u32,
}

impl Lifecycle {
    /// A sidecar that has not started. `grace` bounds a shutdown; `block` is how long a signal is only noted.
    pub(crate) fn new(has_app: bool, grace: Duration, block: Duration) -> Lifecycle {
        Lifecycle {
            has_app,
            grace,
            block,
            phase: Phase::Starting,
            control: Child::default(),
            data_plane: Child::default(),
            app: Child::default(),
            code: 0,
            deadline: None,
            signals: 0,
        }
    }

    /// The first actions.
    pub(crate) fn begin(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        self.start(Part::Control, now, &mut actions);
        self.start(Part::DataPlane, now, &mut actions);
        actions
    }

    /// The earliest moment at which [`Event::Due`] is wanted.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let block = match self.phase {
            Phase::Blocking { until } => Some(until),
            _ => None,
        };
        [self.control.restart_at, self.data_plane.restart_at, self.deadline, block]
            .into_iter()
            .flatten()
            .min()
    }

    /// What to do about `event`.
    pub(crate) fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Ended(part, end) => self.ended(part, end, now, &mut actions),
            Event::CanCallOut => self.can_call_out(now, &mut actions),
            Event::Signal => self.signal(now, &mut actions),
            Event::AppUnhealthy => self.app_unhealthy(now, &mut actions),
            Event::Due => self.due(now, &mut actions),
        }
        actions
    }

    fn child(&mut self, part: Part) -> &mut Child {
        match part {
            Part::Control => &mut self.control,
            Part::DataPlane => &mut self.data_plane,
            Part::App => &mut self.app,
        }
    }

    fn start(&mut self, part: Part, now: Duration, actions: &mut Vec<Action>) {
        let child = self.child(part);
        child.alive = true;
        child.restart_at = None;
        child.restarts.started(now);
        actions.push(Action::Start(part));
    }

    fn can_call_out(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
            if self.has_app {
                self.start(Part::App, now, actions);
            }
        }
    }

    fn signal(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.signals += 1;
        match self.phase {
            Phase::Over => {}
            _ if self.signals > 1 => self.kill_all(1, actions),
            // It ends already, because the app ended or the API was asked to.
            Phase::Draining | Phase::EndingApp | Phase::EndingControl => {}
            Phase::Running if !self.block.is_zero() => {
                self.phase = Phase::Blocking { until: now.saturating_add(self.block) };
                actions.push(Action::Say(Notice::Blocking(self.block)));
            }
            _ => self.drain(now, actions),
        }
    }

    /// Whether a signal is only noted for now.
    pub(crate) fn is_blocking(&self) -> bool {
        matches!(self.phase, Phase::Blocking { .. })
    }

    fn app_unhealthy(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.is_blocking() {
            actions.push(Action::Say(Notice::BlockedInVain));
            self.drain(now, actions);
        }
    }

    fn due(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for part in [Part::Control, Part::DataPlane] {
            if self.child(part).restart_at.is_some_and(|at| at <= now) {
                self.start(part, now, actions);
            }
        }
        match self.phase {
            Phase::Blocking { until } if until <= now => {
                actions.push(Action::Say(Notice::BlockOver));
                self.drain(now, actions);
            }
            Phase::EndingControl if self.is_late(now) => {
                // Nothing is lost with it: the names are withdrawn and nobody is served any more.
                self.deadline = None;
                actions.push(Action::Kill(Part::Control));
            }
            _ if self.is_late(now) => {
                actions.push(Action::Say(Notice::Forced));
                self.kill_all(1, actions);
            }
            _ => {}
        }
    }

    fn is_late(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Tells the data plane to withdraw, drain and end; the first step of every shutdown.
    fn drain(&mut self, now: Duration, actions: &mut Vec<Action>) {
        actions.push(Action::Say(Notice::ShuttingDown));
        self.control.restart_at = None;
        self.deadline = Some(now.saturating_add(self.grace).saturating_add(MARGIN));
        self.phase = Phase::Draining;
        if self.data_plane.alive {
            actions.push(Action::Terminate(Part::DataPlane));
        } else {
            self.data_plane.restart_at = None;
            self.end_app(now, actions);
        }
    }

    fn end_app(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.phase = Phase::EndingApp;
        if self.app.alive {
            self.at_least(LAST_WORDS, now);
            actions.push(Action::Terminate(Part::App));
        } else {
            self.end_control(now, actions);
        }
    }

    fn end_control(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.phase = Phase::EndingControl;
        if self.control.alive {
            self.deadline = Some(now.saturating_add(LAST_WORDS));
            actions.push(Action::Terminate(Part::Control));
        } else {
            self.over(actions);
        }
    }

    fn over(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Over;
        self.deadline = None;
        actions.push(Action::Say(Notice::Graceful));
        actions.push(Action::Exit(self.code));
    }

    fn at_least(&mut self, time: Duration, now: Duration) {
        let earliest = now.saturating_add(time);
        self.deadline = self.deadline.map(|deadline| deadline.max(earliest));
    }

    fn kill_all(&mut self, code: i32, actions: &mut Vec<Action>) {
        for part in [Part::DataPlane, Part::App, Part::Control] {
            if self.child(part).alive {
                actions.push(Action::Kill(part));
            }
            self.child(part).restart_at = None;
        }
        self.phase = Phase::Over;
        self.deadline = None;
        actions.push(Action::Exit(code));
    }

    fn ended(&mut self, part: Part, end: End, now: Duration, actions: &mut Vec<Action>) {
        self.child(part).alive = false;
        match (self.phase, part) {
            (Phase::Over, _) => {}
            (Phase::Draining, Part::DataPlane) => {
                if end != End::Code(0) && self.code == 0 {
                    self.code = 1;
                }
                self.end_app(now, actions);
            }
            (Phase::Draining, Part::App) => self.code = end.exit_code(),
            (Phase::EndingApp, Part::App) => {
                // An app that dies of the signal it was sent did as it was told.
                if !matches!(end, End::Signal(SIGTERM)) && self.code == 0 {
                    self.code = end.exit_code();
                }
                self.end_control(now, actions);
            }
            (Phase::EndingControl, Part::Control) => self.over(actions),
            (Phase::Draining | Phase::EndingApp | Phase::EndingControl, _) => {}
            (_, Part::App) => {
                actions.push(Action::Say(Notice::AppEnded(end)));
                self.code = end.exit_code();
                self.drain(now, actions);
            }
            (_, Part::DataPlane) if end == End::Code(0) => self.drain(now, actions),
            (_, Part::DataPlane) if end == End::Code(FORCED) => self.kill_all(1, actions),
            _ => self.ended_unasked(part, end, now, actions),
        }
    }

    fn ended_unasked(&mut self, part: Part, end: End, now: Duration, actions: &mut Vec<Action>) {
        let was_ready = self.phase != Phase::Starting;
        if end == End::Code(BAD_CONFIGURATION) && self.child(part).restarts.is_first_try(now) {
            actions.push(Action::Say(Notice::Refused(part)));
            return self.kill_all(1, actions);
        }
        // Somebody who kills a child means the child: it did not fail, and it is back at once.
        let killed = end == End::Signal(SIGKILL) || end == End::Signal(SIGTERM);
        match self.child(part).restarts.ended(now, was_ready || killed) {
            Some(delay) => {
                self.child(part).restart_at = Some(now.saturating_add(delay));
                actions.push(Action::Say(Notice::Restarting(part, end, delay)));
            }
            None => {
                actions.push(Action::Say(Notice::GivenUp(part, end)));
                self.kill_all(end.exit_code().max(1), actions);
            }
        }
    }
}

#[cfg(test)]
mod tests;

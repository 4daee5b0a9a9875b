//! The data planes that are connected, and their last report.

use proto::control::session::Peer;
use proto::control::{FromControl, Report};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Most data planes at a time. There is one; while it is replaced there may be two.
pub const MAX_PLANES: usize = 4;
/// How long a report is waited for before the last one has to do.
pub const COLLECT_WITHIN: Duration = Duration::from_secs(2);
/// Answers and questions that wait to be told to one data plane.
pub(super) const MAX_ORDERS: usize = 2048;

/// A data plane that is connected.
#[derive(Clone, Debug)]
pub struct Plane {
    /// What it said about itself.
    pub peer: Peer,
    /// The version in force there; 0 is none.
    pub applied: u64,
    /// Why it refused the last snapshot; empty if it did not.
    pub refused: String,
    /// What is to be told to it.
    pub(super) orders: mpsc::Sender<FromControl>,
}

/// All of them, by the order in which they came.
#[derive(Debug)]
pub struct Planes {
    state: Mutex<State>,
    /// Number and content of the last report.
    reported: watch::Sender<(u64, Option<Arc<Report>>)>,
}

#[derive(Debug, Default)]
struct State {
    connected: BTreeMap<u64, Plane>,
    came: u64,
    asked: u64,
    asked_at: Option<Instant>,
}

impl Default for Planes {
    fn default() -> Planes {
        Planes { state: Mutex::default(), reported: watch::Sender::new((0, None)) }
    }
}

impl Planes {
    /// The one that came last: the one that serves.
    pub fn newest(&self) -> Option<Plane> {
        self.state().connected.values().next_back().cloned()
    }

    /// The last report, however old.
    pub fn last_report(&self) -> Option<Arc<Report>> {
        self.reported.borrow().1.clone()
    }

    /// A fresh report; `None` if there is no data plane or it does not answer within [`COLLECT_WITHIN`]. Those who ask
    /// while a question is out share its answer.
    pub async fn collect(&self) -> Option<Arc<Report>> {
        let mut reported = self.reported.subscribe();
        let asked = self.ask()?;
        let answered = reported.wait_for(|(id, _)| *id >= asked);
        let answer = timeout(COLLECT_WITHIN, answered).await.ok()?.ok()?;
        answer.1.clone()
    }

    /// The number of the question that is out now.
    fn ask(&self) -> Option<u64> {
        let answered = self.reported.borrow().0;
        let mut state = self.state();
        let fresh = state.asked_at.is_some_and(|at| at.elapsed() < COLLECT_WITHIN);
        if state.asked > answered && fresh {
            return Some(state.asked);
        }
        let asked = state.asked + 1;
        let (_, newest) = state.connected.last_key_value()?;
        newest.orders.try_send(FromControl::collect(asked)).ok()?;
        (state.asked, state.asked_at) = (asked, Some(Instant::now()));
        Some(asked)
    }

    /// One came; its number, or `None` if there are too many.
    pub(super) fn came(&self, peer: Peer, orders: mpsc::Sender<FromControl>) -> Option<u64> {
        let mut state = self.state();
        if state.connected.len() >= MAX_PLANES {
            return None;
        }
        state.came += 1;
        let number = state.came;
        state.connected.insert(number, Plane { peer, applied: 0, refused: String::new(), orders });
        // a question to the one before is answered by nobody
        state.asked_at = None;
        Some(number)
    }

    /// One went.
    pub(super) fn went(&self, number: u64) {
        let mut state = self.state();
        state.connected.remove(&number);
        state.asked_at = None;
    }

    /// Notes something about one.
    pub(super) fn note(&self, number: u64, note: impl FnOnce(&mut Plane)) {
        if let Some(plane) = self.state().connected.get_mut(&number) {
            note(plane);
        }
    }

    /// A whole report came.
    pub(super) fn reported(&self, report: Report) {
        self.reported.send_if_modified(|(id, last)| {
            let newer = report.id > *id;
            if newer {
                *id = report.id;
                *last = Some(Arc::new(report));
            }
            newer
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

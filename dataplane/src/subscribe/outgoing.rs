//! The outbox behind a lock, and the thread that empties it.

use super::Update;
use super::outbox::{ANSWER_WITHIN, MAX_NAME, Next, Outbox, Why};
use proto::control::{FromDataplane, frame};
use proto::snapshot::{AppRef, Route, Tried};
use std::fmt;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Hands an update to the shards.
pub(super) type Deliver = Box<dyn FnMut(Update) + Send>;

/// What both threads and the shards share.
pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    deliver: Mutex<Deliver>,
}

#[derive(Default)]
struct State {
    outbox: Outbox,
    stream: Option<Arc<UnixStream>>,
    closed: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The outbox, locked for reading.
pub(super) struct Locked<'a>(MutexGuard<'a, State>);

impl Locked<'_> {
    pub(super) fn lost(&self) -> u64 {
        self.0.outbox.lost()
    }
}

impl Shared {
    pub(super) fn new(deliver: Deliver) -> Shared {
        Shared { state: Mutex::default(), wake: Condvar::new(), deliver: Mutex::new(deliver) }
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked(self.state())
    }

    /// Puts something into the outbox and wakes its thread.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Outbox) -> T) -> T {
        let changed = change(&mut self.state().outbox);
        self.wake.notify_all();
        changed
    }

    /// A connection was made. False if the subscription ended meanwhile.
    pub(super) fn connected(&self, stream: Arc<UnixStream>, hello: FromDataplane) -> bool {
        let mut state = self.state();
        state.outbox.connected(hello);
        state.stream = Some(stream);
        self.wake.notify_all();
        !state.closed
    }

    /// The connection is gone.
    pub(super) fn disconnected(&self) {
        let mut state = self.state();
        state.outbox.disconnected();
        state.stream = None;
    }

    /// Ends both threads.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        if let Some(stream) = &state.stream {
            // fails only if it is closed already
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.wake.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Waits; true if the subscription ended meanwhile.
    pub(super) fn is_closed_within(&self, time: Duration) -> bool {
        let waited = self.wake.wait_timeout_while(self.state(), time, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    pub(super) fn deliver(&self, update: Update) {
        let mut deliver = self.deliver.lock().unwrap_or_else(PoisonError::into_inner);
        (*deliver)(update);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do; `None` at the end.
    fn next(&self) -> Option<(Next, Option<Arc<UnixStream>>)> {
        let mut state = self.state();
        while !state.closed {
            let now = Instant::now();
            let until = match state.outbox.next(now) {
                Next::Wait(until) => until,
                next => return Some((next, state.stream.clone())),
            };
            state = match until {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let waited = self.wake.wait_timeout(state, until.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        None
    }
}

/// The thread `control-out`: tells what is in the outbox, and answers names whose time is up.
pub(super) fn run(shared: &Shared) {
    let mut bytes = Vec::new();
    while let Some((next, stream)) = shared.next() {
        match (next, stream) {
            (Next::Tell(message), Some(stream)) if !write(&stream, &message, &mut bytes) => {
                // the reading thread sees the end and connects anew
                let _ = stream.shutdown(Shutdown::Both);
                shared.disconnected();
            }
            (Next::Unanswered { target, why }, _) => shared.deliver(unanswered(target, why)),
            _ => {}
        }
    }
}

/// Largest buffer that is kept between messages.
const KEEP: usize = 64 << 10;

fn write(mut stream: &UnixStream, message: &FromDataplane, bytes: &mut Vec<u8>) -> bool {
    bytes.clear();
    bytes.shrink_to(KEEP);
    frame::encode(message, bytes).is_ok() && stream.write_all(bytes).is_ok()
}

fn unanswered(target: AppRef, why: Why) -> Update {
    let seconds = ANSWER_WITHIN.as_secs();
    let answer = match why {
        Why::Silent => format!("no answer within {seconds} s"),
        Why::Away => format!("the control process is away, for more than {seconds} s"),
        Why::NoName => format!("an app id has 1 to {MAX_NAME} bytes, a namespace at most as many"),
    };
    let tried = vec![Tried { way: "control".into(), answer }];
    Update::Resolved { target, route: Arc::new(Route::NotFound { tried }) }
}

//! Connections to a server that wait for their next request, and the exchange that one of them carries.
//!
//! ```text
//!   take ──▶ Exchange ──complete──▶ back to the others        dropped before: the connection is aborted
//!   fresh connection ──┘
//! ```

use super::client::{Answer, Connection};
use super::sink::Sink;
use crate::metrics::Held;
use crate::rt::{self, Tick};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// How long an unused connection is kept, as in Go.
const IDLE_TIME: Duration = Duration::from_secs(90);

/// The unused connections to one server.
#[derive(Debug)]
pub(crate) struct Idle {
    kept: RefCell<Vec<Kept>>,
    most: usize,
    all: Option<Rc<Limit>>,
}

/// A limit of unused connections that several servers share.
#[derive(Debug)]
pub(crate) struct Limit {
    count: Cell<usize>,
    most: usize,
}

impl Limit {
    pub(crate) fn new(most: usize) -> Limit {
        Limit { count: Cell::new(0), most }
    }
}

#[derive(Debug)]
struct Kept {
    connection: Connection,
    since: Tick,
    held: Held,
    _counted: Option<Counted>,
}

impl Kept {
    fn is_fresh(&self, now: Tick) -> bool {
        now.since(self.since) < IDLE_TIME && self.connection.is_quiet()
    }
}

/// One of the connections that a limit counts.
#[derive(Debug)]
struct Counted(Rc<Limit>);

impl Counted {
    fn new(limit: &Rc<Limit>) -> Counted {
        limit.count.set(limit.count.get() + 1);
        Counted(Rc::clone(limit))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get().saturating_sub(1));
    }
}

impl Idle {
    /// At most `most` connections, and of all servers together as many as `all` allows.
    pub(crate) fn new(most: usize, all: Option<Rc<Limit>>) -> Rc<Idle> {
        Rc::new(Idle { kept: RefCell::default(), most, all })
    }

    /// An exchange on the connection that was used last, if one is fit for it.
    pub(crate) fn take(self: &Rc<Idle>, now: Tick) -> Option<Exchange> {
        let mut kept = self.kept.borrow_mut();
        loop {
            let mut last = kept.pop()?;
            if last.is_fresh(now) {
                last.connection.reused = true;
                return Some(self.exchange(last.connection, Some(last.held)));
            }
        }
    }

    /// An exchange on this connection; without `held` it is not kept afterwards.
    pub(crate) fn exchange(self: &Rc<Idle>, connection: Connection, held: Option<Held>) -> Exchange {
        Exchange { idle: Rc::clone(self), open: Some((connection, held)) }
    }

    /// Closes connections that were not used for long.
    pub(crate) fn sweep(&self, now: Tick) {
        self.kept.borrow_mut().retain(|kept| kept.is_fresh(now));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.borrow().is_empty()
    }

    fn keep(&self, connection: Connection, held: Held) {
        let mut kept = self.kept.borrow_mut();
        let room = self.all.as_ref().is_none_or(|all| all.count.get() < all.most);
        if room && kept.len() < self.most && connection.is_quiet() {
            let _counted = self.all.as_ref().map(Counted::new);
            kept.push(Kept { connection, since: rt::now(), held, _counted });
        }
    }
}

/// One request and its answer on a connection. Dropped before [`Exchange::complete`], it aborts the connection: the
/// server sees that the request is void.
#[derive(Debug)]
pub(crate) struct Exchange {
    idle: Rc<Idle>,
    open: Option<(Connection, Option<Held>)>,
}

impl Exchange {
    /// Whether the connection carried another request before.
    pub(crate) fn is_reused(&self) -> bool {
        self.open.as_ref().is_some_and(|(connection, _)| connection.reused)
    }

    /// The request's and the answer's half; `None` after the end.
    pub(crate) fn halves(&mut self) -> Option<(Sink<'_>, Answer<'_>)> {
        self.open.as_mut().map(|(connection, _)| connection.exchange())
    }

    /// Request and answer are complete: the connection may carry another one if the server agrees.
    pub(crate) fn complete(mut self, keeps_alive: bool) {
        if let Some((connection, Some(held))) = self.open.take()
            && keeps_alive
        {
            self.idle.keep(connection, held);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some((connection, _)) = self.open.take() {
            connection.abort();
        }
    }
}

//! Servers outside the mesh, literal `http(s)://` targets and `HTTPEndpoint` resources: connections that are used again,
//! in one pool for each server and each identity that is shown to it.
//!
//! ```text
//!   pool(key) ── connect ──▶ Exchange ── answer complete ──▶ connection back to its pool
//!                  │
//!                  └── lookup (never on the shard's thread) ── TCP ── TLS
//! ```

mod connect;

pub(crate) use connect::NoConnection;

use crate::http1::client::{Answer, Connection};
use crate::http1::sink::Sink;
use crate::metrics::{Held, Level, Metrics};
use crate::rt::{self, Tick};
use crate::tls::Trust;
use proto::invoke::url::Origin;
use proto::snapshot::HttpEndpoint;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long an unused connection is kept, as in Go.
const IDLE_TIME: Duration = Duration::from_secs(90);

/// Most unused connections to one server.
const MOST_IDLE: usize = 64;

/// Most unused connections to all servers, a shard.
const MOST_IDLE_IN_ALL: usize = 1024;

/// Servers remembered by a shard; beyond that all are forgotten.
const MOST_SERVERS: usize = 1024;

/// Whom a connection leads to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The resource whose roots count; `None` for a literal URL.
    pub(crate) endpoint: Option<String>,
    /// The server.
    pub(crate) origin: Origin,
    /// The resource's certificate is shown, if it has one: only to the server it was given for.
    pub(crate) shows: bool,
}

/// The servers that a shard has called.
#[derive(Debug)]
pub(crate) struct External {
    pools: RefCell<HashMap<Key, Rc<Pool>>>,
    idle: Rc<Cell<usize>>,
    metrics: Rc<Metrics>,
}

impl External {
    pub(crate) fn new(metrics: Rc<Metrics>) -> External {
        External { pools: RefCell::default(), idle: Rc::default(), metrics }
    }

    /// The pool for `key`. `endpoint`: the resource behind it.
    pub(crate) fn pool(&self, key: Key, endpoint: Option<&Arc<HttpEndpoint>>) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools.get(&key) {
            return Rc::clone(pool);
        }
        if pools.len() >= MOST_SERVERS {
            pools.clear();
        }
        let pool = Rc::new(Pool {
            key: key.clone(),
            endpoint: endpoint.cloned(),
            trust: RefCell::default(),
            idle: RefCell::default(),
            idle_in_all: Rc::clone(&self.idle),
            metrics: Rc::clone(&self.metrics),
        });
        pools.insert(key, Rc::clone(&pool));
        pool
    }

    /// The resources changed: what was connected under the old ones is used up and not kept.
    pub(crate) fn forget(&self) {
        self.pools.borrow_mut().clear();
    }

    /// Closes connections that were not used for long, and forgets servers without any.
    pub(crate) fn sweep(&self, now: Tick) {
        self.pools.borrow_mut().retain(|_, pool| {
            pool.idle.borrow_mut().retain(|idle| idle.is_fresh(now));
            !pool.idle.borrow().is_empty() || Rc::strong_count(pool) > 1
        });
    }
}

/// Connections to one server.
#[derive(Debug)]
pub(crate) struct Pool {
    key: Key,
    endpoint: Option<Arc<HttpEndpoint>>,
    trust: RefCell<Option<Trust>>,
    idle: RefCell<Vec<Idle>>,
    idle_in_all: Rc<Cell<usize>>,
    metrics: Rc<Metrics>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Tick,
    held: Held,
    _counted: Counted,
}

impl Idle {
    fn is_fresh(&self, now: Tick) -> bool {
        now.since(self.since) < IDLE_TIME && self.connection.is_quiet()
    }
}

/// One of all unused connections.
#[derive(Debug)]
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Pool {
    /// A connection for one exchange: one that was used before, unless `fresh`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn connect(self: &Rc<Pool>, fresh: bool) -> Result<Exchange, NoConnection> {
        let reused = if fresh { None } else { self.take_idle(rt::now()) };
        let open = match reused {
            Some(Idle { mut connection, held, .. }) => {
                connection.reused = true;
                (connection, held)
            }
            None => (connect::open(self).await?, self.metrics.hold(Level::ExternalConnections)),
        };
        Ok(Exchange { pool: Rc::clone(self), open: Some(open) })
    }

    fn take_idle(&self, now: Tick) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let last = idle.pop()?;
            if last.is_fresh(now) {
                return Some(last);
            }
        }
    }

    fn keep(&self, connection: Connection, held: Held) {
        let mut idle = self.idle.borrow_mut();
        let all = self.idle_in_all.get();
        if idle.len() < MOST_IDLE && all < MOST_IDLE_IN_ALL && connection.is_quiet() {
            self.idle_in_all.set(all + 1);
            let _counted = Counted(Rc::clone(&self.idle_in_all));
            idle.push(Idle { connection, since: rt::now(), held, _counted });
        }
    }
}

/// One request and its answer on a connection. Dropped before [`Exchange::complete`], it aborts the connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    pool: Rc<Pool>,
    open: Option<(Connection, Held)>,
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
        if let Some((connection, held)) = self.open.take()
            && keeps_alive
        {
            self.pool.keep(connection, held);
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

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

use crate::http1::idle::{Exchange, Idle, Limit};
use crate::metrics::{Level, Metrics};
use crate::rt::{self, Tick};
use crate::tls::Trust;
use proto::invoke::url::Origin;
use proto::snapshot::HttpEndpoint;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

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
    idle: Rc<Limit>,
    metrics: Rc<Metrics>,
}

impl External {
    pub(crate) fn new(metrics: Rc<Metrics>) -> External {
        External { pools: RefCell::default(), idle: Rc::new(Limit::new(MOST_IDLE_IN_ALL)), metrics }
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
            idle: Idle::new(MOST_IDLE, Some(Rc::clone(&self.idle))),
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
            pool.idle.sweep(now);
            !pool.idle.is_empty() || Rc::strong_count(pool) > 1
        });
    }
}

/// Connections to one server.
#[derive(Debug)]
pub(crate) struct Pool {
    key: Key,
    endpoint: Option<Arc<HttpEndpoint>>,
    trust: RefCell<Option<Trust>>,
    idle: Rc<Idle>,
    metrics: Rc<Metrics>,
}

impl Pool {
    /// A connection for one exchange: one that was used before, unless `fresh`.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn connect(&self, fresh: bool) -> Result<Exchange, NoConnection> {
        if !fresh && let Some(exchange) = self.idle.take(rt::now()) {
            return Ok(exchange);
        }
        let connection = connect::open(self).await?;
        Ok(self.idle.exchange(connection, Some(self.metrics.hold(Level::ExternalConnections))))
    }
}

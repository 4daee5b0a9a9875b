//! The hop to the local app: connections that are used again, slots, and one way in that needs a [`Permit`].
//!
//! ```text
//!   forward(permit) ── slot ──▶ Forwarding ── connect ──▶ Exchange ── answer complete ──▶ connection back to the pool
//!                                   ▲                        │
//!                                   └── stale, replayable ───┘
//! ```

mod gate;
mod question;
mod slots;
mod text;

pub(crate) use crate::http1::client::system_text;
pub use gate::Gate;
pub(crate) use question::ask;
pub use slots::Slots;
pub(crate) use text::{Asked, answer_failure};

use crate::http1::client::{Answer, Connection};
use crate::http1::sink::Sink;
use crate::http2::client::Pool;
use crate::metrics::{Held, Level, Metrics};
use crate::rt::{self, Address, Tick};
use crate::tls::{Session, Trust};
use proto::invoke::failure::{Failure, Kind};
use proto::policy::acl::Permit;
use proto::snapshot::{AppAddress, AppChannel, AppProtocol};
use slots::Slot;
use std::cell::{OnceCell, RefCell};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection attempt to the app may take (spec/invocation 4.2).
const CONNECT_TIME: Duration = Duration::from_secs(30);

/// How long the TLS handshake with the app may take (spec/invocation 4.2).
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long an unused connection is kept (spec/invocation 4.2).
const IDLE_TIME: Duration = Duration::from_secs(90);

/// Most unused connections that a shard keeps: as many as daprd has in use at most. It keeps 64, and with more calls in flight than that
/// every call pays for a new connection (twice the CPU at 256).
const MOST_IDLE: usize = 1024;

/// The local app as one shard reaches it.
#[derive(Debug)]
pub(crate) struct App {
    channel: Arc<AppChannel>,
    /// `host:port` for `Host` and messages.
    host: String,
    slots: Arc<Slots>,
    gate: Arc<Gate>,
    metrics: Rc<Metrics>,
    idle: RefCell<Vec<Idle>>,
    /// Connections of an app that speaks HTTP/2.
    h2c: Pool,
    /// For an app that speaks TLS, once it was needed.
    trust: OnceCell<Trust>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Tick,
    held: Held,
}

impl App {
    /// The app behind `channel`.
    pub(crate) fn new(
        channel: Arc<AppChannel>,
        slots: Arc<Slots>,
        gate: Arc<Gate>,
        metrics: Rc<Metrics>,
    ) -> App {
        slots.set_limit(channel.max_concurrency);
        let host = match &channel.address {
            AppAddress::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => {
                format!("[{host}]:{port}")
            }
            AppAddress::Tcp { host, port } => format!("{host}:{port}"),
            AppAddress::Unix(_) => "localhost".into(),
        };
        App {
            channel,
            host,
            slots,
            gate,
            metrics,
            idle: RefCell::default(),
            h2c: Pool::default(),
            trust: OnceCell::new(),
        }
    }

    /// Why this app cannot be called at all, in one line; `None` if it can.
    pub(crate) fn unsupported(protocol: AppProtocol) -> Option<String> {
        (!matches!(protocol, AppProtocol::Http | AppProtocol::Https | AppProtocol::H2c)).then(|| {
            let name = format!("{protocol:?}").to_lowercase();
            format!(
                "app protocol {name} is not served yet: calls to the app fail; use --app-protocol http, https or h2c"
            )
        })
    }

    /// Whether a connection of the app can switch to another protocol: HTTP/1 alone can.
    pub(crate) fn can_switch(&self) -> bool {
        matches!(self.channel.protocol, AppProtocol::Http | AppProtocol::Https)
    }

    /// The configuration this app was made from.
    pub(crate) fn channel(&self) -> &Arc<AppChannel> {
        &self.channel
    }

    /// `host:port`, for `Host`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// `http` or `https`, for messages.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.channel.protocol == AppProtocol::Https { "https" } else { "http" }
    }

    /// TLS with the app.
    async fn secure(&self, stream: rt::Stream) -> io::Result<Connection> {
        let trust = match self.trust.get() {
            Some(trust) => trust,
            None => {
                let made = Trust::own_app().map_err(io::Error::other)?;
                self.trust.get_or_init(|| made)
            }
        };
        let host = match &self.channel.address {
            AppAddress::Tcp { host, .. } => host.trim_matches(['[', ']']),
            AppAddress::Unix(_) => "localhost",
        };
        let session = Session::external(trust, host).map_err(io::Error::other)?;
        let secured = Connection::secure(stream, session, rt::now() + HANDSHAKE_TIME).await;
        secured.map_err(|no| io::Error::other(no.to_string()))
    }

    /// Closes connections that were not used for long.
    pub(crate) fn sweep(&self, now: Tick) {
        self.idle.borrow_mut().retain(|idle| now.since(idle.since) < IDLE_TIME && idle.connection.is_quiet());
    }

    /// Tries to connect once, and closes again: is somebody listening?
    pub(crate) async fn probe(&self, by: Tick) -> io::Result<()> {
        let address = self.address().await?;
        rt::connect(&address, by).await.map(drop)
    }

    async fn address(&self) -> io::Result<Address> {
        let (host, port) = match &self.channel.address {
            AppAddress::Unix(path) => return Ok(Address::Unix(path.into())),
            AppAddress::Tcp { host, port } => (host.trim_matches(['[', ']']), *port),
        };
        if let Ok(ip) = host.parse() {
            return Ok(Address::Tcp(SocketAddr::new(ip, port)));
        }
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port))));
        }
        let host = host.to_owned();
        let found =
            rt::blocking(move || (host.as_str(), port).to_socket_addrs().map(|mut all| all.next())).await?;
        found.map(Address::Tcp).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))
    }

    fn take_idle(&self, now: Tick) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let last = idle.pop()?;
            if now.since(last.since) < IDLE_TIME && last.connection.is_quiet() {
                return Some(last);
            }
        }
    }

    fn keep(&self, connection: Connection, held: Held) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MOST_IDLE && connection.is_quiet() {
            idle.push(Idle { connection, since: rt::now(), held });
        }
    }
}

/// Takes one call through to the app: waits for a slot. The permit is used up.
///
/// # Errors
/// Too many calls wait for the app, or its protocol is not served.
pub(crate) async fn forward(app: &Rc<App>, permit: Permit) -> Result<Forwarding, Failure> {
    let _used_up = permit;
    if let Some(why) = App::unsupported(app.channel.protocol) {
        return Err(Failure::new(Kind::NoApp, why));
    }
    let slot = match app.slots.try_acquire() {
        Some(slot) => slot,
        None => wait_for_slot(app).await?,
    };
    Ok(Forwarding { app: app.clone(), _slot: Some(slot) })
}

#[cold]
async fn wait_for_slot(app: &Rc<App>) -> Result<Slot, Failure> {
    app.takes_calls()?;
    let _waiting = app.metrics.hold(Level::WaitingForApp);
    match app.slots.queue() {
        Ok(queued) => Ok(queued.await),
        Err(_) => Err(Failure::new(
            Kind::Overloaded,
            format!("{} calls wait for the app already (--app-max-concurrency)", slots::MOST_WAITING),
        )),
    }
}

/// A call that may reach the app and has its slot, until its answer's body is consumed.
#[derive(Debug)]
pub(crate) struct Forwarding {
    app: Rc<App>,
    /// `None` for the sidecar's own questions.
    _slot: Option<Slot>,
}

impl Forwarding {
    /// A connection for one exchange: one that was used before, unless `fresh`; of an HTTP/2 app a stream.
    ///
    /// # Errors
    /// What connecting said.
    pub(crate) async fn connect(&self, fresh: bool) -> io::Result<Exchange> {
        if self.app.channel.protocol == AppProtocol::H2c {
            return Box::pin(self.stream()).await; // apart: other apps need no room for it
        }
        let reused = if fresh { None } else { self.app.take_idle(rt::now()) };
        let (connection, held) = match reused {
            Some(Idle { mut connection, held, .. }) => {
                connection.reused = true;
                (connection, held)
            }
            None => {
                let address = self.app.address().await?;
                let stream = rt::connect(&address, rt::now() + CONNECT_TIME).await?;
                let connection = match self.app.channel.protocol {
                    AppProtocol::Https => Box::pin(self.app.secure(stream)).await?, // apart: once a connection
                    _ => Connection::plain(stream),
                };
                (connection, self.app.metrics.hold(Level::AppConnections))
            }
        };
        Ok(Exchange { app: self.app.clone(), open: Some((connection, Some(held))) })
    }

    /// A stream on one of the app's connections.
    async fn stream(&self) -> io::Result<Exchange> {
        let address = self.app.address().await?;
        let held = || self.app.metrics.hold(Level::AppConnections);
        let (halves, reused) = self.app.h2c.stream(&address, rt::now() + CONNECT_TIME, held).await?;
        Ok(Exchange { app: self.app.clone(), open: Some((Connection::of_stream(halves, reused), None)) })
    }
}

/// One request and its answer on a connection of the app. Dropped before [`Exchange::complete`], it aborts the
/// connection: the app sees that the request is void.
#[derive(Debug)]
pub(crate) struct Exchange {
    app: Rc<App>,
    /// A stream's connection is counted elsewhere.
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

    /// Request and answer are complete: the connection may carry another one if the app agrees.
    pub(crate) fn complete(mut self, keeps_alive: bool) {
        if let Some((connection, Some(held))) = self.open.take()
            && keeps_alive
        {
            self.app.keep(connection, held);
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

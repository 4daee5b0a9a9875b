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

use crate::http1::client::Connection;
use crate::http1::idle::{Exchange, Idle};
use crate::http2::client::Pool;
use crate::metrics::{Level, Metrics};
use crate::rt::{self, Address, Tick};
use crate::tls::{Session, Trust};
use proto::invoke::failure::{Failure, Kind};
use proto::policy::acl::Permit;
use proto::snapshot::{AppAddress, AppChannel, AppProtocol};
use slots::Slot;
use std::cell::OnceCell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection attempt to the app may take (spec/invocation 4.2).
const CONNECT_TIME: Duration = Duration::from_secs(30);

/// How long the TLS handshake with the app may take (spec/invocation 4.2).
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

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
    idle: Rc<Idle>,
    /// Connections of an app that speaks HTTP/2.
    h2c: Pool,
    /// For an app that speaks TLS, once it was needed.
    trust: OnceCell<Trust>,
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
            idle: Idle::new(MOST_IDLE, None),
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
        self.idle.sweep(now);
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
        if !fresh && let Some(exchange) = self.app.idle.take(rt::now()) {
            return Ok(exchange);
        }
        let address = self.app.address().await?;
        let stream = rt::connect_thrifty(&address, rt::now() + CONNECT_TIME).await?;
        let connection = match self.app.channel.protocol {
            AppProtocol::Https => Box::pin(self.app.secure(stream)).await?, // apart: once a connection
            _ => Connection::plain(stream),
        };
        Ok(self.app.idle.exchange(connection, Some(self.app.metrics.hold(Level::AppConnections))))
    }

    /// A stream on one of the app's connections.
    async fn stream(&self) -> io::Result<Exchange> {
        let address = self.app.address().await?;
        let held = || self.app.metrics.hold(Level::AppConnections);
        let (halves, reused) = self.app.h2c.stream(&address, rt::now() + CONNECT_TIME, held).await?;
        // its connection is kept, and counted, by what it is a stream of
        Ok(self.app.idle.exchange(Connection::of_stream(halves, reused), None))
    }
}

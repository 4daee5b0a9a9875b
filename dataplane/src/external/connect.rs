//! From a server's name to a connection: lookup, TCP, TLS. Texts begin as Go's do.

use super::Pool;
use crate::http1::client::{Connection, system_text};
use crate::rt::{self, Address, Stream, Tick};
use crate::tls::{Session, Trust};
use proto::invoke::url::Origin;
use proto::snapshot::ClientTls;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// How long lookup and connecting may take together (spec/resolution 7.1.2).
const DIAL_TIME: Duration = Duration::from_secs(15);

/// How long the TLS handshake may take (same).
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NoConnection {
    /// The name has no address.
    Lookup { host: String, why: String },
    /// Nobody listens, or the way is blocked.
    Dial { address: SocketAddr, error: io::Error },
    /// Lookup or connecting took too long.
    DialTime,
    /// The handshake failed.
    Tls(String),
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoConnection::Lookup { host, why } => write!(f, "dial tcp: lookup {host}: {why}"),
            NoConnection::Dial { address, error } => {
                write!(f, "dial tcp {address}: connect: {}", system_text(&error.to_string()))
            }
            NoConnection::DialTime => f.write_str("dial tcp: i/o timeout"),
            NoConnection::Tls(why) => f.write_str(why),
        }
    }
}

pub(super) async fn open(pool: &Pool) -> Result<Connection, NoConnection> {
    let origin = &pool.key.origin;
    let stream = dial(origin, rt::now() + DIAL_TIME).await?;
    if !origin.secure {
        return Ok(Connection::plain(stream));
    }
    let trust = trust(pool).await.map_err(NoConnection::Tls)?;
    let session = Session::external(&trust, &origin.host).map_err(|e| NoConnection::Tls(e.to_string()))?;
    let by = rt::now() + HANDSHAKE_TIME;
    Connection::secure(stream, session, by).await.map_err(|no| NoConnection::Tls(no.to_string()))
}

/// Tries the addresses in order; each gets its share of the time.
async fn dial(origin: &Origin, by: Tick) -> Result<Stream, NoConnection> {
    let addresses = lookup(origin, by).await?;
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let mut last = NoConnection::DialTime;
    for address in addresses {
        let now = rt::now();
        let share = by.since(now) / left.max(1);
        left = left.saturating_sub(1);
        match rt::connect(&Address::Tcp(address), now + share).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => last = NoConnection::DialTime,
            Err(error) => last = NoConnection::Dial { address, error },
        }
    }
    Err(last)
}

async fn lookup(origin: &Origin, by: Tick) -> Result<Vec<SocketAddr>, NoConnection> {
    if let Ok(ip) = origin.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, origin.port)]);
    }
    let (host, port) = (origin.host.clone(), origin.port);
    let found = rt::blocking(move || {
        (host.as_str(), port).to_socket_addrs().map(|all| all.collect::<Vec<SocketAddr>>())
    });
    let failed = |why: &str| NoConnection::Lookup { host: origin.host.clone(), why: why.to_owned() };
    match rt::within(by, std::pin::pin!(found)).await {
        None => Err(failed("i/o timeout")),
        Some(Ok(addresses)) if addresses.is_empty() => Err(failed("no such host")),
        Some(Ok(addresses)) => Ok(addresses),
        Some(Err(_)) => Err(failed("no such host")),
    }
}

/// Whom to believe; made once, and not on the shard's thread.
async fn trust(pool: &Pool) -> Result<Trust, String> {
    if let Some(trust) = &*pool.trust.borrow() {
        return Ok(trust.clone());
    }
    let (endpoint, shows) = (pool.endpoint.clone(), pool.key.shows);
    let trust = rt::blocking(move || match endpoint {
        Some(endpoint) => Trust::load(&endpoint.tls, shows),
        None => Trust::load(&ClientTls::default(), false),
    })
    .await?;
    *pool.trust.borrow_mut() = Some(trust.clone());
    Ok(trust)
}

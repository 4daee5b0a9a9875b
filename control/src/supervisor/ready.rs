//! Whether the data plane can call out, and whether the whole sidecar is ready: asked at its own HTTP port.

use super::sockets::{Bound, Place};
use crate::settings::Role;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

/// How long one question may take; the socket accepts before the data plane is there, so this is no sign of trouble.
const PATIENCE: Duration = Duration::from_secs(1);
/// First and longest wait between two questions.
const WAITS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Where to ask.
#[derive(Clone, Debug)]
pub(super) enum Door {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Door {
    /// The HTTP API's first socket, as this host reaches it.
    pub(super) fn of(bound: &[Bound]) -> Option<Door> {
        let http = bound.iter().find(|socket| socket.role == Role::Http)?;
        Some(match &http.place {
            Place::Unix(path) => Door::Unix(path.clone()),
            Place::Tcp(address) => Door::Tcp(SocketAddr::new(reachable(address.ip()), address.port())),
        })
    }

    /// Waits until `GET path` is answered 204.
    pub(super) async fn answers(&self, path: &str) {
        let (mut wait, longest) = WAITS;
        loop {
            if let Ok(Ok(204)) = timeout(PATIENCE, self.ask(path)).await {
                return;
            }
            sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    async fn ask(&self, path: &str) -> io::Result<u16> {
        match self {
            Door::Tcp(address) => question(TcpStream::connect(address).await?, path).await,
            Door::Unix(socket) => question(UnixStream::connect(socket).await?, path).await,
        }
    }
}

fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

async fn question(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> io::Result<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0u8; 12];
    stream.read_exact(&mut head).await?;
    std::str::from_utf8(&head)
        .ok()
        .and_then(|text| text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

//! One data plane's connection.

use super::SCOPE;
use super::planes::MAX_ORDERS;
use crate::process::House;
use proto::control::frame::{self, Decoder, FrameError};
use proto::control::report::Gathering;
use proto::control::session::{Event, Peer, Publisher, SessionError};
use proto::control::{FromControl, FromDataplane};
use proto::log::Level;
use proto::snapshot::{AppRef, Route};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a data plane may take to read what it is told.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to introduce itself.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Debug)]
enum End {
    Io(io::Error),
    Frame(FrameError),
    Session(SessionError),
    TooMany,
    Silent,
    Closed,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Io(e) => e.fmt(f),
            End::Frame(e) => e.fmt(f),
            End::Session(e) => e.fmt(f),
            End::TooMany => f.write_str("there are too many data planes"),
            End::Silent => f.write_str("no Hello in time"),
            End::Closed => f.write_str("it closed the connection"),
        }
    }
}

/// Talks with one data plane until it goes.
pub(super) async fn converse(stream: UnixStream, house: Arc<House>) {
    let (reader, writer) = stream.into_split();
    let (orders, mut waiting) = mpsc::channel(MAX_ORDERS);
    let mut incoming = Incoming { reader, decoder: Decoder::new() };
    let mut talk = Talk {
        publisher: Publisher::new(),
        writer,
        orders,
        gathering: Gathering::default(),
        house,
        number: 0,
        peer: Peer::default(),
        presence: Presence::Unknown,
    };
    let Err(end) = talk.all(&mut incoming, &mut waiting).await;
    talk.finish(&end).await;
}

/// The reading half. Waiting for a message may be given up at any moment without losing a byte.
struct Incoming {
    reader: OwnedReadHalf,
    decoder: Decoder,
}

impl Incoming {
    async fn message(&mut self) -> Result<FromDataplane, End> {
        let mut bytes = [0; 8192];
        loop {
            if let Some(message) = self.decoder.take().map_err(End::Frame)? {
                return Ok(message);
            }
            let arrived = self.reader.read(&mut bytes).await.map_err(End::Io)?;
            if arrived == 0 {
                return Err(End::Closed);
            }
            self.decoder.push(bytes.get(..arrived).unwrap_or_default());
        }
    }
}

struct Talk {
    publisher: Publisher,
    writer: OwnedWriteHalf,
    orders: mpsc::Sender<FromControl>,
    gathering: Gathering,
    house: Arc<House>,
    /// Its number among the data planes; 0 before Hello.
    number: u64,
    peer: Peer,
    /// It serves and is to be found, or it is about to end and is not: either is said once.
    presence: Presence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Unknown,
    Serving,
    Draining,
}

impl Talk {
    async fn all(
        &mut self,
        incoming: &mut Incoming,
        waiting: &mut mpsc::Receiver<FromControl>,
    ) -> Result<std::convert::Infallible, End> {
        let hello = timeout(HELLO_WITHIN, incoming.message()).await.map_err(|_| End::Silent)??;
        self.received(hello).await?;
        let mut picture = self.house.picture.follow();
        loop {
            tokio::select! {
                message = incoming.message() => self.received(message?).await?,
                order = waiting.recv() => {
                    // what the answer speaks of is in the table already: tell that first
                    self.publish().await?;
                    if let Some(order) = order {
                        self.tell(&order).await?;
                    }
                }
                changed = picture.changed() => {
                    changed.map_err(|_| End::Closed)?;
                    self.publish().await?;
                }
            }
        }
    }

    async fn received(&mut self, message: FromDataplane) -> Result<(), End> {
        let house = Arc::clone(&self.house);
        match self.publisher.received(message).map_err(End::Session)? {
            Event::Greeted(peer) => return self.greeted(peer).await,
            Event::Acked { version } => {
                house.planes.note(self.number, |plane| {
                    plane.applied = version;
                    plane.refused.clear();
                });
                if self.presence == Presence::Unknown {
                    self.presence = Presence::Serving;
                    house.is_serving();
                }
            }
            Event::Nacked { version, reasons } => {
                let reasons = reasons.join("; ");
                let line = format!("the data plane refused snapshot {version}: {reasons}");
                house.voice.line(Level::Error, SCOPE, &line);
                house.planes.note(self.number, |plane| plane.refused = reasons);
            }
            Event::Resolve(app) => self.look_for(app),
            Event::Failed { target, endpoint } => {
                tokio::spawn(async move { house.names.doubt(&target, endpoint).await });
            }
            Event::Draining { .. } => {
                self.presence = Presence::Draining;
                house.withdraw();
            }
            Event::Attached(attached) => house.attach(&attached),
            Event::Report(part) => {
                if let Some(report) = self.gathering.take(part) {
                    house.planes.reported(report);
                }
            }
            Event::Nothing => {}
        }
        // an answer may have made room for what changed meanwhile
        self.publish().await
    }

    async fn greeted(&mut self, peer: Peer) -> Result<(), End> {
        self.house.picture.pass(peer.serving);
        let came = self.house.planes.came(peer.clone(), self.orders.clone());
        self.number = came.ok_or(End::TooMany)?;
        let line = format!("data plane {} ({} shards) is connected", peer.pid, peer.shards);
        self.house.voice.line(Level::Debug, SCOPE, &line);
        self.peer = peer;
        // before the first snapshot, so that nothing is missing once it serves
        if let Some(attached) = self.house.attached() {
            self.tell(&FromControl::attached(attached)).await?;
        }
        self.publish().await
    }

    /// Looks in the background; the answer comes back as an order.
    fn look_for(&self, app: AppRef) {
        let (house, orders) = (Arc::clone(&self.house), self.orders.clone());
        tokio::spawn(async move {
            let route: Route = house.names.ask(&app).await;
            // a data plane that reads nothing answers its calls itself when their time is up
            let _ = orders.try_send(FromControl::resolved(&app, &route));
        });
    }

    async fn publish(&mut self) -> Result<(), End> {
        let picture = self.house.picture.now();
        for message in self.publisher.publish(&picture) {
            self.tell(&message).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, message: &FromControl) -> Result<(), End> {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).map_err(End::Frame)?;
        let written = timeout(WRITE_WITHIN, self.writer.write_all(&bytes)).await;
        written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(End::Io)
    }

    async fn finish(&mut self, end: &End) {
        if self.number != 0 {
            self.house.planes.went(self.number);
        }
        let gone = matches!(end, End::Closed);
        if !gone {
            // it may be gone all the same
            let _ = self.tell(&FromControl::refusal(end)).await;
        }
        let line = format!("data plane {} is not connected any more: {end}", self.peer.pid);
        self.house.voice.line(if gone { Level::Debug } else { Level::Warn }, SCOPE, &line);
    }
}

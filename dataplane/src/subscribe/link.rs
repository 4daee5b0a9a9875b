//! The thread that connects, reads and applies.

use super::outgoing::Shared;
use super::{Channel, Update};
use crate::log;
use crate::tls;
use proto::control::frame::{Decoder, FrameError};
use proto::control::session::{Candidate, Heard, SessionError, Subscriber};
use proto::control::{FromControl, FromDataplane, Report};
use proto::snapshot::IdentityMaterial;
use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// Pause before the first new attempt to connect; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause between attempts to connect. An attempt is one cheap system call.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long control may take to read what it is told; then the connection is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
const SCOPE: &str = "dapr.runtime.control";

/// Why a connection ended.
#[derive(Debug)]
enum End {
    Io(io::Error),
    Frame(FrameError),
    Session(SessionError),
    Dismissed(Vec<String>),
    Deaf,
    Closed,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Io(e) => e.fmt(f),
            End::Frame(e) => e.fmt(f),
            End::Session(e) => e.fmt(f),
            End::Dismissed(reasons) => write!(f, "turned away: {}", reasons.join("; ")),
            End::Deaf => f.write_str("it sends snapshots without reading the answers"),
            End::Closed => f.write_str("it closed the connection"),
        }
    }
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> End {
        End::Io(e)
    }
}

/// The own identity and what it was made of.
struct Known {
    material: Arc<IdentityMaterial>,
    identity: Arc<tls::Identity>,
}

pub(super) struct Link {
    channel: Channel,
    shared: Arc<Shared>,
    report: Box<dyn FnMut() -> Report + Send>,
    subscriber: Subscriber,
    known: Option<Known>,
    /// A snapshot was accepted on this connection.
    served: bool,
    /// That control is away was said already.
    said_away: bool,
}

impl Link {
    pub(super) fn new(
        channel: Channel,
        shared: Arc<Shared>,
        report: Box<dyn FnMut() -> Report + Send>,
    ) -> Link {
        let subscriber = Subscriber::new();
        Link { channel, shared, report, subscriber, known: None, served: false, said_away: false }
    }

    /// The thread `control-in`. Pauses grow until a snapshot is accepted.
    pub(super) fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let end = self.connection();
            self.subscriber.disconnected();
            self.shared.disconnected();
            if self.shared.is_closed() {
                return;
            }
            if std::mem::take(&mut self.served) {
                pause = FIRST_PAUSE;
            }
            // at the start, control may only just be starting too
            if self.subscriber.current().version != 0 || pause == LONGEST_PAUSE {
                self.say_away(&end);
            }
            if self.shared.is_closed_within(pause) {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn say_away(&mut self, end: &End) {
        if !std::mem::replace(&mut self.said_away, true) {
            let version = self.subscriber.current().version;
            let socket = self.channel.socket.display();
            log::warn(SCOPE, format_args!("control at {socket}: {end}; snapshot {version} stays in force"));
        }
    }

    /// One connection, from connect to its end.
    fn connection(&mut self) -> End {
        match self.converse() {
            Ok(()) => End::Closed,
            Err(end) => end,
        }
    }

    fn converse(&mut self) -> Result<(), End> {
        let stream = Arc::new(UnixStream::connect(&self.channel.socket)?);
        stream.set_write_timeout(Some(WRITE_WITHIN))?;
        let hello = self.subscriber.connected(&self.channel.about());
        if !self.shared.connected(Arc::clone(&stream), hello) {
            return Ok(());
        }
        let (mut decoder, mut bytes) = (Decoder::new(), [0; 8192]);
        loop {
            let arrived = match (&*stream).read(&mut bytes) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if arrived == 0 {
                return Ok(());
            }
            decoder.push(bytes.get(..arrived).unwrap_or_default());
            while let Some(message) = decoder.take().map_err(End::Frame)? {
                self.received(message)?;
            }
        }
    }

    fn received(&mut self, message: FromControl) -> Result<(), End> {
        match self.subscriber.received(message).map_err(End::Session)? {
            Heard::Candidate(candidate) => self.settle(candidate),
            Heard::Refused { answer, reasons } => self.refused(answer, &reasons),
            Heard::Resolved { target, route } => {
                if self.shared.change(|outbox| outbox.answered(&target)) {
                    self.shared.deliver(Update::Resolved { target, route });
                }
                Ok(())
            }
            Heard::Collect { id } => {
                let mut report = (self.report)();
                self.shared.change(|outbox| {
                    report.lost += outbox.lost();
                    outbox.report(report.into_parts(id));
                });
                Ok(())
            }
            Heard::Attached(attached) => {
                self.shared.change(|outbox| outbox.attached_earlier(&attached));
                self.shared.deliver(Update::Attached(Arc::new(attached)));
                Ok(())
            }
            Heard::Dismissed { reasons } => Err(End::Dismissed(reasons)),
            Heard::Nothing => Ok(()),
        }
    }

    /// The last check, which needs cryptography; then the snapshot is in force.
    fn settle(&mut self, candidate: Candidate) -> Result<(), End> {
        let identity = match self.identity(candidate.snapshot().identity.as_ref()) {
            Ok(identity) => identity,
            Err(reason) => {
                let answer = self.subscriber.refuse(candidate, vec![reason.clone()]);
                return self.refused(answer, &[reason]);
            }
        };
        let routes = candidate.routes().to_vec();
        let answer = self.subscriber.accept(candidate);
        let snapshot = Arc::clone(self.subscriber.current());
        self.say_served(snapshot.version);
        self.shared.deliver(Update::Snapshot { snapshot: Arc::clone(&snapshot), identity });
        for target in routes {
            let waited_for = self.shared.change(|outbox| outbox.answered(&target));
            if let Some(route) = snapshot.routes.get(&target).filter(|_| waited_for) {
                self.shared.deliver(Update::Resolved { target, route: Arc::clone(route) });
            }
        }
        self.answer(answer)
    }

    fn say_served(&mut self, version: u64) {
        if !std::mem::replace(&mut self.served, true) {
            self.said_away = false;
            log::info(SCOPE, format_args!("connected to control; snapshot {version} is in force"));
        }
    }

    fn refused(&mut self, answer: FromDataplane, reasons: &[String]) -> Result<(), End> {
        let version = self.subscriber.current().version;
        let reasons = reasons.join("; ");
        log::error(SCOPE, format_args!("snapshot refused: {reasons}; snapshot {version} stays in force"));
        self.answer(answer)
    }

    fn answer(&self, answer: FromDataplane) -> Result<(), End> {
        let taken = self.shared.change(|outbox| outbox.answer(answer));
        if taken { Ok(()) } else { Err(End::Deaf) }
    }

    /// The same identity as long as its material is the same.
    fn identity(
        &mut self,
        material: Option<&Arc<IdentityMaterial>>,
    ) -> Result<Option<Arc<tls::Identity>>, String> {
        let Some(material) = material else {
            self.known = None;
            return Ok(None);
        };
        if let Some(known) = self.known.as_ref().filter(|known| Arc::ptr_eq(&known.material, material)) {
            return Ok(Some(Arc::clone(&known.identity)));
        }
        let identity = tls::Identity::new(material).map_err(|e| format!("identity: {e}"))?;
        self.known = Some(Known { material: Arc::clone(material), identity: Arc::clone(&identity) });
        Ok(Some(identity))
    }
}

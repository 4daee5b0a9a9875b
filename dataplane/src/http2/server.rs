//! Connections of local clients: the HTTP API over HTTP/2 without TLS.

use super::LinkLimits;
use super::drive::drive_from;
use super::link::{Blocks, Link, LinkEnd, clock};
use super::stream::{self, Receiver, Sender};
use crate::rt::{Reader, Writer};
use proto::http2::{Connection, Event, Limits, Slot, Violation};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Limits of one client's connection (ARCHITECTURE.md, "Limits"). A local client is not pinged, and may be idle for
/// long, as with HTTP/1. Bodies are buffered less than between sidecars: there may be many clients.
fn limits(max_head: usize) -> Limits {
    Limits {
        concurrent_streams: 250,
        header_list: u32::try_from(max_head).unwrap_or(u32::MAX),
        header_fields: 2048,
        header_block: max_head,
        connection_window: 1 << 20,
        stream_window: 64 << 10,
        stream_window_grown: 256 << 10,
        window_growth: 512 << 10,
        keepalive: DAY,
        idle: DAY,
        grpc: false,
        features: 0,
        ..Limits::default()
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A client's connection that speaks HTTP/2 from here on.
#[derive(Debug)]
pub(crate) struct Server {
    link: Rc<Link>,
    reader: Reader,
    first: Vec<u8>,
}

impl Server {
    /// A client with prior knowledge, whose preface is in `first`. Heads may have `max_head` bytes.
    pub(crate) fn new(reader: Reader, writer: Writer, first: Vec<u8>, max_head: usize) -> Server {
        Server::over(Connection::server(limits(max_head), clock()), reader, writer, first)
    }

    /// A client that was told `101 Switching Protocols`: its request is the first stream, already complete.
    ///
    /// # Errors
    /// The settings in its `HTTP2-Settings` break a rule.
    pub(crate) fn settings(max_head: usize, payload: &[u8]) -> Result<(Connection, Slot), Violation> {
        Connection::upgraded(limits(max_head), clock(), payload)
    }

    /// The connection of [`Server::settings`], and the answer to its request.
    pub(crate) fn upgraded(
        (conn, slot): (Connection, Slot),
        reader: Reader,
        writer: Writer,
        first: Vec<u8>,
    ) -> (Server, (Receiver, Sender)) {
        let server = Server::over(conn, reader, writer, first);
        let halves = stream::opened(&server.link, slot);
        (server, halves)
    }

    fn over(conn: Connection, reader: Reader, writer: Writer, first: Vec<u8>) -> Server {
        let limits = LinkLimits {
            streams: usize::MAX,
            close: Duration::from_secs(2),
            max_message: Cell::new(usize::MAX),
        };
        let link = Link::new(conn, Blocks::default(), None, writer, Rc::new(limits));
        link.touch(&mut link.inner());
        Server { link, reader, first }
    }

    /// Ends the connection in peace once its streams are done.
    pub(crate) fn handle(&self) -> Handle {
        Handle(Rc::clone(&self.link))
    }

    /// Serves the connection to its end: every request goes to `handler`, which starts a task for it. `limit` is told the
    /// name of a limit beyond which one was refused.
    pub(crate) async fn run(
        self,
        handler: impl Fn((Receiver, Sender)),
        limit: impl Fn(&'static str),
    ) -> LinkEnd {
        drive_from(self.link, self.first, self.reader, |link, event| match event {
            Event::Opened(slot) => handler(stream::opened(link, slot)),
            Event::Refused(name) => limit(name),
            _ => {}
        })
        .await
    }
}

/// A served connection, to be ended.
#[derive(Debug)]
pub(crate) struct Handle(Rc<Link>);

impl Handle {
    /// Asks the client to go elsewhere (GOAWAY); requests at work go on.
    pub(crate) fn shutdown(&self) {
        self.0.shutdown();
    }
}

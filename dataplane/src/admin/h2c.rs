//! The HTTP API over HTTP/2 without TLS: with prior knowledge (RFC 9113 section 3.3), or by `Upgrade: h2c` (RFC 7540
//! section 3.2). Every stream is one exchange, the same as on an HTTP/1 connection.

use super::{Scope, exchange, refuse};
use crate::http1::server::{After, Body, Connection, PREFACE};
use crate::http1::sink::Sink;
use crate::http2::server::Server;
use crate::http2::{self, LinkEnd};
use crate::log::{self, RUNTIME};
use crate::rt::{self, Tick};
use crate::shard::Shard;
use crate::shard::survive::Survive;
use proto::grpc::base64;
use proto::http1::framing::Framing;
use proto::http1::head::{Head, Limits, Request, Slots};
use proto::http1::names::Known;
use proto::http1::refusal::HeadError;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

/// Largest body of a request that is upgraded: it is received before the answer begins. A larger one, or one of unknown
/// length, is served without the upgrade, which a server may always do (RFC 9110 section 7.8).
const MOST_UPGRADED: u64 = 1 << 20;

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

/// Whether a request asks for the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// No, or not in a way that is granted.
    No,
    /// Yes.
    Upgrade,
    /// Its `HTTP2-Settings` cannot be read (vector http1/upgrade/h2c-bad-settings).
    Broken,
}

/// Whether HTTP/2 is spoken with clients of that listener.
pub(super) fn is_served(shard: &Shard, scope: Scope) -> bool {
    scope == Scope::Api && !shard.common.http1_only.load(Relaxed)
}

/// Whether `request` asks for the upgrade, as daprd takes it (vectors http1/upgrade/…).
pub(super) fn wanted(request: &Request<'_, '_>, max_body: Option<u64>) -> Wanted {
    let asks = request.upgrade().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"h2c"))
        && request.headers.connection_lists(b"http2-settings")
        && request.headers.has(Known::Http2Settings);
    let fits = match request.framing() {
        Framing::None => true,
        Framing::Length(length) => length <= MOST_UPGRADED.min(max_body.unwrap_or(u64::MAX)),
        Framing::Chunked | Framing::UntilClose => false,
    };
    if !asks || !fits {
        return Wanted::No;
    }
    let readable = settings(request).is_some_and(|settings| Server::settings(0, &settings).is_ok());
    if readable { Wanted::Upgrade } else { Wanted::Broken }
}

/// The payload of a SETTINGS frame in `HTTP2-Settings`: base64 for URLs.
fn settings(request: &Request<'_, '_>) -> Option<Vec<u8>> {
    let text = request.headers.first(Known::Http2Settings)?;
    base64::decode_url(text)
}

/// Serves a client that began with HTTP/2's preface.
pub(super) async fn serve(shard: Rc<Shard>, connection: Connection, scope: Scope) {
    let max_head = shard.view().snapshot.limits.max_head;
    let client = connection.client;
    let Some((reader, writer, rest)) = connection.into_socket() else { return };
    let first = [PREFACE, &rest].concat();
    run(shard, Server::new(reader, writer, first, max_head), scope, client).await;
}

/// Grants the upgrade that the request at hand asks for: its answer is the first of the new connection.
pub(super) async fn upgrade(shard: Rc<Shard>, mut connection: Connection, scope: Scope) {
    let max_head = shard.view().snapshot.limits.max_head;
    let received = receive(&mut connection, max_head).await;
    let head = std::mem::take(&mut connection.head);
    let Some((payload, body)) = received else { return connection.end(After::Abort).await };
    let Ok(settled) = Server::settings(max_head, &payload) else { return connection.end(After::Abort).await };
    let client = connection.client;
    let Some((reader, mut writer, first)) = connection.into_socket() else { return };
    let _ = writer.send(SWITCHING).await; // a client that left is seen at once
    let (server, halves) = Server::upgraded(settled, reader, writer, first);
    let exchange = Connection::of_stream(halves, head, body, client);
    rt::spawn(Survive::new(whole(shard.clone(), exchange, scope)));
    run(shard, server, scope, client).await;
}

/// The settings of the request at hand, and its whole body.
async fn receive(connection: &mut Connection, max_head: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let Connection { source, to, head, ends, .. } = connection;
    let mut slots = Slots::new();
    let Ok(Head::Complete(request)) = Request::parse(head, &mut slots, &Limits { max_head }) else {
        return None;
    };
    let mut body = Body::new(source, &request, Some(MOST_UPGRADED), *ends);
    body.invite(&mut Sink::new(to)).await.ok()?;
    let mut all = Vec::new();
    while let Some(piece) = body.piece(Tick::NEVER).await.ok()? {
        all.extend_from_slice(&piece);
    }
    Some((settings(&request)?, all))
}

async fn run(shard: Rc<Shard>, server: Server, scope: Scope, client: Option<IpAddr>) {
    let handle = server.handle();
    let mut told = false;
    let mut drained = pin!(shard.drained());
    let new = |halves| {
        rt::spawn(Survive::new(stream(shard.clone(), halves, scope, client)));
    };
    let limit = |limit| shard.reached(limit, "a client was refused");
    let mut serving = pin!(server.run(new, limit));
    let end = poll_fn(|cx| {
        if !told && drained.as_mut().poll(cx).is_ready() {
            told = true;
            handle.shutdown();
        }
        serving.as_mut().poll(cx)
    });
    let end = end.await;
    log::debug(RUNTIME, format_args!("HTTP/2 connection of a client ended: {end}"));
    if let LinkEnd::Http2(violation) = &end {
        shard.broke(violation);
    }
}

/// One request of a client, and its answer.
async fn stream(
    shard: Rc<Shard>,
    halves: (http2::Receiver, http2::Sender),
    scope: Scope,
    client: Option<IpAddr>,
) {
    let mut head = Vec::new();
    let written = halves.0.request(&mut head);
    let mut connection = Connection::of_stream(halves, head, Vec::new(), client);
    match written {
        Ok(()) => whole(shard, connection, scope).await,
        Err(why) => {
            let after = refuse(Sink::new(&mut connection.to), &HeadError::Malformed(why.0)).await;
            connection.end(after).await;
        }
    }
}

async fn whole(shard: Rc<Shard>, mut connection: Connection, scope: Scope) {
    let after = exchange(&shard, &mut connection, scope).await;
    connection.end(after).await;
}

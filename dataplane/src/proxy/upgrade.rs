//! Calls that switch protocols, WebSocket for one: after the app's 101 the client's connection and the app's are one,
//! over the mesh hop too. Only Outriggers carry them; nothing is understood of what passes.
//!
//! ```text
//!   client ⇄ HTTP/1 ⇄ caller ⇄ one mesh stream, half-closed by neither ⇄ callee ⇄ HTTP/1 ⇄ app
//! ```
//! There is no time-out: such connections are idle by nature, and a dead peer is noticed by the mesh's pings. A sidecar
//! that drains ends them, so that both ends see it.

use super::answer::Incoming as Answering;
use super::attempt::{self, Failed, client_left};
use super::hop::{Hop, both};
use super::outbound::Outgoing;
use super::relay::Relay;
use super::to_app::{AppRequest, Unanswered};
use crate::http1::idle::Exchange;
use crate::http1::server::Body;
use crate::http1::sink::Sink;
use crate::mesh::{Checkout, Start};
use crate::metrics::Level;
use crate::rt::{self, Tick};
use crate::shard::Shard;
use proto::envelope::request;
use proto::invoke::failure::{Failure, Kind};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

/// The method of such a call on the mesh hop.
pub(super) const METHOD: &str = "OutriggerUpgrade";

/// The same with its service.
const PATH: &str = "/dapr.proto.internals.v1.ServiceInvocation/OutriggerUpgrade";

/// The field of the call's head that names the protocol.
pub(super) const PROTOCOL: &str = "outrigger-upgrade";

/// What `future` makes, unless connections are to end before.
pub(super) async fn unless_drained<T, E: From<Failure>>(
    shard: &Shard,
    mut future: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, E> {
    let mut drained = pin!(shard.drained());
    poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let ended = || Failure::new(Kind::NotReady, "the sidecar is about to end");
        drained.as_mut().poll(cx).map(|()| Err(ended().into()))
    })
    .await
}

/// One attempt at another sidecar.
pub(super) async fn remote(
    out: &Outgoing<'_>,
    checkout: Checkout,
    protocol: &str,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
) -> Result<(), Failed> {
    if !checkout.features().upgrades {
        let text = format!(
            "the client asks to switch to {protocol}, which only an Outrigger sidecar beside {} can pass on",
            out.target.app.app_id
        );
        return Err(Failure::new(Kind::Upgrade, text).into());
    }
    let began = rt::now();
    let fields = [(PROTOCOL, protocol.as_bytes())];
    let start = |literals: &[(&str, &[u8])]| {
        let all = [literals, &fields].concat();
        checkout.start(Start { path: PATH, literals: &all })
    };
    let hop = Hop::new(out.with_literals(start));
    let mut encoded = Ok(());
    hop.write(false, |buf| encoded = request::first(buf, &out.message(hop.peer), &[]))
        .map_err(|error| attempt::call_failed(&error))?;
    encoded.map_err(|error| Failed::from(Failure::from(error)))?;
    let first = {
        let mut watch = pin!(async { Err(Failed::from(client_left(&out.status, body).await)) });
        both(pin!(attempt::first_message(&hop)), watch.as_mut(), &mut false).await?
    };
    let mut answering = Answering::new(out, &hop, answer);
    let complete = answering.begin(&first, began).await;
    first.give_back();
    if complete? {
        return Ok(());
    }
    if out.status.get() != 101 {
        let _ = hop.write_body(&mut 0, &[], true); // the answer tells what is wrong
        let mut watch = pin!(async { Err(Failed::from(client_left(&out.status, body).await)) });
        return both(pin!(answering.relay()), watch.as_mut(), &mut false).await;
    }
    let _open = out.shard.metrics.hold(Level::Upgraded);
    out.keep_not();
    let mut up = pin!(to_mesh(&hop, body));
    let mut passed = pin!(async { both(pin!(answering.relay()), up.as_mut(), &mut false).await });
    unless_drained(out.shard, passed.as_mut()).await
}

/// What the client sends, to its end.
async fn to_mesh(hop: &Hop, body: &mut Body<'_>) -> Result<(), Failed> {
    body.become_stream();
    let mut seq = 0;
    while hop.room(|| body.release()).await.is_ok() {
        let piece = body.piece(Tick::NEVER).await.map_err(|e| Failed::from(attempt::body_failure(&e)))?;
        let ended = piece.is_none();
        if hop.write_body(&mut seq, piece.as_deref().unwrap_or_default(), ended).is_err() || ended {
            break; // the answer tells what is wrong
        }
    }
    Ok(())
}

/// One exchange with the own app.
pub(super) async fn own(
    out: &Outgoing<'_>,
    mut exchange: Exchange,
    request: &AppRequest<'_>,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
) -> Result<(), Unanswered> {
    let Some((mut sink, mut from)) = exchange.halves() else { return Ok(()) };
    request.write(&mut sink)?;
    let _ = sink.flush().await; // the answer, or its absence, tells what is wrong
    {
        let mut watch = pin!(async { Err(Unanswered::Failed(client_left(&out.status, body).await)) });
        both(pin!(request.head(&mut from, false)), watch.as_mut(), &mut false).await?;
    }
    let (asked, status) = (out.asked(), &out.status);
    let mut relay = Relay { asked, status, limit: None, request, from: &mut from, answer };
    let switched = relay.begin().await?;
    if !switched {
        relay.limit = out.view.snapshot.limits.max_body;
        let mut watch = pin!(async { Err(Unanswered::Failed(client_left(&out.status, body).await)) });
        return both(pin!(relay.rest()), watch.as_mut(), &mut false).await;
    }
    let _open = out.shard.metrics.hold(Level::Upgraded);
    out.keep_not();
    let mut up = pin!(to_app(body, &mut sink));
    let mut passed = pin!(async { both(pin!(relay.rest()), up.as_mut(), &mut false).await });
    unless_drained(out.shard, passed.as_mut()).await
}

/// What the client sends, to its end.
async fn to_app(body: &mut Body<'_>, sink: &mut Sink<'_>) -> Result<(), Unanswered> {
    body.become_stream();
    while sink.room(|| body.release()).await.is_ok() {
        let piece = body.piece(Tick::NEVER).await.map_err(|e| attempt::body_failure(&e))?;
        let Some(piece) = piece else {
            sink.end_side();
            break;
        };
        if sink.push_segment(piece).is_err() || sink.flush().await.is_err() {
            break; // the app's end of the connection tells what is wrong
        }
    }
    Ok(())
}

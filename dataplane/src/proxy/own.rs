//! A call of the sidecar's own app never leaves the sidecar: no name is looked up, no list is asked, no mesh hop.

use super::attempt::body_failure;
use super::hop::both;
use super::outbound::Outgoing;
use super::relay::{Relay, upload};
use super::replay::Replay;
use super::steps::Step;
use super::to_app::{AppRequest, Rooted, Unanswered};
use super::upgrade;
use crate::app::{self, App, Asked, Forwarding};
use crate::http1::idle::Exchange;
use crate::http1::server::Body;
use crate::http1::sink::Sink;
use crate::metrics::{AppCall, Event};
use crate::rt::{self, Tick};
use proto::http1::framing::Framing;
use proto::invoke::failure::{Failure, Kind};
use proto::invoke::headers::app::{Added, Caller, from_client};
use proto::policy::acl::Permit;
use std::pin::pin;

/// Carries a request to the own app and its answer back to the client.
pub(super) async fn call(
    out: &Outgoing<'_>,
    permit: Permit,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
) -> Result<(), Failure> {
    let Some(app) = out.view.app.clone() else {
        return Err(Failure::new(Kind::NoApp, "cannot invoke local endpoint: app channel not initialized"));
    };
    let mut head = Vec::new();
    let framing = write_head(out, &app, &mut head)?;
    app.takes_calls()?;
    let forwarding = super::outbound::present(body, pin!(app::forward(&app, permit))).await?;
    out.steps.done(Step::Allowed, &out.target.app.app_id);
    body.invite(answer).await.map_err(|e| Failure::new(Kind::ClientGone, e.to_string()))?;
    let mut replay =
        Replay::new(out.view.snapshot.limits.max_replay_body, body.is_streaming(), body.declared());
    if body.has_more_at_hand() {
        let piece = body.piece(Tick::NEVER).await.map_err(|e| body_failure(&e))?;
        replay.first(&out.shard.metrics, piece);
    }
    let asked = Asked {
        scheme: app.scheme(),
        verb: out.request.method,
        host: app.host(),
        method: out.method,
        query: out.query,
    };
    let upgrade = out.request.switches_to().filter(|_| app.can_switch());
    let framing = if upgrade.is_some() { Framing::UntilClose } else { framing };
    let (first, ended) = (replay.unsent(), body.is_done() && upgrade.is_none());
    let max_head = out.view.snapshot.limits.max_head;
    let request =
        AppRequest { head: &head, framing, asked, first, ended, max_head, upgrade, uppercase: out.uppercase };
    exchange(out, &forwarding, &request, body, answer).await
}

fn write_head(out: &Outgoing<'_>, app: &App, head: &mut Vec<u8>) -> Result<Framing, Failure> {
    let own = &out.view.snapshot.workload;
    let added = Added {
        host: app.host(),
        app_id: &own.app_id,
        caller: Some(Caller { app_id: &own.app_id, namespace: &own.namespace }),
        token: app.channel().token.as_deref(),
        trace: out.trace.context,
        upgrade: out.request.switches_to().filter(|_| app.can_switch()),
    };
    from_client(head, out.request, out.method, out.query, &added, out.dropped).map_err(Failure::from)
}

/// One exchange, or two where the first met a stale connection.
async fn exchange(
    out: &Outgoing<'_>,
    forwarding: &Forwarding,
    request: &AppRequest<'_>,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
) -> Result<(), Failure> {
    let mut fresh = request.upgrade.is_some();
    loop {
        let connected = async { forwarding.connect(fresh).await.map_err(|e| request.asked.unreachable(&e)) };
        let exchange = super::outbound::present(body, pin!(connected)).await?;
        let began = rt::now();
        let told = once(out, exchange, request, body, answer, began).await;
        let status = if told.is_ok() { out.status.get() } else { 500 };
        match told {
            Err(failed) if !fresh && request.goes_again(&failed) => {
                out.shard.metrics.event(Event::StaleAppConnection);
                fresh = true;
                continue;
            }
            Err(failed) => {
                count(out, request, status, began, answer.body_bytes());
                return Err(failed.into_failure());
            }
            Ok(()) => {
                count(out, request, status, began, answer.body_bytes());
                return Ok(());
            }
        }
    }
}

fn count(out: &Outgoing<'_>, request: &AppRequest<'_>, status: u16, began: Tick, received: u64) {
    out.shard.metrics.app_called(AppCall {
        verb: request.asked.verb,
        path: Rooted::new(out.method).as_str(),
        status,
        ms: rt::now().millis_since(began),
        sent: 0,
        received,
    });
}

async fn once(
    out: &Outgoing<'_>,
    mut exchange: Exchange,
    request: &AppRequest<'_>,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
    began: Tick,
) -> Result<(), Unanswered> {
    if request.upgrade.is_some() {
        return Box::pin(upgrade::own(out, exchange, request, body, answer)).await;
    }
    let reused = exchange.is_reused();
    let keeps_alive = {
        let Some((mut sink, mut from)) = exchange.halves() else { return Ok(()) };
        request.write(&mut sink)?;
        let _ = sink.flush().await; // the answer, or its absence, tells what is wrong
        let mut upload = pin!(upload(&out.status, body, &mut sink));
        let mut uploaded = false;
        both(pin!(request.head(&mut from, reused)), upload.as_mut(), &mut uploaded).await?;
        out.steps.done(Step::Answered, (rt::now() - began).as_micros());
        let limit = out.view.snapshot.limits.max_body;
        let (asked, status) = (out.asked(), &out.status);
        let mut relay = Relay { asked, status, limit, request, from: &mut from, answer };
        both(pin!(relay.run()), upload.as_mut(), &mut uploaded).await?
    };
    exchange.complete(keeps_alive && body.is_done());
    Ok(())
}

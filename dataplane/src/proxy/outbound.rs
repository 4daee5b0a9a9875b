//! The story of a request: from the local client to the app it names, and back.

use super::attempt::{self, Failed};
use super::replay::Replay;
use super::respond::{self, Trace, asked, date};
use super::steps::{Step, Steps};
use super::{external, own, pipeline};
use crate::http1::server::Body;
use crate::http1::sink::Sink;
use crate::metrics::Record;
use crate::rt::{self, Tick};
use crate::shard::target::Target;
use crate::shard::{Shard, View, now};
use proto::api::cors::Lines;
use proto::envelope::{self, Peer, request};
use proto::http1::head::Request;
use proto::http1::names::Known;
use proto::invoke::classify::{self, Retry};
use proto::invoke::failure::{Failure, Kind};
use proto::invoke::headers::client::Asked;
use proto::invoke::target::{self, Destination, Path};
use proto::invoke::{method, target::Form};
use proto::policy::acl::Permit;
use proto::policy::pipeline::{Bodies, Shown};
use proto::policy::retry::{Attempts, FailedAttempt, RetryPolicy, Stop, Verdict};
use proto::snapshot::AppRef;
use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// A request of a local client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calling<'c> {
    pub(crate) request: &'c Request<'c, 'c>,
    pub(crate) path: &'c Path<'c>,
    /// What every answer to it carries, for scripts of other origins.
    pub(crate) lines: &'c Lines<'c>,
    /// Whether the connection may carry another request.
    pub(crate) keep: &'c Cell<bool>,
}

/// Carries one request of a local client to the app it names. Afterwards `answer` is complete, or it must be cut off;
/// `record` knows what happened.
pub(crate) async fn invoke(
    shard: &Rc<Shard>,
    calling: &Calling<'_>,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
    record: &mut Record<'_>,
) {
    record.invocation = true;
    let Calling { request, path, lines, keep } = *calling;
    let (view, steps) = (shard.view(), Steps::begin(shard, "caller"));
    let baggage = respond::joined_baggage(request, view.snapshot.api.tracing);
    let trace = Trace::of(shard, &view, request, path.raw);
    let client = Client { shard, view, request, lines, keep, steps, trace, baggage };
    let mut id = Cow::Borrowed("");
    let told = story(&client, path, body, answer, record, &mut id).await;
    record.bytes_in = body.taken();
    if let Err(failure) = told {
        record.failure = Some(failure.kind);
        respond::note_limit(shard, &failure);
        if !answer.has_begun() && failure.kind != Kind::ClientGone {
            body.discard_at_hand().await;
            keep.set(keep.get() && !body.is_left_unread());
            let date = date();
            record.status = respond::failure(answer, &client.asked(&date), &failure, &id);
            let _ = answer.flush().await; // a client that left is seen at its next request
        }
    }
    record.bytes_out = answer.body_bytes();
    client.steps.done(Step::Delivered, record.status);
}

/// One phase a line.
async fn story<'p>(
    client: &Client<'p>,
    path: &Path<'p>,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
    record: &mut Record<'_>,
    id: &mut Cow<'p, str>,
) -> Result<(), Failure> {
    client.steps.done(Step::Received, client.request.target);
    client.shard.has_memory()?;
    let address = target::find(path, &client.request.headers)?;
    *id = address.id.clone();
    let destination = target::destination(&address.id)?;
    let method = method::normalise(&address.method)?;
    refuse_oversized(body)?;
    let app = match destination {
        Destination::App { app_id, namespace } if !external::is_named(client, app_id) => (app_id, namespace),
        outside => {
            let what = (&*method, &address);
            return Box::pin(external::call(client, &outside, what, body, answer, record)).await;
        }
    };
    let target = client.target(&address.id, app);
    let permit = Permit::for_own_app(&client.view.snapshot.workload, &target.app);
    let entry = match &permit {
        Some(_) => client.enter(&method, address.query),
        None => pipeline::Entry::unchanged(&method, address.query),
    };
    if let Some(refused) = &entry.refused {
        return client.refuse(refused, body, answer, record).await;
    }
    let mut out = Outgoing::new(client, target, &entry, address.form);
    let told = match permit {
        Some(permit) => own::call(&out, permit, body, answer).await,
        None => remote(&mut out, body, answer, record).await,
    };
    record.status = out.status.get();
    told
}

/// To another sidecar: find it, then attempt until one attempt is answered or no further one is allowed.
async fn remote(
    out: &mut Outgoing<'_>,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
    record: &mut Record<'_>,
) -> Result<(), Failure> {
    let shard = out.shard;
    present(body, pin!(shard.route(&out.target))).await?;
    out.steps.done(Step::Resolved, &out.target.app.app_id);
    shard.budget().deposit();
    let mut replay =
        Replay::new(out.view.snapshot.limits.max_replay_body, body.is_streaming(), body.declared());
    let mut attempts = Attempts::new(RetryPolicy::BUILT_IN);
    let mut tried: Vec<SocketAddr> = Vec::new();
    loop {
        let endpoint = pick(out, &tried)?;
        record.attempts = attempts.begin();
        let failed = match attempt::run(out, endpoint, body, &mut replay, answer).await {
            Ok(()) => {
                out.target.succeeded(endpoint);
                return Ok(());
            }
            Err(failed) if answer.has_begun() => return Err(failed.failure),
            Err(failed) => failed,
        };
        tried.push(endpoint);
        again(out, endpoint, &tried, failed, &mut attempts, &replay, body).await?;
        record.repeats = attempts.repeats();
    }
}

/// After a failed attempt: waits until the next one is due, or gives up with the failure.
async fn again(
    out: &Outgoing<'_>,
    endpoint: SocketAddr,
    tried: &[SocketAddr],
    failed: Failed,
    attempts: &mut Attempts,
    replay: &Replay,
    body: &mut Body<'_>,
) -> Result<(), Failure> {
    let shard = out.shard;
    if failed.blames_peer {
        shard.endpoint_failed(&out.target, endpoint);
    }
    let fresh_endpoint = out.target.has_fresh(tried, now());
    let replayable = if replay.is_streaming() {
        replay.is_untouched() && fresh_endpoint // daprd does not repeat streaming requests (spec/resolution 2.4)
    } else {
        replay.is_whole()
    };
    let retry = classify::retry(failed.code, failed.processed);
    let attempt = FailedAttempt { retry, replayable, fresh_endpoint, refused: failed.refused };
    let verdict = attempts.failed(attempt, &mut shard.budget(), now());
    match verdict {
        Verdict::Again { wait } => {
            shard.metrics.retry(if retry == Retry::Unsafe { "repeat" } else { "safe" });
            present(body, pin!(pause(wait))).await?;
            // a failed lookup leaves the known endpoints in force
            present(body, pin!(look_again(out))).await
        }
        Verdict::Stop(why) => Err(given_up(out, failed.failure, attempts.made(), why)),
    }
}

async fn look_again(out: &Outgoing<'_>) -> Result<(), Failure> {
    let _ = out.shard.route(&out.target).await;
    Ok(())
}

async fn pause(wait: Duration) -> Result<(), Failure> {
    rt::sleep_until(rt::now() + wait).await;
    Ok(())
}

fn given_up(out: &Outgoing<'_>, failure: Failure, made: u32, why: Stop) -> Failure {
    match why {
        Stop::Final => {}
        Stop::Exhausted => out.shard.metrics.retry("exhausted"),
        Stop::NotReplayable => out.shard.metrics.retry("not_replayable"),
        Stop::Budget => out.shard.metrics.retry("no_budget"),
    }
    if made > 1 && why != Stop::Final {
        return failure.after_retries(&out.target.app.app_id, made - 1);
    }
    failure
}

fn pick(out: &Outgoing<'_>, tried: &[SocketAddr]) -> Result<SocketAddr, Failure> {
    out.target.pick(tried, now()).ok_or_else(|| {
        Failure::new(Kind::NotFound, format!("couldn't find service: {}", out.target.app.app_id))
    })
}

/// A declared length beyond the limit is refused before a byte is read.
fn refuse_oversized(body: &Body<'_>) -> Result<(), Failure> {
    match body.exceeds_limit() {
        None => Ok(()),
        Some(limit) => Err(attempt::body_failure(&crate::http1::server::BodyFailure::TooLarge { limit })),
    }
}

/// Waits for `what` as long as the client is there; no receive buffer is held meanwhile.
pub(super) async fn present<T, E: From<Failure>>(
    body: &mut Body<'_>,
    mut what: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, E> {
    let unanswered = Cell::new(0);
    let mut gone = pin!(attempt::client_left(&unanswered, body));
    poll_fn(|cx| {
        if let Poll::Ready(done) = what.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        gone.as_mut().poll(cx).map(|failure| Err(failure.into()))
    })
    .await
}

/// A client's request and what the sidecar knew when it came.
pub(super) struct Client<'c> {
    pub(super) shard: &'c Rc<Shard>,
    pub(super) view: Rc<View>,
    pub(super) request: &'c Request<'c, 'c>,
    lines: &'c Lines<'c>,
    keep: &'c Cell<bool>,
    pub(super) steps: Steps,
    pub(super) trace: Trace,
    baggage: Option<Vec<u8>>,
}

impl Client<'_> {
    /// The app behind the address.
    fn target(&self, id: &str, (app_id, namespace): (&str, Option<&str>)) -> Rc<Target> {
        let own = &self.view.snapshot.workload.namespace;
        self.shard.target(id, &self.view, || AppRef {
            app_id: app_id.into(),
            namespace: namespace.unwrap_or(own).into(),
        })
    }

    /// A call of the own app passes the pipeline here: there is no hop on which it would.
    fn enter<'m>(&'m self, method: &'m str, query: &'m str) -> pipeline::Entry<'m> {
        let own = &self.view.snapshot.workload.app_id;
        let shown = || Shown::of(self.request.headers.all(Known::Authorization));
        pipeline::enter(self.shard, &self.view, own, (method, query), shown)
    }

    async fn refuse(
        &self,
        refused: &pipeline::Refused,
        body: &mut Body<'_>,
        answer: &mut Sink<'_>,
        record: &mut Record<'_>,
    ) -> Result<(), Failure> {
        body.discard_at_hand().await;
        self.keep.set(self.keep.get() && !body.is_left_unread());
        let date = date();
        refused.tell(|told| {
            respond::reply(answer, &self.asked(&date), told);
            record.status = told.status;
        });
        let _ = answer.flush().await; // a client that left is seen at its next request
        Ok(())
    }

    pub(super) fn asked<'a>(&'a self, date: &'a [u8; 29]) -> Asked<'a> {
        let asked = asked(self.request, &self.trace, !self.keep.get(), date, &self.baggage);
        Asked { extra: self.lines, ..asked }
    }
}

/// A call on its way out.
pub(super) struct Outgoing<'o> {
    pub(super) shard: &'o Rc<Shard>,
    pub(super) view: Rc<View>,
    pub(super) request: &'o Request<'o, 'o>,
    pub(super) target: Rc<Target>,
    pub(super) method: &'o str,
    pub(super) query: &'o str,
    /// Bodies of a call of the own app whose letters become capital ones.
    pub(super) uppercase: Bodies,
    /// Known names that the form of address used up.
    pub(super) dropped: u64,
    pub(super) trace: Trace,
    /// The status that the client was told; 0 before.
    pub(super) status: Cell<u16>,
    pub(super) steps: Steps,
    lines: &'o Lines<'o>,
    keep: &'o Cell<bool>,
    date: [u8; 29],
    baggage: &'o Option<Vec<u8>>,
}

impl<'o> Outgoing<'o> {
    fn new(client: &'o Client<'_>, target: Rc<Target>, entry: &'o pipeline::Entry<'_>, form: Form) -> Self {
        Outgoing {
            shard: client.shard,
            view: client.view.clone(),
            request: client.request,
            target,
            method: &entry.method,
            query: &entry.query,
            uppercase: entry.uppercase,
            dropped: form.dropped() | client.trace.dropped(),
            trace: client.trace,
            status: Cell::new(0),
            steps: client.steps,
            lines: client.lines,
            keep: client.keep,
            date: date(),
            baggage: &client.baggage,
        }
    }

    /// The call as a message to that peer.
    pub(super) fn message(&self, peer: Peer) -> envelope::request::Outgoing<'_> {
        request::Outgoing {
            headers: &self.request.headers,
            verb: self.request.method,
            method: self.method,
            query: self.query,
            fixed: &self.target.fixed,
            peer,
            dropped: self.dropped | self.checked_token(),
        }
    }

    /// The client's API token never leaves the sidecar that checks it.
    fn checked_token(&self) -> u64 {
        if self.view.snapshot.api.token.is_some() { Known::DaprApiToken.bit() } else { 0 }
    }

    /// The trace context as literal fields of the call.
    pub(super) fn with_literals<R>(&self, open: impl FnOnce(&[(&str, &[u8])]) -> R) -> R {
        match self.trace.context {
            None => open(&[]),
            Some(context) => {
                let (parent, bin) = (context.traceparent(), context.trace_bin());
                open(&[("traceparent", &parent), ("grpc-trace-bin", &bin)])
            }
        }
    }

    /// The client's connection ends with this call.
    pub(super) fn keep_not(&self) {
        self.keep.set(false);
    }

    /// What the answer's head depends on.
    pub(super) fn asked(&self) -> Asked<'_> {
        let asked = asked(self.request, &self.trace, !self.keep.get(), &self.date, self.baggage);
        Asked { extra: self.lines, ..asked }
    }

    /// The answer's head came from another sidecar, in this turn.
    pub(super) fn answered(&self, status: u16, began: Tick) {
        let ms = rt::now().millis_since(began);
        self.shard.metrics.answered(&self.target.app.app_id, status, ms);
    }
}

//! A call to a server outside the mesh: a literal `http(s)://` target, or an `HTTPEndpoint` resource by name
//! (spec/invocation 1.10.3). No name is looked up by control, nothing of the mesh is told; redirects of resources are
//! followed, and what is secret stays with the origin it was given for.

use super::attempt::body_failure;
use super::hop::both;
use super::outbound::{Client, present};
use super::relay::{Relay, upload};
use super::replay::Replay;
use super::respond::date;
use super::steps::Step;
use super::to_app::{AppRequest, Unanswered};
use crate::app::Asked;
use crate::external::Key;
use crate::http1::idle::Exchange;
use crate::http1::server::Body;
use crate::http1::sink::Sink;
use crate::metrics::{AppCall, Event, Record};
use crate::rt::{self, Tick};
use proto::http1::head::Slots;
use proto::invoke::failure::{Failure, Kind};
use proto::invoke::headers::external::{Place, from_client, verb};
use proto::invoke::target::{Destination, Target};
use proto::invoke::url::{self, BadUrl, Origin, Url};
use proto::policy::pipeline::Bodies;
use proto::policy::redirect::{self, Follow};
use proto::snapshot::HttpEndpoint;
use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;

/// The path that a record has in the place of one with a password.
const WITH_PASSWORD: &str = "/v1.0/invoke/{url}/method/{method}";

/// Whether `app_id` is the name of a resource: it wins over an app of that name.
pub(super) fn is_named(client: &Client<'_>, app_id: &str) -> bool {
    client.view.snapshot.http_endpoints.contains_key(app_id)
}

/// Carries a request to a server outside the mesh and its answer back to the client.
pub(super) async fn call(
    client: &Client<'_>,
    outside: &Destination<'_>,
    (method, address): (&str, &Target<'_>),
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
    record: &mut Record<'_>,
) -> Result<(), Failure> {
    let (call, first) = Call::new(client, outside, method, address)?;
    if call.endpoint.is_none() && first.url.user.is_some() {
        record.path = WITH_PASSWORD; // metrics show paths
    }
    let told = call.run(first, body, answer, record).await;
    record.status = call.status.get();
    told
}

/// A call on its way out of the mesh.
struct Call<'c> {
    client: &'c Client<'c>,
    /// What metrics call the server; never with a password.
    label: String,
    /// The resource's name and the resource; `None` for a literal URL.
    endpoint: Option<(&'c str, &'c Arc<HttpEndpoint>)>,
    /// Whom the client, and the resource, mean.
    origin: Origin,
    /// Known names that the form of address used up.
    dropped: u64,
    /// The status that the client was told; 0 before.
    status: Cell<u16>,
    date: [u8; 29],
}

/// One request of a call: the first, or one that a redirect leads to.
#[derive(Debug)]
struct Hop {
    url: Url,
    path: String,
    query: String,
    referer: Option<String>,
    as_get: bool,
    /// It, or one before, left the origin that was meant.
    foreign: bool,
}

impl<'c> Call<'c> {
    fn new(
        client: &'c Client<'c>,
        outside: &'c Destination<'_>,
        method: &str,
        address: &Target<'_>,
    ) -> Result<(Call<'c>, Hop), Failure> {
        let (label, endpoint, url) = match outside {
            Destination::External(text) => {
                let url = url::parse(text).map_err(|bad| no_url(text, method, &bad))?;
                (url.text(), None, url)
            }
            Destination::App { app_id, .. } => {
                let endpoint = client.view.snapshot.http_endpoints.get(*app_id).ok_or_else(|| {
                    Failure::new(Kind::NotFound, format!("couldn't find service: {app_id}"))
                })?;
                ((*app_id).to_owned(), Some((*app_id, endpoint)), endpoint.base.clone())
            }
        };
        let (origin, path) = (url.origin.clone(), url.with_method(method));
        let (dropped, status) = (address.form.dropped(), Cell::new(0));
        let call = Call { client, label, endpoint, origin, dropped, status, date: date() };
        let query = address.query.to_owned();
        Ok((call, Hop { url, path, query, referer: None, as_get: false, foreign: false }))
    }

    /// Follows redirects until an answer is the client's.
    async fn run(
        &self,
        first: Hop,
        body: &mut Body<'_>,
        answer: &mut Sink<'_>,
        record: &mut Record<'_>,
    ) -> Result<(), Failure> {
        let mut hop = first;
        loop {
            record.attempts += 1;
            let Some((next, to)) = self.hop(&hop, body, answer).await? else { return Ok(()) };
            if record.attempts >= redirect::MOST {
                let verb = if self.client.request.method == "HEAD" { "Head" } else { "Get" };
                let text = format!("{verb} {to:?}: stopped after {} redirects", redirect::MOST);
                return Err(Failure::new(Kind::AppAnswer, text));
            }
            hop = next;
        }
    }

    /// One request and its answer; where it is followed, the next request and what led there.
    async fn hop(
        &self,
        hop: &Hop,
        body: &mut Body<'_>,
        answer: &mut Sink<'_>,
    ) -> Result<Option<(Hop, String)>, Failure> {
        let (view, request) = (&self.client.view, self.client.request);
        let mut head = Vec::new();
        let framing = from_client(
            &mut head,
            request,
            &self.place(hop, hop.url.credentials().as_deref()),
            self.dropped,
        )?;
        let mut replay =
            Replay::new(view.snapshot.limits.max_replay_body, body.is_streaming(), body.declared());
        if !hop.as_get {
            body.invite(answer).await.map_err(|e| Failure::new(Kind::ClientGone, e.to_string()))?;
            if body.has_more_at_hand() {
                let piece = body.piece(Tick::NEVER).await.map_err(|e| body_failure(&e))?;
                replay.first(&self.client.shard.metrics, piece);
            }
        }
        let asked = Asked {
            scheme: hop.url.origin.scheme(),
            verb: verb(request, hop.as_get)?,
            host: &hop.url.authority,
            method: &hop.path,
            query: &hop.query,
        };
        let (first, ended) = (replay.unsent(), hop.as_get || body.is_done());
        let max_head = view.snapshot.limits.max_head;
        let request = AppRequest {
            head: &head,
            framing,
            asked,
            first,
            ended,
            max_head,
            upgrade: None,
            uppercase: Bodies::default(),
        };
        self.exchange(hop, &request, body, answer).await
    }

    fn place<'h>(&'h self, hop: &'h Hop, credentials: Option<&'h str>) -> Place<'h> {
        let headers = self.endpoint.map(|(_, endpoint)| endpoint.headers.as_slice());
        Place {
            authority: &hop.url.authority,
            path: &hop.path,
            query: &hop.query,
            credentials,
            headers: headers.filter(|_| !hop.foreign).unwrap_or_default(),
            referer: hop.referer.as_deref(),
            trace: self.client.trace.context.filter(|_| self.client.trace.begun),
            foreign: hop.foreign,
            as_get: hop.as_get,
        }
    }

    /// One exchange, or two where the first met a stale connection.
    async fn exchange(
        &self,
        hop: &Hop,
        request: &AppRequest<'_>,
        body: &mut Body<'_>,
        answer: &mut Sink<'_>,
    ) -> Result<Option<(Hop, String)>, Failure> {
        let metrics = &self.client.shard.metrics;
        let mut fresh = false;
        loop {
            let exchange = self.connect(hop, request, fresh, body).await?;
            metrics.attempt_sent(&self.label);
            let began = rt::now();
            let told = self.once(hop, exchange, request, body, answer, began).await;
            if let Err(Unanswered::Stale(_)) = &told
                && !fresh
                && request.is_repeatable()
            {
                metrics.event(Event::StaleAppConnection);
                fresh = true;
                continue;
            }
            self.count(
                request,
                if told.is_ok() { self.status.get() } else { 500 },
                began,
                answer.body_bytes(),
            );
            return told.map_err(Unanswered::into_failure);
        }
    }

    async fn connect(
        &self,
        hop: &Hop,
        request: &AppRequest<'_>,
        fresh: bool,
        body: &mut Body<'_>,
    ) -> Result<Exchange, Failure> {
        let key = Key {
            endpoint: self.endpoint.map(|(name, _)| name.to_owned()),
            origin: hop.url.origin.clone(),
            shows: !hop.foreign,
        };
        let pool = self.client.shard.external.pool(key, self.endpoint.map(|(_, endpoint)| endpoint));
        let connected = async { pool.connect(fresh).await.map_err(|no| request.asked.not_connected(no)) };
        let exchange = present(body, pin!(connected)).await?;
        self.client.steps.done(Step::Connected, hop.url.text());
        Ok(exchange)
    }

    async fn once(
        &self,
        hop: &Hop,
        mut exchange: Exchange,
        request: &AppRequest<'_>,
        body: &mut Body<'_>,
        answer: &mut Sink<'_>,
        began: Tick,
    ) -> Result<Option<(Hop, String)>, Unanswered> {
        let reused = exchange.is_reused();
        let (next, keeps_alive) = {
            let Some((mut sink, mut from)) = exchange.halves() else { return Ok(None) };
            request.write(&mut sink)?;
            let _ = sink.flush().await; // the answer, or its absence, tells what is wrong
            let mut upload = pin!(upload(&self.status, body, &mut sink));
            let mut uploaded = false;
            both(pin!(request.head(&mut from, reused)), upload.as_mut(), &mut uploaded).await?;
            let micros = (rt::now() - began).as_micros();
            self.client.steps.done(Step::Answered, micros);
            match self.redirect(hop, request, from.head_bytes(), began)? {
                Some((next, to, bodiless)) => (Some((next, to)), bodiless),
                None => {
                    let limit = self.client.view.snapshot.limits.max_body;
                    let (asked, status) = (self.client.asked(&self.date), &self.status);
                    let mut relay = Relay { asked, status, limit, request, from: &mut from, answer };
                    (None, both(pin!(relay.run()), upload.as_mut(), &mut uploaded).await?)
                }
            }
        };
        exchange.complete(keeps_alive && (hop.as_get || body.is_done()));
        Ok(next)
    }

    /// Where the answer leads, if it is followed: the next request, the location as told, and whether the connection
    /// is free already.
    fn redirect(
        &self,
        hop: &Hop,
        request: &AppRequest<'_>,
        head: &[u8],
        began: Tick,
    ) -> Result<Option<(Hop, String, bool)>, Failure> {
        let mut slots = Slots::new();
        let response = request.parse(head, &mut slots)?;
        let ms = rt::now().millis_since(began);
        self.client.shard.metrics.answered(&self.label, response.status, ms);
        let location = response.headers.named("location").next();
        let (Some(_), Some(location)) = (self.endpoint, location) else { return Ok(None) };
        let bodyless = request.framing.is_empty();
        let Some(follow) = redirect::follow(response.status, request.asked.verb, bodyless) else {
            return Ok(None);
        };
        let to = String::from_utf8_lossy(location).into_owned();
        let next = self.next(hop, request, follow, &to).map_err(|bad| {
            request.asked.not_followed(format_args!("failed to parse Location header {to:?}: {bad}"))
        })?;
        let is_head = request.asked.verb == "HEAD";
        Ok(Some((next, to, response.keeps_alive() && response.framing(is_head).is_empty())))
    }

    fn next(&self, hop: &Hop, request: &AppRequest<'_>, follow: Follow, to: &str) -> Result<Hop, BadUrl> {
        let written = request.head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let written = String::from_utf8_lossy(written);
        let path = written.split('?').next().unwrap_or_default();
        let (url, query) = hop.url.redirected(path, to)?;
        let here = format!("{}://{}{written}", hop.url.origin.scheme(), hop.url.authority);
        Ok(Hop {
            path: url.path.clone(),
            query,
            referer: (!hop.url.origin.secure || url.origin.secure).then_some(here),
            as_get: hop.as_get || follow == Follow::AsGet,
            foreign: hop.foreign || url.origin != self.origin,
            url,
        })
    }

    fn count(&self, request: &AppRequest<'_>, status: u16, began: Tick, received: u64) {
        self.client.shard.metrics.app_called(AppCall {
            verb: request.asked.verb,
            path: request.asked.method,
            status,
            ms: rt::now().millis_since(began),
            sent: 0,
            received,
        });
    }
}

/// As Go's client says it.
fn no_url(text: &str, method: &str, bad: &BadUrl) -> Failure {
    let url = if method.is_empty() { text.to_owned() } else { format!("{text}/{method}") };
    let text = match bad {
        BadUrl::NoHost => format!("Get {url:?}: http: no Host in request URL"),
        bad => format!("parse {url:?}: {bad}"),
    };
    Failure::new(Kind::InvalidTarget, text)
}

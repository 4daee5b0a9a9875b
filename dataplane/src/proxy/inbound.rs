//! The other story: a call of another sidecar reaches the local app, and its answer goes back.

use super::hop::{Hop, status_of};
use super::inbound_app::{Served, serve};
use super::pipeline;
use super::respond;
use super::steps::{Step, Steps};
use super::to_app::AppRequest;
use super::upgrade;
use crate::app::{self, App, Asked};
use crate::mesh::{Call, Next};
use crate::metrics::{Record, Side};
use crate::rt::{self, Tick};
use crate::shard::{Shard, View, now};
use crate::tls::PeerIdentity;
use proto::envelope::OpenError;
use proto::envelope::payload::Sequence;
use proto::envelope::request::{self, Invoke};
use proto::grpc::metadata::parse_timeout;
use proto::grpc::status::{Code, Status};
use proto::http1::framing::Framing;
use proto::http1::head::protocol;
use proto::http1::names::Known;
use proto::invoke::failure::{Failure, Kind};
use proto::invoke::headers::app::{Added, Caller, from_mesh, has_context, should_wait};
use proto::invoke::method;
use proto::policy::acl::{self, Denied, Operation, Permit};
use proto::policy::pipeline::Shown;
use proto::spiffe::SpiffeId;
use proto::trace::Context;
use std::borrow::Cow;
use std::pin::pin;
use std::rc::Rc;

const SERVICE: &str = "/dapr.proto.internals.v1.ServiceInvocation/";

/// How a call is shaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `CallLocalStream`.
    Stream,
    /// `CallLocal`.
    Unary,
}

/// Serves one call of another sidecar.
pub(crate) async fn handle(shard: Rc<Shard>, call: Call) {
    let mut upgrade = None;
    let shape = match call.path().strip_prefix(SERVICE) {
        Some("CallLocalStream") => Shape::Stream,
        Some("CallLocal") => Shape::Unary,
        Some(upgrade::METHOD) if call.features().upgrades => {
            upgrade = call.header(upgrade::PROTOCOL).and_then(protocol).map(str::to_owned);
            if upgrade.is_none() {
                return refuse(call, &unknown_method());
            }
            Shape::Stream
        }
        _ => return refuse(call, &unknown_method()),
    };
    let view = shard.view();
    if let Some(status) = bad_baggage(&view, &call) {
        return refuse(call, &status);
    }
    let incoming = Incoming {
        upgrade,
        view,
        caller: call.shared_peer(),
        trace: Context::of_call(call.header("traceparent"), call.header("grpc-trace-bin")),
        deadline: deadline(call.header("grpc-timeout")),
        steps: Steps::begin(&shard, "callee"),
        shard: &shard,
        shape,
    };
    let hop = Hop::new(call);
    let status = incoming.serve(&hop).await;
    hop.into_call().finish(u8::try_from(status.code.0).unwrap_or(2), &status.message);
}

/// `grpc-timeout`, counted from now; a malformed one is none.
fn deadline(timeout: Option<&[u8]>) -> Tick {
    let timeout = timeout.and_then(|text| parse_timeout(text).ok());
    timeout.map_or(Tick::NEVER, |timeout| rt::now() + timeout)
}

fn refuse(call: Call, status: &Status) {
    call.finish(u8::try_from(status.code.0).unwrap_or(2), &status.message);
}

/// With tracing on, a malformed `baggage` of the call itself ends it (vector callee/http/h2-baggage-bad).
fn bad_baggage(view: &View, call: &Call) -> Option<Status> {
    if !view.snapshot.api.tracing || call.header("baggage").is_none() {
        return None;
    }
    let values = call.headers().iter().filter(|field| field.name == b"baggage").map(|field| field.value);
    let error = proto::trace::baggage::check(values).err()?;
    Some(Status { code: Code::INVALID_ARGUMENT, message: error.to_string() })
}

fn refused(denied: &Denied) -> Failure {
    Failure::new(Kind::Denied, denied.to_string())
}

fn unknown_method() -> Status {
    Status { code: Code::UNIMPLEMENTED, message: "this method is not served".into() }
}

/// A call on its way in.
pub(super) struct Incoming<'i> {
    pub(super) shard: &'i Rc<Shard>,
    pub(super) view: Rc<View>,
    pub(super) steps: Steps,
    pub(super) shape: Shape,
    /// Who calls, proven by its certificate.
    caller: Option<Rc<PeerIdentity>>,
    /// The protocol that the caller's client wants to switch to.
    upgrade: Option<String>,
    trace: Option<Context>,
    /// When the caller stops waiting.
    deadline: Tick,
}

impl Incoming<'_> {
    /// From the first message to the status of the trailers.
    async fn serve(&self, hop: &Hop) -> Status {
        let message = match hop.next().await {
            Ok(Next::Message) => hop.take_own(),
            Ok(Next::End(_)) => return OpenError::RequestIncomplete.status(),
            Err(error) => return status_of(&error),
        };
        let status = self.opened(hop, &message).await;
        message.give_back();
        status
    }

    /// Opens the message and begins the record.
    async fn opened(&self, hop: &Hop, message: &[u8]) -> Status {
        let opened = match self.shape {
            Shape::Stream => request::open(message, hop.peer).and_then(request::Message::leading),
            Shape::Unary => request::open_whole(message, hop.peer).map(|invoke| (invoke, None)),
        };
        let (invoke, payload) = match opened {
            Ok(opened) => opened,
            Err(error) => return error.status(),
        };
        let mut sequence = Sequence::default();
        let data = match (self.shape, payload) {
            (Shape::Unary, _) => invoke.data,
            (Shape::Stream, None) => &[],
            (Shape::Stream, Some(payload)) => match sequence.accept(payload) {
                Ok(data) => data,
                Err(error) => return error.status(),
            },
        };
        let verb = invoke.real_verb(hop.peer).or_else(|| invoke.verb?.name()).unwrap_or("NONE");
        let mut record = Record::begin(&self.shard.metrics, Side::Inbound, verb, invoke.method, now());
        record.invocation = true;
        record.peer_app = self.caller_name(&invoke);
        record.bytes_in = data.len() as u64;
        let told = {
            let mut story = pin!(self.story(hop, &invoke, verb, Received { data, sequence }, &mut record));
            match &self.upgrade {
                None => rt::within(self.deadline, story.as_mut()).await,
                Some(_) => Some(Box::pin(upgrade::unless_drained(self.shard, story.as_mut())).await),
            }
        };
        let told = told.unwrap_or_else(|| Err(Failure::new(Kind::Deadline, "context deadline exceeded")));
        let status = told
            .as_ref()
            .map_or_else(Failure::status, |()| Status { code: Code::OK, message: String::new() });
        if let Err(failure) = &told {
            record.failure = Some(failure.kind);
            respond::note_limit(self.shard, failure);
            record.status = u16::try_from(status.code.0).unwrap_or(2);
        }
        record.finish();
        status
    }

    /// One phase a line.
    async fn story(
        &self,
        hop: &Hop,
        invoke: &Invoke<'_>,
        verb: &str,
        received: Received<'_>,
        record: &mut Record<'_>,
    ) -> Result<(), Failure> {
        self.shard.has_memory()?;
        let app = self.app()?;
        self.refuse_foreign(invoke)?;
        let method = method::normalise(invoke.method)
            .map_err(|error| Failure::new(Kind::MethodRejected, error.to_string()))?;
        let permit = self.authorize(&method, verb)?;
        self.shard.metrics.received(record.peer_app);
        self.steps.done(Step::Allowed, record.peer_app);
        let shown = || Shown::of(invoke.metadata.all(Known::Authorization));
        let entry = pipeline::enter(self.shard, &self.view, record.peer_app, (&method, invoke.query), shown);
        if let Some(refused) = &entry.refused {
            (record.status, record.bytes_out) = refused.send(hop, self.shape).await?;
            return Ok(());
        }
        let permit = match *entry.method == *method {
            true => permit,
            false => self.authorize_alias(&method, &entry.method, verb)?,
        };
        let mut changed;
        let invoke = match &entry.query {
            Cow::Borrowed(_) => invoke, // as it came
            Cow::Owned(query) => {
                changed = *invoke;
                changed.query = query;
                &changed
            }
        };
        let (uppercase, method) = (entry.uppercase, &*entry.method);
        let forwarding = app::forward(&app, permit).await?;
        let ended = self.has_ended(hop, invoke).await?;
        // a streamed body without a declared length stays one, as the client sent it
        let known = self.shape == Shape::Unary || (ended && received.data.is_empty());
        let (mut head, complete) = (rt::turn_buffer(), known.then_some(received.data.len() as u64));
        let framing = from_mesh(&mut head, invoke, hop.peer, method, &self.added(&app, invoke), complete)?;
        let upgrade = self.upgrade.as_deref().filter(|_| app.can_switch());
        let ended = ended && upgrade.is_none();
        let framing = if upgrade.is_some() { Framing::UntilClose } else { framing };
        app.takes_calls()?;
        let asked = Asked { scheme: app.scheme(), verb, host: app.host(), method, query: invoke.query };
        let max_head = self.view.snapshot.limits.max_head;
        let first = received.data;
        let request = AppRequest { head: &head, framing, asked, first, ended, max_head, upgrade, uppercase };
        let served = serve(self, hop, &forwarding, &request, received.sequence).await;
        rt::give_back(head);
        let Served { status, bytes_in, bytes_out } = served?;
        record.status = status;
        record.bytes_in += bytes_in;
        record.bytes_out = bytes_out;
        Ok(())
    }

    fn app(&self) -> Result<Rc<App>, Failure> {
        self.view.app.clone().ok_or_else(|| Failure::new(Kind::NoApp, "app channel is not initialized"))
    }

    /// A sidecar serves its own app only. Who asks for another one has a stale address: it should look again.
    fn refuse_foreign(&self, invoke: &Invoke<'_>) -> Result<(), Failure> {
        let own = &self.view.snapshot.workload.app_id;
        match invoke.metadata.first(Known::DaprCalleeAppId) {
            Some(wanted) if wanted != own.as_bytes() => {
                let wanted = String::from_utf8_lossy(wanted);
                let text = format!("this sidecar serves app {own}, not {wanted}");
                Err(Failure::new(Kind::Unreachable, text))
            }
            _ => Ok(()),
        }
    }

    fn authorize(&self, method: &str, verb: &str) -> Result<Permit, Failure> {
        self.judge(method, verb).map_err(|denied| refused(&denied))
    }

    fn judge(&self, method: &str, verb: &str) -> Result<Permit, Denied> {
        let snapshot = &self.view.snapshot;
        let caller = acl::Caller::of(self.caller_id(), snapshot.workload.mtls);
        acl::authorize(&snapshot.acl, caller, Operation::http(method, verb))
    }

    /// Another method stands in the place of the one that was called: the app is reached with a permit for what it
    /// receives. Who is denied is told of what it called.
    fn authorize_alias(&self, called: &str, received: &str, verb: &str) -> Result<Permit, Failure> {
        self.judge(received, verb)
            .map_err(|denied| refused(&Denied { operation: called.to_owned(), ..denied }))
    }

    /// Whether the first message is all there is. Waits for it only where the head of the app's request depends on it.
    async fn has_ended(&self, hop: &Hop, invoke: &Invoke<'_>) -> Result<bool, Failure> {
        if self.shape == Shape::Unary || self.upgrade.is_some() {
            return Ok(true);
        }
        let next = match hop.next_at_hand().await {
            None if should_wait(invoke) => hop.next().await,
            None => return Ok(false),
            Some(next) => next,
        };
        match next {
            Ok(Next::Message) => Ok(false),
            Ok(Next::End(_)) => Ok(true),
            Err(error) => Err(Failure::rpc(&status_of(&error))),
        }
    }

    fn added<'a>(&'a self, app: &'a App, invoke: &Invoke<'_>) -> Added<'a> {
        let caller = self.caller_id();
        let begin = || if has_context(invoke) { None } else { self.shard.begin_trace(&self.view) };
        Added {
            host: app.host(),
            app_id: &self.view.snapshot.workload.app_id,
            caller: caller.map(|id| Caller { app_id: &id.app_id, namespace: &id.namespace }),
            token: app.channel().token.as_deref(),
            trace: self.trace.or_else(begin),
            upgrade: self.upgrade.as_deref().filter(|_| app.can_switch()),
        }
    }

    fn caller_id(&self) -> Option<&SpiffeId> {
        self.caller.as_deref().map(PeerIdentity::id)
    }

    /// For metrics: the proven name, else what the caller's sidecar says.
    fn caller_name<'a>(&'a self, invoke: &Invoke<'a>) -> &'a str {
        match self.caller_id() {
            Some(id) => &id.app_id,
            None => invoke.caller_app_id().unwrap_or("unknown"),
        }
    }
}

/// What the first message brought of the body.
struct Received<'r> {
    data: &'r [u8],
    sequence: Sequence,
}

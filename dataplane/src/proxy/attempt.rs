//! One attempt of a call: to one endpoint, over one mesh connection, until the answer is complete or the attempt failed.
//!
//! ```text
//!   connect ─▶ send head and body ─┬─▶ answer head ─▶ relay body ─▶ end
//!                 (upload) ────────┴──────(goes on beside the answer)
//! ```
//! The answer's head is the point of no return: before it another attempt may follow, after it the answer can only be
//! completed or cut off.

use super::answer::{Incoming, client_gone, ended};
use super::hop::{Hop, OwnMessage, both, status_of};
use super::outbound::{Outgoing, present};
use super::replay::Replay;
use super::steps::Step;
use super::upgrade;
use crate::http1::server::{Body, BodyFailure};
use crate::http1::sink::Sink;
use crate::mesh::{CallError, Checkout, DialError, Next, Start};
use crate::rt::{self, Tick};
use proto::envelope::request;
use proto::grpc::status::{Code, Status};
use proto::invoke::classify::Processed;
use proto::invoke::failure::{Failure, Kind};
use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long connecting to a sidecar may take, TLS included.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(5);

const STREAM: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream";
const UNARY: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// The gRPC status it amounts to.
    pub(super) code: Code,
    pub(super) processed: Processed,
    /// It speaks against the endpoint.
    pub(super) blames_peer: bool,
    /// The peer is there, but did not take this call.
    pub(super) refused: bool,
    /// The callee said nothing but that it does not know the method, so the app was not called.
    unknown_method: bool,
}

impl Failed {
    /// The client's or our own doing: nothing that another attempt would mend.
    fn here(failure: Failure) -> Failed {
        Failed {
            failure,
            code: Code::INTERNAL,
            processed: Processed::Maybe,
            blames_peer: false,
            refused: false,
            unknown_method: false,
        }
    }

    pub(super) fn status(status: &Status, processed: Processed) -> Failed {
        let blames_peer = status.code == Code::UNAVAILABLE;
        Failed {
            failure: Failure::rpc(status),
            code: status.code,
            processed,
            blames_peer,
            refused: false,
            unknown_method: false,
        }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        Failed::here(failure)
    }
}

/// Carries the call to `endpoint` and its answer back.
///
/// # Errors
/// The attempt failed; if the answer has begun, it is incomplete.
pub(super) async fn run(
    out: &Outgoing<'_>,
    endpoint: SocketAddr,
    body: &mut Body<'_>,
    replay: &mut Replay,
    answer: &mut Sink<'_>,
) -> Result<(), Failed> {
    let checkout = present(body, pin!(connect(out, endpoint))).await?;
    let began = rt::now();
    out.shard.metrics.attempt_sent(&out.target.app.app_id);
    if let Some(protocol) = out.request.switches_to() {
        return Box::pin(upgrade::remote(out, checkout, protocol, body, answer)).await;
    }
    match streamed(out, checkout, body, replay, answer, began).await {
        Err(failed) if failed.unknown_method && !answer.has_begun() => {
            unary(out, endpoint, body, replay, answer).await
        }
        result => result,
    }
}

/// A mesh connection to the endpoint within [`CONNECT_TIME`].
async fn connect(out: &Outgoing<'_>, endpoint: SocketAddr) -> Result<Checkout, Failed> {
    let key = out.target.peer(endpoint, &out.view.snapshot.workload);
    let checkout = out.shard.mesh.checkout(&key, rt::now() + CONNECT_TIME).await.map_err(|error| {
        let status = Status { code: Code::UNAVAILABLE, message: unreachable(endpoint, &error) };
        Failed::status(&status, Processed::No)
    })?;
    match &key.expected {
        Some(id) => out.steps.done(Step::Connected, format_args!("{endpoint}, mTLS with {id}")),
        None => out.steps.done(Step::Connected, format_args!("{endpoint}, plain text")),
    }
    Ok(checkout)
}

/// As grpc-go tells it.
fn unreachable(endpoint: SocketAddr, error: &DialError) -> String {
    match error {
        DialError::Connect { message, .. } => {
            let dial = format!("dial tcp {endpoint}: ");
            let cause = crate::app::system_text(message.strip_prefix(&dial).unwrap_or(message));
            format!("connection error: desc = \"transport: Error while dialing: {dial}connect: {cause}\"")
        }
        error => format!("connection error: desc = \"transport: {error}\""),
    }
}

/// `CallLocalStream`.
async fn streamed(
    out: &Outgoing<'_>,
    checkout: Checkout,
    body: &mut Body<'_>,
    replay: &mut Replay,
    answer: &mut Sink<'_>,
    began: Tick,
) -> Result<(), Failed> {
    body.invite(answer).await.map_err(|e| Failed::here(client_gone(&e)))?;
    let outrigger = checkout.features().outrigger;
    read_first_piece(out, body, replay, outrigger).await?;
    let hop = Hop::new(out.with_literals(|literals| checkout.start(Start { path: STREAM, literals })));
    let mut seq = send_head(out, &hop, body, replay)?;
    out.steps.done(Step::Sent, body.taken());
    let mut upload = pin!(upload(out, &hop, body, replay, &mut seq));
    let mut uploaded = false;
    let first = both(pin!(first_message(&hop)), upload.as_mut(), &mut uploaded).await?;
    let mut incoming = Incoming::new(out, &hop, answer);
    let result = async {
        let complete = incoming.begin(&first, began).await?;
        if complete { Ok(()) } else { both(pin!(incoming.relay()), upload.as_mut(), &mut uploaded).await }
    }
    .await;
    first.give_back();
    result
}

/// Puts body bytes behind the head where they are there, or where a daprd callee wants them there.
async fn read_first_piece(
    out: &Outgoing<'_>,
    body: &mut Body<'_>,
    replay: &mut Replay,
    outrigger: bool,
) -> Result<(), Failed> {
    let wait = !outrigger && !body.is_done() && replay.bytes().is_empty();
    if wait || (body.has_more_at_hand() && replay.bytes().is_empty()) {
        let piece = body.piece(Tick::NEVER).await.map_err(|e| Failed::here(body_failure(&e)))?;
        replay.first(&out.shard.metrics, piece);
    }
    Ok(())
}

/// The first message, with what was read of the body. Returns the number of the next payload.
fn send_head(out: &Outgoing<'_>, hop: &Hop, body: &Body<'_>, replay: &mut Replay) -> Result<u64, Failed> {
    let mut seq = 0;
    let (first, rest) = hop.first_chunk(replay.unsent());
    let mut encoded = Ok(());
    let written = hop.write(body.is_done(), |buf| {
        encoded = request::first(buf, &out.message(hop.peer), first);
        if encoded.is_ok() {
            seq = u64::from(!first.is_empty());
            hop.frames(buf, &mut seq, rest);
        }
    });
    encoded.map_err(|error| Failed::here(Failure::from(error)))?;
    written.map_err(|error| call_failed(&error))?;
    replay.head_sent();
    Ok(seq)
}

/// Sends the rest of the body, then watches the client. Ends only with the client's failure: what is wrong with the
/// call, its answer tells.
async fn upload(
    out: &Outgoing<'_>,
    hop: &Hop,
    body: &mut Body<'_>,
    replay: &mut Replay,
    seq: &mut u64,
) -> Result<(), Failed> {
    while !body.is_done() && hop.room(|| body.release()).await.is_ok() {
        let piece = body.piece(Tick::NEVER).await.map_err(|e| Failed::here(body_failure(&e)))?;
        let piece = piece.as_deref().unwrap_or_default();
        replay.keep(&out.shard.metrics, piece);
        if hop.write_body(seq, piece, body.is_done()).is_err() {
            break;
        }
    }
    Err(Failed::here(client_left(&out.status, body).await))
}

/// Waits until the client is gone. One that only finished sending, before its answer began, still gets the answer; one
/// that ends its side in the middle of the answer has left.
pub(super) async fn client_left(status: &Cell<u16>, body: &mut Body<'_>) -> Failure {
    let ended = poll_fn(|cx| match body.poll_gone(cx) {
        Poll::Ready(error) => Poll::Ready(Err(error)),
        Poll::Pending if body.client_ended() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    });
    if let Err(error) = ended.await {
        return Failure::new(Kind::ClientGone, error.to_string());
    }
    if status.get() == 0 {
        body.client_left(status).await;
    }
    Failure::new(Kind::ClientGone, "the client closed its connection")
}

/// The first message of the answer.
pub(super) async fn first_message(hop: &Hop) -> Result<OwnMessage, Failed> {
    match hop.next().await.map_err(|error| call_failed(&error))? {
        Next::Message => Ok(hop.take_own()),
        Next::End(end) if end.status == 0 => {
            let status = Status { code: Code::INTERNAL, message: "no response received from stream".into() };
            Err(Failed::status(&status, Processed::Maybe))
        }
        Next::End(end) => {
            let failed = ended(end);
            Err(Failed { unknown_method: failed.code == Code::UNIMPLEMENTED, ..failed })
        }
    }
}

/// `CallLocal`, for callees that do not know the stream: the whole body in one message.
#[cold]
async fn unary(
    out: &Outgoing<'_>,
    endpoint: SocketAddr,
    body: &mut Body<'_>,
    replay: &mut Replay,
    answer: &mut Sink<'_>,
) -> Result<(), Failed> {
    while replay.is_whole() && !body.is_done() {
        let piece = body.piece(Tick::NEVER).await.map_err(|e| Failed::here(body_failure(&e)))?;
        replay.keep(&out.shard.metrics, piece.as_deref().unwrap_or_default());
    }
    if !replay.is_whole() {
        let id = &out.target.app.app_id;
        let text = format!(
            "target app '{id}' is running a version of Dapr that does not support streaming-based service invocation"
        );
        return Err(Failed::here(Failure::new(Kind::NotSendable, text)));
    }
    let checkout = present(body, pin!(connect(out, endpoint))).await?;
    let began = rt::now();
    let hop = Hop::new(out.with_literals(|literals| checkout.start(Start { path: UNARY, literals })));
    let mut encoded = Ok(());
    hop.write(true, |buf| encoded = request::whole(buf, &out.message(hop.peer), replay.bytes()))
        .map_err(|error| call_failed(&error))?;
    encoded.map_err(|error| Failed::here(Failure::from(error)))?;
    let mut watch = pin!(async { Err(Failed::here(client_left(&out.status, body).await)) });
    let message = both(pin!(first_message(&hop)), watch.as_mut(), &mut false).await?;
    Incoming::new(out, &hop, answer).whole(&message, began).await
}

/// The call broke before its answer.
pub(super) fn call_failed(error: &CallError) -> Failed {
    let refused = matches!(error, CallError::Unprocessed { .. });
    let processed = if refused { Processed::No } else { Processed::Maybe };
    let failed = Failed::status(&status_of(error), processed);
    Failed { refused, blames_peer: failed.blames_peer && !refused, ..failed }
}

/// The client's body cannot be read on.
pub(super) fn body_failure(error: &BodyFailure) -> Failure {
    let kind = match error {
        BodyFailure::TooLarge { .. } => Kind::RequestTooLarge,
        BodyFailure::Client(_) => Kind::ClientBody,
    };
    Failure::new(kind, error.to_string())
}

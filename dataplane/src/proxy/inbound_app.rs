//! The callee's exchange with the app: request body from the mesh, answer to the mesh, both at a time.

use super::hop::{Hop, both};
use super::inbound::{Incoming, Shape};
use super::steps::{Since, Step};
use super::to_app::{AppRequest, Rooted, Unanswered};
use crate::app::Forwarding;
use crate::http1::client::Answer;
use crate::http1::idle::Exchange;
use crate::http1::sink::Sink;
use crate::mesh::{CallError, Message, Next};
use crate::metrics::{AppCall, Event};
use crate::rt::{self, Tick};
use crate::shard::signal::Signal;
use proto::envelope::OpenError;
use proto::envelope::payload::Sequence;
use proto::envelope::{request, response};
use proto::http1::framing::Framing;
use proto::http1::head::{Response, Slots};
use proto::invoke::failure::{Failure, Kind};
use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

/// How long the end of an early answer waits for a request that makes no progress.
const STALL: Duration = Duration::from_secs(2);

/// What became of a call that the app answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    /// The app's status.
    pub(super) status: u16,
    /// Body bytes taken from the mesh after the first message.
    pub(super) bytes_in: u64,
    /// Body bytes of the answer.
    pub(super) bytes_out: u64,
}

/// Takes the request to the app and its answer back to the caller's sidecar.
pub(super) async fn serve(
    incoming: &Incoming<'_>,
    hop: &Hop,
    forwarding: &Forwarding,
    request: &AppRequest<'_>,
    sequence: Sequence,
) -> Result<Served, Failure> {
    let mut fresh = request.upgrade.is_some();
    loop {
        let exchange = forwarding.connect(fresh).await;
        let exchange = exchange.map_err(|error| request.asked.unreachable(&error))?;
        let began = rt::now();
        match once(incoming, hop, exchange, request, sequence, began).await {
            Err(failed) if !fresh && request.goes_again(&failed) => {
                incoming.shard.metrics.event(Event::StaleAppConnection);
                fresh = true;
            }
            Err(failed) => {
                count(incoming, request, Served { status: 500, ..Served::default() }, began);
                return Err(failed.into_failure());
            }
            Ok(served) => {
                count(incoming, request, served, began);
                return Ok(served);
            }
        }
    }
}

fn count(incoming: &Incoming<'_>, request: &AppRequest<'_>, served: Served, began: Tick) {
    incoming.shard.metrics.app_called(AppCall {
        verb: request.asked.verb,
        path: Rooted::new(request.asked.method).as_str(),
        status: served.status,
        ms: rt::now().millis_since(began),
        sent: request.first.len() as u64 + served.bytes_in,
        received: served.bytes_out,
    });
}

async fn once(
    incoming: &Incoming<'_>,
    hop: &Hop,
    mut exchange: Exchange,
    request: &AppRequest<'_>,
    sequence: Sequence,
    began: Tick,
) -> Result<Served, Unanswered> {
    let reused = exchange.is_reused();
    let Some((mut sink, mut answer)) = exchange.halves() else { return Ok(Served::default()) };
    request.write(&mut sink)?;
    let _ = sink.flush().await; // the answer, or its absence, tells what is wrong
    let progress = Progress::default();
    let (keeps_alive, served) = {
        let mut upload = pin!(upload(hop, &mut sink, sequence, request, &progress));
        let mut uploaded = false;
        both(pin!(request.head(&mut answer, reused)), upload.as_mut(), &mut uploaded).await?;
        incoming.steps.done(Step::Answered, Since(began));
        let mut relay = Relay { incoming, hop, request, answer: &mut answer, progress: &progress };
        both(pin!(relay.run()), upload.as_mut(), &mut uploaded).await?
    };
    let complete = keeps_alive && progress.is_whole.get();
    exchange.complete(complete);
    Ok(Served { bytes_in: progress.bytes.get(), ..served })
}

/// How far the request body has come.
#[derive(Debug, Default)]
struct Progress {
    /// Wakes who waits for the end of the upload.
    moved: Signal,
    bytes: Cell<u64>,
    /// Nothing more will be sent to the app.
    is_over: Cell<bool>,
    /// The app has the whole request.
    is_whole: Cell<bool>,
    /// The app has switched protocols: its connection ends where the caller's stream does.
    switched: Cell<bool>,
}

impl Progress {
    fn over(&self, whole: bool) {
        self.is_whole.set(whole);
        self.is_over.set(true);
        self.moved.notify();
    }

    /// Waits for the end of the upload, as long as it makes progress.
    async fn finished(&self) {
        while !self.is_over.get() {
            let seen = self.moved.count();
            if rt::within(rt::now() + STALL, self.moved.after(seen)).await.is_none() {
                return;
            }
        }
    }
}

/// Passes the rest of the request body to the app, then watches the caller. Ends only with an error.
async fn upload(
    hop: &Hop,
    sink: &mut Sink<'_>,
    mut sequence: Sequence,
    request: &AppRequest<'_>,
    progress: &Progress,
) -> Result<(), Unanswered> {
    while !sink.is_done() {
        if sink.room(|| {}).await.is_err() {
            break; // the app wants no more; its answer says why
        }
        match hop.next().await.map_err(|error| cancelled(&error))? {
            Next::Message => {
                let before = sink.body_bytes();
                let done = pieces(hop, &mut sequence, sink, request).await?;
                progress.bytes.set(progress.bytes.get() + sink.body_bytes() - before);
                if !done {
                    break;
                }
            }
            Next::End(_) => sink.finish().map_err(|error| request.asked.broken(&error))?,
        }
        if sink.flush().await.is_err() {
            break;
        }
        progress.moved.notify();
    }
    if progress.switched.get() {
        sink.end_side();
    }
    progress.over(sink.is_done());
    Err(Unanswered::Failed(cancelled(&hop.broken().await)))
}

/// Passes on the messages that are here: large ones leave from the memory they came in. `false` if the app takes no more.
async fn pieces(
    hop: &Hop,
    sequence: &mut Sequence,
    sink: &mut Sink<'_>,
    request: &AppRequest<'_>,
) -> Result<bool, Failure> {
    let Some(messages) = hop.take_large() else {
        hop.take(|message| piece(message, None, hop, sequence, sink, request)).unwrap_or(Ok(()))?;
        return Ok(true);
    };
    for message in messages {
        piece(&message, Some(&message), hop, sequence, sink, request)?;
        if sink.flush().await.is_err() {
            return Ok(false);
        }
        hop.passed(&message);
    }
    Ok(true)
}

fn piece(
    message: &[u8],
    of: Option<&Message>,
    hop: &Hop,
    sequence: &mut Sequence,
    sink: &mut Sink<'_>,
    request: &AppRequest<'_>,
) -> Result<(), Failure> {
    let bad = |error: OpenError| request.asked.bad_message(&error);
    let payload = request::open(message, hop.peer).and_then(request::Message::following).map_err(bad)?;
    let Some(payload) = payload else { return Ok(()) };
    let data = sequence.accept(payload).map_err(bad)?;
    let pushed = match of {
        Some(message) => sink.push_segment(message.part(data)),
        None => sink.push(data),
    };
    pushed.map_err(|error| request.asked.broken(&error))
}

/// The caller has given up, or its connection broke.
fn cancelled(error: &CallError) -> Failure {
    Failure::new(Kind::ClientGone, error.to_string())
}

/// The app's answer on its way to the caller's sidecar.
struct Relay<'r, 'i, 'a> {
    incoming: &'r Incoming<'i>,
    hop: &'r Hop,
    request: &'r AppRequest<'r>,
    answer: &'r mut Answer<'a>,
    progress: &'r Progress,
}

impl Relay<'_, '_, '_> {
    /// Head, body, end. Tells whether the app's connection may be used again.
    async fn run(&mut self) -> Result<(bool, Served), Unanswered> {
        match self.incoming.shape {
            Shape::Stream => self.stream().await,
            Shape::Unary => self.whole().await,
        }
    }

    async fn stream(&mut self) -> Result<(bool, Served), Unanswered> {
        let (mut seq, mut bytes_out) = (0, 0);
        let (keeps_alive, status, framing) = self.head(&mut seq, &mut bytes_out).await?;
        while !self.answer.is_done() {
            self.hop.room(|| self.answer.release()).await.map_err(|error| cancelled(&error))?;
            let Some(piece) = self.answer.piece(Tick::NEVER).await.map_err(|error| broken_body(&error))?
            else {
                break;
            };
            bytes_out += piece.len() as u64;
            self.hop.write_body(&mut seq, &piece, false).map_err(|error| cancelled(&error))?;
        }
        self.progress.finished().await;
        let served = Served { status, bytes_in: 0, bytes_out };
        Ok((keeps_alive && framing != Framing::UntilClose, served))
    }

    /// Sends the head, with the first piece of the body where it is there.
    async fn head(&mut self, seq: &mut u64, bytes_out: &mut u64) -> Result<(bool, u16, Framing), Unanswered> {
        self.hop.room(|| self.answer.release()).await.map_err(|error| cancelled(&error))?;
        let bytes = self.answer.take_head();
        let mut slots = Slots::new();
        let response = self.request.parse(&bytes, &mut slots)?;
        let facts = self.facts(&response);
        self.progress.switched.set(facts.1 == 101);
        self.answer.begin_body(facts.2);
        let piece = match self.answer.has_more_at_hand() {
            true => self.answer.piece(Tick::NEVER).await.map_err(|error| broken_body(&error))?,
            false => None,
        };
        let data = piece.as_deref().unwrap_or_default();
        *bytes_out += data.len() as u64;
        let (first, rest) = self.hop.first_chunk(data);
        let mut encoded = Ok(());
        let outgoing = response::Outgoing { head: &response, peer: self.hop.peer };
        let written = self.hop.write(false, |out| {
            encoded = response::first(out, &outgoing, first);
            if encoded.is_ok() {
                *seq = u64::from(!first.is_empty());
                self.hop.frames(out, seq, rest);
            }
        });
        encoded.map_err(|error| Failure::new(Kind::AppAnswer, error.to_string()))?;
        written.map_err(|error| cancelled(&error))?;
        self.answer.give_head(bytes);
        Ok(facts)
    }

    fn facts(&self, response: &Response<'_, '_>) -> (bool, u16, Framing) {
        if response.status == 101 {
            return (false, 101, Framing::UntilClose);
        }
        (response.keeps_alive(), response.status, response.framing(self.request.asked.verb == "HEAD"))
    }

    /// `CallLocal`: the answer as one message, within the body limit.
    #[cold]
    async fn whole(&mut self) -> Result<(bool, Served), Unanswered> {
        let bytes = self.answer.take_head();
        let mut slots = Slots::new();
        let response = self.request.parse(&bytes, &mut slots)?;
        let (keeps_alive, status, framing) = self.facts(&response);
        self.answer.begin_body(framing);
        let limit = self.incoming.view.snapshot.limits.max_body.unwrap_or(u64::MAX);
        let mut body = Vec::new();
        while let Some(piece) = self.answer.piece(Tick::NEVER).await.map_err(|error| broken_body(&error))? {
            body.extend_from_slice(&piece);
            if body.len() as u64 > limit {
                return Err(self.request.asked.too_large(limit).into());
            }
        }
        let outgoing = response::Outgoing { head: &response, peer: self.hop.peer };
        let mut encoded = Ok(());
        let written = self.hop.write(false, |out| encoded = response::whole(out, &outgoing, &body));
        encoded.map_err(|error| Failure::new(Kind::AppAnswer, error.to_string()))?;
        written.map_err(|error| cancelled(&error))?;
        let served = Served { status, bytes_in: 0, bytes_out: body.len() as u64 };
        Ok((keeps_alive && framing != Framing::UntilClose, served))
    }
}

/// The app's answer breaks off: the caller must see it.
fn broken_body(error: &crate::http1::source::NoBody) -> Failure {
    Failure::new(Kind::AppBody, format!("the app's response ended early: {error}"))
}

//! One call, in either role: whole gRPC frames out, messages in, an end.

use super::end;
use super::error::CallError;
use super::messages::{self, Message, Messages};
use crate::http2::link::{Features, Inner, Link};
use crate::rt::{self, Tick};
use crate::tls::PeerIdentity;
use proto::grpc::frame::{self, FrameError, PREFIX};
use proto::grpc::{metadata, status::Code};
use proto::http2::{Code as Http2Code, Fields, Literal, NotStarted, Slot};
use smallvec::SmallVec;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What comes next of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole message, for [`Call::take`].
    Message,
    /// The other end is finished: for a caller with its status; for a callee the request is complete (status 0).
    End(GrpcEnd),
}

/// The status of a finished call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcEnd {
    /// gRPC status code.
    pub status: u8,
    /// `grpc-message`, decoded.
    pub message: String,
    /// `grpc-status-details-bin`, decoded: a `google.rpc.Status`; empty if there was none.
    pub details: Vec<u8>,
}

impl GrpcEnd {
    pub(super) fn new(status: Code, message: &str) -> GrpcEnd {
        GrpcEnd { status: status.0 as u8, message: message.into(), details: Vec::new() }
    }
}

/// A call. Dropping an unfinished one resets its stream with CANCEL.
#[derive(Debug)]
pub struct Call {
    link: Rc<Link>,
    /// The stream, or why it was not started.
    slot: Result<Slot, NotStarted>,
    /// The request's head at the callee; the answer's at the caller, once it came.
    head: Fields,
    /// The callee has sent the head of its answer.
    responded: bool,
    features: Features,
    /// The callee's view of the caller.
    peer: Option<Rc<PeerIdentity>>,
}

/// Literals of one header block, mostly few.
type Literals<'a> = SmallVec<[Literal<'a>; 4]>;

fn literals<'a>(fields: &[(&'a str, &'a [u8])]) -> Literals<'a> {
    let secret = |name| matches!(name, "authorization" | "dapr-api-token" | "cookie");
    fields
        .iter()
        .map(|&(name, value)| Literal { name: name.as_bytes(), value, never_indexed: secret(name) })
        .collect()
}

impl Call {
    /// A call that starts now on a connection to a peer.
    pub(super) fn start(link: Rc<Link>, path: &str, fields: &[(&str, &[u8])]) -> Call {
        let features = link.features();
        let slot = {
            let inner = &mut *link.inner();
            let (block, path) = inner.request(path);
            let slot = match block {
                Some(block) => inner.conn.start(block, path, &literals(fields)),
                None => Err(NotStarted::Draining),
            };
            link.touch(inner);
            slot
        };
        Call { link, slot, head: Fields::default(), responded: false, features, peer: None }
    }

    /// A call that the peer opened.
    pub(super) fn opened(link: &Rc<Link>, slot: Slot) -> Call {
        let head = link.inner().conn.take_head(slot);
        let (features, peer) = (link.features(), link.peer());
        Call { link: Rc::clone(link), slot: Ok(slot), head, responded: false, features, peer }
    }

    /// What the other end announced.
    pub fn features(&self) -> Features {
        self.features
    }

    /// `:path` of the request, at the callee.
    pub fn path(&self) -> &str {
        let path = self.head.tagged(proto::http2::Name::Path).unwrap_or_default();
        std::str::from_utf8(path).unwrap_or_default()
    }

    /// The first value of a field of the received head: of the request at the callee; of the answer at the caller, from
    /// its first message or its end on. `name` is lower-case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.named(name.as_bytes())
    }

    /// All fields of the received head, as [`Call::header`].
    pub fn headers(&self) -> &Fields {
        &self.head
    }

    /// The fields of the answer's trailers, once the call has ended.
    pub fn trailers(&self) -> Vec<(String, Vec<u8>)> {
        let Ok(slot) = self.slot else { return Vec::new() };
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        self.link.inner().conn.trailers(slot).iter().map(|f| (text(f.name), f.value.to_vec())).collect()
    }

    /// The verified caller, at the callee; `None` on a plaintext connection.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_deref()
    }

    /// As [`Call::peer`], to be kept.
    pub fn shared_peer(&self) -> Option<Rc<PeerIdentity>> {
        self.peer.clone()
    }

    /// Appends what `f` writes, whole gRPC frames with their prefix, and half-closes if `end`. Never waits; see
    /// [`Call::writable`]. `f` must not use this connection's other calls.
    ///
    /// # Errors
    /// The call has failed, or the peer takes nothing more ([`CallError::Finished`]).
    pub fn write(&mut self, end: bool, f: impl FnOnce(&mut Vec<u8>)) -> Result<(), CallError> {
        self.send(|inner, slot| inner.conn.data(slot, end, f))
    }

    /// [`Call::write`] of one gRPC frame that ends with `body`; `lead` writes what stands before it.
    ///
    /// # Errors
    /// As there.
    pub fn write_body(
        &mut self,
        end: bool,
        lead: impl FnOnce(&mut Vec<u8>),
        body: &[u8],
    ) -> Result<(), CallError> {
        self.send(|inner, slot| inner.conn.body(slot, end, lead, body))
    }

    fn send(&mut self, write: impl FnOnce(&mut Inner, Slot)) -> Result<(), CallError> {
        let slot = self.slot.map_err(not_started)?;
        let link = &*self.link;
        let inner = &mut *link.inner();
        check(link, inner, slot)?;
        if inner.is_client() && inner.conn.is_complete(slot) {
            return Err(CallError::Finished);
        }
        if !inner.is_client() && !std::mem::replace(&mut self.responded, true) {
            answer(inner, slot, &self.head, false, &[]);
        }
        write(inner, slot);
        link.touch(inner);
        Ok(())
    }

    /// Waits until few enough bytes of this call are unsent: back-pressure from the other end.
    ///
    /// # Errors
    /// The call has failed, or `by` came.
    pub async fn writable(&mut self, by: Tick) -> Result<(), CallError> {
        poll_fn(|cx| self.poll_writable(by, cx)).await
    }

    /// [`Call::writable`] for hand-written futures.
    pub fn poll_writable(&mut self, by: Tick, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let slot = self.slot.map_err(not_started)?;
        let inner = &mut *self.link.inner();
        check(&self.link, inner, slot)?;
        if inner.conn.has_room(slot) {
            return Poll::Ready(Ok(()));
        }
        self.pend(inner, slot, by, cx).map(Err)
    }

    /// The next message, or the end of the call. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The call has failed, or `by` came.
    pub async fn next(&mut self, by: Tick) -> Result<Next, CallError> {
        poll_fn(|cx| self.poll_next(by, cx)).await
    }

    /// [`Call::next`] for hand-written futures.
    pub fn poll_next(&mut self, by: Tick, cx: &mut Context<'_>) -> Poll<Result<Next, CallError>> {
        let slot = self.slot.map_err(not_started)?;
        let inner = &mut *self.link.inner();
        let wanted = match step(&mut self.head, inner, slot, self.link.limits.max_message.get()) {
            Step::Ready(next) => return Poll::Ready(Ok(next)),
            Step::Refused(error) => {
                self.link.touch(inner);
                return Poll::Ready(Err(error));
            }
            Step::Wanted(bytes) => bytes,
        };
        check(&self.link, inner, slot)?;
        inner.conn.wait_for(slot, wanted);
        self.link.touch(inner);
        self.pend(inner, slot, by, cx).map(Err)
    }

    /// Ready when the call has failed: the other end reset it, or the connection ended. For who has nothing else to wait
    /// for.
    pub fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<CallError> {
        let slot = match self.slot {
            Ok(slot) => slot,
            Err(why) => return Poll::Ready(not_started(why)),
        };
        let inner = &mut *self.link.inner();
        match check(&self.link, inner, slot) {
            Ok(()) => self.pend(inner, slot, Tick::NEVER, cx),
            Err(error) => Poll::Ready(error),
        }
    }

    /// Pending until something happens on the stream, or ready when `by` has come.
    fn pend(&self, inner: &mut Inner, slot: Slot, by: Tick, cx: &Context<'_>) -> Poll<CallError> {
        if by <= rt::now() {
            return Poll::Ready(CallError::Deadline);
        }
        self.link.wait(inner, slot, by, cx);
        Poll::Pending
    }

    /// Hands the first whole message to `f` and gives its bytes back to the peer's windows. `None` if there is none.
    pub fn take<R>(&mut self, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let slot = self.slot.ok()?;
        let lent = self.link.inner().conn.lend(slot);
        let received = lent.0.get(lent.1..).unwrap_or_default();
        let whole = frame::split(received, self.link.limits.max_message.get()).ok().flatten();
        let (result, used) = match whole {
            Some(first) => (Some(f(first.message)), first.used),
            None => (None, 0),
        };
        let inner = &mut *self.link.inner();
        inner.conn.restore(slot, lent, used);
        self.link.touch(inner);
        result
    }

    /// The whole messages that are here, if they are large: taken out of the call's buffer together, without a copy.
    /// [`Call::passed`] gives their bytes back to the peer's windows as they leave.
    pub fn take_large(&mut self) -> Option<Messages> {
        self.detach(messages::all)
    }

    /// The first message as [`Call::take_large`] takes it, given back to the peer's windows at once.
    pub fn take_first_large(&mut self) -> Option<Message> {
        let message = self.detach(messages::first)?.next()?;
        self.passed(message.used());
        Some(message)
    }

    fn detach(&mut self, whole: impl FnOnce(&[u8], usize) -> Option<usize>) -> Option<Messages> {
        let slot = self.slot.ok()?;
        let limit = self.link.limits.max_message.get();
        let inner = &mut *self.link.inner();
        let bytes = whole(inner.conn.received(slot), limit)?;
        let (buffer, at) = inner.conn.detach(slot, bytes, rt::turn_buffer_for(bytes));
        Some(Messages::new(buffer, at..at + bytes, limit))
    }

    /// So many bytes of what [`Call::take_large`] gave have been passed on.
    pub fn passed(&mut self, bytes: usize) {
        if let Ok(slot) = self.slot {
            let inner = &mut *self.link.inner();
            inner.conn.returned(slot, bytes);
            self.link.touch(inner);
        }
    }

    /// Ends the call by RST_STREAM with an HTTP/2 error code.
    pub fn reset(mut self, code: u32) {
        self.reset_with(Http2Code(code));
    }

    fn reset_with(&mut self, code: Http2Code) {
        if let Ok(slot) = self.slot {
            let inner = &mut *self.link.inner();
            inner.conn.reset(slot, code);
            self.link.touch(inner);
        }
    }

    /// Callee: sends the head of the answer. The first [`Call::write`] does it otherwise.
    pub fn respond(&mut self) {
        self.respond_with(&[]);
    }

    /// Callee: sends the head of the answer with more fields.
    pub fn respond_with(&mut self, fields: &[(&str, &[u8])]) {
        let Ok(slot) = self.slot else { return };
        if std::mem::replace(&mut self.responded, true) {
            return;
        }
        let inner = &mut *self.link.inner();
        answer(inner, slot, &self.head, false, &literals(fields));
        self.link.touch(inner);
    }

    /// Callee: ends the call with a status; trailers-only if nothing was sent before.
    pub fn finish(self, status: u8, message: &str) {
        self.finish_with(status, message, &[]);
    }

    /// Callee: ends the call with a status and more trailers.
    pub fn finish_with(mut self, status: u8, message: &str, trailers: &[(&str, &[u8])]) {
        let Ok(slot) = self.slot else { return };
        let inner = &mut *self.link.inner();
        let began = std::mem::replace(&mut self.responded, true);
        if status == 0 && trailers.is_empty() && began {
            let ok = inner.blocks.ok;
            inner.conn.headers(slot, true, ok, &[]);
        } else {
            let (code, text) = (status.to_string(), encoded(message));
            let mut fields = literals(trailers);
            fields.insert(0, Literal::new("grpc-status", code.as_bytes()));
            fields.insert(1, Literal::new("grpc-message", &text));
            match began {
                true => inner.conn.headers(slot, true, None, &fields),
                false => answer(inner, slot, &self.head, true, &fields),
            }
        }
        self.link.touch(inner);
    }

    /// Callee: refuses what is no gRPC request, with an HTTP status and a gRPC one (vectors callee/wire/…).
    pub(super) fn refuse(self, http: &str, status: Code, message: &str) {
        let Ok(slot) = self.slot else { return };
        let (code, text) = (status.0.to_string(), encoded(message));
        let fields = [
            (":status", http.as_bytes()),
            ("content-type", b"application/grpc"),
            ("grpc-status", code.as_bytes()),
            ("grpc-message", &text),
        ];
        let inner = &mut *self.link.inner();
        inner.conn.headers(slot, true, None, &literals(&fields));
        self.link.touch(inner);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Ok(slot) = self.slot {
            let inner = &mut *self.link.inner();
            inner.waiters.take(slot);
            inner.conn.put_head(slot, std::mem::take(&mut self.head));
            inner.conn.release(slot);
            self.link.touch(inner);
        }
    }
}

/// Sends the head of an answer, which repeats the subtype of the request's content type as grpc-go does (vector
/// callee/wire/ctype-proto). The common one is a constant block.
fn answer(inner: &mut Inner, slot: Slot, request: &Fields, end: bool, fields: &[Literal<'_>]) {
    let subtype =
        request.tagged(proto::http2::Name::ContentType).and_then(|kind| kind.get(COMMON.len() + 1..));
    match subtype.filter(|subtype| !subtype.is_empty()) {
        None => inner.conn.headers(slot, end, inner.blocks.head, fields),
        Some(subtype) => {
            let kind = [COMMON, b"+", subtype].concat();
            let own = [Literal::new(":status", b"200"), Literal::new("content-type", &kind)];
            let fields: Literals<'_> = own.into_iter().chain(fields.iter().copied()).collect();
            inner.conn.headers(slot, end, None, &fields);
        }
    }
}

/// The content type of gRPC without a subtype.
const COMMON: &[u8] = b"application/grpc";

fn not_started(why: NotStarted) -> CallError {
    match why {
        NotStarted::TooLarge => {
            let text = "the metadata is larger than the peer accepts".into();
            CallError::Message { status: Code::RESOURCE_EXHAUSTED, text }
        }
        _ => CallError::Unprocessed { why: "the connection takes no more calls" },
    }
}

/// Most bytes of an encoded `grpc-message`: what is longer is cut, so that trailers fit any peer's header list.
const MAX_MESSAGE: usize = 4096;

fn encoded(message: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(message.len());
    metadata::encode_message(&mut text, message);
    text.truncate(MAX_MESSAGE);
    text
}

/// Whether the call can go on.
fn check(link: &Link, inner: &Inner, slot: Slot) -> Result<(), CallError> {
    match inner.conn.failure(slot) {
        None => Ok(()),
        Some(failure) => Err(CallError::of(failure, || link.end_of(inner))),
    }
}

enum Step {
    Ready(Next),
    Refused(CallError),
    /// Bytes that must be there before there is a next step.
    Wanted(usize),
}

/// What the received bytes amount to.
fn step(head: &mut Fields, inner: &mut Inner, slot: Slot, limit: usize) -> Step {
    let conn = &mut inner.conn;
    let complete = conn.is_complete(slot);
    let status = conn.status(slot);
    if head.is_empty() && status != 0 {
        *head = conn.take_head(slot);
    }
    let received = conn.received(slot);
    if status != 0 && !end::is_grpc(status, head) {
        if !complete && received.len() < end::QUOTED {
            return Step::Wanted(end::QUOTED);
        }
        let end = end::of_foreign(status, head, received);
        conn.reset(slot, Http2Code::PROTOCOL_ERROR);
        return Step::Ready(Next::End(end));
    }
    match frame::split(received, limit) {
        Ok(Some(_)) => Step::Ready(Next::Message),
        Ok(None) if complete && status != 0 => {
            Step::Ready(Next::End(end::of_answer(head, conn.trailers(slot), !received.is_empty())))
        }
        Ok(None) if complete && received.is_empty() => Step::Ready(Next::End(GrpcEnd::default())),
        Ok(None) if complete => {
            let text = "unexpected EOF".into();
            Step::Refused(CallError::Message { status: Code::INTERNAL, text })
        }
        Ok(None) => Step::Wanted(wanted(received)),
        Err(error) => {
            let error = refusal(&error, head);
            if inner.is_client() {
                inner.conn.reset(slot, Http2Code::CANCEL);
            }
            Step::Refused(error)
        }
    }
}

/// Bytes up to the end of the first message, or of its prefix.
fn wanted(received: &[u8]) -> usize {
    match received.first_chunk::<PREFIX>() {
        Some(&[_, a, b, c, d]) => PREFIX + u32::from_be_bytes([a, b, c, d]) as usize,
        None => PREFIX,
    }
}

fn refusal(error: &FrameError, head: &Fields) -> CallError {
    match (error, head.tagged(proto::http2::Name::GrpcEncoding)) {
        (FrameError::TooLarge { length, limit }, _) => CallError::TooLarge { length: *length, limit: *limit },
        (FrameError::Compressed, Some(coding)) if coding != b"identity" => {
            let mut text = "grpc: Decompressor is not installed for grpc-encoding ".to_owned();
            proto::invoke::quote::go(&mut text, &String::from_utf8_lossy(coding));
            CallError::Message { status: Code::INTERNAL, text }
        }
        (FrameError::Compressed, _) => CallError::Message { status: Code::INTERNAL, text: error.to_string() },
        (FrameError::Flag(_), _) => CallError::Message { status: error.code(), text: error.to_string() },
    }
}

//! Every failure of a call: whose it is, when it happened, what it is, and its one answer.
//!
//! ```
//! use proto::invoke::failure::{Failure, Kind, Side};
//!
//! let failure = Failure::new(Kind::NotFound, "couldn't find service: orders");
//! assert_eq!((failure.kind.side(), failure.http_status()), (Side::Caller, 500));
//! let mut body = Vec::new();
//! failure.json(&mut body, "orders");
//! assert_eq!(body, br#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: orders, err: couldn't find service: orders"}"#);
//! ```

use super::quote;
use crate::grpc::status::{Code, Status};
use core::fmt;

/// Whose failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client of the calling sidecar: its request or its connection.
    Client,
    /// The calling sidecar, or what it knows.
    Caller,
    /// The way to the callee's sidecar, or that sidecar.
    Peer,
    /// The called app.
    App,
}

/// When it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Finding out who is called, and with what method.
    Address,
    /// Looking up the app.
    Resolve,
    /// Policies, limits, readiness.
    Admit,
    /// Reaching a sidecar or an app.
    Connect,
    /// Sending the request.
    Send,
    /// Waiting for the answer's head.
    Answer,
    /// Passing on the answer's body: its head is out, so the answer can only be cut off.
    Relay,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request addresses nobody.
    NoTarget,
    /// The request target is none.
    MalformedTarget,
    /// Dot segments lead out of the method.
    MethodClimbs,
    /// An id that names nobody.
    InvalidTarget,
    /// A method with forbidden characters.
    MethodRejected,
    /// Something this peer cannot be sent.
    NotSendable,
    /// A verb, version or header that cannot be written for the app.
    NotWritable,
    /// The client asks for a protocol switch that this call cannot make.
    Upgrade,
    /// No sidecar of that name.
    NotFound,
    /// This sidecar does not serve calls yet, or no longer.
    NotReady,
    /// A queue or retry budget is exhausted.
    Overloaded,
    /// The sidecar uses more memory than `--max-memory`.
    MemoryShort,
    /// The access control policy says no.
    Denied,
    /// This sidecar has no app.
    NoApp,
    /// The app fails its health probe.
    AppUnhealthy,
    /// No connection to a sidecar of the callee.
    Unreachable,
    /// The callee's sidecar ended the call with a status, or its connection was lost.
    Rpc(Code),
    /// A message that is none, or not the one that was due.
    BadMessage,
    /// The request body is larger than `--max-body-size`.
    RequestTooLarge,
    /// The answer is larger than `--max-body-size`.
    ResponseTooLarge,
    /// The client's body ends early or is badly framed.
    ClientBody,
    /// The client left.
    ClientGone,
    /// A deadline passed.
    Deadline,
    /// The app does not take connections.
    AppUnreachable,
    /// The app closed its connection, or its answer is no HTTP.
    AppAnswer,
    /// The app's answer ends early or is badly framed.
    AppBody,
    /// A gRPC app's error whose details cannot be shown as JSON.
    MalformedResponse,
}

/// The fixed facts about a kind.
struct Facts {
    side: Side,
    phase: Phase,
    http: u16,
    grpc: Code,
}

impl Kind {
    #[rustfmt::skip]
    fn facts(self) -> Facts {
        use {Phase::*, Side::*};
        let (side, phase, http, grpc) = match self {
            Kind::NoTarget          => (Client, Address, 404, Code::NOT_FOUND),
            Kind::MalformedTarget   => (Client, Address, 400, Code::INVALID_ARGUMENT),
            Kind::MethodClimbs      => (Client, Address, 400, Code::INVALID_ARGUMENT),
            Kind::InvalidTarget     => (Client, Address, 500, Code::INVALID_ARGUMENT),
            Kind::MethodRejected    => (Client, Address, 500, Code::INVALID_ARGUMENT),
            Kind::NotSendable       => (Client, Send,    500, Code::INTERNAL),
            Kind::NotWritable       => (Client, Send,    500, Code::INTERNAL),
            Kind::Upgrade           => (Client, Admit,   501, Code::UNIMPLEMENTED),
            Kind::NotFound          => (Caller, Resolve, 500, Code::INTERNAL),
            Kind::NotReady          => (Caller, Admit,   500, Code::INTERNAL),
            Kind::Overloaded        => (Caller, Admit,   503, Code::RESOURCE_EXHAUSTED),
            Kind::MemoryShort       => (Caller, Admit,   503, Code::UNAVAILABLE),
            Kind::Denied            => (Peer,   Admit,   403, Code::PERMISSION_DENIED),
            Kind::NoApp             => (Peer,   Admit,   500, Code::INTERNAL),
            Kind::AppUnhealthy      => (App,    Admit,   500, Code::INTERNAL),
            Kind::Unreachable       => (Peer,   Connect, 500, Code::UNAVAILABLE),
            Kind::Rpc(code)         => (Peer,   Answer,  if code == Code::PERMISSION_DENIED { 403 } else { 500 }, code),
            Kind::BadMessage        => (Peer,   Answer,  500, Code::INTERNAL),
            Kind::RequestTooLarge   => (Client, Send,    413, Code::RESOURCE_EXHAUSTED),
            Kind::ResponseTooLarge  => (App,    Answer,  500, Code::RESOURCE_EXHAUSTED),
            Kind::ClientBody        => (Client, Send,    500, Code::INTERNAL),
            Kind::ClientGone        => (Client, Answer,  500, Code::CANCELED),
            Kind::Deadline          => (Peer,   Answer,  500, Code::DEADLINE_EXCEEDED),
            Kind::AppUnreachable    => (App,    Connect, 500, Code::INTERNAL),
            Kind::AppAnswer         => (App,    Answer,  500, Code::INTERNAL),
            Kind::AppBody           => (App,    Relay,   500, Code::UNAVAILABLE),
            Kind::MalformedResponse => (App,    Answer,  500, Code::INTERNAL),
        };
        Facts { side, phase, http, grpc }
    }

    /// Whose failure it is.
    pub fn side(self) -> Side {
        self.facts().side
    }

    /// When it happens.
    pub fn phase(self) -> Phase {
        self.facts().phase
    }

    /// Whether the client or its app made a mistake that no other attempt mends: neither retried nor held against
    /// the target.
    pub fn is_own_mistake(self) -> bool {
        matches!(self.phase(), Phase::Address)
            || matches!(
                self,
                Kind::NotSendable
                    | Kind::NotWritable
                    | Kind::Upgrade
                    | Kind::RequestTooLarge
                    | Kind::ClientBody
                    | Kind::ClientGone
            )
    }
}

/// A failure with the text that explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it is.
    pub kind: Kind,
    /// daprd's text for it, without the wrapping that the answer adds.
    pub text: String,
    /// Who was called, where only the failure knows.
    id: Option<Box<str>>,
}

impl Failure {
    /// A failure of that kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Failure {
        Failure { kind, text: text.into(), id: None }
    }

    /// The status with which the callee's sidecar, or the transport, ended the call.
    pub fn rpc(status: &Status) -> Failure {
        Failure::new(Kind::Rpc(status.code), status.to_string())
    }

    /// The call was tried several times; `target` is the app's id.
    #[must_use]
    pub fn after_retries(self, target: &str, retries: u32) -> Failure {
        let text = format!("failed to invoke target {target} after {retries} retries. Error: {}", self.text);
        Failure { text, ..self }
    }

    /// The status of the HTTP answer.
    pub fn http_status(&self) -> u16 {
        self.kind.facts().http
    }

    /// `errorCode` of the HTTP answer.
    pub fn error_code(&self) -> &'static str {
        match self.kind {
            Kind::MalformedResponse => "ERR_MALFORMED_RESPONSE",
            Kind::MemoryShort => "ERR_MEMORY_LIMIT",
            _ => "ERR_DIRECT_INVOKE",
        }
    }

    /// The text of the HTTP answer; `id` as the client gave it, empty while it is not known.
    pub fn message(&self, id: &str) -> String {
        let id = self.id.as_deref().filter(|_| id.is_empty()).unwrap_or(id);
        match self.kind {
            Kind::NoTarget
            | Kind::MalformedTarget
            | Kind::MethodClimbs
            | Kind::NotReady
            | Kind::MemoryShort
            | Kind::MalformedResponse => self.text.clone(),
            _ => format!("failed to invoke, id: {id}, err: {}", self.text),
        }
    }

    /// Appends the body of the HTTP answer, `application/json` (spec/invocation 1.11).
    pub fn json(&self, out: &mut Vec<u8>, id: &str) {
        out.extend_from_slice(b"{\"errorCode\":\"");
        out.extend_from_slice(self.error_code().as_bytes());
        out.extend_from_slice(b"\",\"message\":");
        quote::json(out, &self.message(id));
        out.push(b'}');
    }

    /// Seconds for `Retry-After`, where the answer has one.
    pub fn retry_after(&self) -> Option<u32> {
        (self.http_status() == 503).then_some(1)
    }

    /// The gRPC status with which a callee ends the call, or that an `InvokeService` client does not see
    /// (spec/invocation 3.9).
    pub fn status(&self) -> Status {
        let code = self.kind.facts().grpc;
        let message = match self.kind {
            Kind::MethodRejected => format!("invalid method: {}", self.text),
            Kind::NotWritable | Kind::AppUnhealthy | Kind::AppUnreachable | Kind::AppAnswer => {
                format!("error invoking app channel: {}", self.text)
            }
            _ => self.text.clone(),
        };
        Status { code, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::error::Error for Failure {}

impl From<super::target::TargetError> for Failure {
    fn from(error: super::target::TargetError) -> Failure {
        use super::target::TargetError;
        let kind = match &error {
            TargetError::NoAppId => Kind::NoTarget,
            TargetError::Malformed => Kind::MalformedTarget,
            TargetError::Climbs => Kind::MethodClimbs,
            TargetError::NotUtf8 { .. } => Kind::NotSendable,
        };
        let id = Some(error.id()).filter(|id| !id.is_empty()).map(Into::into);
        Failure { id, ..Failure::new(kind, error.to_string()) }
    }
}

impl From<super::target::InvalidId> for Failure {
    fn from(error: super::target::InvalidId) -> Failure {
        Failure::new(Kind::InvalidTarget, error.to_string())
    }
}

/// At the caller: the text as the client sees it. A callee builds the failure from the error's own text instead, and
/// [`Failure::status`] adds the rest.
impl From<super::method::MethodError> for Failure {
    fn from(error: super::method::MethodError) -> Failure {
        let status = Status { code: Code::INVALID_ARGUMENT, message: format!("invalid method: {error}") };
        Failure::new(Kind::MethodRejected, status.to_string())
    }
}

impl From<crate::envelope::EncodeError> for Failure {
    fn from(error: crate::envelope::EncodeError) -> Failure {
        Failure::new(Kind::NotSendable, error.to_string())
    }
}

/// A caller's view of a message that is none.
impl From<crate::envelope::OpenError> for Failure {
    fn from(error: crate::envelope::OpenError) -> Failure {
        use crate::envelope::OpenError;
        match error {
            OpenError::Malformed | OpenError::NotUtf8 => Failure::rpc(&error.status()),
            _ => Failure::new(Kind::BadMessage, error.to_string()),
        }
    }
}

impl From<super::headers::app::Refused> for Failure {
    fn from(refused: super::headers::app::Refused) -> Failure {
        Failure::new(Kind::NotWritable, refused.to_string())
    }
}

#[cfg(test)]
mod tests;

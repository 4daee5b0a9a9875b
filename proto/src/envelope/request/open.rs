//! The callee's borrowed view of a request message.

use crate::envelope::metadata::{self, Entry, Metadata};
use crate::envelope::payload::Payload;
use crate::envelope::wire::{Field, Fields};
use crate::envelope::{OpenError, Peer, Verb, text, value};
use crate::http1::names::Known;

/// A received `InternalInvokeRequestStream`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    request: Option<Invoke<'a>>,
    payload: Option<Payload<'a>>,
}

/// A received `InternalInvokeRequest`, checked: strings are UTF-8 (values of an Outrigger may be any bytes).
#[derive(Clone, Copy, Debug, Default)]
pub struct Invoke<'a> {
    /// `ver`; 1 is the only one there is.
    pub version: u64,
    /// The caller's headers and what its sidecar added.
    pub metadata: Metadata<'a>,
    /// As the caller sent it: normalise it again before it is used.
    pub method: &'a str,
    /// Of the body; empty when absent.
    pub content_type: &'a [u8],
    /// `None`: the caller gave no HTTP extension.
    pub verb: Option<Verb>,
    /// Raw, without `?`; empty when absent.
    pub query: &'a str,
    /// `message.data.type_url`; empty when absent.
    pub type_url: &'a str,
    /// `message.data.value`: the body of a unary call, to be ignored in a stream
    /// (vector callee/http/data-in-message-and-payload).
    pub data: &'a [u8],
    has_message: bool,
}

/// Reads a message of `CallLocalStream`'s request direction.
///
/// # Errors
/// Broken protobuf, a string that is not UTF-8.
pub fn open(message: &[u8], peer: Peer) -> Result<Message<'_>, OpenError> {
    let (mut fields, mut opened) = (Fields::new(message), Message::default());
    while let Some(field) = fields.next()? {
        match field {
            Field::Bytes(1, request) if opened.request.is_none() => {
                read(opened.request.insert(Invoke::new(request)), request, peer)?;
            }
            Field::Bytes(2, payload) if opened.payload.is_none() => {
                opened.payload = Some(Payload::open(payload)?)
            }
            Field::Bytes(1 | 2, _) => return Err(OpenError::Malformed),
            _ => {}
        }
    }
    Ok(opened)
}

/// Reads the one message of `CallLocal`.
///
/// # Errors
/// Broken protobuf, a string that is not UTF-8, no message inside.
pub fn open_whole(message: &[u8], peer: Peer) -> Result<Invoke<'_>, OpenError> {
    let mut invoke = Invoke::new(message);
    read(&mut invoke, message, peer)?;
    if invoke.has_message { Ok(invoke) } else { Err(OpenError::RequestWithoutMessage) }
}

impl<'a> Message<'a> {
    /// As the first message of a call.
    ///
    /// # Errors
    /// It lacks metadata or message.
    pub fn leading(self) -> Result<(Invoke<'a>, Option<Payload<'a>>), OpenError> {
        match self.request {
            Some(invoke) if invoke.has_message && !invoke.metadata.is_empty() => Ok((invoke, self.payload)),
            _ => Err(OpenError::RequestIncomplete),
        }
    }

    /// As a later message of a call. An empty `request` and a missing payload are tolerated
    /// (vectors callee/bad/request-empty-later, callee/http/message-empty-later).
    ///
    /// # Errors
    /// It carries metadata or a message again.
    pub fn following(self) -> Result<Option<Payload<'a>>, OpenError> {
        match self.request {
            Some(invoke) if invoke.has_message || !invoke.metadata.is_empty() => Err(OpenError::LateRequest),
            _ => Ok(self.payload),
        }
    }
}

/// `InternalInvokeRequest`. A singular message field that occurs twice is refused: protobuf would merge the two, no
/// encoder writes them, and two readers could disagree about them.
fn read<'a>(invoke: &mut Invoke<'a>, request: &'a [u8], peer: Peer) -> Result<(), OpenError> {
    let mut fields = Fields::new(request);
    while let Some(field) = fields.next()? {
        match field {
            Field::Varint(1, version) => invoke.version = version,
            Field::Bytes(number, entry) if number == u32::from(metadata::FIELD) => {
                invoke.metadata.notice(&Entry::open(entry, peer)?);
            }
            Field::Bytes(3, _) if invoke.has_message => return Err(OpenError::Malformed),
            Field::Bytes(3, message) => invoke_request(invoke, message, peer)?,
            _ => {}
        }
    }
    Ok(())
}

/// `InvokeRequest`.
fn invoke_request<'a>(invoke: &mut Invoke<'a>, message: &'a [u8], peer: Peer) -> Result<(), OpenError> {
    invoke.has_message = true;
    let (mut fields, mut seen_data) = (Fields::new(message), false);
    while let Some(field) = fields.next()? {
        match field {
            Field::Bytes(1, method) => invoke.method = text(method)?,
            Field::Bytes(2, _) if seen_data => return Err(OpenError::Malformed),
            Field::Bytes(2, any) => {
                seen_data = true;
                (invoke.type_url, invoke.data) = crate::envelope::metadata::any(any)?;
            }
            Field::Bytes(3, content_type) => invoke.content_type = value(content_type, peer)?,
            Field::Bytes(4, _) if invoke.verb.is_some() => return Err(OpenError::Malformed),
            Field::Bytes(4, extension) => http_extension(invoke, extension)?,
            _ => {}
        }
    }
    Ok(())
}

/// `HTTPExtension`.
fn http_extension<'a>(invoke: &mut Invoke<'a>, extension: &'a [u8]) -> Result<(), OpenError> {
    let (mut fields, mut verb) = (Fields::new(extension), Verb::NONE);
    while let Some(field) = fields.next()? {
        match field {
            // an enumeration is a 32-bit integer: higher bits do not count
            Field::Varint(1, number) => verb = Verb::from_number(number as u32),
            Field::Bytes(2, query) => invoke.query = text(query)?,
            _ => {}
        }
    }
    invoke.verb = Some(verb);
    Ok(())
}

/// The body length a caller's client declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared<'a> {
    /// None.
    Nothing,
    /// So many bytes.
    Bytes(u64),
    /// Not a number.
    Invalid(&'a [u8]),
}

impl<'a> Invoke<'a> {
    /// Of `request` nothing was read yet.
    fn new(request: &'a [u8]) -> Invoke<'a> {
        Invoke { metadata: Metadata::new(request), ..Invoke::default() }
    }

    /// The declared body length: `content-length` in any case (spec/invocation 4.3).
    pub fn declared_length(&self) -> Declared<'a> {
        match self.metadata.first(Known::ContentLength) {
            None => Declared::Nothing,
            Some(value) => {
                crate::http1::refusal::digits(value).map_or(Declared::Invalid(value), Declared::Bytes)
            }
        }
    }

    /// The caller's app id as its sidecar states it; `None` when absent. Unauthenticated without mTLS.
    pub fn caller_app_id(&self) -> Option<&'a str> {
        self.metadata.first(Known::DaprCallerAppId).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The app that the caller's sidecar means to call; `None` when absent (daprds before 1.14, other clients).
    pub fn callee_app_id(&self) -> Option<&'a str> {
        self.metadata.first(Known::DaprCalleeAppId).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The verb that reaches the app: `outrigger-verb` from an Outrigger that has one, else the enumeration's.
    pub fn real_verb(&self, peer: Peer) -> Option<&'a str> {
        if peer != Peer::Outrigger {
            return None;
        }
        let verb = self.metadata.first(Known::OutriggerVerb)?;
        core::str::from_utf8(verb).ok().filter(|verb| crate::http1::encode::is_name(verb.as_bytes()))
    }
}

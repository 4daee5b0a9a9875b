//! The caller's borrowed view of a response message.

use crate::envelope::metadata::{self, Entry, Metadata};
use crate::envelope::payload::Payload;
use crate::envelope::wire::{Field, Fields};
use crate::envelope::{OpenError, Peer, text, value};
use crate::http1::names::Known;

/// A received `InternalInvokeResponseStream`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    response: Option<Answer<'a>>,
    payload: Option<Payload<'a>>,
}

/// A received `InternalInvokeResponse`, checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// 100 and more: an HTTP app's status. Below: a gRPC app's code, or server-sent events from a daprd.
    pub code: i32,
    /// A gRPC app's status message.
    pub message: &'a str,
    /// The whole `Status` message, for its details.
    pub(crate) status: &'a [u8],
    /// The app's headers.
    pub headers: Metadata<'a>,
    /// Of the body; empty when absent.
    pub content_type: &'a [u8],
    /// `message.data.type_url`; empty when absent.
    pub type_url: &'a str,
    /// `message.data.value`: the body of a unary answer, to be ignored in a stream (vector caller/answer/message-data).
    pub data: &'a [u8],
    has_status: bool,
    has_message: bool,
}

/// Reads a message of `CallLocalStream`'s response direction.
///
/// # Errors
/// Broken protobuf, a string that is not UTF-8.
pub fn open(message: &[u8], peer: Peer) -> Result<Message<'_>, OpenError> {
    let (mut fields, mut opened) = (Fields::new(message), Message::default());
    while let Some(field) = fields.next()? {
        match field {
            Field::Bytes(1, response) if opened.response.is_none() => {
                read(opened.response.insert(Answer::new(response)), response, peer)?;
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

/// Reads the one message of the answer to `CallLocal`.
///
/// # Errors
/// Broken protobuf, a string that is not UTF-8, no status.
pub fn open_whole(message: &[u8], peer: Peer) -> Result<Answer<'_>, OpenError> {
    let mut answer = Answer::new(message);
    read(&mut answer, message, peer)?;
    if answer.has_status { Ok(answer) } else { Err(OpenError::ResponseIncomplete) }
}

impl<'a> Message<'a> {
    /// As the first message of an answer.
    ///
    /// # Errors
    /// It lacks a status.
    pub fn leading(self) -> Result<(Answer<'a>, Option<Payload<'a>>), OpenError> {
        match self.response {
            Some(answer) if answer.has_status => Ok((answer, self.payload)),
            _ => Err(OpenError::ResponseIncomplete),
        }
    }

    /// As a later message of an answer. An empty `response` is tolerated: daprd sends one with every event of an
    /// event stream; a missing payload too.
    ///
    /// # Errors
    /// It carries status, headers or message again: it is not delivered.
    pub fn following(self) -> Result<Option<Payload<'a>>, OpenError> {
        match self.response {
            Some(answer) if answer.has_status || answer.has_message || !answer.headers.is_empty() => {
                Err(OpenError::LateResponse)
            }
            _ => Ok(self.payload),
        }
    }
}

/// `InternalInvokeResponse`; see `request::open` for fields that occur twice.
fn read<'a>(answer: &mut Answer<'a>, response: &'a [u8], peer: Peer) -> Result<(), OpenError> {
    let mut fields = Fields::new(response);
    while let Some(field) = fields.next()? {
        match field {
            Field::Bytes(1, _) if answer.has_status => return Err(OpenError::Malformed),
            Field::Bytes(1, status) => status_fields(answer, status)?,
            Field::Bytes(number, entry) if number == u32::from(metadata::FIELD) => {
                answer.headers.notice(&Entry::open(entry, peer)?);
            }
            Field::Bytes(3, entry) => drop(Entry::open(entry, peer)?), // trailers are not passed on to HTTP clients
            Field::Bytes(4, _) if answer.has_message => return Err(OpenError::Malformed),
            Field::Bytes(4, message) => invoke_response(answer, message, peer)?,
            _ => {}
        }
    }
    Ok(())
}

/// `Status`: code, message; the details are looked at when they are needed.
fn status_fields<'a>(answer: &mut Answer<'a>, status: &'a [u8]) -> Result<(), OpenError> {
    answer.has_status = true;
    answer.status = status;
    let mut fields = Fields::new(status);
    while let Some(field) = fields.next()? {
        match field {
            Field::Varint(1, code) => answer.code = code as i32, // as protobuf reads an int32
            Field::Bytes(2, message) => answer.message = text(message)?,
            Field::Bytes(3, detail) => drop(metadata::any(detail)?),
            _ => {}
        }
    }
    Ok(())
}

/// `InvokeResponse`.
fn invoke_response<'a>(answer: &mut Answer<'a>, message: &'a [u8], peer: Peer) -> Result<(), OpenError> {
    answer.has_message = true;
    let (mut fields, mut seen_data) = (Fields::new(message), false);
    while let Some(field) = fields.next()? {
        match field {
            Field::Bytes(1, _) if seen_data => return Err(OpenError::Malformed),
            Field::Bytes(1, any) => {
                seen_data = true;
                (answer.type_url, answer.data) = metadata::any(any)?;
            }
            Field::Bytes(2, content_type) => answer.content_type = value(content_type, peer)?,
            _ => {}
        }
    }
    Ok(())
}

impl<'a> Answer<'a> {
    /// Of `response` nothing was read yet.
    fn new(response: &'a [u8]) -> Answer<'a> {
        Answer { headers: Metadata::new(response), ..Answer::default() }
    }

    /// An HTTP app's status, if it is one that may be written: 100 to 999.
    pub fn http_status(&self) -> Option<u16> {
        u16::try_from(self.code).ok().filter(|status| (100..1000).contains(status))
    }

    /// The declared body length, which only an Outrigger tells.
    pub fn declared_length(&self, peer: Peer) -> Option<u64> {
        let told = (peer == Peer::Outrigger).then(|| self.headers.first(Known::ContentLength))?;
        told.and_then(crate::http1::refusal::digits)
    }

    /// The content type that the client is told: a `type_url` means protobuf
    /// (vector caller/answer/type-url). Empty when there is none.
    pub fn told_content_type(&self) -> &'a [u8] {
        if self.type_url.is_empty() { self.content_type } else { b"application/x-protobuf" }
    }
}

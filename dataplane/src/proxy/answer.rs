//! The answer of another sidecar on its way to the client.

use super::attempt::Failed;
use super::hop::{Hop, OwnMessage};
use super::outbound::Outgoing;
use crate::http1::sink::Sink;
use crate::mesh::{GrpcEnd, Message, Next};
use crate::rt::{self, Tick};
use proto::envelope::payload::{Payload, Sequence};
use proto::envelope::response::{self, Answer};
use proto::grpc::status::{Code, Status};
use proto::http1::framing::Framing;
use proto::invoke::classify::Processed;
use proto::invoke::details;
use proto::invoke::failure::{Failure, Kind};
use proto::invoke::headers::client::{self, from_mesh};

/// An answer being passed on.
pub(super) struct Incoming<'i, 'o, 's> {
    out: &'i Outgoing<'o>,
    hop: &'i Hop,
    sequence: Sequence,
    answer: &'i mut Sink<'s>,
}

impl<'i, 'o, 's> Incoming<'i, 'o, 's> {
    pub(super) fn new(out: &'i Outgoing<'o>, hop: &'i Hop, answer: &'i mut Sink<'s>) -> Self {
        Incoming { out, hop, sequence: Sequence::default(), answer }
    }

    /// The first message of a stream: writes the head and the first body bytes. `true` when that was all.
    pub(super) async fn begin(&mut self, message: &OwnMessage, began: Tick) -> Result<bool, Failed> {
        let of = message.large();
        let opened = response::open(message, self.hop.peer).and_then(response::Message::leading);
        let (answer, payload) = opened.map_err(Failure::from)?;
        let data = match payload {
            Some(payload) => accept(&mut self.sequence, payload)?,
            None => &[],
        };
        self.out.answered(u16::try_from(answer.code).unwrap_or(0), began);
        match self.hop.next_at_hand().await {
            None | Some(Ok(Next::Message)) => self.tell(&answer, data, of, false).await,
            Some(Ok(Next::End(end))) if end.status == 0 => self.tell(&answer, data, of, true).await,
            // what came is passed on, and then cut off: as if the end had come a moment later
            Some(Ok(Next::End(end))) => {
                self.tell(&answer, data, of, false).await.and(Err(truncated(&end.message)))
            }
            Some(Err(error)) => self.tell(&answer, data, of, false).await.and(Err(truncated(&error))),
        }
    }

    /// The one message of a unary answer.
    pub(super) async fn whole(&mut self, message: &[u8], began: Tick) -> Result<(), Failed> {
        let answer = response::open_whole(message, self.hop.peer).map_err(Failure::from)?;
        self.out.answered(u16::try_from(answer.code).unwrap_or(0), began);
        self.tell(&answer, answer.data, None, true).await.map(drop)
    }

    /// The further messages, to the end of the call.
    pub(super) async fn relay(&mut self) -> Result<(), Failed> {
        loop {
            match self.hop.next().await {
                Ok(Next::Message) => self.following().await?,
                Ok(Next::End(end)) if end.status == 0 => {
                    self.answer.finish().map_err(|error| truncated(&error))?;
                    return self.flush().await;
                }
                Ok(Next::End(end)) => return Err(truncated(&end.message)),
                Err(error) => return Err(truncated(&error)),
            }
        }
    }

    /// The messages that are here: large ones leave from the memory they came in.
    async fn following(&mut self) -> Result<(), Failed> {
        let hop = self.hop;
        let Some(messages) = hop.take_large() else {
            hop.take(|message| self.pass(message, None)).unwrap_or(Ok(()))?;
            return self.flush().await;
        };
        for message in messages {
            self.pass(&message, Some(&message))?;
            self.flush().await?;
            hop.passed(&message);
        }
        Ok(())
    }

    /// Passes the body bytes of a further message on.
    fn pass(&mut self, message: &[u8], of: Option<&Message>) -> Result<(), Failed> {
        let following = response::open(message, self.hop.peer).and_then(response::Message::following);
        let Some(payload) = following.map_err(Failure::from)? else { return Ok(()) };
        let data = accept(&mut self.sequence, payload)?;
        push(self.answer, self.out, data, of)
    }

    /// Writes the head, and `data` behind it, some of the message `of`; `ended`: that is the whole body. Returns whether
    /// the answer is complete.
    async fn tell(
        &mut self,
        answer: &Answer<'_>,
        data: &[u8],
        of: Option<&Message>,
        ended: bool,
    ) -> Result<bool, Failed> {
        if answer.code > 0 && answer.code < 100 {
            return self.app_error(answer).await.map(|()| true);
        }
        let asked = self.out.asked();
        let stands_for_more = asked.head || answer.code == 304;
        let told = if ended && !stands_for_more {
            client::Body::Complete(data.len() as u64)
        } else {
            client::declared(answer, self.hop.peer)
        };
        if !stands_for_more {
            self.check_declared(told)?;
        }
        let Some((status, framing)) = from_mesh(self.answer.head(), answer, &asked, told) else {
            let text = format!("invalid status {} from the app", answer.code);
            return Err(Failure::new(Kind::AppAnswer, text).into());
        };
        self.out.status.set(status);
        self.answer.begin(framing);
        push(self.answer, self.out, data, of)?;
        if ended {
            self.answer.finish().map_err(|error| truncated(&error))?;
        }
        self.flush().await?;
        Ok(ended)
    }

    /// A gRPC app's error, as JSON.
    async fn app_error(&mut self, answer: &Answer<'_>) -> Result<(), Failed> {
        let json = details::json(answer)
            .map_err(|error| Failure::new(Kind::MalformedResponse, error.to_string()))?;
        let told = client::Body::Complete(json.len() as u64);
        let asked = self.out.asked();
        if let Some((status, framing)) = from_mesh(self.answer.head(), answer, &asked, told) {
            self.out.status.set(status);
            self.answer.begin(framing);
        }
        push(self.answer, self.out, &json, None)?;
        self.answer.finish().map_err(|error| truncated(&error))?;
        self.flush().await
    }

    fn check_declared(&self, told: client::Body) -> Result<(), Failed> {
        match (told, self.out.view.snapshot.limits.max_body) {
            (client::Body::Declared(n) | client::Body::Complete(n), Some(limit)) if n > limit => {
                Err(too_large(limit).into())
            }
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        self.answer.flush().await.map_err(|error| client_gone(&error).into())
    }
}

/// A call that ended with a status before its answer began.
pub(super) fn ended(end: GrpcEnd) -> Failed {
    let status = Status { code: Code(u32::from(end.status)), message: end.message };
    Failed::status(&status, Processed::Maybe)
}

fn accept<'p>(sequence: &mut Sequence, payload: Payload<'p>) -> Result<&'p [u8], Failed> {
    sequence.accept(payload).map_err(|error| Failure::from(error).into())
}

/// Passes body bytes on, within the limit, some of the message `of` if it says so. What the answer's framing leaves no
/// room for (HEAD) is dropped.
fn push(answer: &mut Sink<'_>, out: &Outgoing<'_>, data: &[u8], of: Option<&Message>) -> Result<(), Failed> {
    if answer.framing() == Some(Framing::None) {
        return Ok(());
    }
    let limit = out.view.snapshot.limits.max_body.filter(|_| out.status.get() != 101);
    if limit.is_some_and(|limit| answer.body_bytes() + data.len() as u64 > limit) {
        return Err(too_large(limit.unwrap_or_default()).into());
    }
    let pushed = match of {
        Some(message) => answer.push_segment(message.part(data)),
        None => answer.push(data),
    };
    pushed.map_err(|error| truncated(&error))
}

/// The answer cannot be completed: all that is left is to cut it off.
fn truncated(why: &impl std::fmt::Display) -> Failed {
    Failure::new(Kind::AppBody, why.to_string()).into()
}

pub(super) fn client_gone(error: &rt::SendError) -> Failure {
    Failure::new(Kind::ClientGone, error.to_string())
}

fn too_large(limit: u64) -> Failure {
    let text = format!("the response body is larger than --max-body-size ({limit} bytes)");
    Failure::new(Kind::ResponseTooLarge, text)
}

//! The answer of a server that this sidecar speaks to itself, the own app or one outside the mesh, on its way to the
//! client; and the client's body on its way there.

use super::attempt::{body_failure, client_left};
use super::to_app::{AppRequest, Unanswered};
use crate::http1::client::Answer;
use crate::http1::server::Body;
use crate::http1::sink::Sink;
use crate::rt::Tick;
use proto::http1::framing::Framing;
use proto::http1::head::Slots;
use proto::invoke::failure::{Failure, Kind};
use proto::invoke::headers::client::{self, Asked, from_app};
use std::cell::Cell;

/// Sends the rest of the body, then watches the client. Ends only with the client's failure.
pub(super) async fn upload(
    status: &Cell<u16>,
    body: &mut Body<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), Unanswered> {
    while !sink.is_done() && sink.room(|| body.release()).await.is_ok() {
        let piece = body.piece(Tick::NEVER).await.map_err(|e| body_failure(&e))?;
        let written = match piece {
            Some(piece) => sink.push_segment(piece),
            None => Ok(()),
        };
        let written = written.and_then(|()| if body.is_done() { sink.finish() } else { Ok(()) });
        if written.is_err() || sink.flush().await.is_err() {
            break;
        }
    }
    Err(Unanswered::Failed(client_left(status, body).await))
}

/// An answer on its way to the client.
pub(super) struct Relay<'r, 'a, 's> {
    /// What the client's head depends on.
    pub(super) asked: Asked<'r>,
    /// The status that the client was told.
    pub(super) status: &'r Cell<u16>,
    /// Largest body.
    pub(super) limit: Option<u64>,
    pub(super) request: &'r AppRequest<'r>,
    pub(super) from: &'r mut Answer<'a>,
    pub(super) answer: &'r mut Sink<'s>,
}

impl Relay<'_, '_, '_> {
    /// Head, body, end. Tells whether the server's connection may be used again.
    pub(super) async fn run(&mut self) -> Result<bool, Unanswered> {
        let (keeps_alive, framing) = self.head()?;
        self.from.begin_body(framing);
        self.answer.flush().await.map_err(|e| gone(&e))?;
        self.rest().await?;
        Ok(keeps_alive && framing != Framing::UntilClose)
    }

    /// Only the head. Tells whether the connection is another protocol's from here on.
    pub(super) async fn begin(&mut self) -> Result<bool, Unanswered> {
        let (_, framing) = self.head()?;
        let switched = self.status.get() == 101;
        self.from.begin_body(if switched { Framing::UntilClose } else { framing });
        self.answer.flush().await.map_err(|e| gone(&e))?;
        Ok(switched)
    }

    /// Body and end.
    pub(super) async fn rest(&mut self) -> Result<(), Unanswered> {
        while !self.from.is_done() {
            self.answer.room(|| self.from.release()).await.map_err(|e| gone(&e))?;
            let piece = self.from.piece(Tick::NEVER).await;
            let piece = piece.map_err(|e| Failure::new(Kind::AppBody, e.to_string()))?;
            let Some(piece) = piece else { break };
            self.within_limit(self.answer.body_bytes() + piece.len() as u64)?;
            self.answer.push_segment(piece).map_err(|e| Failure::new(Kind::AppBody, e.to_string()))?;
            self.answer.flush().await.map_err(|e| gone(&e))?;
        }
        self.answer.finish().map_err(|e| Failure::new(Kind::AppBody, e.to_string()))?;
        self.answer.flush().await.map_err(|e| gone(&e).into())
    }

    fn head(&mut self) -> Result<(bool, Framing), Unanswered> {
        let mut slots = Slots::new();
        let response = self.request.parse(self.from.head_bytes(), &mut slots)?;
        let told = response.declared_length().map_or(client::Body::Unknown, client::Body::Declared);
        if let client::Body::Declared(length) = told {
            self.within_limit(length)?;
        }
        let framing = from_app(self.answer.head(), &response, &self.asked, told);
        self.answer.begin(framing);
        self.status.set(response.status);
        Ok((response.keeps_alive(), response.framing(self.asked.head)))
    }

    fn within_limit(&self, length: u64) -> Result<(), Failure> {
        match self.limit {
            Some(limit) if length > limit => Err(self.request.asked.too_large(limit)),
            _ => Ok(()),
        }
    }
}

fn gone(error: &crate::rt::SendError) -> Failure {
    Failure::new(Kind::ClientGone, error.to_string())
}

//! Questions to the sidecar itself whose answer depends on their body.

use super::own::Own;
use crate::http1::server::{Body, BodyFailure};
use crate::http1::sink::Sink;
use crate::rt::{self, Tick};
use crate::shard::{Common, Shard, View};
use proto::api::blocks::{Answer, Block, Question};
use proto::control::attached::MOST;

/// Largest body that is looked at to tell what a building block would have said.
const LOOKED_AT: usize = 64 << 10;

/// A question with a body.
pub(super) enum Ask<'r> {
    /// `PUT /v1.0/metadata/{key}`.
    PutMetadata { key: String },
    /// To a building block that is not there.
    Block { block: Block, verb: &'r str, name: String },
    /// What the process holds: found out beside the shards.
    Figures(fn(&Common) -> String),
}

impl Ask<'_> {
    /// Reads what is needed of the body and answers.
    pub(super) async fn answer(
        self,
        shard: &Shard,
        view: &View,
        body: &mut Body<'_>,
        answer: &mut Sink<'_>,
    ) -> Own<'static> {
        match self {
            Ask::PutMetadata { key } => put_metadata(shard, key, body, answer).await,
            Ask::Figures(tell) => {
                let common = shard.common.clone();
                Own::text(200, rt::blocking(move || tell(&common)).await)
            }
            Ask::Block { block, verb, name } => {
                let read = if block.looks_at_body(verb) { whole(body, answer).await } else { None };
                let own = &view.snapshot.workload;
                let asked = Question {
                    verb,
                    name: &name,
                    body: read.as_deref(),
                    app_id: &own.app_id,
                    namespace: &own.namespace,
                };
                let Answer { status, body } = block.answer(&asked);
                Own::json(status, body)
            }
        }
    }
}

/// An empty key stores nothing, as in daprd (spec/invocation 5.3).
async fn put_metadata(
    shard: &Shard,
    key: String,
    body: &mut Body<'_>,
    answer: &mut Sink<'_>,
) -> Own<'static> {
    let mut value = Vec::new();
    if body.exceeds_limit().is_some() {
        return too_large();
    }
    if let Err(error) = body.invite(answer).await {
        return unreadable(&error.to_string());
    }
    loop {
        match body.piece(Tick::NEVER).await {
            Ok(Some(piece)) if value.len() + piece.len() > MOST => return too_large(),
            Ok(Some(piece)) => value.extend_from_slice(&piece),
            Ok(None) => break,
            Err(BodyFailure::TooLarge { .. }) => return too_large(),
            Err(failure) => return unreadable(&failure.to_string()),
        }
    }
    let value = String::from_utf8_lossy(&value).into_owned();
    if !key.is_empty()
        && let Err(full) = shard.attach(&key, &value).await
    {
        return Own::error(413, "ERR_BODY_READ", &full.to_string());
    }
    Own::empty(204)
}

fn too_large() -> Own<'static> {
    unreadable("stream too large")
}

fn unreadable(why: &str) -> Own<'static> {
    Own::error(400, "ERR_BODY_READ", &format!("failed to read request body: {why}"))
}

/// The whole body, unless it is too large or breaks off: then nothing is said about it.
async fn whole(body: &mut Body<'_>, answer: &mut Sink<'_>) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    body.invite(answer).await.ok()?;
    while read.len() <= LOOKED_AT {
        match body.piece(Tick::NEVER).await.ok()? {
            Some(piece) => read.extend_from_slice(&piece),
            None => return Some(read),
        }
    }
    None
}

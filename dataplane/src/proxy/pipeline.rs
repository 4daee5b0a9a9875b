//! What a call passes on its way to the local app (`spec.appHttpPipeline`), from wherever it comes.

use super::hop::{Hop, status_of};
use super::inbound::Shape;
use super::respond::Reply;
use crate::shard::means::Hands;
use crate::shard::{Shard, View};
use proto::envelope::response;
use proto::http1::encode;
use proto::http1::head::{Head, Limits, Response, Slots};
use proto::invoke::failure::{Failure, Kind};
use proto::invoke::method;
use proto::policy::pipeline::rate::Said;
use proto::policy::pipeline::{Bodies, Called, Refusal, Shown};
use std::borrow::Cow;

/// A call on its way to the app.
#[derive(Debug)]
pub(super) struct Entry<'c> {
    pub(super) method: Cow<'c, str>,
    pub(super) query: Cow<'c, str>,
    /// It goes no further.
    pub(super) refused: Option<Refused>,
    /// Bodies whose letters become capital ones.
    pub(super) uppercase: Bodies,
}

/// The answer to a call that goes no further.
#[derive(Debug)]
pub(super) struct Refused {
    refusal: Refusal,
    lines: Vec<(&'static str, String)>,
}

/// Takes a call of `who`, an app, through the pipeline. `method` is normalised.
pub(super) fn enter<'c>(
    shard: &Shard,
    view: &View,
    who: &str,
    (method, query): (&'c str, &'c str),
    shown: impl FnOnce() -> Shown<'c>,
) -> Entry<'c> {
    if view.snapshot.pipelines.app.is_empty() {
        return Entry::unchanged(method, query);
    }
    through(shard, view, who, (method, query), shown())
}

#[cold]
fn through<'c>(
    shard: &Shard,
    view: &View,
    who: &str,
    (method, query): (&'c str, &'c str),
    shown: Shown<'_>,
) -> Entry<'c> {
    let path = format!("/{}", method.trim_start_matches('/'));
    let called = Called { path: &path, query, shown };
    let passed =
        view.snapshot.pipelines.app.run(&called, &Hands { limiter: &shard.common.limiter, side: "app", who });
    passed.refusal.iter().for_each(|refusal| shard.metrics.refused(*refusal));
    let lines = || passed.said.iter().flat_map(Said::lines).collect();
    let mut refused = passed.refusal.map(|refusal| Refused { refusal, lines: lines() });
    let (method, query) = match passed.changed {
        None => (Cow::Borrowed(method), Cow::Borrowed(query)),
        Some(changed) => {
            // as every method is, before it is judged and sent
            let path = method::normalise(&changed.path).map(|path| path.trim_start_matches('/').to_owned());
            if path.is_err() {
                refused = Some(Refused { refusal: Refusal::BadRoute, lines: Vec::new() });
            }
            (Cow::Owned(path.unwrap_or_default()), Cow::Owned(changed.query))
        }
    };
    Entry { method, query, refused, uppercase: passed.uppercase }
}

impl<'c> Entry<'c> {
    /// A call that passes as it is.
    pub(super) fn unchanged(method: &'c str, query: &'c str) -> Entry<'c> {
        let (method, query) = (Cow::Borrowed(method), Cow::Borrowed(query));
        Entry { method, query, refused: None, uppercase: Bodies::default() }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

impl Refused {
    /// For a client of this sidecar.
    pub(super) fn tell(&self, write: impl FnOnce(&Reply<'_>)) {
        let extra: Vec<_> = self.lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let (status, body) = (self.refusal.status(), self.refusal.text().as_bytes());
        write(&Reply { status, content_type: TEXT, body, extra: &extra });
    }

    /// For another sidecar, as if the app had answered. Tells status and body bytes.
    pub(super) async fn send(&self, hop: &Hop, shape: Shape) -> Result<(u16, u64), Failure> {
        let gone = |error| Failure::new(Kind::ClientGone, status_of(&error).message);
        hop.room(|| {}).await.map_err(gone)?;
        let (head, body) = (self.head(), self.refusal.text().as_bytes());
        let mut slots = Slots::new();
        let Ok(Head::Complete(response)) = Response::parse(&head, &mut slots, &Limits::default()) else {
            return Err(Failure::new(Kind::AppAnswer, self.refusal.text())); // never: it was written just now
        };
        let outgoing = response::Outgoing { head: &response, peer: hop.peer };
        let mut encoded = Ok(());
        let written = hop.write(false, |out| {
            encoded = match shape {
                Shape::Stream => response::first(out, &outgoing, body),
                Shape::Unary => response::whole(out, &outgoing, body),
            };
        });
        encoded.map_err(|error| Failure::new(Kind::AppAnswer, error.to_string()))?;
        written.map_err(gone)?;
        Ok((self.refusal.status(), body.len() as u64))
    }

    fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        encode::status_line(&mut head, self.refusal.status());
        encode::line(&mut head, b"Content-Type", TEXT.as_bytes());
        for (name, value) in &self.lines {
            encode::line(&mut head, name.as_bytes(), value.as_bytes());
        }
        encode::content_length(&mut head, self.refusal.text().len() as u64);
        encode::end(&mut head);
        head
    }
}

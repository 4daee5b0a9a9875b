//! What requests of local clients pass before they are routed (`spec.httpPipeline`).

use super::own::Own;
use crate::shard::means::Hands;
use crate::shard::{Shard, View};
use proto::api::cors::Lines;
use proto::http1::head::Request;
use proto::http1::names::Known;
use proto::invoke::target::Path;
use proto::policy::pipeline::rate::Said;
use proto::policy::pipeline::{Bodies, Called, Passed, Refusal, Shown, seen};
use std::net::IpAddr;

/// A request that went through the pipeline.
#[derive(Debug)]
pub(super) struct Entry {
    passed: Passed,
    lines: Vec<(&'static str, String)>,
}

/// Takes a request through; `None` where there is no pipeline.
pub(super) fn enter(
    shard: &Shard,
    view: &View,
    request: &Request<'_, '_>,
    path: &Path<'_>,
    client: Option<IpAddr>,
) -> Option<Box<Entry>> {
    let pipeline = &view.snapshot.pipelines.api;
    if pipeline.is_empty() {
        return None;
    }
    let who = client.map(|client| client.to_string()).unwrap_or_default();
    let shown = Shown::of(request.headers.all(Known::Authorization));
    let called = Called { path: &seen(path.raw), query: path.query, shown };
    let mut passed = pipeline.run(&called, &Hands { limiter: &shard.common.limiter, side: "api", who: &who });
    passed.refusal.iter().for_each(|refusal| shard.metrics.refused(*refusal));
    if request.switches_to().is_some() {
        passed.uppercase = Bodies::default(); // what follows may be no text
    }
    let lines = passed.said.iter().flat_map(Said::lines).collect();
    Some(Box::new(Entry { passed, lines }))
}

impl Entry {
    /// What is called now.
    pub(super) fn path(&self) -> Option<Path<'_>> {
        let changed = self.passed.changed.as_ref()?;
        Some(Path { raw: &changed.path, query: &changed.query })
    }

    /// The letters of which bodies become capital ones.
    pub(super) fn uppercase(&self) -> Bodies {
        self.passed.uppercase
    }

    /// The answer, where the request goes no further.
    pub(super) fn refusal(&self) -> Option<Own<'static>> {
        let refusal: Refusal = self.passed.refusal?;
        let text = Own::text(refusal.status(), refusal.text());
        Some(Own { lines: Lines::new(), traced: true, unlogged: true, ..text })
    }

    /// What every answer tells.
    pub(super) fn tell<'e>(&'e self, lines: &mut Lines<'e>) {
        lines.extend(self.lines.iter().map(|(name, value)| (*name, value.as_bytes())));
    }
}

//! Keys of token issuers (`middleware.http.bearer`): fetched and kept fresh here, checked against by the data plane.
//!
//! ```text
//! never ──fetched──▶ known ──due──▶ fetched anew ──▶ known
//!   └─failed: the data plane refuses every token      └─failed: the keys stay as they are, with a warning
//! ```
//! After a failure it is tried again after 1, 2, 4 … 60 seconds.

mod fetch;
mod jwks;

pub(crate) use fetch::Place;

use crate::process::House;
use crate::settings::Issuer;
use fetch::document;
use proto::log::Level;
use proto::policy::pipeline::keys::VerifyKey;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long fetched keys count as fresh: as their server says, within these bounds; the longest where it says nothing.
const FRESH: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// Longest pause between tries after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a start waits for the first keys.
const FIRST_WAIT: Duration = Duration::from_secs(3);
/// Scope of the lines about keys.
const SCOPE: &str = "dapr.runtime.keys";

/// What is known of each issuer.
pub(crate) type Known = BTreeMap<Issuer, Arc<[VerifyKey]>>;

/// How it stands with all issuers.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: Known,
    /// Why keys were not to be had at the last try.
    failing: BTreeMap<Issuer, String>,
}

impl Standing {
    /// What is not as it should be.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.lock().failing.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches and refreshes the keys of all issuers that the pipelines name, for ever; returns when each was tried once, or
/// after a short while.
pub(crate) async fn keep(house: &Arc<House>) {
    let begin = |issuer| {
        let (done, tried) = oneshot::channel();
        tokio::spawn(refresh(Arc::clone(house), issuer, done));
        tried
    };
    let tried: Vec<_> = house.settings.pipelines.issuers().into_iter().map(begin).collect();
    let all = async {
        for tried in tried {
            let _ = tried.await; // an end without a word is one too
        }
    };
    let _ = tokio::time::timeout(FIRST_WAIT, all).await; // who is late is told of its keys when they come
}

async fn refresh(house: Arc<House>, issuer: Issuer, done: oneshot::Sender<()>) {
    let (mut failures, mut done) = (0, Some(done));
    loop {
        let pause = match fetched(&issuer).await {
            Ok(fetched) => {
                failures = 0;
                let fresh = fetched.fresh;
                publish(&house, &issuer, fetched);
                fresh
            }
            Err(why) => {
                failures += 1;
                let pause = pause(failures);
                warn(&house, &issuer, &why, pause);
                pause
            }
        };
        if let Some(done) = done.take() {
            let _ = done.send(()); // nobody waits any more
        }
        tokio::time::sleep(pause).await;
    }
}

fn publish(house: &House, issuer: &Issuer, fetched: Fetched) {
    let Fetched { keys, others, .. } = fetched;
    let mut state = house.keys.lock();
    state.failing.remove(issuer);
    let before = state.known.insert(issuer.clone(), Arc::clone(&keys));
    if before.as_ref() != Some(&keys) {
        let words = format!("keys of issuer {}: {} can be used", issuer.name, keys.len());
        let level = if keys.is_empty() { Level::Warn } else { Level::Info };
        house.voice.line(level, SCOPE, &words);
        for why in others {
            house.voice.line(Level::Warn, SCOPE, &format!("{}: {why}", issuer.name));
        }
    }
    match house.settings.pipelines.built(&state.known) {
        Ok(pipelines) => house.picture.change(|next| next.pipelines = Arc::new(pipelines)),
        Err(why) => house.trouble(format!("pipelines stay as they are: {why}")), // never: they were built before
    }
}

fn warn(house: &House, issuer: &Issuer, why: &str, pause: Duration) {
    let mut state = house.keys.lock();
    let end = match state.known.contains_key(issuer) {
        true => "the known ones stay in force",
        false => "without keys from before tokens are refused until then",
    };
    let words = format!("keys of issuer {} cannot be fetched: {why}; {end}", issuer.name);
    house.voice.line(Level::Warn, SCOPE, &format!("{words}; trying again in {} s", pause.as_secs()));
    state.failing.insert(issuer.clone(), words);
}

fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST_PAUSE)
}

struct Fetched {
    keys: Arc<[VerifyKey]>,
    others: Vec<String>,
    fresh: Duration,
}

/// What is used of `/.well-known/openid-configuration`.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Option<String>,
}

async fn fetched(issuer: &Issuer) -> Result<Fetched, String> {
    let place = match &issuer.keys_at {
        Some(text) => Place::parse(text)?,
        None => discovered(issuer).await?,
    };
    let document = document(&place).await.map_err(|why| format!("{place}: {why}"))?;
    let (keys, others) = jwks::read(&document.body).map_err(|why| format!("{place}: {why}"))?;
    let (least, most) = FRESH;
    let fresh = document.max_age.unwrap_or(most).clamp(least, most);
    Ok(Fetched { keys: keys.into(), others, fresh })
}

/// Where the issuer's own description says that its keys are.
async fn discovered(issuer: &Issuer) -> Result<Place, String> {
    let place = Place::parse(&issuer.description())?;
    let bad = |why: String| format!("{place}: {why}");
    let document = document(&place).await.map_err(bad)?;
    let found: Discovery = serde_json::from_slice(&document.body).map_err(|e| bad(e.to_string()))?;
    if found.issuer != issuer.name {
        return Err(bad(format!("it describes issuer {:?}, not {:?}", found.issuer, issuer.name)));
    }
    let keys =
        found.jwks_uri.filter(|keys| !keys.is_empty()).ok_or_else(|| bad("it names no jwks_uri".into()))?;
    Place::parse(&keys).map_err(|why| bad(format!("jwks_uri {keys:?}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_become_rarer() {
        let pauses: Vec<u64> = [1, 2, 3, 6, 7, 8, 40].map(|n| pause(n).as_secs()).to_vec();
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60, 60]);
    }
}

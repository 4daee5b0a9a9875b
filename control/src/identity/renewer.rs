//! The loop that keeps an identity fresh.
//!
//! ```text
//! start ──obtain──► Fresh ──half of the life──► obtain ──ok──► Fresh
//!   └─error: no start                              └─error─► Failing: tries again after 1, 2, 4, 8, 10, 10 … s,
//!                                                            and says at the end of the life that it is over
//! ```

use super::issuer::Issuer;
use super::schedule::{renewal_at, retry_after};
use crate::ca::unix_now;
use proto::log::Level;
use proto::rng::Rng;
use proto::snapshot::IdentityMaterial;
use proto::spiffe::SpiffeId;
use ring::rand::SecureRandom;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tokio::time::Instant;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longest sleep: a clock that was set is noticed within it, as in daprd.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Longest wait for one answer of the issuer.
const ANSWER: Duration = Duration::from_secs(30);

/// Where lines for the log go (scope `dapr.runtime.security`).
pub type Say = Box<dyn Fn(Level, &str) + Send + Sync>;

/// How the own identity stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The latest key and certificates.
    pub material: Arc<IdentityMaterial>,
    /// When they are, or were, to be renewed; Unix seconds.
    pub renewal_at: i64,
    /// What has kept them from being renewed since.
    pub failure: Option<Failure>,
    /// Whether the certificate is over: every peer refuses it.
    pub expired: bool,
}

/// Renewal fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The latest answer.
    pub why: String,
    /// Tries in a row.
    pub attempts: u32,
    /// When the first of them was, Unix seconds.
    pub since: i64,
}

/// Obtains and renews one identity.
pub struct Renewer {
    issuer: Arc<dyn Issuer>,
    id: SpiffeId,
    say: Say,
    rng: Rng,
    /// When to try again after a failure.
    retry_at: Option<Instant>,
    standing: watch::Sender<Standing>,
}

impl Renewer {
    /// Obtains the first certificate for `id`.
    ///
    /// # Errors
    /// The issuer's answer: without an identity a sidecar with mTLS must not start.
    pub async fn start(issuer: Arc<dyn Issuer>, id: SpiffeId, say: Say) -> Result<Renewer, String> {
        say(Level::Info, "Fetching initial identity");
        let mut rng = Rng::new(seed());
        let material = obtain(issuer.as_ref(), &id).await;
        let material = material.map_err(|why| format!("failed to retrieve the initial identity: {why}"))?;
        let standing = fresh(material, &mut rng)?;
        say(Level::Info, "Security is initialized successfully");
        let (ends, renewal) = (date(standing.material.not_after), date(standing.renewal_at));
        let watcher = format!(
            "Starting workload identity expiry watcher; cert expires on: {ends}, renewal at: {renewal}"
        );
        say(Level::Info, &watcher);
        Ok(Renewer { issuer, id, say, rng, retry_at: None, standing: watch::Sender::new(standing) })
    }

    /// The identity, now and whenever it changes. The first value is already there.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Renews for ever.
    pub async fn run(mut self) {
        loop {
            let until_next = self.until_next(unix_now());
            if until_next.is_zero() {
                self.renew().await;
            } else {
                tokio::time::sleep(until_next.min(LONGEST_SLEEP)).await;
                self.notice_end(unix_now());
            }
        }
    }

    /// Time to the next thing to do: a renewal, or to notice that the certificate is over.
    fn until_next(&self, now: i64) -> Duration {
        let standing = self.standing.borrow();
        let wait = |at: i64| Duration::from_secs(u64::try_from(at.saturating_sub(now)).unwrap_or(0));
        let renewal = match self.retry_at {
            Some(at) => at.saturating_duration_since(Instant::now()),
            None => wait(standing.renewal_at),
        };
        match standing.expired {
            true => renewal,
            false => renewal.min(wait(standing.material.not_after.saturating_add(1))),
        }
    }

    async fn renew(&mut self) {
        let ends = date(self.standing.borrow().material.not_after);
        (self.say)(Level::Info, &format!("Renewing workload identity; cert expires on: {ends}"));
        let material = obtain(self.issuer.as_ref(), &self.id).await;
        match material.and_then(|material| fresh(material, &mut self.rng)) {
            Ok(standing) => {
                let (ends, next) = (date(standing.material.not_after), date(standing.renewal_at));
                self.standing.send_replace(standing);
                self.retry_at = None;
                let line = format!(
                    "Successfully renewed workload identity; cert expires on: {ends}, renewal at: {next}"
                );
                (self.say)(Level::Info, &line);
            }
            Err(why) => self.fail(why, unix_now()),
        }
    }

    fn fail(&mut self, why: String, now: i64) {
        let before = self.standing.borrow().failure.clone();
        let (attempts, since) = before.map_or((1, now), |f| (f.attempts.saturating_add(1), f.since));
        let wait = retry_after(attempts);
        self.retry_at = Some(Instant::now() + wait);
        let mut line = format!("Error renewing identity, trying again in {} seconds: {why}", wait.as_secs());
        if let Some(end) = self.end_before(now) {
            line += &format!("; {end}");
        }
        (self.say)(Level::Error, &line);
        self.standing.send_modify(|s| s.failure = Some(Failure { why, attempts, since }));
        self.notice_end(now);
    }

    /// Tells everybody, once, that the certificate is over.
    fn notice_end(&self, now: i64) {
        let Some(end) = self.end_before(now) else { return };
        if self.standing.send_if_modified(|s| !std::mem::replace(&mut s.expired, true)) {
            (self.say)(Level::Error, &end);
        }
    }

    /// What there is to say about a certificate that is over.
    fn end_before(&self, now: i64) -> Option<String> {
        let ended = self.standing.borrow().material.not_after;
        (now > ended)
            .then(|| format!("the own certificate expired on {}: every peer refuses it", date(ended)))
    }
}

/// The issuer's answer, checked: a wrong one would show much later, as handshakes that fail.
async fn obtain(issuer: &dyn Issuer, id: &SpiffeId) -> Result<IdentityMaterial, String> {
    let answer = tokio::time::timeout(ANSWER, issuer.obtain(id)).await;
    let material = answer
        .unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER.as_secs())))
        .map_err(|why| format!("{}: {why}", issuer.name()))?;
    match material.id.is_same_workload(id) {
        true => Ok(material),
        false => Err(format!("{} gave a certificate for {}", issuer.name(), material.id)),
    }
}

fn fresh(material: IdentityMaterial, rng: &mut Rng) -> Result<Standing, String> {
    let (not_before, not_after) = validity(&material)?;
    let now = unix_now();
    if not_after <= now {
        return Err("the certificate is already over".into());
    }
    let renewal_at = renewal_at(not_before, not_after, now, rng);
    Ok(Standing { material: Arc::new(material), renewal_at, failure: None, expired: false })
}

fn validity(material: &IdentityMaterial) -> Result<(i64, i64), String> {
    let leaf = material.chain.first().ok_or("no certificates received")?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|e| format!("the certificate: {e}"))?;
    Ok((leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp()))
}

fn date(unix: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(unix).ok();
    moment.and_then(|m| m.format(&Rfc3339).ok()).unwrap_or_else(|| unix.to_string())
}

/// Only jitter depends on it: any value will do.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    let _ = ring::rand::SystemRandom::new().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

use super::*;
use crate::ca::{Lifetime, unix_now};
use proto::log::Level;
use proto::snapshot::IdentityMaterial;
use proto::spiffe::SpiffeId;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Folder(std::env::temp_dir().join(format!("outrigger-identity-{}-{n}", std::process::id())))
    }

    fn issuer(&self, seconds: u64) -> Embedded {
        let lifetime = Lifetime { forward: Duration::from_secs(seconds), backdated: Duration::ZERO };
        Embedded { dir: self.0.join("ca"), make: true, lifetime }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An issuer that can be made to refuse.
struct Moody {
    good: Embedded,
    refuses: AtomicBool,
    asked: AtomicU32,
}

impl Issuer for Moody {
    fn name(&self) -> String {
        "moody".into()
    }

    fn obtain<'a>(&'a self, id: &'a SpiffeId) -> Pending<'a, Result<IdentityMaterial, String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.refuses.load(Ordering::SeqCst) {
            true => Box::pin(async { Err("no more".into()) }),
            false => self.good.obtain(id),
        }
    }
}

fn moody(folder: &Folder, seconds: u64) -> Arc<Moody> {
    Arc::new(Moody { good: folder.issuer(seconds), refuses: false.into(), asked: 0.into() })
}

fn id() -> SpiffeId {
    SpiffeId::new("public", "default", "a").unwrap()
}

type Lines = Arc<Mutex<Vec<(Level, String)>>>;

fn log() -> (Lines, Say) {
    let lines = Lines::default();
    let to = Arc::clone(&lines);
    (lines, Box::new(move |level, line| to.lock().unwrap().push((level, line.to_owned()))))
}

fn said(lines: &Lines, level: Level, part: &str) -> bool {
    lines.lock().unwrap().iter().any(|(l, line)| *l == level && line.contains(part))
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

#[tokio::test]
async fn the_first_identity_is_there_at_once_and_renewed_with_a_new_key() {
    let folder = Folder::new();
    let (lines, say) = log();
    let renewer = Renewer::start(Arc::new(folder.issuer(4)), id(), say).await.unwrap();
    let mut standing = renewer.standing();
    let first = standing.borrow_and_update().clone();
    assert_eq!((first.material.id.clone(), first.expired, first.failure.clone()), (id(), false, None));
    assert!((1..=2).contains(&(first.renewal_at - unix_now())));
    let task = tokio::spawn(renewer.run());
    within(standing.changed()).await.unwrap();
    let second = standing.borrow_and_update().clone();
    assert_ne!(first.material.key, second.material.key);
    assert_eq!(first.material.trust_anchors, second.material.trust_anchors);
    assert!(second.material.not_after > first.material.not_after);
    assert!(unix_now() < first.material.not_after, "renewed before the end");
    assert!(said(&lines, Level::Info, "Starting workload identity expiry watcher; cert expires on: 20"));
    assert!(said(&lines, Level::Info, "Successfully renewed workload identity"));
    task.abort();
}

#[tokio::test]
async fn without_a_first_identity_there_is_no_start() {
    let folder = Folder::new();
    let issuer = Embedded { make: false, ..folder.issuer(60) };
    let error = Renewer::start(Arc::new(issuer), id(), log().1).await.err().unwrap();
    assert!(error.starts_with("failed to retrieve the initial identity: the authority in "), "{error}");
    assert!(error.ends_with("has no ca.crt, no issuer.crt, no issuer.key"), "{error}");
}

#[tokio::test]
async fn failures_are_shown_the_end_is_shown_and_recovery_ends_both() {
    let folder = Folder::new();
    let issuer = moody(&folder, 3);
    let (lines, say) = log();
    let renewer = Renewer::start(issuer.clone(), id(), say).await.unwrap();
    let mut standing = renewer.standing();
    let first = standing.borrow().material.clone();
    issuer.refuses.store(true, Ordering::SeqCst);
    let task = tokio::spawn(renewer.run());
    within(standing.wait_for(|s| s.failure.is_some())).await.unwrap();
    let failing = standing.borrow().clone();
    assert_eq!(failing.failure.unwrap().why, "moody: no more");
    assert_eq!(failing.material, first, "the old identity stays in use");
    assert!(said(&lines, Level::Error, "Error renewing identity, trying again in 1 seconds: moody: no more"));
    within(standing.wait_for(|s| s.expired)).await.unwrap();
    assert!(said(&lines, Level::Error, "every peer refuses it"));
    issuer.refuses.store(false, Ordering::SeqCst);
    within(standing.wait_for(|s| !s.expired && s.failure.is_none())).await.unwrap();
    assert_ne!(standing.borrow().material.key, first.key);
    task.abort();
}

#[tokio::test]
async fn a_certificate_for_somebody_else_is_not_taken() {
    struct Wrong(Embedded);
    impl Issuer for Wrong {
        fn name(&self) -> String {
            "wrong".into()
        }

        fn obtain<'a>(&'a self, _: &'a SpiffeId) -> Pending<'a, Result<IdentityMaterial, String>> {
            Box::pin(async { self.0.obtain(&SpiffeId::new("public", "default", "other").unwrap()).await })
        }
    }
    let folder = Folder::new();
    let error = Renewer::start(Arc::new(Wrong(folder.issuer(60))), id(), log().1).await.err().unwrap();
    assert!(error.ends_with("wrong gave a certificate for spiffe://public/ns/default/other"), "{error}");
}

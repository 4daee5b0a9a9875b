//! mDNS in daprd's shape, both roles: a long-lived responder and browser (spec/resolution 1.2).
//!
//! ```text
//! present ─► probe, probe ─► announce ─(1 s)─► announce … answers questions … say_goodbye ─► goodbye
//! look    ─► known? answer : ask twice ─► first sighting or the deadline;  every 30 s ask again for what somebody wants
//! ```

mod cache;
mod packet;
mod sighting;
mod sockets;

#[cfg(test)]
mod daprd;
#[cfg(test)]
mod tests;

pub use packet::Instance;
pub use sockets::Scope;

use super::way::{Own, Pending, Way};
use cache::Cache;
use proto::snapshot::AppRef;
use sockets::{Family, LARGEST, Sockets};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// How often names somebody wants are asked for again.
pub const REFRESH: Duration = Duration::from_secs(30);
/// How long a first lookup waits (spec/resolution 1.2.6).
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long after the last wish an app is still refreshed.
const WISH_LIFE: Duration = Duration::from_secs(600);
/// Pause between the two rounds of announcements.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// Pause after each probe; daprd draws 0 to 249 ms, nothing depends on it as it detects no conflicts.
const PROBE_PAUSE: Duration = Duration::from_millis(20);

struct Shared {
    sockets: Sockets,
    cache: Mutex<Cache>,
    own: Mutex<Option<Instance>>,
    seen: Notify,
    changed: watch::Sender<u64>,
}

/// A running responder and browser. Dropping it stops both without a goodbye; `withdraw` says goodbye.
pub struct Mdns {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Mdns {
    fn drop(&mut self) {
        lock(&self.tasks).iter().for_each(JoinHandle::abort);
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mdns {
    /// Opens the sockets and starts to listen. Needs a tokio runtime.
    ///
    /// # Errors
    /// When no interface in scope joins the mDNS group.
    pub fn start(scope: Scope) -> io::Result<Mdns> {
        let shared = Arc::new(Shared {
            sockets: Sockets::open(scope)?,
            cache: Mutex::default(),
            own: Mutex::default(),
            seen: Notify::new(),
            changed: watch::Sender::new(0),
        });
        let tasks = vec![tokio::spawn(listen(shared.clone())), tokio::spawn(refresh(shared.clone()))];
        Ok(Mdns { shared, tasks: Mutex::new(tasks) })
    }

    /// Presents `instance`: answers for it from now on and announces it in the background.
    pub fn present(&self, instance: Instance) {
        *lock(&self.shared.own) = Some(instance.clone());
        lock(&self.tasks).push(tokio::spawn(announce(self.shared.clone(), instance)));
    }

    /// Takes the name back: no answers from now on, and a goodbye on every interface.
    pub async fn say_goodbye(&self) {
        let Some(own) = lock(&self.shared.own).take() else { return };
        if let Ok(packet) = packet::goodbye(&own) {
            // nothing to do about an interface that is gone: peers forget the name by its age
            let _ = self.shared.sockets.send(&packet).await;
        }
    }

    /// The addresses of `app_id`: those known, else the first to answer within `patience`. Empty: nobody answered.
    pub async fn look(&self, app_id: &str, patience: Duration) -> Vec<SocketAddr> {
        let now = Instant::now();
        lock(&self.shared.cache).watch(app_id, now);
        let known = self.seen(app_id);
        if !known.is_empty() {
            return known;
        }
        let answered = self.first_sighting(app_id);
        tokio::time::timeout(patience, answered).await.unwrap_or_default()
    }

    async fn first_sighting(&self, app_id: &str) -> Vec<SocketAddr> {
        let mut next = std::pin::pin!(self.shared.seen.notified());
        next.as_mut().enable();
        // two copies, as daprd sends them: one may be lost
        for _ in 0..2 {
            ask(&self.shared, app_id).await;
        }
        loop {
            let known = self.seen(app_id);
            if !known.is_empty() {
                return known;
            }
            next.as_mut().await;
            next.set(self.shared.seen.notified());
            next.as_mut().enable();
        }
    }

    /// What is known of `app_id` now, in a stable order, without asking.
    pub fn seen(&self, app_id: &str) -> Vec<SocketAddr> {
        lock(&self.shared.cache).addresses(app_id)
    }
}

impl Way for Mdns {
    fn name(&self) -> &'static str {
        "mdns"
    }

    fn register<'a>(&'a self, own: &'a Own) -> Pending<'a, io::Result<()>> {
        self.present(Instance {
            app_id: own.app.app_id.clone(),
            host: own.host_name.clone(),
            pid: own.pid,
            port: own.address.port(),
            address: own.address.ip(),
        });
        Box::pin(async { Ok(()) })
    }

    fn withdraw(&self) -> Pending<'_, ()> {
        Box::pin(self.say_goodbye())
    }

    /// The namespace is not part of daprd's names: the identity of the peer decides (spec/resolution 1.2.6).
    fn resolve<'a>(&'a self, app: &'a AppRef) -> Pending<'a, Result<Vec<SocketAddr>, String>> {
        Box::pin(async {
            let found = self.look(&app.app_id, PATIENCE).await;
            if found.is_empty() { Err(format!("no answer in {} s", PATIENCE.as_secs())) } else { Ok(found) }
        })
    }

    fn known(&self, app: &AppRef) -> Vec<SocketAddr> {
        self.seen(&app.app_id)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }
}

async fn ask(shared: &Shared, app_id: &str) {
    // an app id that is no DNS label cannot be asked for; it stays unknown. Loss on the way is mDNS's everyday.
    if let Ok(packet) = packet::question(app_id, query_id()) {
        let _ = shared.sockets.send(&packet).await;
    }
}

/// Query ids only tell captures apart; answers are matched by name.
fn query_id() -> u16 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0u8) as u16
}

async fn announce(shared: Arc<Shared>, own: Instance) {
    let still_ours = || lock(&shared.own).as_ref() == Some(&own);
    for _ in 0..2 {
        if let Ok(packet) = packet::probe(&own, query_id()) {
            let _ = shared.sockets.send(&packet).await;
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
    let Ok(packet) = packet::announcement(&own) else { return };
    for _ in 0..2 {
        if !still_ours() {
            return;
        }
        let _ = shared.sockets.send(&packet).await;
        tokio::time::sleep(ANNOUNCE_AGAIN).await;
    }
}

async fn refresh(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(REFRESH).await;
        look_again(&shared);
        let now = Instant::now();
        let wanted = lock(&shared.cache).watched(WISH_LIFE, now);
        for app_id in wanted {
            ask(&shared, &app_id).await;
        }
        if lock(&shared.cache).expire(now) {
            shared.changed.send_modify(|n| *n += 1);
        }
    }
}

/// A machine changes its networks: whoever is on a new one is told of us.
fn look_again(shared: &Arc<Shared>) {
    let own = lock(&shared.own).clone();
    if let (true, Some(own)) = (shared.sockets.look_again(), own) {
        tokio::spawn(announce(shared.clone(), own));
    }
}

async fn listen(shared: Arc<Shared>) {
    let (mut v4, mut v6) = (vec![0; LARGEST], vec![0; LARGEST]);
    loop {
        let Ok((family, n, from)) = shared.sockets.receive(&mut v4, &mut v6).await else {
            // an error of one datagram (an ICMP answer, say) ends nothing, but must not spin
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let buffer = if family == Family::V4 { &v4 } else { &v6 };
        received(&shared, buffer.get(..n).unwrap_or_default(), from).await;
    }
}

async fn received(shared: &Shared, packet: &[u8], from: SocketAddr) {
    let own = lock(&shared.own).clone();
    for reply in own.map(|it| packet::replies(&it, packet)).unwrap_or_default() {
        let _ = if reply.unicast {
            shared.sockets.send_to(&reply.bytes, from).await
        } else {
            shared.sockets.send(&reply.bytes).await
        };
    }
    if learn(shared, packet) {
        shared.changed.send_modify(|n| *n += 1);
    }
    shared.seen.notify_waiters();
}

fn learn(shared: &Shared, packet: &[u8]) -> bool {
    let now = Instant::now();
    let mut cache = lock(&shared.cache);
    let mut changed = false;
    for app_id in sighting::apps(packet) {
        changed |= cache.learn(&app_id, sighting::sightings(&app_id, packet), now);
    }
    changed
}

/// What a received packet amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// App and name of each instance that it shows or takes leave of.
    pub instances: Vec<(String, String)>,
    /// Length of each answer to it, in bytes.
    pub answers: Vec<usize>,
}

/// Judges a packet as a sidecar that presents itself as `own` does, without sending or remembering anything: for those who
/// test with packets of their own.
pub fn judge(own: &Instance, packet: &[u8]) -> Heard {
    let instances = sighting::apps(packet).into_iter().flat_map(|app| {
        let seen = sighting::sightings(&app, packet);
        seen.into_iter().map(move |seen| (app.clone(), seen.instance))
    });
    let answers = packet::replies(own, packet);
    Heard { instances: instances.collect(), answers: answers.iter().map(|reply| reply.bytes.len()).collect() }
}

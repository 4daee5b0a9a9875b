//! Finding the sidecars of an app by name.
//!
//! All ways of looking are asked at once and the first to find somebody answers the call; what the others know is merged in as it
//! comes. A name that nobody knows is remembered for a second, so that a client in a loop does not flood the network.

pub mod dns_sd;
pub mod mdns;
pub mod registry;
pub mod table;
mod way;

pub use way::{Own, Pending, Way};

use proto::snapshot::{AppRef, Endpoint, Route, Tried};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How long "nobody" is believed.
pub const NEGATIVE_LIFE: Duration = Duration::from_secs(1);
/// Most names remembered as unknown.
const MOST_UNKNOWN: usize = 4096;

/// Several ways of looking as one.
pub struct Resolver {
    ways: Vec<Arc<dyn Way>>,
    unknown: Mutex<HashMap<AppRef, (Instant, Vec<Tried>)>>,
    changed: watch::Sender<u64>,
    followers: Vec<JoinHandle<()>>,
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.followers.iter().for_each(JoinHandle::abort);
    }
}

impl Resolver {
    /// Combines `ways`; their order is the order of the answers in an error message. Needs a tokio runtime.
    pub fn new(ways: Vec<Arc<dyn Way>>) -> Resolver {
        let changed = watch::Sender::new(0);
        let followers = ways.iter().map(|way| tokio::spawn(follow(way.changes(), changed.clone()))).collect();
        Resolver { ways, unknown: Mutex::default(), changed, followers }
    }

    /// Presents this sidecar in every way. Says which ways failed, by name.
    pub async fn register(&self, own: &Own) -> Vec<(&'static str, io::Error)> {
        let mut failed = Vec::new();
        for way in &self.ways {
            if let Err(e) = way.register(own).await {
                failed.push((way.name(), e));
            }
        }
        failed
    }

    /// Takes the name back in every way.
    pub async fn withdraw(&self) {
        for way in &self.ways {
            way.withdraw().await;
        }
    }

    /// The sidecars of `app`, or what each way answered.
    pub async fn resolve(&self, app: &AppRef) -> Route {
        let known = self.known(app);
        if !known.is_empty() {
            self.keep_looking(app);
            return Route::Endpoints(known);
        }
        if let Some(tried) = self.remembered_unknown(app) {
            return Route::NotFound { tried };
        }
        match self.ask_everybody(app).await {
            Ok(()) => Route::Endpoints(self.known(app)),
            Err(tried) => {
                self.remember_unknown(app, &tried);
                Route::NotFound { tried }
            }
        }
    }

    /// What all ways know of `app` now: each address once, in a stable order.
    pub fn known(&self, app: &AppRef) -> Vec<Endpoint> {
        let mut all: Vec<SocketAddr> = self.ways.iter().flat_map(|way| way.known(app)).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|address| Endpoint { address }).collect()
    }

    /// What all ways know of `app` now, and the first way that knows each address.
    pub fn known_by(&self, app: &AppRef) -> HashMap<SocketAddr, &'static str> {
        let mut all = HashMap::new();
        for way in &self.ways {
            for address in way.known(app) {
                all.entry(address).or_insert(way.name());
            }
        }
        all
    }

    /// A call to one of the app's addresses failed.
    pub fn doubt(&self, app: &AppRef, address: SocketAddr) {
        self.ways.iter().for_each(|way| way.doubt(app, address));
    }

    /// Counts up whenever a name may have changed: compare `known` with what was pushed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The names of the ways, in order.
    pub fn ways(&self) -> Vec<&'static str> {
        self.ways.iter().map(|way| way.name()).collect()
    }

    /// Asks the ways that do not know `app` yet, in the background: they may know further instances.
    fn keep_looking(&self, app: &AppRef) {
        for way in self.ways.iter().filter(|way| way.known(app).is_empty()) {
            let (way, app) = (way.clone(), app.clone());
            tokio::spawn(async move { drop(way.resolve(&app).await) });
        }
    }

    /// Returns as soon as one way found somebody; the others go on looking.
    async fn ask_everybody(&self, app: &AppRef) -> Result<(), Vec<Tried>> {
        let mut asked = JoinSet::new();
        for (order, way) in self.ways.iter().enumerate() {
            let (way, app) = (way.clone(), app.clone());
            asked.spawn(async move { (order, way.name(), way.resolve(&app).await) });
        }
        let mut tried = Vec::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((_, _, Ok(_))) => {
                    asked.detach_all();
                    return Ok(());
                }
                Ok((order, way, Err(answer))) => tried.push((order, Tried { way: way.to_owned(), answer })),
                Err(e) => {
                    tried.push((usize::MAX, Tried { way: "resolver".to_owned(), answer: e.to_string() }))
                }
            }
        }
        tried.sort_by_key(|(order, _)| *order);
        Err(tried.into_iter().map(|(_, tried)| tried).collect())
    }

    fn remembered_unknown(&self, app: &AppRef) -> Option<Vec<Tried>> {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.get(app).filter(|(at, _)| at.elapsed() < NEGATIVE_LIFE).map(|(_, tried)| tried.clone())
    }

    fn remember_unknown(&self, app: &AppRef, tried: &[Tried]) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.retain(|_, (at, _)| at.elapsed() < NEGATIVE_LIFE);
        if unknown.len() < MOST_UNKNOWN {
            unknown.insert(app.clone(), (Instant::now(), tried.to_vec()));
        }
    }
}

async fn follow(mut changes: watch::Receiver<u64>, to: watch::Sender<u64>) {
    while changes.changed().await.is_ok() {
        to.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::table::Table;
    use super::*;

    fn app(id: &str) -> AppRef {
        AppRef { app_id: id.into(), namespace: "default".into() }
    }

    fn table(text: &str) -> Arc<dyn Way> {
        Arc::new(Table::parse(text).unwrap())
    }

    #[tokio::test]
    async fn what_several_ways_know_is_merged_and_each_address_stands_once() {
        let ways = vec![table("a.default 10.0.0.2:1 10.0.0.1:1"), table("a.default 10.0.0.1:1 10.0.0.3:1")];
        let Route::Endpoints(found) = Resolver::new(ways).resolve(&app("a")).await else {
            panic!("not found")
        };
        let found: Vec<String> = found.iter().map(|e| e.address.to_string()).collect();
        assert_eq!(found, ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
    }

    #[tokio::test]
    async fn a_name_nobody_knows_says_what_each_way_answered_in_their_order() {
        let resolver = Resolver::new(vec![table(""), table("b 127.0.0.1:1")]);
        let Route::NotFound { tried } = resolver.resolve(&app("a")).await else { panic!("found") };
        assert_eq!(tried.len(), 2);
        assert!(tried.iter().all(|t| t.way == "table" && t.answer.contains("no entry")));
    }
}

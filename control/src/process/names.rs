//! The resolution table: names that a data plane asked for, kept fresh until nobody is found behind them any more.

use super::picture::Picture;
use crate::resolve::Resolver;
use proto::snapshot::{AppRef, Endpoint, Route, Snapshot, Tried};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Most names in the table; a further one takes the place of the one asked for longest ago.
pub const MAX_NAMES: usize = 4096;
/// Most names that are looked for at a time.
pub const MAX_LOOKING: usize = 256;
/// Longest search. Shorter than a data plane waits, so that the answer says what each way found.
pub const LOOK_WITHIN: Duration = Duration::from_secs(4);
/// How often every name of the table is looked for again (spec/resolution 1.2.6).
pub const REFRESH: Duration = Duration::from_secs(30);
/// Failures of calls to one name within this time count as one.
pub const DOUBT_PAUSE: Duration = Duration::from_millis(250);
/// Changes within this time are told together.
const SETTLE: Duration = Duration::from_millis(10);

/// The names of the table and the resolver behind them.
pub struct Names {
    resolver: Resolver,
    picture: Arc<Picture>,
    looking: Semaphore,
    /// The names of the table.
    asked: Mutex<HashMap<AppRef, Asked>>,
}

/// When a name of the table was last asked for, and last doubted.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    doubted: Option<Instant>,
}

impl Names {
    /// An empty table.
    pub fn new(resolver: Resolver, picture: Arc<Picture>) -> Names {
        Names { resolver, picture, looking: Semaphore::new(MAX_LOOKING), asked: Mutex::default() }
    }

    /// The resolver.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Looks for a name. If it is found it is in the table, and stays there, fresh, as long as it is.
    pub async fn ask(&self, app: &AppRef) -> Route {
        let Ok(_permit) = self.looking.try_acquire() else {
            return by_control(format!("{MAX_LOOKING} names are being looked for already"));
        };
        match timeout(LOOK_WITHIN, self.resolver.resolve(app)).await {
            Ok(Route::Endpoints(found)) if !found.is_empty() => {
                self.keep(app, found.clone());
                Route::Endpoints(found)
            }
            Ok(Route::Endpoints(_)) => by_control("everybody who was found left again".into()),
            Ok(unknown) => unknown,
            Err(_) => by_control(format!("no answer within {} s", LOOK_WITHIN.as_secs())),
        }
    }

    /// A call to `endpoint` failed: the ways hear of it, look again, and who is left behind the name is told at once.
    pub async fn doubt(&self, app: &AppRef, endpoint: SocketAddr) {
        if !self.is_first_doubt(app) {
            return;
        }
        self.resolver.doubt(app, endpoint);
        let _ = timeout(LOOK_WITHIN, self.resolver.resolve(app)).await;
        self.sync([app.clone()]);
    }

    /// Whether `app` is in the table and was not doubted just now.
    fn is_first_doubt(&self, app: &AppRef) -> bool {
        let (mut all, now) = (self.asked(), Instant::now());
        let Some(asked) = all.get_mut(app) else { return false };
        let first = asked.doubted.is_none_or(|at| now.duration_since(at) >= DOUBT_PAUSE);
        if first {
            asked.doubted = Some(now);
        }
        first
    }

    /// Keeps the table fresh; never ends.
    pub async fn refresh(self: Arc<Self>) {
        let mut changes = self.resolver.changes();
        let mut tick = interval(REFRESH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => sleep(SETTLE).await,
                    Err(_) => std::future::pending().await,
                },
                _ = tick.tick() => self.look_again(),
            }
            changes.mark_unchanged();
            let names: Vec<AppRef> = self.asked().keys().cloned().collect();
            self.sync(names);
        }
    }

    /// Ways forget names that nobody wishes for.
    fn look_again(self: &Arc<Self>) {
        let names: Vec<AppRef> = self.asked().keys().cloned().collect();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            for app in names {
                let _ = timeout(LOOK_WITHIN, this.resolver.resolve(&app)).await;
            }
        });
    }

    /// Brings names of the table to what is known now. One without anybody behind it leaves: the next call asks again.
    fn sync(&self, names: impl IntoIterator<Item = AppRef>) {
        let known: Vec<_> = names.into_iter().map(|app| (self.resolver.known(&app), app)).collect();
        for (_, app) in known.iter().filter(|(found, _)| found.is_empty()) {
            self.asked().remove(app);
        }
        self.picture.change(|next| known.into_iter().for_each(|(found, app)| set(next, app, found)));
    }

    fn keep(&self, app: &AppRef, found: Vec<Endpoint>) {
        let dropped = self.make_room(app);
        self.picture.change(|next| {
            dropped.iter().for_each(|app| drop(next.routes.remove(app)));
            set(next, app.clone(), found);
        });
    }

    /// Notes that `app` is asked for now; the name that has to leave for it.
    fn make_room(&self, app: &AppRef) -> Option<AppRef> {
        let mut asked = self.asked();
        asked.insert(app.clone(), Asked { at: Instant::now(), doubted: None });
        if asked.len() <= MAX_NAMES {
            return None;
        }
        let oldest = asked.iter().min_by_key(|(_, asked)| asked.at).map(|(app, _)| app.clone())?;
        asked.remove(&oldest);
        Some(oldest)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<AppRef, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(next: &mut Snapshot, app: AppRef, found: Vec<Endpoint>) {
    if found.is_empty() {
        next.routes.remove(&app);
        return;
    }
    let route = Route::Endpoints(found);
    if next.routes.get(&app).is_none_or(|old| **old != route) {
        next.routes.insert(app, Arc::new(route));
    }
}

fn by_control(answer: String) -> Route {
    Route::NotFound { tried: vec![Tried { way: "control".into(), answer }] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{Own, Pending, Way};
    use std::io;
    use tokio::sync::watch;

    /// A way that knows what the test tells it.
    struct Told {
        known: Mutex<HashMap<AppRef, Vec<SocketAddr>>>,
        changed: watch::Sender<u64>,
    }

    impl Told {
        fn tell(&self, app: &AppRef, ports: &[u16]) {
            let addresses = ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
            self.known.lock().unwrap().insert(app.clone(), addresses);
            self.changed.send_modify(|n| *n += 1);
        }
    }

    impl Way for Told {
        fn name(&self) -> &'static str {
            "told"
        }

        fn register<'a>(&'a self, _: &'a Own) -> Pending<'a, io::Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn withdraw(&self) -> Pending<'_, ()> {
            Box::pin(async {})
        }

        fn resolve<'a>(&'a self, app: &'a AppRef) -> Pending<'a, Result<Vec<SocketAddr>, String>> {
            Box::pin(async { Some(self.known(app)).filter(|a| !a.is_empty()).ok_or("nobody".into()) })
        }

        fn known(&self, app: &AppRef) -> Vec<SocketAddr> {
            self.known.lock().unwrap().get(app).cloned().unwrap_or_default()
        }

        fn changes(&self) -> watch::Receiver<u64> {
            self.changed.subscribe()
        }
    }

    fn app(id: &str) -> AppRef {
        AppRef { app_id: id.into(), namespace: "default".into() }
    }

    fn names() -> (Arc<Told>, Arc<Picture>, Arc<Names>) {
        let way = Arc::new(Told { known: Mutex::default(), changed: watch::Sender::new(0) });
        let picture = Arc::new(Picture::new(Snapshot { version: 1, ..Snapshot::default() }));
        let resolver = Resolver::new(vec![way.clone()]);
        (way, picture.clone(), Arc::new(Names::new(resolver, picture)))
    }

    async fn until(picture: &Picture, fact: impl Fn(&Snapshot) -> bool) {
        let mut follow = picture.follow();
        let reached = follow.wait_for(|now| fact(now));
        timeout(Duration::from_secs(10), reached).await.expect("in time").unwrap();
    }

    #[tokio::test]
    async fn a_name_that_is_found_enters_the_table_and_follows_what_is_known() {
        let (way, picture, names) = names();
        let keeper = tokio::spawn(Arc::clone(&names).refresh());
        assert!(matches!(names.ask(&app("a")).await, Route::NotFound { .. }));
        assert!(picture.now().routes.is_empty(), "a name that nobody knows does not enter");
        way.tell(&app("b"), &[1]);
        assert!(matches!(names.ask(&app("b")).await, Route::Endpoints(found) if found.len() == 1));
        assert!(picture.now().routes.contains_key(&app("b")));
        way.tell(&app("b"), &[1, 2]);
        let two = |now: &Snapshot| matches!(now.routes.get(&app("b")).map(|r| &**r), Some(Route::Endpoints(e)) if e.len() == 2);
        until(&picture, two).await;
        way.tell(&app("b"), &[]);
        until(&picture, |now| now.routes.is_empty()).await;
        assert!(names.asked().is_empty());
        keeper.abort();
    }

    #[tokio::test]
    async fn the_name_asked_for_longest_ago_leaves_a_full_table() {
        let (way, picture, names) = names();
        for n in 0..=MAX_NAMES {
            way.known.lock().unwrap().insert(app(&format!("a{n}")), vec![([127, 0, 0, 1], 1).into()]);
            names.ask(&app(&format!("a{n}"))).await;
        }
        assert_eq!(picture.now().routes.len(), MAX_NAMES);
        assert!(!picture.now().routes.contains_key(&app("a0")));
    }

    #[tokio::test]
    async fn a_failed_endpoint_makes_control_look_again() {
        let (way, picture, names) = names();
        way.tell(&app("a"), &[1, 2]);
        names.ask(&app("a")).await;
        way.known.lock().unwrap().insert(app("a"), vec![([127, 0, 0, 1], 2).into()]);
        names.doubt(&app("a"), ([127, 0, 0, 1], 1).into()).await;
        let route = picture.now().routes.get(&app("a")).cloned();
        assert!(matches!(route.as_deref(), Some(Route::Endpoints(found)) if found.len() == 1));
    }
}

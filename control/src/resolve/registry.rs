//! A directory in which the sidecars of one host present themselves, so that they find each other with multicast off.
//!
//! One file an instance, named after app, namespace and port, holding one JSON line. Its owner keeps the file locked as long as it
//! lives, which works across containers that share the directory, where process ids would not. A file without a lock belongs to an
//! owner that died: it counts for a grace time (its control process may be about to come back), then whoever sees it removes it.

use super::way::{Own, Pending, Way};
use proto::snapshot::AppRef;
use rustix::fs::inotify;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// How long the entry of a dead owner still counts.
pub const STALE_GRACE: Duration = Duration::from_secs(5);
/// How often locks are looked at while names are watched; files that come and go are noticed at once.
const LOCK_CHECK: Duration = Duration::from_secs(2);
/// Largest entry read, bytes.
const LARGEST_ENTRY: u64 = 4096;
/// Most entries read in one scan.
const MOST_ENTRIES: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    app_id: String,
    namespace: String,
    address: SocketAddr,
    pid: u32,
    /// The network namespace that the address is of; `None` where the system does not tell.
    #[serde(default)]
    network: Option<String>,
}

impl Entry {
    /// Whether the address leads to the owner from here: a loopback address does only inside its own network namespace.
    fn is_reachable(&self) -> bool {
        !self.address.ip().is_loopback() || self.network.is_none() || self.network == network()
    }
}

/// This process's network namespace.
fn network() -> Option<String> {
    let link = fs::read_link("/proc/self/ns/net").ok()?;
    link.to_str().map(str::to_owned)
}

#[derive(Default)]
struct State {
    /// The own entry; the open file is the lock.
    own: Option<(PathBuf, File)>,
    wanted: HashSet<AppRef>,
    stale: HashMap<PathBuf, Instant>,
}

struct Shared {
    dir: PathBuf,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    wished: Notify,
}

/// The registry of this host, open.
pub struct Registry {
    shared: Arc<Shared>,
    watcher: JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Opens or makes the directory (0700). Needs a tokio runtime.
    ///
    /// # Errors
    /// It cannot be made, belongs to somebody else, or others may write into it.
    pub fn open(dir: &Path) -> io::Result<Registry> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| named(dir, &e))?;
        check_owner(dir)?;
        let events = watch_directory(dir).map_err(|e| named(dir, &e))?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            wished: Notify::new(),
        });
        let watcher = tokio::spawn(watch_entries(shared.clone(), events));
        Ok(Registry { shared, watcher })
    }
}

fn named(path: &Path, cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("registry {}: {cause}", path.display()))
}

/// A name in a directory that others may write is anybody's word.
fn check_owner(dir: &Path) -> io::Result<()> {
    let found = fs::metadata(dir)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    let closed = found.mode() & 0o022 == 0;
    if ours && closed {
        return Ok(());
    }
    let why =
        if ours { "others may write into it (mode 0700 expected)" } else { "it belongs to another user" };
    Err(named(dir, &io::Error::new(io::ErrorKind::PermissionDenied, why)))
}

/// Tells when files come or go. An inotify descriptor is read like a pipe, which is all that the receiver is asked to do.
fn watch_directory(dir: &Path) -> io::Result<Receiver> {
    let events = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let wanted = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE;
    inotify::add_watch(&events, dir, wanted)?;
    Receiver::from_file_unchecked(File::from(events))
}

async fn watch_entries(shared: Arc<Shared>, events: Receiver) {
    let mut events_read = [0; 4096];
    loop {
        let watching = !lock(&shared).wanted.is_empty();
        let check = async {
            if watching { tokio::time::sleep(LOCK_CHECK).await } else { std::future::pending().await }
        };
        tokio::select! {
            ready = events.readable() => match ready {
                Ok(()) => while events.try_read(&mut events_read).is_ok_and(|n| n > 0) {},
                Err(_) => return,
            },
            () = check => {}
            () = shared.wished.notified() => continue,
        }
        // a scan also notices dead owners; who compares finds out whether anything changed
        shared.changed.send_modify(|n| *n += 1);
    }
}

/// A file name that any app id fits into: letters, digits and `-` stay, other bytes become `_XX`.
fn file_name(app: &AppRef) -> String {
    let mut name = String::new();
    for part in [&app.app_id, &app.namespace] {
        for byte in part.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => name.push(char::from(byte)),
                _ => name.push_str(&format!("_{byte:02x}")),
            }
        }
        name.push('.');
    }
    name
}

fn write_entry(shared: &Shared, own: &Own) -> io::Result<(PathBuf, File)> {
    let entry = Entry {
        app_id: own.app.app_id.clone(),
        namespace: own.app.namespace.clone(),
        address: own.address,
        pid: own.pid,
        network: network(),
    };
    let path = shared.dir.join(format!("{}{}.{}", file_name(&own.app), own.address.port(), own.pid));
    let fresh = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    // locked before it gets its name: nobody ever sees a live entry without its lock
    file.lock()?;
    file.write_all(&serde_json::to_vec(&entry)?)?;
    fs::rename(&fresh, &path)?;
    Ok((path, file))
}

fn read_entry(path: &Path) -> Option<(Entry, File)> {
    let file = File::open(path).ok()?;
    let mut text = String::new();
    (&file).take(LARGEST_ENTRY).read_to_string(&mut text).ok()?;
    Some((serde_json::from_str(&text).ok()?, file))
}

/// The addresses of `app` in the directory; entries of long dead owners are removed on the way.
fn scan(shared: &Shared, app: &AppRef) -> Vec<SocketAddr> {
    let living = entries(shared, app).filter(|(path, _, open)| counts(shared, path, open));
    let mut found: Vec<SocketAddr> = living.map(|(_, entry, _)| entry.address).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The entries of `app`, dead owners' among them.
fn entries<'a>(shared: &Shared, app: &'a AppRef) -> impl Iterator<Item = (PathBuf, Entry, File)> + 'a {
    let prefix = file_name(app);
    let files = fs::read_dir(&shared.dir).ok().into_iter().flatten().flatten().take(MOST_ENTRIES);
    files.filter_map(move |file| {
        let name = file.file_name();
        let of_app = name.to_str().is_some_and(|n| n.starts_with(&prefix) && !n.ends_with(".new"));
        let (entry, open) = of_app.then(|| read_entry(&file.path()))??;
        let same = entry.app_id == app.app_id && entry.namespace == app.namespace && entry.is_reachable();
        same.then(|| (file.path(), entry, open))
    })
}

/// Whether the entry's owner lives, or died only just now.
fn counts(shared: &Shared, path: &Path, entry: &File) -> bool {
    let mut state = lock(shared);
    if state.own.as_ref().is_some_and(|(own, _)| own == path) {
        return true;
    }
    if matches!(entry.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        state.stale.remove(path);
        return true;
    }
    // ours is a shared lock on a handle that is dropped at once; an owner that comes back writes a new file
    let since = *state.stale.entry(path.to_owned()).or_insert_with(Instant::now);
    if since.elapsed() < STALE_GRACE {
        return true;
    }
    state.stale.remove(path);
    // somebody else may have removed it already
    let _ = fs::remove_file(path);
    false
}

impl Way for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn register<'a>(&'a self, own: &'a Own) -> Pending<'a, io::Result<()>> {
        Box::pin(async {
            let entry = write_entry(&self.shared, own).map_err(|e| named(&self.shared.dir, &e))?;
            lock(&self.shared).own = Some(entry);
            Ok(())
        })
    }

    fn withdraw(&self) -> Pending<'_, ()> {
        Box::pin(async {
            if let Some((path, _lock)) = lock(&self.shared).own.take() {
                // gone already is as good
                let _ = fs::remove_file(path);
            }
        })
    }

    fn resolve<'a>(&'a self, app: &'a AppRef) -> Pending<'a, Result<Vec<SocketAddr>, String>> {
        Box::pin(async {
            lock(&self.shared).wanted.insert(app.clone());
            self.shared.wished.notify_one();
            Some(scan(&self.shared, app)).filter(|a| !a.is_empty()).ok_or_else(|| "no entry".to_owned())
        })
    }

    fn known(&self, app: &AppRef) -> Vec<SocketAddr> {
        if lock(&self.shared).wanted.contains(app) { scan(&self.shared, app) } else { Vec::new() }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// An entry without a lock whose address does not answer has had its grace time.
    fn doubt(&self, app: &AppRef, address: SocketAddr) {
        for (path, entry, _open) in entries(&self.shared, app) {
            let mut state = lock(&self.shared);
            if let Some(since) = state.stale.get_mut(&path).filter(|_| entry.address == address) {
                *since = Instant::now().checked_sub(STALE_GRACE).unwrap_or(*since);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("outrigger-registry-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Dir(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn own(id: &str, port: u16) -> Own {
        let app = AppRef { app_id: id.into(), namespace: "default".into() };
        Own { app, address: ([127, 0, 0, 1], port).into(), host_name: "h".into(), pid: u32::from(port) }
    }

    #[tokio::test]
    async fn instances_are_found_noticed_when_they_join_and_gone_when_withdrawn() {
        let dir = Dir::new("join");
        let (caller, first, second) = (
            Registry::open(&dir.0).unwrap(),
            Registry::open(&dir.0).unwrap(),
            Registry::open(&dir.0).unwrap(),
        );
        let app = own("a.b/c", 1).app;
        assert_eq!(caller.resolve(&app).await, Err("no entry".to_owned()));
        let mut changes = caller.changes();
        first.register(&own("a.b/c", 1)).await.unwrap();
        second.register(&own("a.b/c", 2)).await.unwrap();
        wait(&mut changes, || caller.known(&app).len() == 2).await;
        first.withdraw().await;
        wait(&mut changes, || caller.known(&app) == [([127, 0, 0, 1], 2).into()]).await;
    }

    async fn wait(changes: &mut watch::Receiver<u64>, arrived: impl Fn() -> bool) {
        let until = changes.wait_for(|_| arrived());
        tokio::time::timeout(Duration::from_secs(10), until).await.expect("noticed in time").unwrap();
    }

    #[tokio::test]
    async fn the_entry_of_a_dead_owner_counts_for_a_while_and_is_removed_then() {
        let dir = Dir::new("dead");
        let caller = Registry::open(&dir.0).unwrap();
        let app = own("a", 7).app;
        let entry = Entry {
            app_id: "a".into(),
            namespace: "default".into(),
            address: ([127, 0, 0, 1], 7).into(),
            pid: 7,
            network: network(),
        };
        let path = dir.0.join(format!("{}7.7", file_name(&app)));
        fs::write(&path, serde_json::to_vec(&entry).unwrap()).unwrap();
        assert_eq!(caller.resolve(&app).await, Ok(vec![entry.address]));
        let long_ago = Instant::now().checked_sub(STALE_GRACE).unwrap();
        lock(&caller.shared).stale.insert(path.clone(), long_ago);
        assert!(caller.known(&app).is_empty() && !path.exists());
    }

    #[tokio::test]
    async fn a_dead_owner_whose_address_does_not_answer_has_no_grace_time() {
        let dir = Dir::new("doubt");
        let (caller, alive) = (Registry::open(&dir.0).unwrap(), Registry::open(&dir.0).unwrap());
        let app = own("a", 8).app;
        alive.register(&own("a", 8)).await.unwrap();
        let dead = Entry {
            app_id: "a".into(),
            namespace: "default".into(),
            address: ([127, 0, 0, 1], 7).into(),
            pid: 7,
            network: network(),
        };
        fs::write(dir.0.join(format!("{}7.7", file_name(&app))), serde_json::to_vec(&dead).unwrap()).unwrap();
        assert_eq!(caller.resolve(&app).await.unwrap().len(), 2);
        caller.doubt(&app, ([127, 0, 0, 1], 8).into());
        assert_eq!(caller.known(&app).len(), 2, "the living one keeps its lock, the dead one its grace");
        caller.doubt(&app, dead.address);
        assert_eq!(caller.known(&app), [([127, 0, 0, 1], 8).into()]);
    }

    #[test]
    fn a_loopback_address_counts_only_inside_its_own_network_namespace() {
        let entry = |ip: [u8; 4], network: Option<&str>| Entry {
            app_id: "a".into(),
            namespace: "default".into(),
            address: (ip, 7).into(),
            pid: 7,
            network: network.map(str::to_owned),
        };
        assert!(!entry([127, 0, 0, 1], Some("net:[1]")).is_reachable());
        assert!(entry([127, 0, 0, 1], network().as_deref()).is_reachable());
        assert!(entry([10, 0, 0, 1], Some("net:[1]")).is_reachable());
    }

    #[tokio::test]
    async fn a_directory_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = Dir::new("open");
        fs::create_dir_all(&dir.0).unwrap();
        fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = Registry::open(&dir.0).err().expect("refused").to_string();
        assert!(refused.contains("others may write"), "{refused}");
    }
}

//! The private runtime directory of one sidecar: settings, sockets, nothing secret; 0700, gone with the sidecar.

use rustix::process::geteuid;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Held by the supervisor as long as it lives, so that others can tell a live directory from a left one.
const LOCK: &str = "lock";
/// Longest path of a Unix socket on Linux, without the closing zero.
const LONGEST_SOCKET: usize = 107;
/// Room for the longest file name of a socket inside the directory.
const SOCKET_NAME: usize = "/control.sock".len();

/// A runtime directory; removed when dropped.
#[derive(Debug)]
pub(crate) struct RuntimeDir {
    path: PathBuf,
    /// Locked; closing it gives the directory up.
    _lock: File,
}

impl RuntimeDir {
    /// Makes the directory of this process below `base`, and clears away what dead sidecars left there.
    ///
    /// # Errors
    /// The base belongs to somebody else, or nothing can be made there.
    pub(crate) fn create(base: &Path, app_id: &str) -> io::Result<RuntimeDir> {
        private(base)?;
        // One at a time: a directory that is being made looks like one that was left until it is locked.
        let turn = File::create(base.join(LOCK)).map_err(|e| about(base, &e))?;
        turn.lock().map_err(|e| about(base, &e))?;
        sweep(base);
        let short: String = app_id.chars().filter(char::is_ascii).take(40).collect();
        for attempt in 0..100 {
            let name = match attempt {
                0 => format!("{short}-{}", std::process::id()),
                n => format!("{short}-{}-{n}", std::process::id()),
            };
            let path = base.join(name);
            if path.as_os_str().len() + SOCKET_NAME > LONGEST_SOCKET {
                return Err(io::Error::other(format!(
                    "{} is too long for the sockets inside it; set XDG_RUNTIME_DIR to a shorter path",
                    path.display()
                )));
            }
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return RuntimeDir::locked(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(about(&path, &error)),
            }
        }
        Err(io::Error::other(format!("{} is full of directories of this process", base.display())))
    }

    fn locked(path: PathBuf) -> io::Result<RuntimeDir> {
        let lock = File::create(path.join(LOCK)).map_err(|e| about(&path, &e))?;
        lock.lock().map_err(|e| about(&path, &e))?;
        Ok(RuntimeDir { path, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes a directory that only this user may enter, or checks that it is one.
pub(crate) fn private(path: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) => return Err(about(path, &error)),
    }
    let found = fs::symlink_metadata(path).map_err(|e| about(path, &e))?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not a directory of this user; remove it or set XDG_RUNTIME_DIR", path.display()),
        ));
    }
    if found.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|e| about(path, &e))?;
    }
    Ok(())
}

/// The runtime directories of live sidecars below `base`, sorted.
pub(crate) fn live(base: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = directories(base).filter(|dir| state(dir) == State::Live).collect();
    found.sort();
    found
}

/// Removes directories whose supervisor is gone.
fn sweep(base: &Path) {
    for dir in directories(base).filter(|dir| state(dir) == State::Left) {
        let _ = fs::remove_dir_all(dir);
    }
}

fn directories(base: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(base).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

#[derive(PartialEq, Eq)]
enum State {
    Live,
    Left,
    Foreign,
}

/// A process id would not do: sidecars of several containers may share the directory.
fn state(dir: &Path) -> State {
    let Ok(lock) = File::open(dir.join(LOCK)) else { return State::Foreign };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => State::Live,
        Ok(()) => State::Left,
        Err(TryLockError::Error(_)) => State::Foreign,
    }
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("outrigger-rt-{}-{name}", std::process::id()))
    }

    #[test]
    fn the_directory_is_private_and_goes_with_its_owner() {
        let base = base("private");
        let dir = RuntimeDir::create(&base, "orders").unwrap();
        let path = dir.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&base).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(live(&base), std::slice::from_ref(&path));
        drop(dir);
        assert!(!path.exists());
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn what_dead_sidecars_left_is_cleared_away_and_what_is_not_ours_stays() {
        let base = base("sweep");
        fs::create_dir_all(base.join("dead-1")).unwrap();
        fs::write(base.join("dead-1").join(LOCK), "").unwrap();
        fs::create_dir_all(base.join("registry")).unwrap();
        let live_one = RuntimeDir::create(&base, "a").unwrap();
        assert!(!base.join("dead-1").exists());
        assert!(base.join("registry").exists());
        let second = RuntimeDir::create(&base, "a").unwrap();
        assert_ne!(live_one.path(), second.path());
        assert_eq!(live(&base).len(), 2);
        drop((live_one, second));
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_path_too_long_for_sockets_is_refused_with_a_remedy() {
        let base = base(&"x".repeat(100));
        let error = RuntimeDir::create(&base, "a").unwrap_err();
        assert!(error.to_string().contains("XDG_RUNTIME_DIR"), "{error}");
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_base_that_is_no_directory_is_refused() {
        let base = base("file");
        fs::write(&base, "").unwrap();
        assert!(RuntimeDir::create(&base, "a").is_err());
        fs::remove_file(base).unwrap();
    }
}

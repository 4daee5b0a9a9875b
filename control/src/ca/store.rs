//! The directory with the issuer files.
//!
//! Several processes may fill an empty directory at once: a lock file lets one of them do it. All three files are
//! written beside their places and then renamed, so that after a crash either none is in place, or all are written
//! and the next process finishes the renaming.

use super::check::{self, Fault};
use super::{Authority, CaError, key, make, unix_now};
use rcgen::Issuer;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use x509_parser::pem::Pem;

const ANCHORS: &str = "ca.crt";
const ISSUER: &str = "issuer.crt";
const KEY: &str = "issuer.key";
const ALL: [&str; 3] = [ANCHORS, ISSUER, KEY];
const LOCK: &str = ".lock";
/// Largest file that is read.
const LARGEST: u64 = 1 << 20;

pub(super) fn load(dir: &Path) -> Result<Authority, CaError> {
    let missing = missing(dir);
    if !missing.is_empty() {
        let partly = missing.len() < ALL.len();
        return Err(CaError::Missing { dir: dir.to_owned(), files: missing, partly });
    }
    let anchors = certificates(&dir.join(ANCHORS))?;
    let mut chain = certificates(&dir.join(ISSUER))?;
    while chain.last().is_some_and(|der| check::is_self_signed(der)) {
        chain.pop();
    }
    let key = private_key(&dir.join(KEY))?;
    let not_after = check::check(&anchors, &chain, &key, unix_now()).map_err(|fault| {
        let (name, why) = match fault {
            Fault::Anchors(why) => (ANCHORS, why),
            Fault::Issuer(why) => (ISSUER, why),
            Fault::Key(why) => (KEY, why),
        };
        CaError::Bad { path: dir.join(name), why }
    })?;
    let first = chain.first().map(Vec::as_slice).unwrap_or_default();
    let issuer = Issuer::from_ca_cert_der(&first.into(), key)
        .map_err(|e| CaError::Bad { path: dir.join(ISSUER), why: e.to_string() })?;
    Ok(Authority { issuer, chain, anchors, not_after })
}

pub(super) fn load_or_make(dir: &Path) -> Result<Authority, CaError> {
    private_dir(dir)?;
    let path = dir.join(LOCK);
    let lock = private_file(&path).map_err(|e| failed("opening", &path, e))?;
    lock.lock().map_err(|e| failed("locking", &path, e))?;
    finish_renaming(dir)?;
    if missing(dir).len() == ALL.len() {
        fill(dir)?;
    }
    load(dir)
}

fn missing(dir: &Path) -> Vec<&'static str> {
    ALL.into_iter().filter(|name| !dir.join(name).exists()).collect()
}

/// Makes the directory, or checks that nobody else can look into an existing one.
fn private_dir(dir: &Path) -> Result<(), CaError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|e| failed("making the directory", dir, e))?;
    let metadata = fs::metadata(dir).map_err(|e| failed("looking at", dir, e))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        let error = io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user");
        return Err(failed("using", dir, error));
    }
    if metadata.mode() & 0o077 != 0 {
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(dir, private).map_err(|e| failed("making private", dir, e))?;
    }
    Ok(())
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn beside(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{name}.new"))
}

/// Puts a new authority in place; only called with the lock held and none of the files there.
fn fill(dir: &Path) -> Result<(), CaError> {
    let made = make::make()?;
    for (name, text) in [(ANCHORS, made.anchors), (ISSUER, made.issuer), (KEY, made.key)] {
        let path = beside(dir, name);
        write_synced(&path, text.as_bytes()).map_err(|e| failed("writing", &path, e))?;
    }
    sync_dir(dir)?;
    rename_all(dir)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private_file(path)?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A crash between two renames left some files in place and the others, complete, beside theirs.
fn finish_renaming(dir: &Path) -> Result<(), CaError> {
    let missing = missing(dir);
    let is_cut = !missing.is_empty() && missing.len() < ALL.len();
    match is_cut && missing.iter().all(|name| beside(dir, name).exists()) {
        true => rename_all(dir),
        false => Ok(()),
    }
}

fn rename_all(dir: &Path) -> Result<(), CaError> {
    for name in missing(dir) {
        let path = beside(dir, name);
        fs::rename(&path, dir.join(name)).map_err(|e| failed("renaming", &path, e))?;
    }
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> Result<(), CaError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| failed("syncing", dir, e))
}

fn read(path: &Path) -> Result<Vec<u8>, CaError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| failed("opening", path, e))?;
    file.take(LARGEST).read_to_end(&mut bytes).map_err(|e| failed("reading", path, e))?;
    Ok(bytes)
}

/// All certificates of a PEM file; text around the blocks is ignored.
fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, CaError> {
    let mut found = Vec::new();
    for block in blocks(path)? {
        if block.label != "CERTIFICATE" {
            return Err(bad(path, format!("holds a {:?} block; expected certificates only", block.label)));
        }
        found.push(block.contents);
    }
    if found.is_empty() { Err(bad(path, "holds no certificate".into())) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<rcgen::KeyPair, CaError> {
    let blocks = blocks(path)?;
    match blocks.as_slice() {
        [block] => key::read(&block.label, &block.contents).map_err(|why| bad(path, why)),
        // OpenSSL writes the curve in a block of its own in front of an EC key
        [parameters, block] if parameters.label == "EC PARAMETERS" => {
            key::read(&block.label, &block.contents).map_err(|why| bad(path, why))
        }
        _ => Err(bad(path, format!("holds {} PEM blocks; expected one private key", blocks.len()))),
    }
}

fn blocks(path: &Path) -> Result<Vec<Pem>, CaError> {
    let bytes = read(path)?;
    Pem::iter_from_buffer(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|e| bad(path, format!("cannot be read as PEM: {e}")))
}

fn bad(path: &Path, why: String) -> CaError {
    CaError::Bad { path: path.to_owned(), why }
}

fn failed(doing: &'static str, path: &Path, error: io::Error) -> CaError {
    CaError::Io { doing, path: path.to_owned(), error }
}

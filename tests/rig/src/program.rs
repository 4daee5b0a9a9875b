//! Which executable plays the sidecar.

use std::path::{Path, PathBuf};

/// A sidecar's executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Ours.
    Outrigger(PathBuf),
    /// A real `daprd`.
    Daprd(PathBuf),
}

impl Program {
    /// Our executable: the variable `OUTRIGGER_BIN`, else `built` (what Cargo says it built for an integration
    /// test, see [`crate::outrigger`]), else the file `outrigger` beside the running program or one folder up.
    pub fn outrigger(built: Option<&str>) -> Program {
        let named = std::env::var_os("OUTRIGGER_BIN").map(PathBuf::from).or(built.map(PathBuf::from));
        Program::Outrigger(named.unwrap_or_else(beside_this_program))
    }

    /// The real `daprd` of the folder `OUTRIGGER_PEERS`; `None` where there is none.
    pub fn daprd() -> Option<Program> {
        peer_file("daprd").map(Program::Daprd)
    }

    /// The file to execute.
    pub fn path(&self) -> &Path {
        match self {
            Program::Outrigger(path) | Program::Daprd(path) => path,
        }
    }

    /// Whether it is ours.
    pub fn is_ours(&self) -> bool {
        matches!(self, Program::Outrigger(_))
    }
}

/// The real `sentry` of the folder `OUTRIGGER_PEERS`; `None` where there is none.
pub fn sentry() -> Option<PathBuf> {
    peer_file("sentry")
}

/// Says loudly that a test did not run because a real peer is missing.
pub fn skipped_without_peers(test: &str) {
    eprintln!("SKIPPED {test}: no real daprd (set OUTRIGGER_PEERS to a folder with daprd and sentry)");
}

fn peer_file(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("OUTRIGGER_PEERS")?).join(name);
    path.is_file().then_some(path)
}

fn beside_this_program() -> PathBuf {
    let this = std::env::current_exe().expect("the running program's path");
    let folder = this.parent().expect("its folder");
    let beside = folder.join("outrigger");
    if beside.is_file() { beside } else { folder.parent().expect("a folder above").join("outrigger") }
}

/// Our executable as Cargo built it for this integration test of the root package.
#[macro_export]
macro_rules! outrigger {
    () => {
        $crate::Program::outrigger(option_env!("CARGO_BIN_EXE_outrigger"))
    };
}

//! The recordings of the real daprd: their form, their tokens, and the comparison their READMEs ask for.

pub mod bytes;
pub mod compare;
pub mod http;
pub mod observe;
pub mod tokens;

use std::path::PathBuf;

/// The folder of a set of recordings.
pub fn folder(set: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.parent().expect("the tests folder").join("vectors").join(set)
}

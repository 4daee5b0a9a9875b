//! Configuration and resource files: no panic in either strictness, and every finding has its place in the text.
#![no_main]

use control::configuration::{Strictness, check, read};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A folder of this process in memory, with the one file that is read.
fn file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let base = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
        let folder = PathBuf::from(base).join(format!("outrigger-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("a.yaml")
    })
}

fuzz_target!(|text: &[u8]| {
    let file = file();
    std::fs::write(file, text).unwrap();
    let lines = text.split(|byte| *byte == b'\n').count() as u64 + 1;
    let folder = file.parent().unwrap().to_owned();
    let variables = |name: &str| (name == "APP_ID").then(|| "orders".to_owned());
    let found = [
        check(std::slice::from_ref(file)),
        read(std::slice::from_ref(file), &[], Strictness::Strict, &variables),
        read(std::slice::from_ref(file), &[folder.clone()], Strictness::Lenient, &variables),
    ];
    for problem in found.iter().flat_map(|findings| &findings.problems) {
        assert!(problem.line <= lines, "{problem}");
        assert!(!problem.message.is_empty());
    }
});

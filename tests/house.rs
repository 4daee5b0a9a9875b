//! The rules of the house that a compiler does not check: who may import whom, where `unsafe` may stand.

// A test that cannot read its own repository should stop loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

struct Room {
    layer: u32,
    crates: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn backticked(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The table under "Layers inside `dataplane`" in ARCHITECTURE.md.
fn layers() -> BTreeMap<String, Room> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let (_, section) = text.split_once("## Layers inside").expect("the section stands in ARCHITECTURE.md");
    let section = section.split("\n## ").next().unwrap();
    let mut rooms = BTreeMap::new();
    for row in section.lines().filter(|l| l.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let Ok(layer) = cells[0].parse() else { continue };
        for module in backticked(cells[1]) {
            rooms.insert(module, Room { layer, crates: backticked(cells[2]).into_iter().collect() });
        }
    }
    rooms
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Code without comments and without what stands below `#[cfg(test)]`.
fn code(path: &Path) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().map(|l| l.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Identifiers that stand in front of `::` and behind none: the heads of paths.
fn path_heads(code: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut heads = BTreeSet::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let start =
            before.rfind(|c| !word(c)).map_or(0, |i| i + before[i..].chars().next().unwrap().len_utf8());
        let head = &before[start..];
        if !head.is_empty() && !before[..start].ends_with("::") {
            heads.insert(head.to_owned());
        }
    }
    heads
}

/// The modules of this crate named as `crate::module`, also inside `use crate::{a, b::c}`.
fn own_modules(code: &str, known: &BTreeMap<String, Room>) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let list = if let Some(inner) = rest.strip_prefix('{') {
            top_level_names(inner)
        } else {
            vec![first_word(rest)]
        };
        named.extend(list.into_iter().filter(|m| known.contains_key(m)));
    }
    named
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn top_level_names(inner: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), true);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                names.push(first_word(&inner[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn module_of(path: &Path, src: &Path) -> String {
    let first = path.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

const CRATES: [&str; 14] = [
    "bytes", "glommio", "h2", "http", "httparse", "io_uring", "libc", "prost", "proto", "rustls", "smallvec",
    "tokio", "tracing", "webpki",
];

#[test]
fn every_import_inside_the_data_plane_stands_in_the_table() {
    let (rooms, src) = (layers(), root().join("dataplane/src"));
    assert!(rooms.len() > 8, "the table was not understood");
    let mut wrong = Vec::new();
    for path in sources(&src) {
        let module = module_of(&path, &src);
        if module == "lib" {
            continue;
        }
        let Some(room) = rooms.get(&module) else {
            wrong.push(format!("{}: module `{module}` has no row", path.display()));
            continue;
        };
        let code = code(&path);
        for other in own_modules(&code, &rooms) {
            if other != module && (module == "rt" || rooms[&other].layer >= room.layer) {
                wrong.push(format!(
                    "{}: `{module}` (layer {}) imports `{other}` (layer {})",
                    path.display(),
                    room.layer,
                    rooms[&other].layer
                ));
            }
        }
        for head in path_heads(&code) {
            if CRATES.contains(&head.as_str()) && !room.crates.contains(&head) {
                wrong.push(format!("{}: `{module}` names the crate `{head}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not in ARCHITECTURE.md's table:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_only_in_the_runtime_seam() {
    let allowed = root().join("dataplane/src/rt");
    for member in ["src", "proto/src", "dataplane/src", "control/src", "bench/src"] {
        for path in sources(&root().join(member)).iter().filter(|p| !p.starts_with(&allowed)) {
            let code = code(path).replace("unsafe_code", "").replace("unsafe_op", "");
            assert!(!code.contains("unsafe"), "{} contains unsafe", path.display());
        }
    }
}

#[test]
fn members_depend_only_along_the_arrows() {
    let manifest = |member: &str| read(&root().join(member).join("Cargo.toml"));
    let normal = |text: &str| text.split("[dev-dependencies]").next().unwrap().to_owned();
    assert!(!normal(&manifest("control")).contains("dataplane"));
    assert!(!normal(&manifest("dataplane")).contains("control"));
    for banned in ["tokio", "glommio", "rustls", "h2", "socket", "control", "dataplane"] {
        assert!(
            !normal(&manifest("proto")).lines().any(|l| l.starts_with(banned)),
            "proto depends on {banned}"
        );
    }
}

#[test]
fn the_executable_only_dispatches() {
    assert!(read(&root().join("src/main.rs")).lines().count() < 100);
}

#[test]
fn paths_are_read_as_written() {
    let rooms = layers();
    let code = "use crate::{rt::{Chunk, now}, tls};\nfn f() { crate::mesh::x(); std::mem::take(v); rustls::Error::General }";
    assert_eq!(own_modules(code, &rooms), ["mesh", "rt", "tls"].map(str::to_owned).into());
    assert!(path_heads(code).contains("rustls") && !path_heads(code).contains("Error"));
}

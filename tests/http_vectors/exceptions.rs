//! Where our answer differs from the recording on purpose, and what waits for later work.

use crate::players::Players;
use rig::vectors::http::{Got, OneOrMany, Saw};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Why a case is not compared with its recording.
pub(crate) enum Exception {
    /// Our own expected answer.
    Ours(Box<Ours>),
    /// What is expected where ours meets a real daprd in just these roles.
    Mixed(Box<Mixed>),
    /// Not built yet, and what is missing.
    Later(String),
}

/// Our answer where `compat.md` differs; what is absent is as recorded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ours {
    /// The case.
    pub(crate) name: String,
    /// The subject of the row in ARCHITECTURE.md's compatibility table.
    #[expect(dead_code, reason = "for the reader")]
    pub(crate) row: String,
    /// What the client gets.
    pub(crate) got: Option<OneOrMany<Got>>,
    /// What reaches the app.
    pub(crate) app_saw: Option<Vec<Saw>>,
    /// What the client may get instead where one of the sidecars is a real daprd, by that one's doing.
    pub(crate) beside_daprd: Option<OneOrMany<Got>>,
}

/// What is expected where ours meets a real daprd, and neither the recording nor our own answer is; what is absent is as
/// recorded. Nothing else passes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mixed {
    name: String,
    /// `outrigger-calls-daprd` or `daprd-calls-outrigger`.
    players: String,
    /// Whose doing it is.
    #[expect(dead_code, reason = "for the reader")]
    reason: String,
    /// What the client gets.
    pub(crate) got: Option<OneOrMany<Got>>,
    /// What reaches the app.
    pub(crate) app_saw: Option<Vec<Saw>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Later {
    reason: String,
    names: Vec<String>,
}

struct Tables {
    ours: BTreeMap<String, Ours>,
    mixed: Vec<Mixed>,
    later: Vec<Later>,
}

/// The exception of this case with these players, if any. Two real daprds have none.
pub(crate) fn of(name: &str, players: &Players) -> Option<Exception> {
    if players.are_daprd() {
        return None;
    }
    let tables = tables();
    let listed = |later: &&Later| later.names.iter().any(|n| covers(n, name));
    if let Some(later) = tables.later.iter().find(listed) {
        return Some(Exception::Later(later.reason.clone()));
    }
    let meant = |mixed: &&Mixed| mixed.name == name && players.prefix() == format!("{}/", mixed.players);
    if let Some(mixed) = tables.mixed.iter().find(meant) {
        return Some(Exception::Mixed(Box::new(mixed.clone())));
    }
    let ours = tables.ours.get(name)?;
    Some(Exception::Ours(Box::new(ours.clone())))
}

/// A name covers itself; a name that ends in `/` covers its family.
fn covers(listed: &str, name: &str) -> bool {
    listed == name || (listed.ends_with('/') && name.starts_with(listed))
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let ours: Vec<Ours> = lines("ours.jsonl");
        Tables {
            ours: ours.into_iter().map(|o| (o.name.clone(), o)).collect(),
            mixed: lines("mixed.jsonl"),
            later: lines("later.jsonl"),
        }
    })
}

fn lines<T: for<'d> Deserialize<'d>>(file: &str) -> Vec<T> {
    let path = rig::vectors::folder("http-outrigger").join(file);
    let text = std::fs::read_to_string(&path).expect("a table of exceptions");
    let kept = text.lines().filter(|l| !l.trim().is_empty());
    kept.map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{}: {e} in {l:.160}", path.display())))
        .collect()
}

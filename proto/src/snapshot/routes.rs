//! The resolution table: a persistent hash trie. A copy is one pointer, a change copies the few nodes above it and
//! shares all others, and the difference of two tables is found without visiting what they share.

use super::{AppRef, Route};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

/// Bits of the hash that choose a child at one level.
const BITS: u32 = 5;

/// A table from names to routes. `Clone` costs the same for any size.
#[derive(Clone, Default)]
pub struct Routes {
    root: Option<Arc<Node>>,
    len: usize,
}

/// What has to be done to the older of two tables to get the newer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Entries that are new or replaced.
    pub set: Vec<(AppRef, Arc<Route>)>,
    /// Entries that are no longer there.
    pub removed: Vec<AppRef>,
}

impl Changes {
    /// Whether the tables are equal.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }
}

impl Routes {
    /// An empty table.
    pub fn new() -> Routes {
        Routes::default()
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What `app` resolves to.
    pub fn get(&self, app: &AppRef) -> Option<&Arc<Route>> {
        self.lookup(&app.app_id, &app.namespace)
    }

    /// What a name resolves to, without building an `AppRef`.
    pub fn lookup(&self, app_id: &str, namespace: &str) -> Option<&Arc<Route>> {
        self.root.as_ref()?.lookup(0, hash(app_id, namespace), app_id, namespace)
    }

    /// Whether `app` is in the table.
    pub fn contains_key(&self, app: &AppRef) -> bool {
        self.get(app).is_some()
    }

    /// Adds or replaces an entry; the one before.
    pub fn insert(&mut self, app: AppRef, route: Arc<Route>) -> Option<Arc<Route>> {
        let hash = hash(&app.app_id, &app.namespace);
        let before = match &mut self.root {
            Some(root) => insert(root, 0, hash, (app, route)),
            empty => {
                *empty = Some(Arc::new(Node::leaf(hash, (app, route))));
                None
            }
        };
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes an entry out.
    pub fn remove(&mut self, app: &AppRef) -> Option<Arc<Route>> {
        let found = Arc::clone(self.get(app)?);
        if let Some(root) = &mut self.root {
            remove(root, 0, hash(&app.app_id, &app.namespace), app);
        }
        self.root.take_if(|root| root.is_empty());
        self.len -= 1;
        Some(found)
    }

    /// All entries, in an order that depends on the names only.
    pub fn iter(&self) -> Iter<'_> {
        Iter { above: Vec::new(), node: self.root.as_deref(), leaf: [].iter() }
    }

    /// How `self` differs from `older`. The cost follows the difference, not the size.
    pub fn changes_since(&self, older: &Routes) -> Changes {
        let mut changes = Changes::default();
        match (&older.root, &self.root) {
            (Some(older), Some(newer)) => compare(older, newer, &mut changes),
            (None, Some(newer)) => newer.each(&mut |entry| changes.set.push(entry.clone())),
            (Some(older), None) => older.each(&mut |entry| changes.removed.push(entry.0.clone())),
            (None, None) => {}
        }
        changes
    }
}

impl PartialEq for Routes {
    fn eq(&self, other: &Routes) -> bool {
        self.len == other.len && self.changes_since(other).is_empty()
    }
}

impl Eq for Routes {}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Extend<(AppRef, Arc<Route>)> for Routes {
    fn extend<T: IntoIterator<Item = (AppRef, Arc<Route>)>>(&mut self, entries: T) {
        for (app, route) in entries {
            self.insert(app, route);
        }
    }
}

impl FromIterator<(AppRef, Arc<Route>)> for Routes {
    fn from_iter<T: IntoIterator<Item = (AppRef, Arc<Route>)>>(entries: T) -> Routes {
        let mut routes = Routes::new();
        routes.extend(entries);
        routes
    }
}

impl<'a> IntoIterator for &'a Routes {
    type Item = (&'a AppRef, &'a Arc<Route>);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// All entries of a table.
pub struct Iter<'a> {
    above: Vec<std::slice::Iter<'a, Arc<Node>>>,
    node: Option<&'a Node>,
    leaf: std::slice::Iter<'a, Entry>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a AppRef, &'a Arc<Route>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((app, route)) = self.leaf.next() {
                return Some((app, route));
            }
            match self.node.take() {
                Some(Node::Leaf { entries, .. }) => self.leaf = entries.iter(),
                Some(Node::Branch { children, .. }) => self.above.push(children.iter()),
                None => match self.above.last_mut()?.next() {
                    Some(child) => self.node = Some(child),
                    None => drop(self.above.pop()),
                },
            }
        }
    }
}

type Entry = (AppRef, Arc<Route>);

/// A leaf holds the entries of one hash, in practice one. A branch holds a child for each bit set in `slots`.
#[derive(Clone)]
enum Node {
    Branch { slots: u32, children: Vec<Arc<Node>> },
    Leaf { hash: u64, entries: Vec<Entry> },
}

/// SipHash with fixed keys: the same everywhere, so that tables can be compared.
fn hash(app_id: &str, namespace: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(app_id.as_bytes());
    hasher.write_u8(0xff);
    hasher.write(namespace.as_bytes());
    hasher.finish()
}

/// The bit that stands for `hash` in `slots` at `level`.
fn bit(hash: u64, level: u32) -> u32 {
    1 << ((hash >> (level * BITS)) & ((1 << BITS) - 1))
}

/// Where the child for `bit` stands, or would stand.
fn place(slots: u32, bit: u32) -> usize {
    (slots & (bit - 1)).count_ones() as usize
}

impl Node {
    fn leaf(hash: u64, entry: Entry) -> Node {
        Node::Leaf { hash, entries: vec![entry] }
    }

    fn is_empty(&self) -> bool {
        match self {
            Node::Branch { children, .. } => children.is_empty(),
            Node::Leaf { entries, .. } => entries.is_empty(),
        }
    }

    fn child(&self, level: u32, hash: u64) -> Option<&Arc<Node>> {
        match self {
            Node::Branch { slots, children } if slots & bit(hash, level) != 0 => {
                children.get(place(*slots, bit(hash, level)))
            }
            _ => None,
        }
    }

    fn lookup(&self, level: u32, wanted: u64, app_id: &str, namespace: &str) -> Option<&Arc<Route>> {
        match self {
            Node::Branch { .. } => self.child(level, wanted)?.lookup(level + 1, wanted, app_id, namespace),
            Node::Leaf { hash, entries } if *hash == wanted => {
                let found =
                    entries.iter().find(|(app, _)| app.app_id == app_id && app.namespace == namespace);
                found.map(|(_, route)| route)
            }
            Node::Leaf { .. } => None,
        }
    }

    fn each(&self, visit: &mut impl FnMut(&Entry)) {
        match self {
            Node::Branch { children, .. } => children.iter().for_each(|child| child.each(visit)),
            Node::Leaf { entries, .. } => entries.iter().for_each(visit),
        }
    }

    /// The only child, if that is a leaf: it can stand in the branch's place.
    fn lone_leaf(&self) -> Option<Arc<Node>> {
        match self {
            Node::Branch { children, .. } => match children.as_slice() {
                [only] if matches!(**only, Node::Leaf { .. }) => Some(Arc::clone(only)),
                _ => None,
            },
            Node::Leaf { .. } => None,
        }
    }
}

/// Two hashes that differ part ways at level 12 at the latest (13 × 5 > 64 bits), so the recursion ends.
fn insert(node: &mut Arc<Node>, level: u32, new: u64, entry: Entry) -> Option<Arc<Route>> {
    if let Node::Leaf { hash, .. } = **node
        && hash != new
    {
        *node = Arc::new(Node::Branch { slots: bit(hash, level), children: vec![Arc::clone(node)] });
    }
    match Arc::make_mut(node) {
        Node::Leaf { entries, .. } => put(entries, entry),
        Node::Branch { slots, children } => {
            let (bit, at) = (bit(new, level), place(*slots, bit(new, level)));
            match children.get_mut(at).filter(|_| *slots & bit != 0) {
                Some(child) => insert(child, level + 1, new, entry),
                None => {
                    *slots |= bit;
                    children.insert(at, Arc::new(Node::leaf(new, entry)));
                    None
                }
            }
        }
    }
}

fn put(entries: &mut Vec<Entry>, entry: Entry) -> Option<Arc<Route>> {
    match entries.iter_mut().find(|(app, _)| *app == entry.0) {
        Some((_, route)) => Some(std::mem::replace(route, entry.1)),
        None => {
            entries.push(entry);
            None
        }
    }
}

/// The entry is there: the caller looked. Branches left with one leaf give way to it, so that the shape of a table
/// depends on its content only.
fn remove(node: &mut Arc<Node>, level: u32, hash: u64, app: &AppRef) {
    match Arc::make_mut(node) {
        Node::Leaf { entries, .. } => entries.retain(|(other, _)| other != app),
        Node::Branch { slots, children } => {
            let (bit, at) = (bit(hash, level), place(*slots, bit(hash, level)));
            let Some(child) = children.get_mut(at) else { return };
            remove(child, level + 1, hash, app);
            if child.is_empty() {
                *slots &= !bit;
                children.remove(at);
            }
        }
    }
    if let Some(leaf) = node.lone_leaf() {
        *node = leaf;
    }
}

fn compare(older: &Arc<Node>, newer: &Arc<Node>, changes: &mut Changes) {
    if Arc::ptr_eq(older, newer) {
        return;
    }
    match (&**older, &**newer) {
        (Node::Branch { slots: a, children: old }, Node::Branch { slots: b, children: new }) => {
            compare_children((*a, old), (*b, new), changes);
        }
        _ => compare_entries(older, newer, changes),
    }
}

fn compare_children(old: (u32, &[Arc<Node>]), new: (u32, &[Arc<Node>]), changes: &mut Changes) {
    for bit in (0..32).map(|index| 1_u32 << index) {
        let before = old.1.get(place(old.0, bit)).filter(|_| old.0 & bit != 0);
        let after = new.1.get(place(new.0, bit)).filter(|_| new.0 & bit != 0);
        match (before, after) {
            (Some(before), Some(after)) => compare(before, after, changes),
            (Some(before), None) => before.each(&mut |entry| changes.removed.push(entry.0.clone())),
            (None, Some(after)) => after.each(&mut |entry| changes.set.push(entry.clone())),
            (None, None) => {}
        }
    }
}

/// At least one side is a leaf, so one side is small.
fn compare_entries(older: &Node, newer: &Node, changes: &mut Changes) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    older.each(&mut |entry| before.push(entry.clone()));
    newer.each(&mut |entry| after.push(entry.clone()));
    for (app, route) in &after {
        let same =
            before.iter().any(|(other, was)| other == app && (Arc::ptr_eq(was, route) || was == route));
        if !same {
            changes.set.push((app.clone(), Arc::clone(route)));
        }
    }
    for (app, _) in before {
        if !after.iter().any(|(other, _)| *other == app) {
            changes.removed.push(app);
        }
    }
}

#[cfg(test)]
mod tests;

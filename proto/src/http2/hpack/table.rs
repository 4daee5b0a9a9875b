//! The decoder's dynamic table (RFC 7541 §2.3.2, §4) in one flat buffer: no allocation per entry.

// Every range comes from an entry, which `insert` made to lie within `bytes`.
#![allow(clippy::indexing_slicing)]

use super::{Field, OVERHEAD, TABLE};
use crate::http2::field::{self, Name};
use std::collections::VecDeque;

/// Where a name or value to be inserted comes from.
pub(super) enum NameFrom<'a> {
    /// These bytes.
    Bytes(&'a [u8], Name),
    /// The name of the entry with this position, 0 the youngest.
    Entry(usize),
}

#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    name: usize,
    value: usize,
    tag: Name,
    valid: bool,
}

impl Entry {
    fn size(&self) -> usize {
        self.name + self.value + OVERHEAD
    }
}

/// Entries in a buffer that is written from front to back and moved to the front when its end is reached, which
/// happens once for at least a table's worth of insertions.
pub(super) struct Table {
    bytes: Vec<u8>,
    /// Oldest first.
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

impl Table {
    pub(super) fn new() -> Table {
        Table { bytes: Vec::new(), entries: VecDeque::new(), size: 0, limit: TABLE }
    }

    /// Sets the size (§4.3); `false` if it is above what this end allows.
    #[must_use]
    pub(super) fn resize(&mut self, limit: usize) -> bool {
        self.limit = limit;
        self.evict(limit);
        limit <= TABLE
    }

    /// The entry at `position`, 0 the youngest.
    pub(super) fn entry(&self, position: usize) -> Option<Field<'_>> {
        let e = self.entries.get(self.entries.len().checked_sub(position + 1)?)?;
        let (name, value) = self.bytes[e.start..e.start + e.name + e.value].split_at(e.name);
        Some(Field { tag: e.tag, name, value, valid: e.valid, never_indexed: false })
    }

    /// Inserts an entry and evicts what no longer fits (§4.4). `false` if the named entry does not exist.
    ///
    /// The name may belong to an entry that is evicted by this: it is copied first.
    #[must_use]
    pub(super) fn insert(&mut self, name: NameFrom<'_>, value: &[u8], valid: bool) -> bool {
        let name_length = match name {
            NameFrom::Bytes(bytes, _) => bytes.len(),
            NameFrom::Entry(position) => self.entry(position).map_or(0, |e| e.name.len()),
        };
        let size = name_length + value.len() + OVERHEAD;
        if size > self.limit {
            self.evict(0);
            return true;
        }
        self.make_room(name_length + value.len());
        let start = self.bytes.len();
        let tag = match name {
            NameFrom::Bytes(bytes, tag) => {
                self.bytes.extend_from_slice(bytes);
                tag
            }
            NameFrom::Entry(position) => {
                let at = self.entries.len().checked_sub(position + 1);
                let Some(e) = at.and_then(|i| self.entries.get(i)).copied() else { return false };
                self.bytes.extend_from_within(e.start..e.start + e.name);
                e.tag
            }
        };
        self.bytes.extend_from_slice(value);
        self.evict(self.limit - size);
        self.size += size;
        self.entries.push_back(Entry { start, name: name_length, value: value.len(), tag, valid });
        true
    }

    /// Removes the oldest entries until at most `limit` bytes are left.
    fn evict(&mut self, limit: usize) {
        while self.size > limit {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.size -= oldest.size();
        }
        if self.entries.is_empty() {
            debug_assert_eq!(self.size, 0);
        }
    }

    /// Moves the live bytes to the front when `more` bytes would pass the buffer's end.
    fn make_room(&mut self, more: usize) {
        if self.bytes.len() + more <= 2 * TABLE {
            self.bytes.reserve_exact((2 * TABLE).saturating_sub(self.bytes.len()));
            return;
        }
        let from = self.entries.front().map_or(self.bytes.len(), |e| e.start);
        self.bytes.drain(..from);
        for entry in &mut self.entries {
            entry.start -= from;
        }
    }
}

/// Whether a field may stand in a message, decided once for every entry.
pub(super) fn valid(name: &[u8], value: &[u8]) -> bool {
    field::name_is_valid(name) && field::value_is_valid(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn insert(t: &mut Table, name: &str, value: &str) {
        assert!(t.insert(NameFrom::Bytes(name.as_bytes(), Name::Other), value.as_bytes(), true));
    }

    #[test]
    fn the_oldest_entries_leave_when_there_is_no_room() {
        let mut t = Table::new();
        assert!(t.resize(100));
        insert(&mut t, "a", "1");
        insert(&mut t, "b", "2");
        assert_eq!(t.entry(1).unwrap().name, b"a");
        insert(&mut t, "c", "3");
        assert_eq!(t.entry(1).unwrap().name, b"b");
        assert!(t.entry(2).is_none());
        insert(&mut t, "d", &"x".repeat(100));
        assert!(t.entry(0).is_none(), "an entry larger than the table empties it");
    }

    #[test]
    fn a_name_may_come_from_the_entry_that_its_insertion_evicts() {
        let mut t = Table::new();
        assert!(t.resize(60));
        insert(&mut t, "name", "old");
        assert!(t.insert(NameFrom::Entry(0), b"new value", true));
        assert_eq!(t.entry(0).unwrap().name, b"name");
        assert_eq!(t.entry(0).unwrap().value, b"new value");
        assert!(t.entry(1).is_none());
        assert!(!t.insert(NameFrom::Entry(1), b"", true));
    }

    #[test]
    fn a_long_run_of_insertions_stays_within_its_buffer_and_equals_a_simple_model() {
        let mut rng = Rng::new(3);
        let mut t = Table::new();
        let mut model: VecDeque<(Vec<u8>, Vec<u8>)> = VecDeque::new();
        for round in 0..20_000u64 {
            let name = format!("n{}", rng.below(50)).into_bytes();
            let value = vec![b'v'; rng.below(if round % 97 == 0 { 4200 } else { 120 }) as usize];
            assert!(t.insert(NameFrom::Bytes(&name, Name::Other), &value, true));
            model.push_front((name, value));
            let size = |m: &VecDeque<(Vec<u8>, Vec<u8>)>| {
                m.iter().map(|e| e.0.len() + e.1.len() + 32).sum::<usize>()
            };
            while size(&model) > TABLE {
                model.pop_back();
            }
            assert!(t.bytes.capacity() <= 3 * TABLE);
            assert_eq!(t.size, size(&model));
            let at = rng.below(model.len() as u64 + 1) as usize;
            let ours = t.entry(at).map(|e| (e.name.to_vec(), e.value.to_vec()));
            assert_eq!(ours, model.get(at).cloned());
        }
    }
}

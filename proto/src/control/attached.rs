//! Metadata that clients attach to a sidecar (`PUT /v1.0/metadata/{key}`): in memory only, bounded, held by the data plane and,
//! for the next one, by control.

use super::{Attached, Entry};
use core::fmt;
use std::collections::BTreeMap;

/// Most bytes of keys and values, with [`ENTRY`] for each entry.
pub const MOST: usize = 1 << 20;

/// What an entry costs beside its texts, in bytes.
pub const ENTRY: usize = 64;

/// There is no room for another entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sidecar's metadata holds {MOST} bytes at most")
    }
}

impl core::error::Error for Full {}

/// Keys and values, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachments {
    entries: BTreeMap<String, String>,
    bytes: usize,
}

fn cost(key: &str, value: &str) -> usize {
    key.len() + value.len() + ENTRY
}

impl Attachments {
    /// Stores an entry in the place of one of the same key.
    ///
    /// # Errors
    /// All entries together would be larger than [`MOST`].
    pub fn put(&mut self, key: &str, value: &str) -> Result<(), Full> {
        let before = self.entries.get(key).map_or(0, |old| cost(key, old));
        let bytes = self.bytes - before + cost(key, value);
        if bytes > MOST {
            return Err(Full);
        }
        self.bytes = bytes;
        self.entries.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Takes over what was attached earlier elsewhere: keys that are here already keep their value, and what there is no
    /// room for is left out.
    pub fn restore<'e>(&mut self, earlier: impl IntoIterator<Item = (&'e str, &'e str)>) {
        for (key, value) in earlier {
            if !self.entries.contains_key(key) {
                let _ = self.put(key, value); // what was put since has the room now
            }
        }
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether nothing is attached.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Attached {
    /// The message about these entries.
    pub fn of<'e>(entries: impl IntoIterator<Item = (&'e str, &'e str)>) -> Attached {
        let entry = |(key, value): (&str, &str)| Entry { key: key.to_owned(), value: value.to_owned() };
        Attached { entries: entries.into_iter().map(entry).collect() }
    }

    /// Its entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (&*entry.key, &*entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_overwritten_and_all_together_are_bounded() {
        let mut attached = Attachments::default();
        for value in ["a", "b"] {
            attached.put("k", value).unwrap();
        }
        assert_eq!(attached.iter().collect::<Vec<_>>(), [("k", "b")]);
        let large = "x".repeat(MOST - ENTRY - 1);
        assert_eq!(attached.put("l", &large), Err(Full));
        assert_eq!(attached.put("k", &large), Ok(()));
        assert_eq!(attached.put("k", "b"), Ok(()), "what is overwritten leaves its room");
    }

    #[test]
    fn what_was_attached_earlier_comes_back_but_not_over_what_came_since() {
        let mut attached = Attachments::default();
        attached.put("new", "1").unwrap();
        let large = "x".repeat(MOST);
        attached.restore([("new", "0"), ("old", "0"), ("large", &large)]);
        assert_eq!(attached.iter().collect::<Vec<_>>(), [("new", "1"), ("old", "0")]);
    }
}

//! What `PUT /v1.0/metadata/{key}` stored: kept for the life of the process, as in daprd.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most bytes of keys and values, with [`ENTRY`] for each entry.
pub const MOST_EXTENDED: usize = 1 << 20;

/// What an entry costs beside its texts.
const ENTRY: usize = 64;

/// Keys and values that clients attached to this sidecar. Not on the way of any call.
#[derive(Debug, Default)]
pub struct Extended(Mutex<BTreeMap<String, String>>);

/// There is no room for another entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sidecar's metadata holds {MOST_EXTENDED} bytes at most")
    }
}

impl Extended {
    /// Stores an entry in the place of one of the same key.
    ///
    /// # Errors
    /// All entries together would be larger than [`MOST_EXTENDED`].
    pub(crate) fn put(&self, key: String, value: String) -> Result<(), Full> {
        let mut entries = self.lock();
        let others = entries.iter().filter(|(other, _)| **other != key);
        let taken: usize = others.map(|(key, value)| key.len() + value.len() + ENTRY).sum();
        if taken + key.len() + value.len() + ENTRY > MOST_EXTENDED {
            return Err(Full);
        }
        entries.insert(key, value);
        Ok(())
    }

    /// All entries, sorted by key.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_overwritten_and_all_together_are_bounded() {
        let extended = Extended::default();
        for value in ["a", "b"] {
            extended.put("k".into(), value.into()).unwrap();
        }
        assert_eq!(extended.all().get("k").map(String::as_str), Some("b"));
        let large = "x".repeat(MOST_EXTENDED - ENTRY - 1);
        assert_eq!(extended.put("l".into(), large.clone()), Err(Full));
        assert_eq!(extended.put("k".into(), large), Ok(()));
    }
}

//! `map<string, ListStringValue>`: the headers inside the messages.

use super::wire::{Field, Fields};
use super::{OpenError, Peer, text};
use crate::http1::names::Known;

/// The field number of `metadata` in requests and of `headers` in responses.
pub(super) const FIELD: u8 = 2;

/// The entries of a message that has been checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metadata<'a> {
    message: &'a [u8],
    /// Names that occur ([`Known::bit`]).
    present: u64,
}

/// One name with its values.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// As spelled on the wire: canonical from HTTP clients, lower case from gRPC clients and from sidecars.
    pub key: &'a str,
    /// Which known name it is, in any case.
    pub known: Known,
    list: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads one map entry and checks its values.
    pub(super) fn open(entry: &'a [u8], peer: Peer) -> Result<Entry<'a>, OpenError> {
        let entry = Entry::read(entry)?;
        let mut values = Fields::new(entry.list);
        while let Some(field) = values.next()? {
            if let Field::Bytes(1, bytes) = field {
                super::value(bytes, peer)?;
            }
        }
        Ok(entry)
    }

    #[inline]
    fn read(entry: &'a [u8]) -> Result<Entry<'a>, OpenError> {
        let (mut fields, mut key, mut list) = (Fields::new(entry), &b""[..], &b""[..]);
        while let Some(field) = fields.next()? {
            match field {
                Field::Bytes(1, name) => key = name,
                Field::Bytes(2, values) => list = values,
                _ => {}
            }
        }
        Ok(Entry { key: text(key)?, known: Known::of(key), list })
    }

    /// Its values, in order. UTF-8 from a daprd; any bytes from an Outrigger.
    pub fn values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        values(self.list)
    }

    /// Its first value.
    pub fn first(&self) -> Option<&'a [u8]> {
        self.values().next()
    }
}

fn values<'a>(list: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let mut fields = Fields::new(list);
    core::iter::from_fn(move || {
        loop {
            match fields.next() {
                Ok(Some(Field::Bytes(1, value))) => return Some(value),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None, // checked when the message was opened
            }
        }
    })
}

impl<'a> Metadata<'a> {
    pub(super) fn new(message: &'a [u8]) -> Metadata<'a> {
        Metadata { message, present: 0 }
    }

    pub(super) fn noticed(&mut self, known: Known) {
        self.present |= known.bit();
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Whether an entry of that name is there, in any case.
    pub fn has(&self, known: Known) -> bool {
        known.is_in(self.present)
    }

    /// The entries in the order of the wire. An entry without values is left out.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut fields = Fields::new(self.message);
        core::iter::from_fn(move || {
            loop {
                match fields.next() {
                    Ok(Some(Field::Bytes(number, entry))) if number == u32::from(FIELD) => {
                        return Entry::read(entry).ok();
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return None, // checked when the message was opened
                }
            }
        })
    }

    /// The values of a name in any case; of every entry, should there be several that differ in case.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let entries = self.has(known).then(|| self.entries());
        entries
            .into_iter()
            .flatten()
            .filter(move |entry| entry.known == known)
            .flat_map(|entry| entry.values())
    }

    /// The first value of a name in any case.
    pub fn first(&self, known: Known) -> Option<&'a [u8]> {
        self.all(known).next()
    }

    /// The values of a key spelled exactly so; the last such entry counts, as in a protobuf map.
    pub fn exactly(&self, key: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let entry = self.entries().filter(|entry| entry.key == key).last();
        entry.into_iter().flat_map(|entry| entry.values())
    }

    /// Whether a `Connection` value lists `name`.
    pub fn connection_lists(&self, name: &[u8]) -> bool {
        self.has(Known::Connection)
            && self
                .all(Known::Connection)
                .any(|value| crate::http1::head::list(value).any(|item| item.eq_ignore_ascii_case(name)))
    }
}

/// `google.protobuf.Any`: type URL and value.
pub(crate) fn any(message: &[u8]) -> Result<(&str, &[u8]), OpenError> {
    let (mut fields, mut type_url, mut value) = (Fields::new(message), "", &b""[..]);
    while let Some(field) = fields.next()? {
        match field {
            Field::Bytes(1, url) => type_url = text(url)?,
            Field::Bytes(2, bytes) => value = bytes,
            _ => {}
        }
    }
    Ok((type_url, value))
}

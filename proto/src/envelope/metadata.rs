//! `map<string, ListStringValue>`: the headers inside the messages.

use super::wire::{Field, Fields};
use super::{OpenError, Peer, text};
use crate::http1::hop::Listed;
use crate::http1::names::Known;

/// The field number of `metadata` in requests and of `headers` in responses.
pub(super) const FIELD: u8 = 2;

/// The entries of a message that has been checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metadata<'a> {
    message: &'a [u8],
    /// Names that occur ([`Known::bit`]).
    present: u64,
    /// The values of the names that are asked for in every call, found while the message was checked.
    noticed: [&'a [u8]; NOTICED],
    /// Which names the first entries have, and how many entries there are.
    kinds: [Known; KINDS],
    count: usize,
}

/// Entries whose name is not looked up again.
const KINDS: usize = 24;

const NOTICED: usize = 10;

/// Where the values of a name are kept. Of the sidecars' own keys only those spelled exactly so count, the last one
/// as in a protobuf map; of other names the first one, in any case.
#[inline]
fn place(known: Known) -> Option<(usize, Option<&'static [u8]>)> {
    Some(match known {
        Known::ContentLength => (0, None),
        Known::UserAgent => (1, None),
        Known::Baggage => (2, None),
        Known::Traceparent => (3, None),
        Known::Tracestate => (4, None),
        Known::GrpcTraceBin => (5, None),
        Known::DaprCallerAppId => (6, Some(b"dapr-caller-app-id")),
        Known::DaprCallerNamespace => (7, Some(b"dapr-caller-namespace")),
        Known::DaprCalleeAppId => (8, Some(b"dapr-callee-app-id")),
        Known::OutriggerVerb => (9, Some(b"outrigger-verb")),
        _ => return None,
    })
}

/// One name with its values.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// As spelled on the wire: canonical from HTTP clients, lower case from gRPC clients and from sidecars. UTF-8.
    pub key: &'a [u8],
    /// Which known name it is, in any case.
    pub known: Known,
    list: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads one map entry and checks it.
    #[inline]
    pub(super) fn open(entry: &'a [u8], peer: Peer) -> Result<Entry<'a>, OpenError> {
        let entry = Entry::read(entry, None)?;
        super::utf8(entry.key)?;
        if let Some(value) = only_value(entry.list) {
            super::value(value, peer)?;
            return Ok(entry);
        }
        let mut values = Fields::new(entry.list);
        while let Some(field) = values.next()? {
            if let Field::Bytes(1, bytes) = field {
                super::value(bytes, peer)?;
            }
        }
        Ok(entry)
    }

    /// The usual entry is its key and its list, both short. `known`: which name it is, if that is known already.
    #[inline]
    fn read(entry: &'a [u8], known: Option<Known>) -> Result<Entry<'a>, OpenError> {
        if let [KEY, length @ 0..0x80, rest @ ..] = entry
            && let Some((key, [LIST, length @ 0..0x80, list @ ..])) =
                rest.split_at_checked(usize::from(*length))
            && list.len() == usize::from(*length)
        {
            return Ok(Entry { key, known: known.unwrap_or_else(|| Known::of(key)), list });
        }
        Entry::read_any(entry)
    }

    #[cold]
    fn read_any(entry: &'a [u8]) -> Result<Entry<'a>, OpenError> {
        let (mut fields, mut key, mut list) = (Fields::new(entry), &b""[..], &b""[..]);
        while let Some(field) = fields.next()? {
            match field {
                Field::Bytes(1, name) => key = name,
                Field::Bytes(2, values) => list = values,
                _ => {}
            }
        }
        Ok(Entry { key, known: Known::of(key), list })
    }

    /// Its values, in order. UTF-8 from a daprd; any bytes from an Outrigger.
    #[inline]
    pub fn values(&self) -> Values<'a> {
        Values(Fields::new(self.list))
    }

    /// Its value where it has exactly one, in the usual form.
    #[inline]
    pub(crate) fn only_value(&self) -> Option<&'a [u8]> {
        only_value(self.list)
    }
}

const KEY: u8 = super::wire::tag(1);
const LIST: u8 = super::wire::tag(2);

/// The value of a list that holds one short value and nothing else.
#[inline]
fn only_value(list: &[u8]) -> Option<&[u8]> {
    match list {
        [KEY, length @ 0..0x80, value @ ..] if value.len() == usize::from(*length) => Some(value),
        _ => None,
    }
}

/// The values of an entry.
#[derive(Clone, Debug)]
pub struct Values<'a>(Fields<'a>);

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            match self.0.next() {
                Ok(Some(Field::Bytes(1, value))) => return Some(value),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None, // checked when the message was opened
            }
        }
    }
}

/// The entries of a message.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    fields: Fields<'a>,
    kinds: [Known; KINDS],
    /// How many of them are known.
    known: usize,
    at: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            match self.fields.next() {
                Ok(Some(Field::Bytes(number, entry))) if number == u32::from(FIELD) => {
                    let known = self.kinds.get(self.at).filter(|_| self.at < self.known).copied();
                    self.at += 1;
                    return Entry::read(entry, known).ok();
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return None, // checked when the message was opened
            }
        }
    }
}

impl<'a> Metadata<'a> {
    pub(super) fn new(message: &'a [u8]) -> Metadata<'a> {
        Metadata { message, ..Metadata::default() }
    }

    /// Takes notice of a checked entry; of all of them, in order.
    pub(super) fn notice(&mut self, entry: &Entry<'a>) {
        if let Some((place, exact)) = place(entry.known) {
            let counts = match exact {
                Some(key) => entry.key == key,
                None => !self.has(entry.known),
            };
            if let Some(noticed) = self.noticed.get_mut(place).filter(|_| counts) {
                *noticed = entry.list;
            }
        }
        self.present |= entry.known.bit();
        if let Some(kind) = self.kinds.get_mut(self.count) {
            *kind = entry.known;
        }
        self.count += 1;
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Whether an entry of that name is there, in any case.
    #[inline]
    pub fn has(&self, known: Known) -> bool {
        known.is_in(self.present)
    }

    /// The entries in the order of the wire.
    #[inline]
    pub fn entries(&self) -> Entries<'a> {
        Entries { fields: Fields::new(self.message), kinds: self.kinds, known: self.count, at: 0 }
    }

    /// The first value of a name in any case; of the sidecars' own keys (`dapr-caller-…`, `dapr-callee-app-id`,
    /// `outrigger-verb`) of the one that a sidecar wrote.
    pub fn first(&self, known: Known) -> Option<&'a [u8]> {
        if !self.has(known) {
            return None;
        }
        match place(known) {
            Some((place, _)) => Values(Fields::new(self.noticed.get(place)?)).next(),
            None => self.entries().find(|entry| entry.known == known)?.values().next(),
        }
    }

    /// All values of a name in any case.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.entries().filter(move |entry| entry.known == known).flat_map(|entry| entry.values())
    }

    /// The values of a key spelled exactly so; the last such entry counts, as in a protobuf map.
    pub fn exactly(&self, key: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let entry = self.entries().filter(|entry| entry.key == key.as_bytes()).last();
        entry.into_iter().flat_map(|entry| entry.values())
    }

    /// The names that its `Connection` values list.
    #[inline]
    pub fn listed(&self) -> Listed<'a> {
        if self.has(Known::Connection) {
            let lines = self.entries().filter(|entry| entry.known == Known::Connection);
            Listed::collect(lines.flat_map(|entry| entry.values()))
        } else {
            Listed::default()
        }
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

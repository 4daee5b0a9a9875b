//! Fields to header blocks: constant blocks whose fields enter the peer's table once, and literals that never do.
//!
//! Nothing but the constant blocks enters the peer's table, and only while there is room: no entry of ours is ever
//! evicted, so its index is known for as long as nothing else is inserted.

use super::statics::{DYNAMIC, STATIC};
use super::{OVERHEAD, TABLE, huffman, integer};

/// A constant block registered with an [`Encoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockId(usize);

/// A field of one message only.
#[derive(Clone, Copy, Debug)]
pub struct Literal<'a> {
    /// Lower-case name.
    pub name: &'a [u8],
    /// Value without control characters.
    pub value: &'a [u8],
    /// Whether no hop may put it into a table (§6.2.3): credentials.
    pub never_indexed: bool,
}

impl<'a> Literal<'a> {
    /// A literal that later hops may index.
    pub fn new(name: &'a str, value: &'a [u8]) -> Literal<'a> {
        Literal { name: name.as_bytes(), value, never_indexed: false }
    }
}

type Owned = (Box<[u8]>, Box<[u8]>);

#[derive(Default)]
struct Block {
    fields: Vec<Owned>,
    /// The block as indexes only, valid while as many entries are in the table as when it was made.
    indexes: Vec<u8>,
    made_at: usize,
}

/// The encoding end of one direction of a connection.
#[derive(Default)]
pub struct Encoder {
    blocks: Vec<Block>,
    /// What is in the peer's table because of us, oldest first.
    entries: Vec<Owned>,
    size: usize,
    /// The peer's table is smaller than the default: literals only.
    literal: bool,
    /// A size update is due at the start of the next block (§4.2).
    update: bool,
}

/// `made_at` of a block that must be made anew.
const STALE: usize = usize::MAX;

impl Encoder {
    /// Registers a block of constant fields, pseudo-header fields first.
    pub fn register(&mut self, fields: &[(&str, &str)]) -> BlockId {
        let own = |text: &str| text.as_bytes().into();
        let fields = fields.iter().map(|(name, value)| (own(name), own(value))).collect();
        self.blocks.push(Block { fields, indexes: Vec::new(), made_at: STALE });
        BlockId(self.blocks.len() - 1)
    }

    /// The peer announced the size of its table. Below the default this end stops using it for good.
    pub fn peer_table(&mut self, size: u32) {
        if (size as usize) < TABLE && !self.literal {
            self.literal = true;
            self.update = true;
            self.entries.clear();
            self.blocks.iter_mut().for_each(|b| b.made_at = STALE);
        }
    }

    /// Must come before anything else of a header block.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if self.update {
            self.update = false;
            integer::encode(out, 0x20, 5, 0);
        }
    }

    /// Appends a constant block: the first time its fields, later a byte or two a field.
    pub fn constant(&mut self, id: BlockId, out: &mut Vec<u8>) {
        let entries = self.entries.len();
        let Some(block) = self.blocks.get_mut(id.0) else { return };
        if block.made_at == entries {
            out.extend_from_slice(&block.indexes);
            return;
        }
        let mut block = core::mem::take(block);
        let start = out.len();
        for (name, value) in &block.fields {
            self.field(name, value, out);
        }
        if self.entries.len() == entries {
            block.indexes.clear();
            block.indexes.extend_from_slice(out.get(start..).unwrap_or(&[]));
            block.made_at = entries;
        }
        if let Some(place) = self.blocks.get_mut(id.0) {
            *place = block;
        }
    }

    /// Appends a constant block as literals, which do not depend on the tables and may be sent at any later time.
    pub fn literal(&self, id: BlockId, out: &mut Vec<u8>) {
        for (name, value) in self.blocks.get(id.0).iter().flat_map(|block| &block.fields) {
            literal(Literal { name, value, never_indexed: false }, out);
        }
    }

    /// One constant field: an index, or a literal that becomes an index.
    fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if let Some(i) = STATIC.iter().position(|e| e.0.as_bytes() == name && e.1.as_bytes() == value) {
            return integer::encode(out, 0x80, 7, i + 1);
        }
        if let Some(i) = self.entries.iter().position(|e| *e.0 == *name && *e.1 == *value) {
            return integer::encode(out, 0x80, 7, DYNAMIC + self.entries.len() - 1 - i);
        }
        let size = name.len() + value.len() + OVERHEAD;
        let fits = !self.literal && self.size + size <= TABLE;
        let (pattern, bits) = if fits { (0x40, 6) } else { (0, 4) };
        match STATIC.iter().position(|e| e.0.as_bytes() == name) {
            Some(i) => integer::encode(out, pattern, bits, i + 1),
            None => {
                out.push(pattern);
                coded(name, out);
            }
        }
        coded(value, out);
        if fits {
            self.size += size;
            self.entries.push((name.into(), value.into()));
        }
    }
}

/// Appends a literal without indexing (§6.2.2), or never indexed (§6.2.3).
pub(in crate::http2) fn literal(field: Literal<'_>, out: &mut Vec<u8>) {
    out.push(if field.never_indexed { 0x10 } else { 0 });
    plain(field.name, out);
    plain(field.value, out);
}

/// Appends `:path` as a literal without indexing: its name has index 4.
pub(in crate::http2) fn path(value: &[u8], out: &mut Vec<u8>) {
    out.push(4);
    plain(value, out);
}

/// Appends `:status` as a literal without indexing: its name has index 8.
pub(in crate::http2) fn status(value: u16, out: &mut Vec<u8>) {
    out.push(8);
    let digit = |by: u16| b'0' + (value / by % 10) as u8;
    plain(&[digit(100), digit(10), digit(1)], out);
}

/// A string as it is.
fn plain(text: &[u8], out: &mut Vec<u8>) {
    integer::encode(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// A string in its shorter form.
fn coded(text: &[u8], out: &mut Vec<u8>) {
    let length = huffman::encoded_len(text);
    if length >= text.len() {
        return plain(text, out);
    }
    integer::encode(out, 0x80, 7, length);
    huffman::encode(text, out);
}

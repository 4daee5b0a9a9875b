//! Header blocks to fields (RFC 7541 §3, §6).

use super::statics::{DYNAMIC, STATIC};
use super::table::{self, NameFrom, Table};
use super::{Field, broken, huffman, integer};
use crate::http2::code::Violation;
use crate::http2::field::{self, Name};

/// The decoding end of one direction of a connection.
pub struct Decoder {
    table: Table,
    /// Scratch for names and values that came Huffman-coded.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { table: Table::new(), name: Vec::new(), value: Vec::new() }
    }
}

impl Decoder {
    /// Hands every field of a whole header block to `each`, in order. After an error the state is lost.
    ///
    /// Memory: the table (4096 bytes by the protocol) and at most 8/5 of the block as scratch.
    pub fn decode(&mut self, mut block: &[u8], mut each: impl FnMut(Field<'_>)) -> Result<(), Violation> {
        while let Some(&first) = block.first()
            && first & 0xe0 == 0x20
        {
            self.resize(&mut block)?; // §4.2: only at the beginning
        }
        while let Some(&first) = block.first() {
            match first {
                0x80.. => self.indexed(&mut block, &mut each)?,
                0x40..=0x7f => self.literal(&mut block, 6, &mut each)?,
                0x20..=0x3f => return Err(broken("RFC 7541 §4.2", "table size update behind a field")),
                _ => self.literal(&mut block, 4, &mut each)?,
            }
        }
        Ok(())
    }

    fn resize(&mut self, block: &mut &[u8]) -> Result<(), Violation> {
        let size = integer::decode(block, 5)?;
        if self.table.resize(size) {
            Ok(())
        } else {
            Err(broken("RFC 7541 §6.3", "table size above the limit"))
        }
    }

    fn indexed(&mut self, block: &mut &[u8], each: &mut impl FnMut(Field<'_>)) -> Result<(), Violation> {
        let index = integer::decode(block, 7)?;
        each(lookup(&self.table, index)?);
        Ok(())
    }

    /// A literal (§6.2): with a 6-bit index it enters the table, with a 4-bit one it does not.
    fn literal(
        &mut self,
        block: &mut &[u8],
        bits: u32,
        each: &mut impl FnMut(Field<'_>),
    ) -> Result<(), Violation> {
        let never_indexed = bits == 4 && block.first().is_some_and(|b| b & 0x10 != 0);
        let index = integer::decode(block, bits)?;
        let fresh = if index == 0 { Some(string(block, &mut self.name)?) } else { None };
        let (name, tag) = match fresh {
            Some(name) => (name, field::classify(name)),
            None => lookup(&self.table, index).map(|f| (f.name, f.tag))?,
        };
        let value = string(block, &mut self.value)?;
        let valid = table::valid(name, value);
        each(Field { tag, name, value, valid, never_indexed });
        if bits == 4 {
            return Ok(());
        }
        let from = match (fresh, index) {
            (Some(name), _) => NameFrom::Bytes(name, tag),
            (None, ..DYNAMIC) => static_name(index, tag),
            (None, _) => NameFrom::Entry(index - DYNAMIC),
        };
        if self.table.insert(from, value, valid) { Ok(()) } else { Err(unknown_index()) }
    }
}

fn static_name<'a>(index: usize, tag: Name) -> NameFrom<'a> {
    NameFrom::Bytes(STATIC.get(index - 1).map_or(b"", |e| e.0.as_bytes()), tag)
}

fn unknown_index() -> Violation {
    broken("RFC 7541 §2.3.3", "index beyond the tables")
}

/// The field behind an index of both tables.
fn lookup(table: &Table, index: usize) -> Result<Field<'_>, Violation> {
    let found = match index.checked_sub(DYNAMIC) {
        Some(position) => table.entry(position),
        None => index.checked_sub(1).and_then(|i| STATIC.get(i)).map(|(name, value, tag)| Field {
            tag: *tag,
            name: name.as_bytes(),
            value: value.as_bytes(),
            valid: true,
            never_indexed: false,
        }),
    };
    found.ok_or_else(unknown_index)
}

/// A string literal (§5.2): borrowed from the block, or decoded into `scratch`.
fn string<'s, 'b: 's>(block: &mut &'b [u8], scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Violation> {
    let coded = block.first().is_some_and(|b| b & 0x80 != 0);
    let length = integer::decode(block, 7)?;
    let short = || broken("RFC 7541 §5.2", "string longer than its block");
    let (text, rest) = block.split_at_checked(length).ok_or_else(short)?;
    *block = rest;
    if !coded {
        return Ok(text);
    }
    scratch.clear();
    huffman::decode(text, scratch).map_err(|_| broken("RFC 7541 §5.2", "bad Huffman code"))?;
    Ok(scratch)
}

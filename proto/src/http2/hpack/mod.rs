//! HPACK (RFC 7541): a complete decoder, and an encoder for blocks that hardly ever change.

pub(super) mod decode;
pub(super) mod encode;
pub mod huffman;
mod integer;
mod statics;
mod table;

pub use decode::Decoder;
pub use encode::{BlockId, Encoder, Literal};

use super::code::{Code, Violation};
use super::field::Name;

/// The table size of both directions: the protocol's default, never changed by this end (RFC 9113 §6.5.2).
pub(super) const TABLE: usize = 4096;
/// What an entry costs beyond its name and value (§4.1).
pub(super) const OVERHEAD: usize = 32;

/// A decoded header field, borrowed from the block or the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which field it is, where that matters to HTTP/2 or gRPC.
    pub tag: Name,
    /// The name's bytes.
    pub name: &'a [u8],
    /// The value's bytes.
    pub value: &'a [u8],
    /// Whether name and value are made of allowed bytes (RFC 9113 §8.2.1).
    pub valid: bool,
    /// Whether it must never enter a table, here or at the next hop (§6.2.3).
    pub never_indexed: bool,
}

/// The header block cannot be decoded; the compression state is lost (RFC 9113 §4.3).
fn broken(section: &'static str, what: &'static str) -> Violation {
    Violation { code: Code::COMPRESSION_ERROR, section, what }
}

#[cfg(test)]
mod tests;

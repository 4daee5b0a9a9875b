//! The Huffman code of HPACK (RFC 7541 §5.2 and Appendix B).
//!
//! The code is canonical: the lengths alone determine it, codes of one length ascend with their symbols. All tables
//! are computed from the lengths when this is compiled.

// The tables are indexed by bytes and by lengths up to 30, which `LENGTHS` bounds when this is compiled.
#![allow(clippy::indexing_slicing)]

/// Symbols: the bytes and the end of string.
const SYMBOLS: usize = 257;
/// The end-of-string symbol: padding is made of its first bits, as a whole it is an error.
const EOS: u16 = 256;
const LONGEST: usize = 30;

/// Code lengths in bits (Appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

struct Canonical {
    /// The code of every symbol.
    codes: [u32; SYMBOLS],
    /// Symbols in ascending order of their codes.
    sorted: [u16; SYMBOLS],
    /// The first code of a length.
    first: [u32; LONGEST + 1],
    /// How many codes have a length.
    count: [u32; LONGEST + 1],
    /// Where the codes of a length begin in `sorted`.
    offset: [usize; LONGEST + 1],
}

static CODE: Canonical = canonical();

const fn canonical() -> Canonical {
    let mut t = Canonical {
        codes: [0; SYMBOLS],
        sorted: [0; SYMBOLS],
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
    };
    let (mut code, mut sorted, mut length) = (0, 0, 1);
    while length <= LONGEST {
        t.first[length] = code;
        t.offset[length] = sorted;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                t.codes[symbol] = code;
                t.sorted[sorted] = symbol as u16;
                code += 1;
                sorted += 1;
            }
            symbol += 1;
        }
        t.count[length] = code - t.first[length];
        code <<= 1;
        length += 1;
    }
    t
}

/// Symbol and length of the code that the next eight bits begin with; length 0 if it is longer than eight.
static SHORT: [(u8, u8); 256] = short();

const fn short() -> [(u8, u8); 256] {
    let code = canonical();
    let mut t = [(0, 0); 256];
    let mut symbol = 0;
    while symbol < 256 {
        let length = LENGTHS[symbol] as usize;
        if length <= 8 {
            let start = (code.codes[symbol] as usize) << (8 - length);
            let mut i = 0;
            while i < 1 << (8 - length) {
                t[start + i] = (symbol as u8, length as u8);
                i += 1;
            }
        }
        symbol += 1;
    }
    t
}

/// The code that `bits` (left-aligned) begins with: symbol and length.
fn long(bits: u64) -> (u16, usize) {
    for length in 9..=LONGEST {
        let code = (bits >> (64 - length)) as u32;
        let index = code.wrapping_sub(CODE.first[length]);
        if index < CODE.count[length] {
            return (CODE.sorted[CODE.offset[length] + index as usize], length);
        }
    }
    (EOS, LONGEST)
}

/// Bytes that `text` takes when encoded.
pub fn encoded_len(text: &[u8]) -> usize {
    text.iter().map(|&b| usize::from(LENGTHS[usize::from(b)])).sum::<usize>().div_ceil(8)
}

/// Appends `text` encoded, padded with ones.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u64, 0u32);
    for &byte in text {
        let length = u32::from(LENGTHS[usize::from(byte)]);
        bits = bits << length | u64::from(CODE.codes[usize::from(byte)]);
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    if held > 0 {
        out.push((bits << (8 - held)) as u8 | (0xff >> held));
    }
}

/// The string is not an encoding: it contains the end-of-string symbol, or its padding is wrong or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHuffman;

/// Appends what `text` encodes: at most 8/5 of its length.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), BadHuffman> {
    let mut input = text.iter();
    let (mut bits, mut held) = (0u64, 0usize);
    loop {
        while held <= 56 {
            let Some(&byte) = input.next() else { break };
            bits |= u64::from(byte) << (56 - held);
            held += 8;
        }
        let (symbol, length) = match SHORT[(bits >> 56) as usize] {
            (_, 0) => long(bits),
            (symbol, length) => (u16::from(symbol), usize::from(length)),
        };
        if length > held {
            return padding(bits, held);
        }
        let Ok(byte) = u8::try_from(symbol) else { return Err(BadHuffman) };
        out.push(byte);
        bits <<= length;
        held -= length;
    }
}

/// What is left must be fewer than eight bits, all ones (§5.2).
fn padding(bits: u64, held: usize) -> Result<(), BadHuffman> {
    let ones = u64::MAX.checked_shl(64 - held as u32).unwrap_or(0);
    if held < 8 && bits == ones { Ok(()) } else { Err(BadHuffman) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn decoded(text: &[u8]) -> Result<Vec<u8>, BadHuffman> {
        let mut out = vec![];
        decode(text, &mut out).map(|()| out)
    }

    #[test]
    fn the_strings_of_appendix_c4_and_c6_are_encoded_as_there() {
        let cases: [(&str, &[u8]); 5] = [
            ("www.example.com", &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            ("custom-key", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f]),
            ("private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b]),
            ("307", &[0x64, 0x0e, 0xff]),
        ];
        for (text, bytes) in cases {
            let mut out = vec![];
            encode(text.as_bytes(), &mut out);
            assert_eq!(out, bytes, "{text}");
            assert_eq!(encoded_len(text.as_bytes()), bytes.len());
            assert_eq!(decoded(bytes).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn a_few_codes_of_appendix_b_are_as_printed() {
        for (symbol, code) in [
            (0, 0x1ff8),
            (10, 0x3fff_fffc),
            (48, 0),
            (97, 3),
            (127, 0x0fff_fffc),
            (255, 0x03ff_ffee),
            (256, 0x3fff_ffff),
        ] {
            assert_eq!(CODE.codes[symbol], code, "symbol {symbol}");
        }
    }

    #[test]
    fn every_byte_string_comes_back() {
        let mut rng = Rng::new(5);
        for length in 0..300 {
            let text: Vec<u8> = (0..length).map(|_| rng.draw() as u8).collect();
            let mut out = vec![];
            encode(&text, &mut out);
            assert_eq!(out.len(), encoded_len(&text));
            assert_eq!(decoded(&out).unwrap(), text);
        }
    }

    #[test]
    fn wrong_padding_and_the_end_symbol_are_refused() {
        assert_eq!(decoded(&[0xff]), Err(BadHuffman), "eight bits of padding");
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(BadHuffman), "end of string");
        assert_eq!(decoded(&[0b0000_0000]), Err(BadHuffman), "'0' and padding of zeros");
        assert_eq!(decoded(&[0b0000_0111]).unwrap(), b"0");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }
}

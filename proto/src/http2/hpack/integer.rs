//! Integers with a prefix (RFC 7541 §5.1).

use super::broken;
use crate::http2::code::Violation;

/// Decodes an integer whose first byte is the first of `input`, with a prefix of `bits`; `input` moves behind it.
/// Numbers above 2^28 and needlessly long forms are refused: no length or index here comes near.
pub(super) fn decode(input: &mut &[u8], bits: u32) -> Result<usize, Violation> {
    let short = || broken("RFC 7541 §5.1", "header block ends within an integer");
    let (&first, mut rest) = input.split_first().ok_or_else(short)?;
    let mask = (1u8 << bits) - 1;
    let mut value = usize::from(first & mask);
    if first & mask == mask {
        for shift in (0..=28).step_by(7) {
            if shift == 28 {
                return Err(broken("RFC 7541 §5.1", "integer too large"));
            }
            let (&byte, behind) = rest.split_first().ok_or_else(short)?;
            rest = behind;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *input = rest;
    Ok(value)
}

/// Appends `value` with a prefix of `bits` under the pattern `high`.
pub(super) fn encode(out: &mut Vec<u8>, high: u8, bits: u32, value: usize) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        out.push(high | value as u8);
        return;
    }
    out.push(high | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_appendix_c1_hold() {
        for (value, bits, bytes) in
            [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 8, &[0x2a]), (31, 5, &[0x1f, 0])]
        {
            let mut out = vec![];
            if bits < 8 {
                encode(&mut out, 0, bits, value);
                assert_eq!(out, bytes);
                assert_eq!(decode(&mut &out[..], bits), Ok(value));
            }
        }
    }

    #[test]
    fn every_integer_comes_back() {
        for bits in 4..=7 {
            for value in (0..70_000).chain([1 << 20, (1 << 27) - 1]) {
                let mut out = vec![];
                encode(&mut out, 0, bits, value);
                let mut rest = &out[..];
                assert_eq!(decode(&mut rest, bits), Ok(value));
                assert!(rest.is_empty());
            }
        }
    }

    #[test]
    fn endless_and_cut_integers_are_refused() {
        assert!(decode(&mut &[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..], 5).is_err());
        assert!(decode(&mut &[0x1f, 0x80][..], 5).is_err());
        assert!(decode(&mut &[][..], 5).is_err());
    }
}

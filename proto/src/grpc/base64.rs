//! Base64 with the standard alphabet (RFC 4648 section 4), as gRPC's `-bin` metadata uses it.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whether `=` fills the last group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// With `=`: values inside daprd's metadata map.
    Padded,
    /// Without: `-bin` headers on the wire.
    Bare,
}

/// Appends the encoding of `data`.
pub fn encode(out: &mut Vec<u8>, data: &[u8], padding: Padding) {
    for group in data.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = group.len() + 1;
        for digit in 0..digits {
            let value = bits >> (18 - 6 * digit) & 63;
            out.push(ALPHABET.get(value as usize).copied().unwrap_or(b'A'));
        }
        if padding == Padding::Padded {
            out.extend(core::iter::repeat_n(b'=', 4 - digits));
        }
    }
}

/// Decodes text with or without padding; `None` where it is not base64. Surplus bits of the last digit are ignored,
/// as Go does.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits = match text {
        [rest @ .., b'=', b'='] | [rest @ .., b'='] if text.len().is_multiple_of(4) => rest,
        _ => text,
    };
    if digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let bits = group.iter().try_fold(0u32, |bits, digit| Some(bits << 6 | u32::from(value(*digit)?)))?;
        let bytes = (bits << (6 * (4 - group.len()))).to_be_bytes();
        out.extend(bytes.iter().skip(1).take(group.len() * 6 / 8));
    }
    Some(out)
}

/// [`decode`] for the alphabet of URLs (RFC 4648 section 5); the standard alphabet's own two characters are none of it.
pub fn decode_url(text: &[u8]) -> Option<Vec<u8>> {
    decode(&standard(text)?)
}

/// [`decode_url`] where a value has one spelling: without padding and without surplus bits.
pub fn decode_url_exactly(text: &[u8]) -> Option<Vec<u8>> {
    let standard = standard(text)?;
    let data = decode(&standard)?;
    let mut again = Vec::with_capacity(standard.len());
    encode(&mut again, &data, Padding::Bare);
    (again == standard).then_some(data)
}

fn standard(url: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' => None,
        other => Some(*other),
    };
    url.iter().map(digit).collect()
}

fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &[u8], padding: Padding) -> String {
        let mut out = Vec::new();
        encode(&mut out, data, padding);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_alphabet_of_urls_has_two_digits_of_its_own() {
        assert_eq!(decode_url(b"-_8"), Some(vec![251, 255]));
        assert_eq!(decode_url(b"-_8="), Some(vec![251, 255]));
        assert_eq!(decode_url(b"+/8"), None);
        for (text, bytes) in
            [("", &b""[..]), ("AQ", &[1]), ("AQI", &[1, 2]), ("AQID", &[1, 2, 3]), ("-_8", &[251, 255])]
        {
            assert_eq!(decode_url_exactly(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        for text in ["A", "AQIDA", "AR", "AQ=", "AQ==", "+/8", "A Q", "A\n"] {
            assert_eq!(decode_url_exactly(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        for (data, padded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(text(data.as_bytes(), Padding::Padded), padded);
            assert_eq!(text(data.as_bytes(), Padding::Bare), padded.trim_end_matches('='));
            assert_eq!(decode(padded.as_bytes()).unwrap(), data.as_bytes());
            assert_eq!(decode(padded.trim_end_matches('=').as_bytes()).unwrap(), data.as_bytes());
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["!!!", "A", "AAAAA", "Zg=", "Zg===", "=", "====", "Zg==Zg==", "Z g="] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}

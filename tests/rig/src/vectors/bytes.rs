//! Bytes in JSON: `text`, `text_b64`, `text_fill`.

use serde::Deserialize;

/// A value that is UTF-8 text, or `{"b64": …}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Text {
    /// UTF-8.
    Plain(String),
    /// Anything else.
    Encoded {
        /// Base 64.
        b64: String,
    },
}

impl Text {
    /// The bytes it stands for.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Text::Plain(text) => text.clone().into_bytes(),
            Text::Encoded { b64 } => base64(b64),
        }
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::Plain(String::new())
    }
}

/// `{"text": T, "bytes": N}`: T repeated and cut to N bytes.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Fill {
    /// What is repeated.
    pub text: String,
    /// How long the result is.
    pub bytes: usize,
}

impl Fill {
    /// The bytes it stands for.
    pub fn bytes(&self) -> Vec<u8> {
        self.text.bytes().cycle().take(self.bytes).collect()
    }
}

/// The bytes given by the three forms of a field; `None` when none is there.
pub fn any(text: Option<&String>, encoded: Option<&String>, fill: Option<&Fill>) -> Option<Vec<u8>> {
    let text = text.map(|t| t.clone().into_bytes());
    text.or_else(|| encoded.map(|e| base64(e))).or_else(|| fill.map(Fill::bytes))
}

/// Base 64 without padding.
pub fn to_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextets = |group: &[u8]| {
        let padded = group.iter().chain(&[0, 0]).take(3).fold(0u32, |held, b| held << 8 | u32::from(*b));
        (0..=group.len()).map(move |n| LETTERS[(padded >> (18 - 6 * n) & 63) as usize] as char)
    };
    bytes.chunks(3).flat_map(sextets).collect()
}

/// Decodes base 64, padded or not.
pub fn base64(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter(|b| *b != b'=').map(digit);
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for digit in digits {
        held = (held << 6 | digit) & 0xFFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

fn digit(letter: u8) -> u32 {
    let value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        other => panic!("no base 64: {other}"),
    };
    u32::from(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_decoded_with_and_without_padding() {
        assert_eq!(base64("aGVsbG8="), b"hello");
        assert_eq!(base64("aGVsbG8"), b"hello");
        assert_eq!(base64("/+8="), [0xff, 0xef]);
    }

    #[test]
    fn base_64_comes_back() {
        for bytes in [&b""[..], b"a", b"ab", b"abc", &[0xff, 0xef, 0, 1]] {
            assert_eq!(base64(&to_base64(bytes)), bytes);
        }
    }

    #[test]
    fn a_fill_is_cut_to_its_length() {
        assert_eq!(Fill { text: "abc".to_owned(), bytes: 7 }.bytes(), b"abcabca");
    }
}

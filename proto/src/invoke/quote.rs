//! Text inside error messages: Go's quoting, and JSON as Go's encoder writes it.

/// Appends `text` as Go's `%q` does: double quotes, escapes for what does not print.
pub fn go(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(letter),
            '\0'..='\u{7f}' => out.push_str(&format!("\\x{:02x}", letter as u32)),
            _ if prints(letter) => out.push(letter),
            '\u{80}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", letter as u32)),
            _ => out.push_str(&format!("\\U{:08x}", letter as u32)),
        }
    }
    out.push('"');
}

/// Whether a letter beyond ASCII prints, nearly as Go sees it: no control, format, space or unassigned character.
fn prints(letter: char) -> bool {
    letter.is_alphanumeric()
        || (!letter.is_whitespace() && !letter.escape_debug().eq(letter.escape_unicode()))
}

/// Appends `text` as a JSON string as Go's encoder writes it: `<`, `>`, `&`, U+2028 and U+2029 escaped too.
pub fn json(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    json_content(out, text, true);
    out.push(b'"');
}

/// Appends `text` as a JSON string as Go's logrus and protojson write it: markup stays as it is.
pub fn plain_json(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    json_content(out, text, false);
    out.push(b'"');
}

fn json_content(out: &mut Vec<u8>, text: &str, markup: bool) {
    for letter in text.chars() {
        match letter {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            // Go writes U+FFFD so where it stands for bytes that were not UTF-8
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{fffd}' if markup => unicode(out, letter),
            '\0'..='\u{1f}' => unicode(out, letter),
            _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn unicode(out: &mut Vec<u8>, letter: char) {
    out.extend_from_slice(format!("\\u{:04x}", letter as u32).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut out = String::new();
        go(&mut out, text);
        out
    }

    #[test]
    fn text_is_quoted_as_in_go() {
        assert_eq!(quoted("a#b"), r#""a#b""#);
        assert_eq!(quoted("a\0b\u{1f}\u{7f}"), r#""a\x00b\x1f\x7f""#);
        assert_eq!(quoted("\"\\\n\t"), r#""\"\\\n\t""#);
        assert_eq!(quoted("café😀"), "\"café😀\"");
        assert_eq!(quoted("\u{2028}\u{ad}\u{e000}"), r#""\u2028\u00ad\ue000""#);
    }

    #[test]
    fn json_is_escaped_as_in_go() {
        let mut out = Vec::new();
        json(&mut out, "<b>&\"'\\\u{2028}é\0\n");
        assert_eq!(out, "\"\\u003cb\\u003e\\u0026\\\"'\\\\\\u2028é\\u0000\\n\"".as_bytes());
    }
}

//! JSON as far as the sidecar judges it: whether a body is JSON at all (RFC 8259), and what the members of its outermost
//! object are. Nothing is built of what lies deeper.

use core::fmt;
use std::borrow::Cow;

/// How deep arrays and objects may lie in each other, as in Go's libraries.
pub const MOST_DEPTH: usize = 10_000;

/// A value of the outermost object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array,
    Object,
}

/// A member of the outermost object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, unescaped.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Value<'a>,
}

/// What a whole text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document<'a> {
    /// An object, its members in their order.
    Object(Vec<Member<'a>>),
    /// Anything else.
    Other(Value<'a>),
}

/// Why a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where, in bytes from the beginning.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "syntax error at byte {}: expected {}", self.at, self.expected)
    }
}

impl core::error::Error for Malformed {}

/// Reads one value, and nothing but white space behind it.
///
/// # Errors
/// It is not JSON: where, and what was expected there.
pub fn read(text: &str) -> Result<Document<'_>, Malformed> {
    let (document, end) = first(text)?;
    let mut cursor = Cursor { text, at: end };
    cursor.blanks();
    if cursor.at < text.len() { Err(cursor.expected("the end")) } else { Ok(document) }
}

/// Reads the value that the text begins with; where it ends.
///
/// # Errors
/// It does not begin with JSON: where, and what was expected there.
pub fn first(text: &str) -> Result<(Document<'_>, usize), Malformed> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.blanks();
    let document = match cursor.peek() {
        Some(b'{') => Document::Object(cursor.members()?),
        _ => Document::Other(cursor.value()?),
    };
    Ok((document, cursor.at))
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Whether this byte was next, which is passed then.
    fn passes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn members(&mut self) -> Result<Vec<Member<'a>>, Malformed> {
        self.at += 1;
        let mut members = Vec::new();
        self.blanks();
        if self.passes(b'}') {
            return Ok(members);
        }
        loop {
            let name = self.name()?;
            let value = self.value()?;
            members.push(Member { name, value });
            self.blanks();
            if self.passes(b'}') {
                return Ok(members);
            }
            if !self.passes(b',') {
                return Err(self.expected("',' or '}'"));
            }
        }
    }

    /// A name with its colon.
    fn name(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.blanks();
        if self.peek() != Some(b'"') {
            return Err(self.expected("a name in quotes"));
        }
        let name = self.string()?;
        self.blanks();
        if self.passes(b':') { Ok(name) } else { Err(self.expected("':'")) }
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        self.blanks();
        match self.peek() {
            Some(b'{') => self.nested().map(|()| Value::Object),
            Some(b'[') => self.nested().map(|()| Value::Array),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Result<Value<'a>, Malformed> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            _ => Err(self.expected("a value")),
        }
    }

    fn word(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>, Malformed> {
        match self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            true => {
                self.at += word.len();
                Ok(value)
            }
            false => Err(self.expected("a value")),
        }
    }

    fn number(&mut self) -> Result<&'a str, Malformed> {
        let from = self.at;
        self.passes(b'-');
        if !self.passes(b'0') {
            self.digits()?;
        }
        if self.passes(b'.') {
            self.digits()?;
        }
        if self.passes(b'e') || self.passes(b'E') {
            if !self.passes(b'+') {
                self.passes(b'-');
            }
            self.digits()?;
        }
        Ok(self.text.get(from..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { Err(self.expected("a digit")) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.at += 1;
        let from = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape().map(drop)?,
                Some(0..=0x1f) | None => return Err(self.expected("'\"'")),
                Some(_) => self.at += 1,
            }
        }
        let raw = self.text.get(from..self.at).unwrap_or_default();
        self.at += 1;
        Ok(if raw.contains('\\') { Cow::Owned(unescaped(raw)) } else { Cow::Borrowed(raw) })
    }

    /// What a backslash stands for; half a surrogate pair is a number only.
    fn escape(&mut self) -> Result<u32, Malformed> {
        self.at += 1;
        let letter = self.peek();
        self.at += 1;
        Ok(match letter {
            Some(b'"') => 0x22,
            Some(b'\\') => 0x5c,
            Some(b'/') => 0x2f,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => 0x0a,
            Some(b'r') => 0x0d,
            Some(b't') => 0x09,
            Some(b'u') => {
                let digits = self.text.get(self.at..self.at + 4);
                let code = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                let code = code.and_then(|d| u32::from_str_radix(d, 16).ok());
                let code = code.ok_or_else(|| self.expected("four hexadecimal digits"))?;
                self.at += 4;
                code
            }
            _ => {
                self.at -= 1;
                return Err(self.expected("an escape"));
            }
        })
    }

    /// Passes an array or an object with everything inside.
    fn nested(&mut self) -> Result<(), Malformed> {
        let mut open = Vec::new();
        loop {
            if self.opens(&mut open)? {
                continue;
            }
            if self.closes(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Passes a value's beginning; whether another value follows inside.
    fn opens(&mut self, open: &mut Vec<u8>) -> Result<bool, Malformed> {
        self.blanks();
        let (bracket, close) = match self.peek() {
            Some(b'{') => (b'{', b'}'),
            Some(b'[') => (b'[', b']'),
            _ => return self.scalar().map(|_| false),
        };
        self.at += 1;
        self.blanks();
        if self.passes(close) {
            return Ok(false);
        }
        if open.len() >= MOST_DEPTH {
            return Err(self.expected("no more brackets inside each other"));
        }
        open.push(bracket);
        if bracket == b'{' {
            self.name()?;
        }
        Ok(true)
    }

    /// Passes what follows a value; whether the outermost bracket is closed.
    fn closes(&mut self, open: &mut Vec<u8>) -> Result<bool, Malformed> {
        while let Some(bracket) = open.last() {
            self.blanks();
            if self.passes(b',') {
                if *bracket == b'{' {
                    self.name()?;
                }
                return Ok(false);
            }
            let (close, expected) =
                if *bracket == b'{' { (b'}', "',' or '}'") } else { (b']', "',' or ']'") };
            if !self.passes(close) {
                return Err(self.expected(expected));
            }
            open.pop();
        }
        Ok(true)
    }
}

/// The text of a string whose escapes were checked; half a surrogate pair becomes U+FFFD, as in Go.
fn unescaped(raw: &str) -> String {
    let (mut out, mut high) = (String::with_capacity(raw.len()), None::<u32>);
    let mut cursor = Cursor { text: raw, at: 0 };
    while let Some(letter) = raw.get(cursor.at..).and_then(|rest| rest.chars().next()) {
        let code = if letter == '\\' { cursor.escape().ok() } else { None };
        match (high.take(), code) {
            (Some(high), Some(low @ 0xdc00..=0xdfff)) => {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                continue;
            }
            (Some(_), _) => out.push(char::REPLACEMENT_CHARACTER),
            (None, _) => {}
        }
        match code {
            Some(half @ 0xd800..=0xdbff) => high = Some(half),
            Some(code) => out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
            None => {
                out.push(letter);
                cursor.at += letter.len_utf8();
            }
        }
    }
    out.extend(high.map(|_| char::REPLACEMENT_CHARACTER));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Vec<(String, Value<'_>)> {
        match read(text).unwrap() {
            Document::Object(members) => {
                members.into_iter().map(|member| (member.name.into_owned(), member.value)).collect()
            }
            Document::Other(value) => panic!("{value:?}"),
        }
    }

    #[test]
    fn the_members_of_the_outermost_object_are_told_with_their_values() {
        let text = r#" { "a" : -1.5e+3 , "b\u0041\n" : "x\ud83d\ude00\ud800y" ,"c":[{"d":[1,{}]},[]],"e":{"f":null},"g":true,"h":null}"#;
        let expected = [
            ("a", Value::Number("-1.5e+3")),
            ("bA\n", Value::Text("x\u{1f600}\u{fffd}y".into())),
            ("c", Value::Array),
            ("e", Value::Object),
            ("g", Value::Bool(true)),
            ("h", Value::Null),
        ];
        assert_eq!(members(text), expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(read(" [1] "), Ok(Document::Other(Value::Array)));
        assert_eq!(read("\"\""), Ok(Document::Other(Value::Text("".into()))));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("{", 1),
            ("{]", 1),
            ("{\"a\"}", 4),
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("{\"a\":1 \"b\":2}", 7),
            ("[1,]", 3),
            ("[1}", 2),
            ("{\"a\":[1}", 7),
            ("01", 1),
            ("-", 1),
            ("1.", 2),
            ("1e", 2),
            ("nul", 0),
            ("\"a", 2),
            ("\"\\x\"", 2),
            ("\"\\u12\"", 3),
            ("\"\n\"", 1),
            ("{} x", 3),
            ("'a'", 0),
        ] {
            assert_eq!(read(text).map_err(|malformed| malformed.at), Err(at), "{text}");
        }
    }

    #[test]
    fn the_first_value_of_a_text_may_be_followed_by_anything() {
        assert_eq!(first("{} x").map(|(_, end)| end), Ok(2));
        assert!(first("x").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + "1" + &"]".repeat(depth);
        assert!(read(&nested(MOST_DEPTH)).is_ok());
        assert!(read(&nested(MOST_DEPTH + 1)).is_err());
    }
}

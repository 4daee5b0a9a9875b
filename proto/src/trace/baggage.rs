//! `baggage` (W3C Baggage), checked as daprd checks it: a malformed value is answered with 400 and this text
//! (vectors trace-headers/default/baggage-…).

use crate::invoke::quote;
use core::fmt;

/// Most list members; more make the value invalid.
const MAX_MEMBERS: usize = 180;
/// Longest value as a whole, in bytes.
const MAX_BYTES: usize = 8192;

/// Why a baggage value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A member without `=`.
    Member(String),
    /// A key that is no token.
    Key(String),
    /// A value with a character that must be percent-encoded.
    Value(String),
    /// A property of a member.
    Property(String),
    /// Too many members.
    Count,
    /// Too many bytes.
    Size(usize),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid baggage header: ")?;
        let (what, shown) = match self {
            Invalid::Member(shown) => ("invalid baggage list-member", shown),
            Invalid::Key(shown) => ("invalid key", shown),
            Invalid::Value(shown) => ("invalid value", shown),
            Invalid::Property(shown) => ("invalid baggage list-member property", shown),
            Invalid::Count => return f.write_str("too many list-members in baggage-string"),
            Invalid::Size(bytes) => return write!(f, "baggage-string too large: {bytes}"),
        };
        let mut quoted = String::new();
        quote::go(&mut quoted, shown);
        write!(f, "{what}: {quoted}")
    }
}

impl core::error::Error for Invalid {}

/// Checks all `baggage` values of a request, which count as one list. No value, or empty ones, are fine.
///
/// # Errors
/// The first thing wrong.
pub fn check<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<(), Invalid> {
    let (mut members, mut bytes) = (0, 0);
    for value in values.filter(|value| !value.is_empty()) {
        bytes += value.len() + usize::from(members > 0);
        for text in value.split(|byte| *byte == b',') {
            members += 1;
            member(text)?;
        }
    }
    match (members > MAX_MEMBERS, bytes > MAX_BYTES) {
        (_, true) => Err(Invalid::Size(bytes)),
        (true, _) => Err(Invalid::Count),
        _ => Ok(()),
    }
}

fn member(text: &[u8]) -> Result<(), Invalid> {
    let mut parts = text.split(|byte| *byte == b';');
    let (key, value) = cut(parts.next().unwrap_or_default());
    let Some(value) = value else { return Err(Invalid::Member(shown(text))) };
    check_key(key).map_err(Invalid::Key)?;
    check_value(value).map_err(Invalid::Value)?;
    for property in parts {
        let (key, value) = cut(property);
        let fine = check_key(key).is_ok() && value.is_none_or(|value| check_value(value).is_ok());
        if !fine {
            return Err(Invalid::Property(shown(property)));
        }
    }
    Ok(())
}

/// Splits at the first `=`.
fn cut(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let key = text.split(|byte| *byte == b'=').next().unwrap_or_default();
    (key.trim_ascii(), text.get(key.len() + 1..).map(<[u8]>::trim_ascii))
}

fn check_key(key: &[u8]) -> Result<(), String> {
    if crate::http1::encode::is_name(key) { Ok(()) } else { Err(shown(key)) }
}

fn check_value(value: &[u8]) -> Result<(), String> {
    let plain = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    let escaped =
        core::str::from_utf8(value).is_ok_and(|text| crate::invoke::escape::decode(text, false).is_ok());
    if value.iter().all(plain) && escaped { Ok(()) } else { Err(shown(value)) }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Result<(), String> {
        check([value.as_bytes()].into_iter()).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn well_formed_baggage_passes() {
        for value in ["", "a=1", "a=1,b=2;prop=x", "a = 1 ; p , b=2", "a=%20x", "a=1,a=2", "a="] {
            assert_eq!(text(value), Ok(()), "{value}");
        }
    }

    #[test]
    fn malformed_baggage_is_refused_with_daprds_text() {
        for (value, why) in [
            ("no equals sign", r#"invalid baggage header: invalid baggage list-member: "no equals sign""#),
            ("a b=1", r#"invalid baggage header: invalid key: "a b""#),
            ("a=b c", r#"invalid baggage header: invalid value: "b c""#),
            ("a=1,", r#"invalid baggage header: invalid baggage list-member: """#),
            ("a=1;b c=2", r#"invalid baggage header: invalid baggage list-member property: "b c=2""#),
            ("a=%zz", r#"invalid baggage header: invalid value: "%zz""#),
        ] {
            assert_eq!(text(value).unwrap_err(), why);
        }
    }

    #[test]
    fn baggage_is_limited() {
        let many: Vec<String> = (0..181).map(|at| format!("k{at}=v")).collect();
        assert_eq!(check([many.join(",").as_bytes()].into_iter()), Err(Invalid::Count));
        let long = format!("a={}", "v".repeat(9000));
        assert_eq!(check([long.as_bytes()].into_iter()), Err(Invalid::Size(9002)));
    }
}

//! Tokens: `{caller_http_port}` stands for a value known beforehand, `{date}` or `{trace_id}` for one found in the answer.

use std::collections::BTreeMap;

/// Replaces every `{name}` that `known` has; other braces stay.
pub fn resolve(bytes: &[u8], known: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(open) = rest.iter().position(|&b| b == b'{') {
        out.extend_from_slice(&rest[..open]);
        rest = &rest[open..];
        let value = token(rest).and_then(|(name, length)| known.get(name).map(|v| (v, length)));
        let (text, length) = value.map_or((&b"{"[..], 1), |(v, length)| (v.as_bytes(), length));
        out.extend_from_slice(text);
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
    out
}

/// The token at the front of `bytes` and its length with braces.
fn token(bytes: &[u8]) -> Option<(&str, usize)> {
    let inside = bytes.strip_prefix(b"{")?;
    let close = inside.iter().position(|&b| b == b'}')?;
    let name = std::str::from_utf8(&inside[..close]).ok()?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some((name, close + 2))
}

/// Values found for the tokens of one case: equal tokens stand for equal values.
pub type Found = BTreeMap<String, Vec<u8>>;

/// Whether `actual` is `expected` with its found-in-the-answer tokens; records the values found.
pub fn matches(expected: &[u8], actual: &[u8], found: &mut Found) -> bool {
    prefix(expected, actual, found).is_some_and(|rest| rest.is_empty())
}

/// What is left of `actual` behind `expected`, or `None` when it does not begin so.
pub fn prefix<'a>(mut expected: &[u8], mut actual: &'a [u8], found: &mut Found) -> Option<&'a [u8]> {
    while !expected.is_empty() {
        if let Some((name, length)) = token(expected).filter(|(n, _)| width(n, b"").is_some()) {
            let taken = width(name, actual)?;
            let (value, rest) = actual.split_at_checked(taken).filter(|_| taken > 0)?;
            if *found.entry(name.to_owned()).or_insert_with(|| value.to_vec()) != value && is_same(name) {
                return None;
            }
            (expected, actual) = (&expected[length..], rest);
        } else {
            let (first, rest) = actual.split_first()?;
            if *first != expected[0] {
                return None;
            }
            (expected, actual) = (&expected[1..], rest);
        }
    }
    Some(actual)
}

/// Whether two of this token in one case must have one value.
fn is_same(name: &str) -> bool {
    name.starts_with("trace_id") || name.starts_with("span_id")
}

/// How many bytes at the front of `actual` a token takes; `None` for names that are no tokens.
fn width(name: &str, actual: &[u8]) -> Option<usize> {
    let run = |is: fn(&u8) -> bool| actual.iter().take_while(|b| is(b)).count();
    match name {
        "date" => Some(29.min(actual.len())),
        "ephemeral_port" => Some(run(u8::is_ascii_digit)),
        _ if name.starts_with("trace_id") => Some(run(u8::is_ascii_hexdigit)),
        _ if name.starts_with("span_id") => Some(run(u8::is_ascii_hexdigit)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeMap<String, String> {
        BTreeMap::from([("app_port".to_owned(), "45123".to_owned())])
    }

    #[test]
    fn known_tokens_are_replaced_and_other_braces_stay() {
        assert_eq!(resolve(b"{\"a\":{app_port},{date}}", &known()), b"{\"a\":45123,{date}}");
    }

    #[test]
    fn equal_tokens_stand_for_equal_values() {
        let mut found = Found::new();
        assert!(matches(b"00-{trace_id}-x", b"00-abcd-x", &mut found));
        assert!(matches(b"{trace_id}", b"abcd", &mut found));
        assert!(!matches(b"{trace_id}", b"abce", &mut found));
    }

    #[test]
    fn a_port_token_takes_digits_only() {
        let mut found = Found::new();
        assert!(matches(b":{ephemeral_port}->", b":45001->", &mut found));
        assert!(!matches(b":{ephemeral_port}->", b":->", &mut found));
    }
}

//! The method of a call: one normal form for policy and dispatch (spec/invocation 1.5, spec/security 5.7).
//!
//! Both sidecars normalise: the caller before anything is looked up, the callee again because it does not trust the
//! caller. Texts are daprd's.

use super::quote;
use core::fmt;
use std::borrow::Cow;

/// Why a method is rejected: the caller's own mistake, never retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodError {
    /// It contains `#`, `?` or NUL.
    Forbidden(String),
    /// It contains a control character at this byte.
    Control {
        /// Byte position.
        at: usize,
        /// The method.
        method: String,
    },
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut quoted = String::new();
        match self {
            MethodError::Forbidden(method) => {
                quote::go(&mut quoted, method);
                write!(f, "method contains forbidden character: {quoted}")
            }
            MethodError::Control { at, method } => {
                quote::go(&mut quoted, method);
                write!(f, "method contains control character at position {at}: {quoted}")
            }
        }
    }
}

impl core::error::Error for MethodError {}

/// The normal form of a method: no forbidden characters, no empty or dot segments, no trailing slash. A leading slash
/// stays (proxied gRPC methods have one). Nothing is decoded. Usually borrows.
///
/// # Errors
/// `#`, `?`, control characters.
pub fn normalise(method: &str) -> Result<Cow<'_, str>, MethodError> {
    if is_plain(method.as_bytes()) {
        return Ok(Cow::Borrowed(method));
    }
    if method.bytes().any(|byte| matches!(byte, b'#' | b'?' | 0)) {
        return Err(MethodError::Forbidden(method.into()));
    }
    if let Some(at) = method.bytes().position(|byte| byte < b' ' || byte == 0x7f) {
        return Err(MethodError::Control { at, method: method.into() });
    }
    Ok(match clean(method) {
        Cow::Borrowed(clean) => Cow::Borrowed(above_nothing(clean)),
        Cow::Owned(clean) => match above_nothing(&clean) {
            rest if rest.len() == clean.len() => Cow::Owned(clean),
            rest => Cow::Owned(rest.into()),
        },
    })
}

/// Whether a method is in normal form at first sight: nothing forbidden, no leading, doubled or trailing slash, no
/// segment that begins with a dot. One pass, for the usual case.
#[inline]
pub(super) fn is_plain(method: &[u8]) -> bool {
    let (mut before, mut plain) = (b'/', true);
    for byte in method {
        plain &= *byte >= b' ' && !matches!(byte, b'#' | b'?' | 0x7f);
        plain &= before != b'/' || !matches!(byte, b'/' | b'.');
        before = *byte;
    }
    plain && (before != b'/' || method.is_empty())
}

/// Without leading `../`, and empty for what means "here".
fn above_nothing(mut clean: &str) -> &str {
    while let Some(rest) = clean.strip_prefix("../") {
        clean = rest;
    }
    if matches!(clean, "." | "..") { "" } else { clean }
}

/// Go's `path.Clean`: resolves empty, `.` and `..` segments lexically; `.` for nothing.
pub fn clean(path: &str) -> Cow<'_, str> {
    if is_clean(path) {
        return Cow::Borrowed(if path.is_empty() { "." } else { path });
    }
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => drop(kept.pop()),
            ".." if rooted => {}
            _ => kept.push(segment),
        }
    }
    let joined = kept.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => Cow::Owned(format!("/{joined}")),
        (false, true) => Cow::Borrowed("."),
        (false, false) => Cow::Owned(joined),
    }
}

fn is_clean(path: &str) -> bool {
    let relative = path.strip_prefix('/').unwrap_or(path);
    relative.is_empty() || relative.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// Whether dot segments lead above where the path begins, at any point of it.
pub fn climbs(path: &str) -> bool {
    let mut depth = 0i32;
    path.split('/').any(|segment| {
        match segment {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        depth < 0
    })
}

/// Whether a method hides a separator or a dot from policy: an encoded `/`, `\` or `.` that an HTTP app would decode
/// after the policy looked at it (spec/security 5.7). Such a method must not reach an HTTP app past an active ACL.
pub fn conceals(method: &str) -> bool {
    let mut rest = method;
    while let Some((_, after)) = rest.split_once('%') {
        let code = after.get(..2).unwrap_or_default();
        if ["2f", "5c", "2e"].iter().any(|hidden| code.eq_ignore_ascii_case(hidden)) {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_one_normal_form() {
        for (method, normal) in [
            ("", ""),
            ("a/b", "a/b"),
            ("a/b/", "a/b"),
            ("a//b", "a/b"),
            ("./a", "a"),
            ("../a", "a"),
            ("../../a", "a"),
            ("a/../../b", "b"),
            ("..", ""),
            (".", ""),
            ("a/..", ""),
            ("/", "/"),
            ("//a", "/a"),
            ("/../a", "/a"),
            ("/gv.Svc/../x", "/x"),
            ("a/.../b", "a/.../b"),
            ("a%2F..", "a%2F.."),
            ("café;x=1\\*\"", "café;x=1\\*\""),
        ] {
            assert_eq!(normalise(method).unwrap(), normal, "{method}");
        }
    }

    #[test]
    fn a_normal_method_is_borrowed_and_stays() {
        for method in ["", "a", "a/b.c/d", "/svc/method"] {
            assert!(matches!(normalise(method), Ok(Cow::Borrowed(same)) if same == method), "{method}");
        }
    }

    #[test]
    fn forbidden_and_control_characters_are_rejected_with_daprds_text() {
        let text = |method: &str| normalise(method).unwrap_err().to_string();
        assert_eq!(text("a#b"), r#"method contains forbidden character: "a#b""#);
        assert_eq!(text("a\0b"), r#"method contains forbidden character: "a\x00b""#);
        assert_eq!(text("a\nb?"), r#"method contains forbidden character: "a\nb?""#);
        assert_eq!(text("a\u{1f}b"), r#"method contains control character at position 1: "a\x1fb""#);
        assert_eq!(text("é\u{7f}"), "method contains control character at position 2: \"é\\x7f\"");
    }

    #[test]
    fn climbing_is_noticed_at_any_point() {
        assert!(climbs("../x") && climbs("a/../../x") && climbs("a/./../.."));
        assert!(!climbs("a/../x") && !climbs("a/b/../..") && !climbs("...") && !climbs(""));
    }

    #[test]
    fn concealed_separators_are_noticed() {
        assert!(conceals("public%2F..%2fadmin") && conceals("a%5Cb") && conceals("%2e%2e"));
        assert!(!conceals("a%41b") && !conceals("100%") && !conceals("a%2") && !conceals("%%"));
    }
}

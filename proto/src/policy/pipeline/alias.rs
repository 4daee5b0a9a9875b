//! Paths that stand for others.

use super::{Called, Changed, pattern};
use crate::invoke::method;
use regex::bytes::Regex;
use std::collections::HashMap;

/// Most paths of a handler.
const MOST_ALIASES: usize = 256;

/// Paths and what stands in their place. Plain ones win over patterns, patterns are asked in their order.
#[derive(Clone, Debug)]
pub(super) struct Aliases {
    plain: HashMap<String, String>,
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    path: Regex,
    names: Vec<String>,
    target: String,
}

impl Aliases {
    pub(super) fn new(routes: &[(String, String)]) -> Result<Aliases, String> {
        if routes.len() > MOST_ALIASES {
            return Err(format!("{} routes are more than {MOST_ALIASES}", routes.len()));
        }
        let mut aliases = Aliases { plain: HashMap::new(), patterns: Vec::new() };
        for (path, target) in routes {
            check(path, target).map_err(|why| format!("route {path:?}: {why}"))?;
            if path.contains(['{', '}']) {
                let compiled = compiled(path, target).map_err(|why| format!("route {path:?}: {why}"))?;
                aliases.patterns.push(compiled);
            } else {
                aliases.plain.insert(path.clone(), target.clone());
            }
        }
        Ok(aliases)
    }

    pub(super) fn find(&self, called: &Called<'_>) -> Option<Changed> {
        if let Some(target) = self.plain.get(called.path) {
            return Some(Changed { path: target.clone(), query: called.query.to_owned() });
        }
        self.patterns.iter().find_map(|pattern| pattern.find(called))
    }
}

impl Pattern {
    /// What the variables stood for goes behind the query.
    fn find(&self, called: &Called<'_>) -> Option<Changed> {
        let found = self.path.captures(called.path.as_bytes())?;
        let mut query = called.query.to_owned();
        for (at, name) in self.names.iter().enumerate() {
            let value = found.name(&format!("v{at}")).map(|value| value.as_bytes()).unwrap_or_default();
            if !query.is_empty() {
                query.push('&');
            }
            escaped(&mut query, name.as_bytes());
            query.push('=');
            escaped(&mut query, value);
        }
        Some(Changed { path: self.target.clone(), query })
    }
}

fn check(path: &str, target: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("a path begins with a slash".into());
    }
    if !target.starts_with('/') || target.contains(['?', '#', '%']) {
        return Err(format!("target {target:?}; expected a path with a leading slash, without ?, # and %"));
    }
    method::normalise(target).map(drop).map_err(|error| format!("target {target:?}: {error}"))
}

/// `{name}` stands for a segment, `{name:pattern}` for what the pattern matches; braces in a pattern come in pairs.
fn compiled(path: &str, target: &str) -> Result<Pattern, String> {
    let (mut text, mut names, mut rest) = (String::from("^"), Vec::new(), path);
    while let Some((plain, after)) = rest.split_once('{') {
        let (variable, after) = braced(after).ok_or("a brace is not closed")?;
        let (name, inner) = variable.split_once(':').unwrap_or((variable, "[^/]+"));
        if name.is_empty() || inner.is_empty() || plain.contains('}') {
            return Err("expected {name} or {name:pattern}".into());
        }
        text += &format!("{}(?P<v{}>{inner})", regex::escape(plain), names.len());
        names.push(name.to_owned());
        rest = after;
    }
    if rest.contains('}') {
        return Err("a brace is not opened".into());
    }
    text += &format!("{}$", regex::escape(rest));
    Ok(Pattern { path: pattern(&text)?, names, target: target.to_owned() })
}

/// What stands before the brace that closes, and what behind it.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((text.get(..at)?, text.get(at + 1..)?));
        }
    }
    None
}

/// As a form writes it.
fn escaped(out: &mut String, text: &[u8]) {
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte))
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

//! Method patterns as daprd matches them (spec/security 5.5): segment by segment, children in the order of the rules,
//! no way back.
//!
//! A rule is a prefix rule on whole segments, and a shorter rule hides every longer one beneath it. `*` as a whole
//! segment matches one last segment or none, `**` one in the middle or any number at the end, `*` among other
//! characters any run of characters within its segment.

use super::rules::{Action, OperationRule};
use std::borrow::Cow;

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    at: usize,
    action: Action,
    verbs: Vec<String>,
}

impl Found {
    /// Its place among the policy's rules.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn action(&self) -> Action {
        self.action
    }

    pub(super) fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb || v == "*")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    segment: String,
    rule: Option<Found>,
    children: Vec<Node>,
}

/// The rules of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    root: Node,
}

impl Tree {
    /// The rules in their order; of two for the same path the first counts.
    pub(super) fn of(rules: &[OperationRule], http: bool) -> Tree {
        let mut tree = Tree::default();
        for (at, rule) in rules.iter().enumerate() {
            let found = Found { at, action: rule.action, verbs: rule.verbs.clone() };
            tree.insert(&rule.name, http, found);
        }
        tree
    }

    fn insert(&mut self, name: &str, http: bool, rule: Found) {
        let folded = folded(name, http);
        let node = segments(&folded).fold(&mut self.root, Node::child);
        node.rule.get_or_insert(rule);
    }

    /// The place of the rule that was given for exactly this path, wildcards taken literally.
    pub(super) fn at_path(&self, name: &str, http: bool) -> Option<usize> {
        let folded = folded(name, http);
        let child = |node: &'_ Node, segment: &str| node.children.iter().position(|c| c.segment == segment);
        let mut node = &self.root;
        for segment in segments(&folded) {
            node = node.children.get(child(node, segment)?)?;
        }
        node.rule.as_ref().map(Found::at)
    }

    /// The rule that decides about `method`.
    pub(super) fn find(&self, method: &str, http: bool) -> Option<&Found> {
        let folded = folded(method, http);
        let mut node = &self.root;
        let mut rest = segments(&folded).peekable();
        while let Some(segment) = rest.next() {
            let is_last = rest.peek().is_none();
            node = node.children.iter().find(|child| child.matches(segment, is_last))?;
            // a whole-segment `*` in the middle was reached by a literal `*` and does not stop the search
            if node.rule.is_some() && (is_last || node.segment != "*") {
                return node.rule.as_ref();
            }
        }
        let mut wild = node.children.iter().filter(|child| matches!(child.segment.as_str(), "*" | "**"));
        wild.find_map(|child| child.rule.as_ref())
    }
}

impl Node {
    fn child(&mut self, segment: &str) -> &mut Node {
        let at = self.children.iter().position(|c| c.segment == segment).unwrap_or(self.children.len());
        if at == self.children.len() {
            self.children.push(Node { segment: segment.to_owned(), ..Node::default() });
        }
        // `at` is a place that was found or just made
        #[allow(clippy::indexing_slicing)]
        &mut self.children[at]
    }

    fn matches(&self, segment: &str, is_last: bool) -> bool {
        self.segment == segment
            || match self.segment.as_str() {
                "*" => is_last,
                "**" => true,
                pattern => pattern.contains('*') && is_glob_of(pattern, segment),
            }
    }
}

/// Whether `text` fits a pattern in which every `*` stands for any run of characters, also an empty one.
fn is_glob_of(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// The segments of a path; a missing leading slash is added, what stands in front of the first one is not a segment.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// HTTP methods are compared in lower case, character by character as Go does it.
fn folded(text: &str, http: bool) -> Cow<'_, str> {
    match http && text.chars().any(char::is_uppercase) {
        true => Cow::Owned(text.chars().flat_map(char::to_lowercase).collect()),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_any_run_within_a_segment() {
        let cases = [
            ("b*", "b", true),
            ("b*", "bcd", true),
            ("b*", "ab", false),
            ("*b", "ab", true),
            ("*b", "ba", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*a", "a", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("*b*", "abc", true),
            ("a**c", "abbc", true),
        ];
        for (pattern, text, fits) in cases {
            assert_eq!(is_glob_of(pattern, text), fits, "{pattern} {text}");
        }
    }
}

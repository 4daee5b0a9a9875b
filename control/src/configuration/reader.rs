//! Takes settings out of a located tree and notes everything that is wrong with them.

use super::expand::Expanded;
use super::tree::{Key, Node, Value};
use super::{Gravity, Problem};
use std::path::Path;

/// One file while it is being judged.
pub(super) struct Reader<'a> {
    file: &'a Path,
    original: &'a str,
    expanded: &'a Expanded,
    /// What an unknown setting weighs here.
    unknown: Gravity,
    /// What a setting of the wrong kind weighs here.
    wrong: Gravity,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// A reader of one file. An unknown setting is a mistake; `wrong` is the weight of one of the wrong kind.
    pub(super) fn new(
        file: &'a Path,
        original: &'a str,
        expanded: &'a Expanded,
        wrong: Gravity,
    ) -> Reader<'a> {
        Reader { file, original, expanded, unknown: Gravity::Mistake, wrong, problems: Vec::new() }
    }

    /// Everything noted inside `judge` stops the start in both modes: for settings that protect.
    pub(super) fn protecting<R>(&mut self, judge: impl FnOnce(&mut Reader<'a>) -> R) -> R {
        let before = (self.unknown, self.wrong);
        (self.unknown, self.wrong) = (Gravity::Fatal, Gravity::Fatal);
        let result = judge(self);
        (self.unknown, self.wrong) = before;
        result
    }

    /// Notes a finding about what stands at `offset`.
    pub(super) fn note(&mut self, offset: usize, gravity: Gravity, message: impl Into<String>) {
        self.note_in_file(self.expanded.origin(offset), gravity, message);
    }

    /// The same, with an offset in the file itself.
    pub(super) fn note_in_file(&mut self, offset: usize, gravity: Gravity, message: impl Into<String>) {
        let problem = self.located(offset, gravity, message.into());
        self.problems.push(problem);
    }

    /// A finding about what stands at `offset` that is not noted, or not yet.
    pub(super) fn problem(&self, offset: usize, gravity: Gravity, message: String) -> Problem {
        self.located(self.expanded.origin(offset), gravity, message)
    }

    fn located(&self, offset: usize, gravity: Gravity, message: String) -> Problem {
        let (line, column) = place(self.original, offset);
        Problem { file: self.file.to_owned(), line, column, message, gravity }
    }

    /// A mistake about a value: the weight that wrong values have here.
    pub(super) fn mistake(&mut self, node: &Node, message: impl Into<String>) {
        self.note(node.offset, self.wrong, message);
    }

    /// The settings under `node`; `None` (and noted, unless there is nothing at all) if it holds something else.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, context: &str) -> Option<Fields<'n>> {
        match &node.value {
            Value::Map(entries) => {
                Some(Fields { context: context.to_owned(), entries, known: Vec::new(), any_case: false })
            }
            Value::Null => None,
            other => {
                let message = format!("{context} expects settings, found {}", other.kind());
                self.mistake(node, message);
                None
            }
        }
    }

    /// The items under `node`; empty (and noted, unless there is nothing at all) if it holds something else.
    pub(super) fn items<'n>(&mut self, node: &'n Node, context: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            Value::Null => &[],
            other => {
                let message = format!("{context} expects a list, found {}", other.kind());
                self.mistake(node, message);
                &[]
            }
        }
    }

    /// Text; numbers and booleans are taken as they read.
    pub(super) fn text(&mut self, node: &Node, context: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null => None,
            other => {
                let message = format!("{context} expects text, found {}", other.kind());
                self.mistake(node, message);
                None
            }
        }
    }

    /// True or false.
    pub(super) fn boolean(&mut self, node: &Node, context: &str) -> Option<bool> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Null => None,
            other => {
                let message = format!("{context} expects true or false, found {}", shown(other));
                self.mistake(node, message);
                None
            }
        }
    }

    /// A number.
    pub(super) fn number(&mut self, node: &Node, context: &str) -> Option<f64> {
        match &node.value {
            Value::Number(value) => Some(*value),
            Value::Null => None,
            other => {
                let message = format!("{context} expects a number, found {}", shown(other));
                self.mistake(node, message);
                None
            }
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        other => other.kind().to_owned(),
    }
}

/// Line and column, both from 1, of a character offset.
fn place(text: &str, offset: usize) -> (u64, u64) {
    let (mut line, mut column) = (1, 1);
    for c in text.chars().take(offset) {
        (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    (line, column)
}

/// The settings of one mapping while they are taken out.
pub(super) struct Fields<'n> {
    context: String,
    entries: &'n [(Key, Node)],
    known: Vec<&'static str>,
    any_case: bool,
}

impl<'n> Fields<'n> {
    /// Names match in any case, as they do in resources (spec/resolution 8.3).
    pub(super) fn in_any_case(mut self) -> Fields<'n> {
        self.any_case = true;
        self
    }

    /// The value of a setting; naming it here makes it known.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.push(name);
        self.entries.iter().find(|(key, _)| self.is(&key.name, name)).map(|(_, node)| node)
    }

    /// Settings that are accepted unread.
    pub(super) fn accept(&mut self, names: &[&'static str]) {
        self.known.extend_from_slice(names);
    }

    fn is(&self, written: &str, name: &str) -> bool {
        written == name || self.any_case && written.eq_ignore_ascii_case(name)
    }

    /// Notes every setting that was not named, with the one that was probably meant.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for (key, _) in self.entries {
            if !self.known.iter().any(|name| self.is(&key.name, name)) {
                let message = format!(
                    "unknown setting {:?} in {}; {}",
                    key.name,
                    self.context,
                    meant(&key.name, &self.known)
                );
                reader.note(key.offset, reader.unknown, message);
            }
        }
    }
}

/// "did you mean" where one name is close, otherwise all of them.
fn meant(written: &str, known: &[&'static str]) -> String {
    let close = known
        .iter()
        .map(|name| (distance(&written.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min();
    match close {
        Some((_, name)) => format!("did you mean {name:?}?"),
        None => format!("expected one of: {}", known.join(", ")),
    }
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((cb, pair), left) in b.iter().zip(row.windows(2)).zip(0..) {
            let [diagonal, above] = *pair else { continue };
            let left: usize = next.get(left).copied().unwrap_or(usize::MAX);
            next.push((diagonal + usize::from(ca != *cb)).min(above + 1).min(left.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probable_meaning_of_an_unknown_name_is_offered() {
        assert_eq!(meant("tracin", &["tracing", "mtls"]), "did you mean \"tracing\"?");
        assert_eq!(meant("smoke", &["tracing", "mtls"]), "expected one of: tracing, mtls");
    }

    #[test]
    fn edit_distance_counts_changes() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn places_are_counted_in_characters_from_one() {
        assert_eq!(place("ab\nüd", 4), (2, 2));
        assert_eq!(place("", 0), (1, 1));
    }
}

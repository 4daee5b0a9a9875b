//! A YAML document with the place of every key and value, so that a judgement can name it.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// A value and where it begins, as a character offset in the parsed text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) offset: usize,
}

/// A mapping's key and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) offset: usize,
}

/// What YAML's core schema makes of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// What a person calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "settings",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node { value: spanned.value, offset: offset(&spanned.referenced) })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Key { name: spanned.value, offset: offset(&spanned.referenced) })
    }
}

fn offset(location: &serde_saphyr::Location) -> usize {
    usize::try_from(location.span().offset()).unwrap_or(usize::MAX)
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    // Settings are far below 2^53, where every integer is a float exactly.
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}

/// What the parser did not understand, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) message: String,
    pub(super) offset: Option<usize>,
}

/// Reads all documents of a text; empty ones are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Unreadable> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| Unreadable {
        offset: error.location().map(|location| offset(&location)),
        message: first_sentence(&error.to_string()),
    })
}

/// The parser's words without the place, which is said in front.
fn first_sentence(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.split(" at line ").next().unwrap_or(line).trim_end_matches([',', '.', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_knows_its_place() {
        let text = "a: 1\nb:\n  - x\n  - {c: true}\n";
        let documents = parse(text).unwrap();
        let Value::Map(entries) = &documents[0].value else { panic!("{documents:?}") };
        assert_eq!(entries[1].0, Key { name: "b".into(), offset: 5 });
        let Value::List(items) = &entries[1].1.value else { panic!("{documents:?}") };
        assert_eq!(items[0], Node { value: Value::Text("x".into()), offset: 12 });
        let Value::Map(inner) = &items[1].value else { panic!("{documents:?}") };
        assert_eq!(inner[0].1, Node { value: Value::Bool(true), offset: 22 });
    }

    #[test]
    fn documents_keep_their_order_and_empty_ones_are_left_out() {
        let documents = parse("---\na: 1\n---\n---\nb: 2\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[1].offset, 17);
    }

    #[test]
    fn unreadable_yaml_says_where() {
        let error = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.offset.is_some(), "{error:?}");
        assert!(!error.message.is_empty() && !error.message.contains('\n'), "{error:?}");
    }

    #[test]
    fn a_key_that_stands_twice_is_unreadable() {
        let error = parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!(error.offset, Some(5), "{error:?}");
    }
}

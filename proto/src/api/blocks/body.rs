//! What building blocks take as a body: daprd's Go reads some with its JSON library and others with protobuf's, which is
//! stricter, and says so before it looks for the component (recorded in vectors `blocks/`).

use crate::api::json::{self, Document, Member, Value};

/// How a block reads a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reads {
    /// It does not, or takes anything.
    Anything,
    /// As a protobuf message: nothing, or one object whose known fields have their type.
    Protobuf(&'static [Field]),
    /// As Go's JSON library: something, whatever follows it; `null` too.
    Go(Shape, &'static [Field]),
}

/// What Go expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Array,
}

/// A field that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    name: &'static str,
    kind: Kind,
}

pub(super) const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

/// What a field may hold, beside `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    /// Whole, 32 bits, also as text.
    Int,
    /// The same, and not negative.
    Count,
    /// Also as text.
    Double,
    Array,
    Object,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Text => "a string",
            Kind::Bool => "true or false",
            Kind::Int => "a 32-bit number",
            Kind::Count => "a 32-bit number that is not negative",
            Kind::Double => "a number",
            Kind::Array => "an array",
            Kind::Object => "an object",
        }
    }

    fn fits(self, value: &Value<'_>) -> bool {
        match (self, value) {
            (_, Value::Null)
            | (Kind::Text, Value::Text(_))
            | (Kind::Bool, Value::Bool(_))
            | (Kind::Array, Value::Array)
            | (Kind::Object, Value::Object) => true,
            (Kind::Int, value) => whole(value).is_some_and(|n| i32::try_from(n).is_ok()),
            (Kind::Count, value) => whole(value).is_some_and(|n| u32::try_from(n).is_ok()),
            (Kind::Double, value) => number(value).is_some(),
            _ => false,
        }
    }
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Number(digits) => digits.parse().ok(),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A whole number that a double holds exactly: 32 bits are meant.
#[allow(clippy::cast_possible_truncation, reason = "below 2^53")]
fn whole(value: &Value<'_>) -> Option<i64> {
    number(value).filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64)
}

/// What a body said.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    members: Vec<Member<'a>>,
    /// Names are compared as Go's library does: whatever the case.
    loosely: bool,
}

impl Said<'_> {
    fn value(&self, name: &str) -> Option<&Value<'_>> {
        let named = |member: &&Member<'_>| is_named(&member.name, name, self.loosely);
        self.members.iter().rfind(named).map(|member| &member.value)
    }

    /// Whether a field has a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| *value != Value::Null)
    }

    /// Whether a field has a text that is not empty.
    pub(super) fn has_text(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Text(text)) if !text.is_empty())
    }

    /// A field's number, 0 without one.
    pub(super) fn number(&self, name: &str) -> i64 {
        self.value(name).and_then(whole).unwrap_or(0)
    }
}

/// A protobuf field is called by its JSON name, or by its own, in snake case.
fn is_named(given: &str, name: &str, loosely: bool) -> bool {
    if loosely {
        return given.eq_ignore_ascii_case(name);
    }
    given == name || given.contains('_') && snake(name) == given
}

fn snake(name: &str) -> String {
    name.chars().fold(String::new(), |mut snake, letter| {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
        snake
    })
}

impl Reads {
    /// Reads a whole body.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(self, body: &str) -> Result<Said<'_>, String> {
        match self {
            Reads::Anything => Ok(Said::default()),
            Reads::Protobuf(_) if body.is_empty() => Ok(Said::default()),
            Reads::Protobuf(fields) => {
                let document = json::read(body).map_err(|malformed| malformed.to_string())?;
                let Document::Object(members) = document else { return Err("expected an object".into()) };
                twice(&members, fields)?;
                checked(Said { members, loosely: false }, fields)
            }
            Reads::Go(shape, fields) => go(shape, fields, body),
        }
    }
}

fn go<'a>(shape: Shape, fields: &[Field], body: &'a str) -> Result<Said<'a>, String> {
    if body.trim_ascii().is_empty() {
        return Err("EOF".into());
    }
    let (document, _) = json::first(body).map_err(|malformed| malformed.to_string())?;
    match (document, shape) {
        (Document::Object(members), Shape::Object) => checked(Said { members, loosely: true }, fields),
        (Document::Other(Value::Null), _) | (Document::Other(Value::Array), Shape::Array) => {
            Ok(Said::default())
        }
        (_, Shape::Object) => Err("expected an object".into()),
        (_, Shape::Array) => Err("expected an array".into()),
    }
}

fn twice(members: &[Member<'_>], fields: &[Field]) -> Result<(), String> {
    for field in fields {
        if members.iter().filter(|member| is_named(&member.name, field.name, false)).count() > 1 {
            return Err(format!("duplicate field {:?}", field.name));
        }
    }
    Ok(())
}

fn checked<'a>(said: Said<'a>, fields: &[Field]) -> Result<Said<'a>, String> {
    for field in fields {
        if said.value(field.name).is_some_and(|value| !field.kind.fits(value)) {
            return Err(format!("invalid value for field {}: expected {}", field.name, field.kind.name()));
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        field("dueTime", Kind::Text),
        field("times", Kind::Int),
        field("count", Kind::Count),
        field("warm", Kind::Double),
        field("on", Kind::Bool),
    ];

    #[test]
    fn a_protobuf_body_is_nothing_or_one_object_with_fields_of_their_type() {
        let read = |body| Reads::Protobuf(FIELDS).read(body).map(|said| said.has("dueTime"));
        assert_eq!(read(""), Ok(false));
        assert_eq!(read("{\"due_time\":\"\"}"), Ok(true));
        assert_eq!(read("{\"dueTime\":null,\"else\":[{}]}"), Ok(false));
        assert_eq!(
            read("{\"times\":\"-5\",\"count\":5.0,\"warm\":1e3,\"on\":true,\"dueTime\":\"x\"}"),
            Ok(true)
        );
        for bad in [
            "{",
            "[]",
            "null",
            "5",
            "{} x",
            "{\"dueTime\":5}",
            "{\"times\":1.5}",
            "{\"times\":99999999999}",
            "{\"count\":-1}",
            "{\"warm\":\"x\"}",
            "{\"on\":1}",
            "{\"times\":1,\"times\":2}",
            "{\"dueTime\":\"\",\"due_time\":\"\"}",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn go_takes_null_and_what_follows_and_any_case_but_not_nothing() {
        let read = |body| Reads::Go(Shape::Object, FIELDS).read(body).map(|said| said.has_text("dueTime"));
        assert_eq!(read("null"), Ok(false));
        assert_eq!(read("{\"DUETIME\":\"x\"} x"), Ok(true));
        assert_eq!(read("{\"dueTime\":\"x\",\"dueTime\":\"\"}"), Ok(false), "the last one counts");
        for bad in ["", " ", "{", "[]", "5", "{\"dueTime\":5}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let list = |body| Reads::Go(Shape::Array, &[]).read(body).is_ok();
        assert!(list("[]") && list("null") && !list("{}") && !list(""));
    }
}

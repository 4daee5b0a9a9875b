//! A gRPC app's error as JSON: what an HTTP client gets in the place of a body (spec/invocation 1.14.1).
//!
//! The form is protobuf's JSON mapping of `Status` with its details, as far as `google.rpc` defines their types; a
//! detail of another type cannot be shown and makes the whole `ERR_MALFORMED_RESPONSE`, as at daprd.

use super::quote::plain_json;
use crate::envelope::response::Answer;
use crate::envelope::wire::{Field, Fields, Malformed};
use core::fmt;

/// Why an error cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unshowable {
    /// A detail of a type that is not known here.
    Type(String),
    /// A detail that is no message of its type.
    Malformed,
}

impl fmt::Display for Unshowable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unshowable::Type(url) => {
                let mut quoted = String::new();
                super::quote::go(&mut quoted, url);
                write!(f, "proto: google.protobuf.Any: unable to resolve {quoted}: not found")
            }
            Unshowable::Malformed => f.write_str("proto: cannot parse invalid wire-format data"),
        }
    }
}

impl core::error::Error for Unshowable {}

impl From<Malformed> for Unshowable {
    fn from(_: Malformed) -> Unshowable {
        Unshowable::Malformed
    }
}

/// The JSON of an answer's status: code, message, details; what is empty is left out.
///
/// # Errors
/// A detail that cannot be shown.
pub fn json(answer: &Answer<'_>) -> Result<Vec<u8>, Unshowable> {
    let mut object = Object::begin();
    if answer.code != 0 {
        object.key("code");
        object.out.extend_from_slice(answer.code.to_string().as_bytes());
    }
    if !answer.message.is_empty() {
        object.key("message");
        plain_json(&mut object.out, answer.message);
    }
    let details = list(&mut Fields::new(answer.status), 3)?;
    if !details.is_empty() {
        object.key("details");
        array(&mut object.out, &details, |out, any| detail(out, any))?;
    }
    Ok(object.end())
}

/// A JSON object being written.
struct Object {
    out: Vec<u8>,
}

impl Object {
    fn begin() -> Object {
        Object { out: vec![b'{'] }
    }

    fn key(&mut self, name: &str) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        plain_json(&mut self.out, name);
        self.out.push(b':');
    }

    fn end(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

fn array<T>(
    out: &mut Vec<u8>,
    items: &[T],
    mut write: impl FnMut(&mut Vec<u8>, &T) -> Result<(), Unshowable>,
) -> Result<(), Unshowable> {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item)?;
    }
    out.push(b']');
    Ok(())
}

/// How a field is shown.
enum Kind {
    Text,
    Texts,
    /// 64-bit numbers are strings in JSON.
    Number,
    Duration,
    Map,
    Messages(&'static [Shown]),
    Message(&'static [Shown]),
}

/// A field: number, JSON name, kind.
type Shown = (u32, &'static str, Kind);

const LOCALIZED: &[Shown] = &[(1, "locale", Kind::Text), (2, "message", Kind::Text)];
const QUOTA: &[Shown] = &[
    (1, "subject", Kind::Text),
    (2, "description", Kind::Text),
    (3, "apiService", Kind::Text),
    (4, "quotaMetric", Kind::Text),
    (5, "quotaId", Kind::Text),
    (6, "quotaDimensions", Kind::Map),
    (7, "quotaValue", Kind::Number),
    (8, "futureQuotaValue", Kind::Number),
];
const PRECONDITION: &[Shown] =
    &[(1, "type", Kind::Text), (2, "subject", Kind::Text), (3, "description", Kind::Text)];
const FIELD: &[Shown] = &[
    (1, "field", Kind::Text),
    (2, "description", Kind::Text),
    (3, "reason", Kind::Text),
    (4, "localizedMessage", Kind::Message(LOCALIZED)),
];
const LINK: &[Shown] = &[(1, "description", Kind::Text), (2, "url", Kind::Text)];

/// The messages of `google/rpc/error_details.proto`.
const TYPES: &[(&str, &[Shown])] = &[
    (
        "google.rpc.ErrorInfo",
        &[(1, "reason", Kind::Text), (2, "domain", Kind::Text), (3, "metadata", Kind::Map)],
    ),
    ("google.rpc.RetryInfo", &[(1, "retryDelay", Kind::Duration)]),
    ("google.rpc.DebugInfo", &[(1, "stackEntries", Kind::Texts), (2, "detail", Kind::Text)]),
    ("google.rpc.QuotaFailure", &[(1, "violations", Kind::Messages(QUOTA))]),
    ("google.rpc.PreconditionFailure", &[(1, "violations", Kind::Messages(PRECONDITION))]),
    ("google.rpc.BadRequest", &[(1, "fieldViolations", Kind::Messages(FIELD))]),
    ("google.rpc.RequestInfo", &[(1, "requestId", Kind::Text), (2, "servingData", Kind::Text)]),
    (
        "google.rpc.ResourceInfo",
        &[
            (1, "resourceType", Kind::Text),
            (2, "resourceName", Kind::Text),
            (3, "owner", Kind::Text),
            (4, "description", Kind::Text),
        ],
    ),
    ("google.rpc.Help", &[(1, "links", Kind::Messages(LINK))]),
    ("google.rpc.LocalizedMessage", LOCALIZED),
];

/// A `google.protobuf.Any`.
fn detail(out: &mut Vec<u8>, any: &[u8]) -> Result<(), Unshowable> {
    let (url, value) = crate::envelope::any(any).map_err(|_| Unshowable::Malformed)?;
    let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
    let (_, fields) =
        TYPES.iter().find(|(known, _)| *known == name).ok_or_else(|| Unshowable::Type(url.into()))?;
    let mut object = Object::begin();
    object.key("@type");
    plain_json(&mut object.out, url);
    message(&mut object, value, fields)?;
    out.extend(object.end());
    Ok(())
}

fn message(object: &mut Object, value: &[u8], fields: &[Shown]) -> Result<(), Unshowable> {
    for (number, name, kind) in fields {
        show(object, value, *number, name, kind)?;
    }
    Ok(())
}

fn show(object: &mut Object, value: &[u8], number: u32, name: &str, kind: &Kind) -> Result<(), Unshowable> {
    if let Kind::Number = kind {
        return numeral(object, value, number, name);
    }
    let items = list(&mut Fields::new(value), number)?;
    let Some(last) = items.last() else { return Ok(()) };
    match kind {
        Kind::Text if last.is_empty() => return Ok(()),
        _ => object.key(name),
    }
    match kind {
        Kind::Text => string(&mut object.out, last),
        Kind::Texts => array(&mut object.out, &items, |out, item| string(out, item)),
        Kind::Map => map(&mut object.out, &items),
        Kind::Duration => duration(&mut object.out, last),
        Kind::Message(fields) => nested(&mut object.out, last, fields),
        Kind::Messages(fields) => array(&mut object.out, &items, |out, item| nested(out, item, fields)),
        Kind::Number => Ok(()), // shown above
    }
}

fn nested(out: &mut Vec<u8>, value: &[u8], fields: &[Shown]) -> Result<(), Unshowable> {
    let mut object = Object::begin();
    message(&mut object, value, fields)?;
    out.extend(object.end());
    Ok(())
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Unshowable> {
    let text = core::str::from_utf8(bytes).map_err(|_| Unshowable::Malformed)?;
    plain_json(out, text);
    Ok(())
}

fn numeral(object: &mut Object, value: &[u8], number: u32, name: &str) -> Result<(), Unshowable> {
    if let Some(found) = varint(value, number)? {
        object.key(name);
        plain_json(&mut object.out, &(found as i64).to_string());
    }
    Ok(())
}

/// `map<string, string>`, keys in order.
fn map(out: &mut Vec<u8>, entries: &[&[u8]]) -> Result<(), Unshowable> {
    let mut pairs = std::collections::BTreeMap::new();
    for entry in entries {
        let part =
            |number| Ok::<_, Unshowable>(list(&mut Fields::new(entry), number)?.pop().unwrap_or_default());
        pairs.insert(part(1)?, part(2)?);
    }
    out.push(b'{');
    for (at, (key, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(out, key)?;
        out.push(b':');
        string(out, value)?;
    }
    out.push(b'}');
    Ok(())
}

/// `google.protobuf.Duration`: seconds with 0, 3, 6 or 9 digits behind the point.
fn duration(out: &mut Vec<u8>, value: &[u8]) -> Result<(), Unshowable> {
    let seconds = varint(value, 1)?.unwrap_or_default() as i64;
    let nanos = varint(value, 2)?.unwrap_or_default() as i32;
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    let text = match nanos {
        0 => format!("{sign}{seconds}s"),
        _ if nanos % 1_000_000 == 0 => format!("{sign}{seconds}.{:03}s", nanos / 1_000_000),
        _ if nanos % 1_000 == 0 => format!("{sign}{seconds}.{:06}s", nanos / 1_000),
        _ => format!("{sign}{seconds}.{nanos:09}s"),
    };
    plain_json(out, &text);
    Ok(())
}

/// The contents of a length-delimited field, in order.
fn list<'a>(fields: &mut Fields<'a>, number: u32) -> Result<Vec<&'a [u8]>, Malformed> {
    let mut found = Vec::new();
    while let Some(field) = fields.next()? {
        if let Field::Bytes(at, content) = field
            && at == number
        {
            found.push(content);
        }
    }
    Ok(found)
}

fn varint(value: &[u8], number: u32) -> Result<Option<u64>, Malformed> {
    let (mut fields, mut found) = (Fields::new(value), None);
    while let Some(field) = fields.next()? {
        if let Field::Varint(at, number_found) = field
            && at == number
        {
            found = Some(number_found);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Peer, response, wire};

    fn shown(details: &[(&str, &[u8])]) -> Result<String, Unshowable> {
        let mut status = vec![0x08, 5];
        wire::put_field(&mut status, 2, b"a <b>");
        for (url, value) in details {
            let mut any = Vec::new();
            wire::put_field(&mut any, 1, url.as_bytes());
            wire::put_field(&mut any, 2, value);
            wire::put_field(&mut status, 3, &any);
        }
        let mut message = Vec::new();
        wire::put_field(&mut message, 1, &status);
        let answer = response::open_whole(&message, Peer::Daprd).unwrap();
        json(&answer).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn an_error_without_details_is_code_and_message() {
        assert_eq!(shown(&[]).unwrap(), r#"{"code":5,"message":"a <b>"}"#);
    }

    #[test]
    fn known_details_are_shown_by_their_fields() {
        let retry = [0x0a, 5, 0x08, 3, 0x10, 0xe4, 0x0f]; // 3 s, 2020 ns
        let quota = [0x0a, 6, 0x0a, 1, b's', 0x38, 0xc8, 0x01];
        let json = shown(&[
            ("type.googleapis.com/google.rpc.RetryInfo", &retry),
            ("x/google.rpc.QuotaFailure", &quota),
            ("google.rpc.DebugInfo", b"\x0a\x01a\x0a\x01b"),
        ]);
        assert_eq!(
            json.unwrap(),
            concat!(
                r#"{"code":5,"message":"a <b>","details":["#,
                r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3.000002020s"},"#,
                r#"{"@type":"x/google.rpc.QuotaFailure","violations":[{"subject":"s","quotaValue":"200"}]},"#,
                r#"{"@type":"google.rpc.DebugInfo","stackEntries":["a","b"]}]}"#
            )
        );
    }

    #[test]
    fn an_unknown_detail_cannot_be_shown() {
        let error = shown(&[("type.googleapis.com/gv.Nope", b"\x08\x01")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"proto: google.protobuf.Any: unable to resolve "type.googleapis.com/gv.Nope": not found"#
        );
    }
}

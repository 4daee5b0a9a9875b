//! What a header list must contain (RFC 9113 §8): requests, responses and trailers.

use super::code::{Code, Fault};
use super::field::{Fields, Name};
use super::hpack::{Field, OVERHEAD};
use super::limits::Limits;

/// What a header list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The head of a request.
    Request,
    /// The head of a response.
    Response,
    /// The fields behind a body.
    Trailers,
}

/// What is known of a header list beside its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// `:status` of a response.
    pub(super) status: u16,
    /// `content-length`.
    pub(super) length: Option<u64>,
}

/// Gathers one header list field by field. What is wrong with it is said at the end, because every field must be
/// decoded anyway for the sake of the compression state (§4.3).
pub(super) struct Gather<'a> {
    part: Part,
    fields: &'a mut Fields,
    room: u32,
    left: u32,
    /// Pseudo-header fields seen, a bit each.
    seen: u8,
    regular: bool,
    wrong: Option<&'static str>,
    facts: Facts,
}

impl<'a> Gather<'a> {
    pub(super) fn new(part: Part, fields: &'a mut Fields, limits: &Limits) -> Gather<'a> {
        fields.clear();
        let (room, left) = (limits.header_list, limits.header_fields);
        let facts = Facts::default();
        Gather { part, fields, room, left, seen: 0, regular: false, wrong: None, facts }
    }

    pub(super) fn field(&mut self, field: &Field<'_>) {
        let size = (field.name.len() + field.value.len() + OVERHEAD) as u32;
        // Beyond a limit nothing is stored any more: room and left stay at zero.
        (self.room, self.left) = match (self.room.checked_sub(size), self.left.checked_sub(1)) {
            (Some(room), Some(left)) => (room, left),
            _ => (0, 0),
        };
        if self.room == 0 || self.wrong.is_some() {
            return;
        }
        match self.check(field) {
            Ok(()) => self.fields.push(field),
            Err(what) => self.wrong = Some(what),
        }
    }

    fn check(&mut self, field: &Field<'_>) -> Result<(), &'static str> {
        if !field.valid {
            return Err("forbidden byte in a field");
        }
        match field.tag {
            Name::Method
            | Name::Scheme
            | Name::Path
            | Name::Authority
            | Name::Status
            | Name::UnknownPseudo => self.pseudo(field),
            tag => {
                self.regular = true;
                self.regular(tag, field.value)
            }
        }
    }

    fn pseudo(&mut self, field: &Field<'_>) -> Result<(), &'static str> {
        let bit = match (self.part, field.tag) {
            (Part::Request, Name::Method) => METHOD,
            (Part::Request, Name::Scheme) => SCHEME,
            (Part::Request, Name::Path) if field.value.is_empty() => return Err("empty :path"),
            (Part::Request, Name::Path) => PATH,
            (Part::Request, Name::Authority) => AUTHORITY,
            (Part::Response, Name::Status) => {
                self.facts.status = status(field.value)?;
                STATUS
            }
            _ => return Err("pseudo-header field that is not allowed here"),
        };
        if self.regular {
            return Err("pseudo-header field behind a regular one");
        }
        if self.seen & bit != 0 {
            return Err("repeated pseudo-header field");
        }
        self.seen |= bit;
        Ok(())
    }

    fn regular(&mut self, tag: Name, value: &[u8]) -> Result<(), &'static str> {
        match tag {
            Name::Forbidden => Err("field about the connection"),
            Name::Te if value != b"trailers" => Err("te other than trailers"),
            Name::ContentLength => {
                let length = decimal(value).ok_or("bad content-length")?;
                if self.facts.length.is_some_and(|l| l != length) {
                    return Err("two content-lengths");
                }
                self.facts.length = Some(length);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What the list amounts to; a malformed one is a stream error (§8.1.1).
    pub(super) fn finish(self) -> Result<Facts, Fault> {
        let malformed = |what| Err(Fault::stream(Code::PROTOCOL_ERROR, "§8.1.1", what));
        if let Some(what) = self.wrong {
            return malformed(what);
        }
        if self.room == 0 {
            return Err(Fault::stream(Code::ENHANCE_YOUR_CALM, TOO_LARGE, "header list too large"));
        }
        match self.part {
            Part::Request if self.seen & REQUIRED != REQUIRED => {
                malformed("request without :method, :scheme or :path")
            }
            Part::Response if self.seen != STATUS => malformed("response without :status"),
            Part::Response if self.facts.status == 101 => malformed("101 does not exist here (§8.6)"),
            _ => Ok(self.facts),
        }
    }
}

/// The section of a list above the limits: the one stream error that a server answers (§10.5.1).
pub(super) const TOO_LARGE: &str = "§10.5.1, limits header_list and header_fields";

const METHOD: u8 = 1;
const SCHEME: u8 = 2;
const PATH: u8 = 4;
const AUTHORITY: u8 = 8;
const STATUS: u8 = 16;
const REQUIRED: u8 = METHOD | SCHEME | PATH;

/// A status code: three digits (§8.3.2).
fn status(value: &[u8]) -> Result<u16, &'static str> {
    let &[a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = value else { return Err("bad :status") };
    Ok(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
}

fn decimal(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if digits { core::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::{field, hpack};

    fn gather(part: Part, list: &[(&str, &str)]) -> Result<Facts, Fault> {
        let mut fields = Fields::default();
        let limits = Limits::default();
        let mut g = Gather::new(part, &mut fields, &limits);
        for (name, value) in list {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let valid = field::name_is_valid(name) && field::value_is_valid(value);
            let tag = field::classify(name);
            g.field(&hpack::Field { tag, name, value, valid, never_indexed: false });
        }
        g.finish()
    }

    const GOOD: [(&str, &str); 3] = [(":method", "POST"), (":scheme", "http"), (":path", "/a")];

    fn request(more: &[(&str, &str)]) -> bool {
        gather(Part::Request, &[&GOOD[..], more].concat()).is_ok()
    }

    #[test]
    fn a_request_needs_method_scheme_and_path_once() {
        assert!(request(&[]));
        assert!(request(&[(":authority", "a"), ("te", "trailers"), ("content-length", "3")]));
        for missing in 0..3 {
            let mut list = GOOD.to_vec();
            list.remove(missing);
            assert!(gather(Part::Request, &list).is_err());
        }
        for more in [GOOD[0], (":status", "200"), (":protocol", "x"), ("te", "gzip"), ("connection", "close")]
        {
            assert!(!request(&[more]), "{more:?}");
        }
        assert!(!request(&[("a", "b"), (":authority", "a")]), "pseudo behind regular");
        assert!(!request(&[("A", "b")]));
        assert!(!request(&[("content-length", "1"), ("content-length", "2")]));
        assert!(!request(&[("content-length", "+1")]));
    }

    #[test]
    fn a_response_has_a_status_and_trailers_have_none() {
        let facts = gather(Part::Response, &[(":status", "404"), ("content-length", "9")]).unwrap();
        assert_eq!(facts, Facts { status: 404, length: Some(9) });
        assert_eq!(gather(Part::Response, &[(":status", "103")]).unwrap().status, 103);
        for bad in ["101", "20", "2000", "2x0", "099", ""] {
            assert!(gather(Part::Response, &[(":status", bad)]).is_err(), "{bad}");
        }
        assert!(gather(Part::Response, &[("a", "b")]).is_err());
        assert!(gather(Part::Trailers, &[("grpc-status", "0")]).is_ok());
        assert!(gather(Part::Trailers, &[(":status", "200")]).is_err());
    }

    #[test]
    fn a_list_above_the_limits_is_not_stored_and_not_answered_as_malformed() {
        let many: Vec<(&str, &str)> = GOOD.into_iter().chain([("a", "b"); 300]).collect();
        match gather(Part::Request, &many) {
            Err(Fault::Stream(v)) => assert_eq!((v.code, v.section), (Code::ENHANCE_YOUR_CALM, TOO_LARGE)),
            other => panic!("{other:?}"),
        }
    }
}

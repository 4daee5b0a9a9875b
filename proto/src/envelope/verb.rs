//! The HTTP verb as daprd's enumeration knows it.

use core::fmt;

/// `dapr.proto.common.v1.HTTPExtension.Verb` by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb(u32);

const NAMES: [&str; 10] =
    ["NONE", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

impl Verb {
    /// No verb: not callable over HTTP.
    pub const NONE: Verb = Verb(0);
    /// `POST`, which also stands for every verb without a number.
    pub const POST: Verb = Verb(3);

    /// The verb with that number.
    pub const fn from_number(number: u32) -> Verb {
        Verb(number)
    }

    /// The verb of a request method, in any case; `None` where daprd has no number for it.
    #[inline]
    pub fn of(method: &str) -> Option<Verb> {
        let at = NAMES.iter().position(|name| name.eq_ignore_ascii_case(method))?;
        u32::try_from(at).ok().map(Verb)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Its name; `None` for numbers that have none.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(self.0 as usize).copied()
    }

    /// Whether an HTTP app may be called with it (spec/invocation 4.3).
    pub fn is_callable(self) -> bool {
        !matches!(self.name(), Some("NONE" | "CONNECT"))
    }
}

/// The name, or the number where there is none: daprd sends `42 /x HTTP/1.1` (vector callee/http/verb-unknown).
impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

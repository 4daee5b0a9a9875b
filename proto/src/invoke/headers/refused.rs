//! Calls that cannot be written as a request for the app.

use crate::grpc::status::{Code, Status};
use crate::invoke::quote;
use core::fmt;

/// Why a call cannot be written as an HTTP/1 request; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No HTTP extension.
    NoExtension,
    /// Verb NONE, CONNECT or no token.
    Verb,
    /// A spec version other than 1.
    Version(u64),
    /// A declared length that is no number.
    Length(String),
    /// `%` without two hex digits in the method.
    Escape {
        /// The URL that does not parse.
        url: String,
        /// What is wrong in it.
        escape: String,
    },
    /// A header that would change the message: invalid name, control characters in the value.
    Header(String),
}

impl Refused {
    /// The status that a callee ends the call with (spec/invocation 3.9).
    pub fn status(&self) -> Status {
        let code = if matches!(self, Refused::Header(_)) { Code::INVALID_ARGUMENT } else { Code::INTERNAL };
        Status { code, message: format!("error invoking app channel: {self}") }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut quoted = String::new();
        match self {
            Refused::NoExtension => {
                f.write_str("rpc error: code = InvalidArgument desc = missing HTTP extension field")
            }
            Refused::Verb => f.write_str("rpc error: code = InvalidArgument desc = invalid HTTP verb"),
            Refused::Version(version) => {
                write!(f, "rpc error: code = Unimplemented desc = Unsupported spec version: {version}")
            }
            Refused::Length(value) => {
                quote::go(&mut quoted, value);
                write!(f, "strconv.ParseInt: parsing {quoted}: invalid syntax")
            }
            Refused::Escape { url, escape } => {
                quote::go(&mut quoted, url);
                write!(f, "parse {quoted}: invalid URL escape \"{escape}\"")
            }
            Refused::Header(name) => {
                quote::go(&mut quoted, name);
                write!(f, "header {quoted} cannot be written as HTTP/1")
            }
        }
    }
}

impl core::error::Error for Refused {}

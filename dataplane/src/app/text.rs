//! What a failed exchange with the app is called. The front of each text is daprd's; the network's part is our own
//! where Go's wording would not help anybody (vectors errors/app-down/…, response-failures/…).

use crate::http1::client::{NoAnswer, system_text};
use proto::envelope::OpenError;
use proto::http1::framing::BodyError;
use proto::http1::refusal::HeadError;
use proto::invoke::failure::{Failure, Kind};
use std::fmt::Display;
use std::io;

/// The request that was put to a server, for messages: `Get "http://127.0.0.1:3000/pay?x=1": …`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The verb.
    pub(crate) verb: &'a str,
    /// `host:port` of the server.
    pub(crate) host: &'a str,
    /// The normalised method.
    pub(crate) method: &'a str,
    /// The raw query.
    pub(crate) query: &'a str,
}

impl Asked<'_> {
    fn failed(&self, kind: Kind, why: impl Display) -> Failure {
        let (first, rest) = self.verb.split_at_checked(1).unwrap_or((self.verb, ""));
        let question = if self.query.is_empty() { "" } else { "?" };
        let method = self.method.trim_start_matches('/');
        Failure::new(
            kind,
            format!(
                "{first}{} \"{}://{}/{method}{question}{}\": {why}",
                rest.to_lowercase(),
                self.scheme,
                self.host,
                self.query
            ),
        )
    }

    /// The caller's sidecar sent a body message that is none, or not the one that was due.
    pub(crate) fn bad_message(&self, error: &OpenError) -> Failure {
        let failed = self.failed(Kind::BadMessage, error);
        Failure::new(failed.kind, format!("error invoking app channel: {}", failed.text))
    }

    /// No connection.
    pub(crate) fn unreachable(&self, error: &io::Error) -> Failure {
        if error.get_ref().is_some() {
            return self.not_connected(error); // it came about, and then the app did not speak its protocol
        }
        self.failed(Kind::AppUnreachable, format_args!("dial tcp {}: connect: {}", self.host, system(error)))
    }

    /// No connection, as `why` says.
    pub(crate) fn not_connected(&self, why: impl Display) -> Failure {
        self.failed(Kind::AppUnreachable, why)
    }

    /// A redirect that leads nowhere, as `why` says.
    pub(crate) fn not_followed(&self, why: impl Display) -> Failure {
        self.failed(Kind::AppAnswer, why)
    }

    /// An answer head that is none.
    pub(crate) fn malformed(&self, error: &HeadError) -> Failure {
        self.failed(Kind::AppAnswer, format_args!("net/http: HTTP/1.x transport connection broken: {error}"))
    }

    /// The request's body does not keep what its head promised.
    pub(crate) fn broken(&self, error: &BodyError) -> Failure {
        self.failed(Kind::AppAnswer, error)
    }

    /// The answer is larger than the limit.
    pub(crate) fn too_large(&self, limit: u64) -> Failure {
        self.failed(
            Kind::ResponseTooLarge,
            format_args!("the response body is larger than --max-body-size ({limit} bytes)"),
        )
    }
}

/// No answer head came.
pub(crate) fn answer_failure(asked: &Asked<'_>, no: &NoAnswer) -> Failure {
    match no {
        NoAnswer::Closed => asked.failed(Kind::AppAnswer, "EOF"),
        NoAnswer::Reset(why) => asked.failed(Kind::AppAnswer, why),
        NoAnswer::Refused => {
            asked.failed(Kind::AppAnswer, "stream error: REFUSED_STREAM; received from peer")
        }
        NoAnswer::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            asked.failed(Kind::AppAnswer, "unexpected EOF")
        }
        NoAnswer::Io(error) => {
            asked.failed(Kind::AppAnswer, format_args!("read tcp {}: read: {}", asked.host, system(error)))
        }
        NoAnswer::TooManyInterim => asked.failed(
            Kind::AppAnswer,
            "net/http: HTTP/1.x transport connection broken: net/http: too many 1xx informational responses",
        ),
        NoAnswer::Deadline => asked.failed(Kind::Deadline, "timeout awaiting response headers"),
    }
}

/// The system's text as Go writes it: `connection refused`.
fn system(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::TimedOut {
        return "i/o timeout".into();
    }
    system_text(&error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> =
        Asked { scheme: "http", verb: "GET", host: "127.0.0.1:3000", method: "/x", query: "q=1" };

    #[test]
    fn a_refused_connection_reads_as_at_daprd() {
        let error = io::Error::from_raw_os_error(111);
        assert_eq!(
            ASKED.unreachable(&error).text,
            "Get \"http://127.0.0.1:3000/x?q=1\": dial tcp 127.0.0.1:3000: connect: connection refused"
        );
    }

    #[test]
    fn a_connection_closed_without_answer_is_eof() {
        let asked = Asked { verb: "POST", query: "", ..ASKED };
        assert_eq!(answer_failure(&asked, &NoAnswer::Closed).text, "Post \"http://127.0.0.1:3000/x\": EOF");
    }
}

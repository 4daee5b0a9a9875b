//! What both ways to the local app share: the request as bytes, and when it may be sent once more.

use crate::app::{self, Asked};
use crate::http1::client::{Answer, NoAnswer};
use crate::http1::sink::Sink;
use crate::rt::Tick;
use proto::http1::framing::Framing;
use proto::http1::head::{Head, Limits, Response, Slots};
use proto::http1::names::Known;
use proto::invoke::failure::{Failure, Kind};
use proto::policy::pipeline::Bodies;
use smallvec::SmallVec;

/// A request for the local app.
#[derive(Debug)]
pub(super) struct AppRequest<'a> {
    /// The whole head as it is written.
    pub(super) head: &'a [u8],
    pub(super) framing: Framing,
    /// For messages.
    pub(super) asked: Asked<'a>,
    /// Body bytes that go out with the head.
    pub(super) first: &'a [u8],
    /// They are the whole body.
    pub(super) ended: bool,
    /// The protocol that the client wants to switch to: the connection is then the client's, in both directions.
    pub(super) upgrade: Option<&'a str>,
    /// Largest head of an answer.
    pub(super) max_head: usize,
    /// Bodies whose letters become capital ones.
    pub(super) uppercase: Bodies,
}

/// A method with one leading slash, as the metrics show it.
#[derive(Debug)]
pub(super) struct Rooted(SmallVec<[u8; 128]>);

impl Rooted {
    pub(super) fn new(method: &str) -> Rooted {
        let mut path = SmallVec::from_slice(b"/");
        path.extend_from_slice(method.trim_start_matches('/').as_bytes());
        Rooted(path)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Why an exchange with the app has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// A connection that was used before was closed before it answered: the app may not have seen the request.
    Stale(Failure),
    /// The app refused the request and did nothing for it.
    Refused(Failure),
    /// Anything else.
    Failed(Failure),
}

impl Unanswered {
    /// What the client is told.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Unanswered::Stale(failure) | Unanswered::Refused(failure) | Unanswered::Failed(failure) => {
                failure
            }
        }
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Unanswered {
        Unanswered::Failed(failure)
    }
}

impl AppRequest<'_> {
    /// Whether it can be sent once more without harm: a repeatable verb, and nothing of its body is gone
    /// (RFC 9110 section 9.2.2).
    pub(super) fn is_repeatable(&self) -> bool {
        let idempotent = matches!(self.asked.verb, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE");
        idempotent && self.ended
    }

    /// Whether it may go out once more after that failure.
    pub(super) fn goes_again(&self, failed: &Unanswered) -> bool {
        match failed {
            Unanswered::Stale(_) => self.is_repeatable(),
            Unanswered::Refused(_) => self.ended,
            Unanswered::Failed(_) => false,
        }
    }

    /// Writes the head and what is there of the body.
    pub(super) fn write(&self, sink: &mut Sink<'_>) -> Result<(), Failure> {
        sink.head().extend_from_slice(self.head);
        sink.begin(self.framing);
        sink.uppercase(self.uppercase.request && self.upgrade.is_none());
        let written = sink.push(self.first).and_then(|()| if self.ended { sink.finish() } else { Ok(()) });
        written.map_err(|error| self.asked.broken(&error))
    }

    /// Waits for the head of the answer.
    pub(super) async fn head(&self, answer: &mut Answer<'_>, reused: bool) -> Result<(), Unanswered> {
        answer.uppercase(self.uppercase.response && self.upgrade.is_none());
        answer.receive_head(self.max_head, Tick::NEVER).await.map_err(|no| {
            let failure = app::answer_failure(&self.asked, &no);
            match no {
                NoAnswer::Closed | NoAnswer::Io(_) if reused && answer.head_bytes().is_empty() => {
                    Unanswered::Stale(failure)
                }
                NoAnswer::Refused => Unanswered::Refused(failure),
                _ => Unanswered::Failed(failure),
            }
        })
    }

    /// Whether a 101 switches to the protocol that was offered.
    fn was_asked(&self, response: &Response<'_, '_>) -> bool {
        let told = response.headers.first(Known::Upgrade).unwrap_or_default();
        self.upgrade.is_some_and(|offered| told.eq_ignore_ascii_case(offered.as_bytes()))
    }

    /// Reads the head of the answer.
    pub(super) fn parse<'s, 'b>(
        &self,
        head: &'b [u8],
        slots: &'s mut Slots<'b>,
    ) -> Result<Response<'s, 'b>, Failure> {
        match Response::parse(head, slots, &Limits { max_head: self.max_head }) {
            Ok(Head::Complete(response)) if response.status != 101 || self.was_asked(&response) => {
                Ok(response)
            }
            Ok(Head::Complete(_)) => {
                Err(Failure::new(Kind::AppAnswer, "the app switched protocols, which was not asked for"))
            }
            Ok(Head::Partial) => {
                Err(self.asked.malformed(&proto::http1::refusal::HeadError::TooLarge { flag: self.max_head }))
            }
            Err(error) => Err(self.asked.malformed(&error)),
        }
    }
}

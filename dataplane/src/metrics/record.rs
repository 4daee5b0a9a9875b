//! The one record in which every request ends.

use super::families::In;
use super::{Metrics, Side};
use crate::rt;
use proto::invoke::failure::Kind;
use proto::time::Tick;

/// Everything worth knowing about one request, when it is over. Metrics come from it now, traces and logs later.
///
/// It borrows its texts from the request; dropping it before [`Record::finish`] is a bug, caught in debug builds.
#[derive(Debug)]
pub struct Record<'a> {
    metrics: &'a Metrics,
    side: Side,
    /// When the turn began in which its head was there.
    began: Tick,
    finished: bool,
    /// The path of the HTTP API, or the method with a leading slash at the callee.
    pub path: &'a str,
    /// The HTTP verb.
    pub verb: &'a str,
    /// The other app: the target of an outbound call, the caller of an inbound one. Empty until known.
    pub peer_app: &'a str,
    /// The answer's status: HTTP, or gRPC of an inbound call that failed.
    pub status: u16,
    /// What went wrong in a sidecar; `None` for whatever the app answered.
    pub failure: Option<Kind>,
    /// Attempts made.
    pub attempts: u32,
    /// Attempts made although an earlier one may have been processed.
    pub repeats: u32,
    /// Body bytes of the request that were read.
    pub bytes_in: u64,
    /// Body bytes of the response that were passed on.
    pub bytes_out: u64,
    /// Whether it is an invocation and not a question to the sidecar itself.
    pub invocation: bool,
}

impl<'a> Record<'a> {
    /// A request begins.
    pub fn begin(metrics: &'a Metrics, side: Side, verb: &'a str, path: &'a str, now: Tick) -> Record<'a> {
        metrics.began(side, now);
        Record {
            metrics,
            side,
            began: now,
            finished: false,
            path,
            verb,
            peer_app: "",
            status: 0,
            failure: None,
            attempts: 0,
            repeats: 0,
            bytes_in: 0,
            bytes_out: 0,
            invocation: false,
        }
    }

    /// Time since the request began, in milliseconds. Reads the clock.
    pub fn elapsed_ms(&self) -> f64 {
        let now = Tick::from_micros(rt::Tick::read().as_micros());
        now.since(self.began).as_secs_f64() * 1000.0
    }

    /// The request is over.
    pub fn finish(mut self) {
        self.finished = true;
        self.metrics.ended(self.side);
        match self.side {
            Side::Outbound => self.count_outbound(),
            Side::Inbound => self.count_inbound(),
        }
        if let Some(kind) = self.failure {
            self.count_failure(kind);
        }
    }

    #[cold]
    fn count_failure(&self, kind: Kind) {
        let (phase, kind) = (format!("{:?}", kind.phase()).to_lowercase(), format!("{kind:?}"));
        let kind = kind.split('(').next().unwrap_or_default();
        self.metrics.count(In::Failures, &[self.side.name(), &phase, kind], 0);
    }

    #[allow(clippy::cast_precision_loss, reason = "a histogram of sizes")]
    fn count_outbound(&self) {
        let mut digits = [0; 5];
        let status = decimal(self.status, &mut digits);
        let server = self.metrics.table(In::Server);
        let row = server.row(&[known_verb(self.verb), self.path, status]);
        server.count(row, 0, 1);
        server.observe(row, 1, self.elapsed_ms());
        server.count(row, 2, 1);
        let sizes = self.metrics.table(In::ServerBytes);
        let row = sizes.row(&[]);
        sizes.observe(row, 0, self.bytes_in as f64);
        sizes.observe(row, 1, self.bytes_out as f64);
    }

    fn count_inbound(&self) {
        let mut digits = [0; 5];
        let status = decimal(self.status, &mut digits);
        self.metrics.count(In::ResSent, &[self.peer_app, status], 0);
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        debug_assert!(
            self.finished || self.metrics.ending.get() || std::thread::panicking(),
            "a request ended without its record: {self:?}"
        );
        if !self.finished {
            self.metrics.ended(self.side);
        }
    }
}

/// The verb as a label (spec/resolution 5.3).
pub(super) fn known_verb(verb: &str) -> &str {
    const KNOWN: [&str; 9] = ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE"];
    if KNOWN.contains(&verb) { verb } else { "UNKNOWN" }
}

/// The numbers of three digits from 000 to 999, one after the other.
const THREE_DIGITS: &str = match str::from_utf8(&three_digits()) {
    Ok(text) => text,
    Err(_) => "",
};

#[allow(clippy::indexing_slicing)] // evaluated when compiled
const fn three_digits() -> [u8; 3000] {
    let mut text = [b'0'; 3000];
    let mut at = 0;
    while at < text.len() {
        text[at] += (at / 300) as u8;
        text[at + 1] += (at / 30 % 10) as u8;
        text[at + 2] += (at / 3 % 10) as u8;
        at += 3;
    }
    text
}

/// `number` in decimal digits, without allocating.
pub(super) fn decimal(number: u16, digits: &mut [u8; 5]) -> &str {
    if (100..1000).contains(&number) {
        let at = 3 * usize::from(number);
        return THREE_DIGITS.get(at..at + 3).unwrap_or_default();
    }
    let mut rest = number;
    let mut first = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        first = at;
        if rest == 0 {
            break;
        }
    }
    digits.get(first..).and_then(|d| std::str::from_utf8(d).ok()).unwrap_or_default()
}

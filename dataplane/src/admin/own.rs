//! An answer of the sidecar's own.

use crate::proxy::Reply;
use proto::api::cors::Lines;

/// An answer of the sidecar's own.
#[derive(Debug, Default)]
pub(super) struct Own<'r> {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// Further header lines.
    pub(super) lines: Lines<'r>,
    /// The connection ends with it.
    pub(super) closes: bool,
    /// It tells the request's trace context.
    pub(super) traced: bool,
    /// The API's log has no line for it.
    pub(super) unlogged: bool,
    /// What happens once it is out.
    pub(super) then: Then,
}

/// What happens once an answer is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Then {
    #[default]
    Nothing,
    /// The sidecar leaves in peace.
    Leave,
    /// The sidecar ends without draining.
    End,
}

impl Own<'_> {
    pub(super) fn empty(status: u16) -> Self {
        Own { status, ..Own::default() }
    }

    pub(super) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Own { status, content_type: "application/json", body: body.into(), ..Own::default() }
    }

    /// daprd's shape of an error; neither text needs escaping.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Own::json(status, format!("{{\"errorCode\":\"{code}\",\"message\":\"{message}\"}}"))
    }

    pub(super) fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Own {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
            lines: vec![("X-Content-Type-Options", b"nosniff")],
            ..Own::default()
        }
    }

    pub(super) fn reply(&self) -> Reply<'_> {
        Reply { status: self.status, content_type: self.content_type, body: &self.body, extra: &self.lines }
    }
}

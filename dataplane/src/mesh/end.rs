//! How a call ends in gRPC's terms: trailers, trailers-only, answers that are not gRPC.

use super::call::GrpcEnd;
use proto::grpc::{base64, metadata, status::Code};
use proto::http1::encode::reason;
use proto::http2::{Fields, Name};
use proto::invoke::quote;

/// Bytes of a foreign answer's body that are quoted in the error, as grpc-go does.
pub(super) const QUOTED: usize = 1024;

/// Whether a response head is that of a gRPC answer.
pub(super) fn is_grpc(status: u16, head: &Fields) -> bool {
    is_grpc_type(head.tagged(Name::ContentType)) && (status == 200 || head.tagged(Name::GrpcStatus).is_some())
}

/// `application/grpc`, with or without a subtype or parameters.
pub(super) fn is_grpc_type(value: Option<&[u8]>) -> bool {
    let rest = value.and_then(|v| v.get(..16).map(|start| (start, v.get(16))));
    matches!(rest, Some((start, None | Some(b'+' | b';'))) if start.eq_ignore_ascii_case(b"application/grpc"))
}

/// The end that `grpc-status` and its companions tell; `None` without `grpc-status`.
fn told(fields: &Fields) -> Option<GrpcEnd> {
    let status = Code::parse(fields.tagged(Name::GrpcStatus)?);
    let details = fields.tagged(Name::GrpcDetails).and_then(base64::decode).unwrap_or_default();
    let message = fields.tagged(Name::GrpcMessage).map(metadata::decode_message).unwrap_or_default();
    Some(GrpcEnd { status: u8::try_from(status.0).unwrap_or(Code::UNKNOWN.0 as u8), message, details })
}

/// The end of an answer whose stream ended: by trailers, by its head alone, or without a word.
pub(super) fn of_answer(head: &Fields, trailers: &Fields, cut: bool) -> GrpcEnd {
    if cut {
        return GrpcEnd::new(Code::INTERNAL, "unexpected EOF");
    }
    let told = told(trailers).or_else(|| if trailers.is_empty() { told(head) } else { None });
    match told {
        Some(end) => end,
        None if trailers.is_empty() => {
            GrpcEnd::new(Code::INTERNAL, "server closed the stream without sending trailers")
        }
        None => GrpcEnd::new(Code::UNKNOWN, ""),
    }
}

/// The end that an answer stands for that is not gRPC (vectors caller/answer/not-grpc-…).
pub(super) fn of_foreign(status: u16, head: &Fields, body: &[u8]) -> GrpcEnd {
    let mut text = format!(
        "unexpected HTTP status code received from server: {status} ({})",
        reason(status).unwrap_or_default()
    );
    match head.tagged(Name::ContentType) {
        None => text.push_str("; malformed header: missing HTTP content-type"),
        value if is_grpc_type(value) => {}
        Some(value) => {
            text.push_str("; transport: received unexpected content-type ");
            quote::go(&mut text, &String::from_utf8_lossy(value));
        }
    }
    if !body.is_empty() {
        text.push_str("\ndata: ");
        quote::go(&mut text, &String::from_utf8_lossy(body.get(..QUOTED).unwrap_or(body)));
    }
    GrpcEnd::new(Code::of_foreign_answer(status), &text)
}

//! gRPC status codes, their names as Go prints them, and the tables from and to HTTP (spec/invocation 1.14.1, 2.2).

use core::fmt;

/// A gRPC status code; 0 to 16 are defined, others travel unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

#[allow(missing_docs)] // the names of the gRPC specification
impl Code {
    pub const OK: Code = Code(0);
    pub const CANCELED: Code = Code(1);
    pub const UNKNOWN: Code = Code(2);
    pub const INVALID_ARGUMENT: Code = Code(3);
    pub const DEADLINE_EXCEEDED: Code = Code(4);
    pub const NOT_FOUND: Code = Code(5);
    pub const ALREADY_EXISTS: Code = Code(6);
    pub const PERMISSION_DENIED: Code = Code(7);
    pub const RESOURCE_EXHAUSTED: Code = Code(8);
    pub const FAILED_PRECONDITION: Code = Code(9);
    pub const ABORTED: Code = Code(10);
    pub const OUT_OF_RANGE: Code = Code(11);
    pub const UNIMPLEMENTED: Code = Code(12);
    pub const INTERNAL: Code = Code(13);
    pub const UNAVAILABLE: Code = Code(14);
    pub const DATA_LOSS: Code = Code(15);
    pub const UNAUTHENTICATED: Code = Code(16);
}

const NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// HTTP status by gRPC code, as daprd answers for a gRPC app (spec/invocation 1.14.1).
const HTTP: [u16; 17] = [200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

impl Code {
    /// The name as grpc-go prints it; `None` for undefined codes.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(self.0 as usize).copied()
    }

    /// The code in the text of a `grpc-status` header; [`Code::UNKNOWN`] where it is no number, as grpc does.
    pub fn parse(text: &[u8]) -> Code {
        let text = core::str::from_utf8(text).ok();
        text.and_then(|text| text.parse().ok()).map_or(Code::UNKNOWN, Code)
    }

    /// The HTTP status that stands for this code of a gRPC app; 500 for undefined codes.
    pub fn http_status(self) -> u16 {
        HTTP.get(self.0 as usize).copied().unwrap_or(500)
    }

    /// The code that daprd gives a gRPC client for an HTTP app's status (spec/invocation 2.2).
    pub fn of_http_status(status: u16) -> Code {
        match status {
            200..=299 => Code::OK,
            400 => Code::INTERNAL,
            401 => Code::UNAUTHENTICATED,
            403 => Code::PERMISSION_DENIED,
            404 => Code::NOT_FOUND,
            408 => Code::CANCELED,
            409 => Code::ALREADY_EXISTS,
            429 => Code::RESOURCE_EXHAUSTED,
            501 => Code::UNIMPLEMENTED,
            503 => Code::UNAVAILABLE,
            504 => Code::DEADLINE_EXCEEDED,
            _ => Code::UNKNOWN,
        }
    }

    /// The code for an answer on a gRPC call that has no `grpc-status` but this `:status`
    /// (gRPC's http-grpc-status-mapping).
    pub fn of_foreign_answer(status: u16) -> Code {
        match status {
            400 => Code::INTERNAL,
            401 => Code::UNAUTHENTICATED,
            403 => Code::PERMISSION_DENIED,
            404 => Code::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Code::UNAVAILABLE,
            _ => Code::UNKNOWN,
        }
    }

    /// The code for a stream that the peer reset with this HTTP/2 error code (gRPC over HTTP/2, "Errors").
    pub fn of_reset(error: u32) -> Code {
        match error {
            0x7 => Code::UNAVAILABLE,        // REFUSED_STREAM
            0x8 => Code::CANCELED,           // CANCEL
            0xb => Code::RESOURCE_EXHAUSTED, // ENHANCE_YOUR_CALM
            0xc => Code::PERMISSION_DENIED,  // INADEQUATE_SECURITY
            _ => Code::INTERNAL,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Code({})", self.0),
        }
    }
}

/// A status as grpc-go prints it in an error: `rpc error: code = Unavailable desc = …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: Code,
    /// `grpc-message`, decoded.
    pub message: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {} desc = {}", self.code, self.message)
    }
}

impl core::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_print_as_in_go() {
        assert_eq!(Code(0).to_string(), "OK");
        assert_eq!(Code(16).to_string(), "Unauthenticated");
        assert_eq!(Code(17).to_string(), "Code(17)");
        let status = Status { code: Code::INTERNAL, message: "boom".into() };
        assert_eq!(status.to_string(), "rpc error: code = Internal desc = boom");
    }

    #[test]
    fn a_status_that_is_no_number_is_unknown() {
        assert_eq!(Code::parse(b"14"), Code::UNAVAILABLE);
        assert_eq!(Code::parse(b"x"), Code::UNKNOWN);
        assert_eq!(Code::parse(b""), Code::UNKNOWN);
        assert_eq!(Code::parse(b"-1"), Code::UNKNOWN);
    }

    #[test]
    fn undefined_codes_are_500_over_http() {
        assert_eq!((Code(17).http_status(), Code(99).http_status()), (500, 500));
    }
}

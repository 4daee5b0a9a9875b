//! Error codes (RFC 9113 §7) and what went wrong, with the section that says so.

use core::fmt;

/// An error code of RST_STREAM and GOAWAY (RFC 9113 §7). Unknown codes are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

impl Code {
    /// Not an error: graceful shutdown, or "the rest of the request is not needed".
    pub const NO_ERROR: Code = Code(0x0);
    /// Unspecific violation of the protocol.
    pub const PROTOCOL_ERROR: Code = Code(0x1);
    /// Unexpected condition at this end.
    pub const INTERNAL_ERROR: Code = Code(0x2);
    /// A flow-control rule was broken.
    pub const FLOW_CONTROL_ERROR: Code = Code(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Code = Code(0x4);
    /// A frame came for a half-closed or closed stream.
    pub const STREAM_CLOSED: Code = Code(0x5);
    /// A frame of an impossible size.
    pub const FRAME_SIZE_ERROR: Code = Code(0x6);
    /// Refused before any processing: safe to try again.
    pub const REFUSED_STREAM: Code = Code(0x7);
    /// The stream is not needed any more.
    pub const CANCEL: Code = Code(0x8);
    /// The header compression state cannot be maintained.
    pub const COMPRESSION_ERROR: Code = Code(0x9);
    /// The connection of a CONNECT request failed.
    pub const CONNECT_ERROR: Code = Code(0xa);
    /// The peer causes excessive load.
    pub const ENHANCE_YOUR_CALM: Code = Code(0xb);
    /// The transport is not secure enough.
    pub const INADEQUATE_SECURITY: Code = Code(0xc);
    /// HTTP/1.1 is wanted instead.
    pub const HTTP_1_1_REQUIRED: Code = Code(0xd);

    fn name(self) -> Option<&'static str> {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        NAMES.get(self.0 as usize).copied()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown code {:#x}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A rule that the peer broke, or a limit of ours that it exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What the peer is told.
    pub code: Code,
    /// The section of RFC 9113 (or `RFC 7541 …`, or `limit NAME`) that decides it.
    pub section: &'static str,
    /// What happened, in a few words; travels as debug data of a GOAWAY.
    pub what: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.what, self.code, self.section)
    }
}

impl core::error::Error for Violation {}

/// How far a violation reaches (RFC 9113 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The whole connection ends (§5.4.1).
    Connection(Violation),
    /// One stream is reset (§5.4.2).
    Stream(Violation),
}

impl Fault {
    pub(super) const fn connection(code: Code, section: &'static str, what: &'static str) -> Fault {
        Fault::Connection(Violation { code, section, what })
    }

    pub(super) const fn stream(code: Code, section: &'static str, what: &'static str) -> Fault {
        Fault::Stream(Violation { code, section, what })
    }
}

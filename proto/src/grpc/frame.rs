//! The 5-byte prefix of a gRPC message: one flag byte and a big-endian length.

use super::status::Code;
use core::fmt;

/// Bytes of the prefix.
pub const PREFIX: usize = 5;

/// Begins a message at the end of `out`; hand the result to [`close`] once the message is written.
#[inline]
#[must_use = "the frame must be closed"]
pub fn open(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; PREFIX]);
    out.len()
}

/// Ends the message that [`open`] began: everything appended since is its content (below 4 GiB).
#[inline]
pub fn close(out: &mut [u8], at: usize) {
    let length = u32::try_from(out.len().saturating_sub(at)).unwrap_or(u32::MAX);
    if let Some(prefix) = at.checked_sub(4).and_then(|from| out.get_mut(from..at)) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
}

/// The first whole message in a byte sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its content, without the prefix.
    pub message: &'a [u8],
    /// Bytes used with the prefix.
    pub used: usize,
}

/// Why a message cannot be read; the call ends with [`FrameError::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than the limit.
    TooLarge {
        /// Announced length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The compressed flag is set, and no coding was agreed upon.
    Compressed,
    /// A flag byte other than 0 and 1.
    Flag(u8),
}

impl FrameError {
    /// The gRPC status the call ends with.
    pub fn code(&self) -> Code {
        match self {
            FrameError::TooLarge { .. } => Code::RESOURCE_EXHAUSTED,
            FrameError::Compressed => Code::UNIMPLEMENTED,
            FrameError::Flag(_) => Code::INTERNAL,
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLarge { length, limit } => {
                write!(f, "grpc: received message larger than max ({length} vs. {limit})")
            }
            FrameError::Compressed => {
                f.write_str("grpc: compressed flag set with identity or empty encoding")
            }
            FrameError::Flag(flag) => write!(f, "grpc: received unexpected payload format {flag}"),
        }
    }
}

impl core::error::Error for FrameError {}

/// The first message in `bytes`; `None` while it is not there in full.
///
/// # Errors
/// As soon as the prefix shows that the message is longer than `limit` bytes or not readable.
#[inline]
pub fn split(bytes: &[u8], limit: usize) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let [flag, length @ ..] = *prefix;
    let length = u32::from_be_bytes(length) as usize;
    match flag {
        _ if length > limit => Err(FrameError::TooLarge { length: length as u64, limit: limit as u64 }),
        0 => Ok(rest.get(..length).map(|message| Frame { message, used: PREFIX + length })),
        1 => Err(FrameError::Compressed),
        _ => Err(FrameError::Flag(flag)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_framing() {
        let mut out = vec![9];
        let at = open(&mut out);
        out.extend_from_slice(b"abc");
        close(&mut out, at);
        assert_eq!(out, [9, 0, 0, 0, 0, 3, b'a', b'b', b'c']);
        assert_eq!(split(&out[1..], 3), Ok(Some(Frame { message: b"abc", used: 8 })));
        assert_eq!(split(&out[1..8], 3), Ok(None));
        assert_eq!(split(&out[1..4], 3), Ok(None));
    }

    #[test]
    fn a_message_above_the_limit_is_refused_by_its_prefix_alone() {
        let error = split(&[0, 0, 0x40, 0, 0x20], 4 << 20).unwrap_err();
        assert_eq!(error.code(), Code::RESOURCE_EXHAUSTED);
        // vector caller/answer/too-big-message
        assert_eq!(error.to_string(), "grpc: received message larger than max (4194336 vs. 4194304)");
    }

    #[test]
    fn compressed_and_unknown_flags_are_refused() {
        assert_eq!(split(&[1, 0, 0, 0, 0], 1), Err(FrameError::Compressed));
        assert_eq!(split(&[2, 0, 0, 0, 0], 1), Err(FrameError::Flag(2)));
    }
}

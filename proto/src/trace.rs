//! Trace contexts: W3C `traceparent` and `tracestate`, and gRPC's binary `grpc-trace-bin`.
//!
//! A sidecar without a tracer passes a client's context on unchanged (spec/invocation 1.18, "no provider"): the same
//! ids stand on every hop and in the answer. Where the client sent none, one is begun only where the configuration names a
//! sampling rate or an exporter; daprd's all-zero context is never written.
//!
//! ```
//! use proto::trace::Context;
//!
//! let context = Context::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
//! assert_eq!(context.traceparent(), *b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
//! assert_eq!(Context::from_binary(&context.binary()), Some(context));
//! ```

use crate::grpc::base64::{self, Padding};

pub mod baggage;
pub mod sampler;
pub mod state;

/// Longest `tracestate` that the sidecar itself writes into an answer (spec/invocation 1.18).
pub const MAX_TRACESTATE: usize = 512;

/// The ids and flags of a span: what travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    /// Never all zero.
    pub trace_id: [u8; 16],
    /// Never all zero.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

impl Context {
    /// Reads a `traceparent` value: version 00 exactly, a later version by its first four parts. `None` for anything
    /// malformed, for version `ff` and for ids of zeros (W3C Trace Context section 3.2).
    pub fn parse(value: &[u8]) -> Option<Context> {
        let (head, rest) = value.trim_ascii().split_at_checked(55)?;
        let [v1, v2, b'-', tail @ ..] = head else { return None };
        let [version] = hex::<1>(&[*v1, *v2])?;
        let later = matches!(rest, [b'-', _, ..]) || rest.is_empty();
        if version == 0xff || (version == 0 && !rest.is_empty()) || !later {
            return None;
        }
        let (trace_id, tail) = tail.split_at_checked(32)?;
        let (span_id, flags) = tail.strip_prefix(b"-")?.split_at_checked(16)?;
        let [flags] = hex::<1>(flags.strip_prefix(b"-")?)?;
        Context { trace_id: hex(trace_id)?, span_id: hex(span_id)?, flags }.valid()
    }

    /// Reads gRPC's 29-byte binary form. `None` for anything else and for ids of zeros.
    pub fn from_binary(bytes: &[u8]) -> Option<Context> {
        let ([0, 0], rest) = bytes.split_first_chunk::<2>()? else { return None };
        let (trace_id, rest) = rest.split_first_chunk::<16>()?;
        let (span_id, rest) = rest.strip_prefix(&[1])?.split_first_chunk::<8>()?;
        let [2, flags] = rest else { return None };
        Context { trace_id: *trace_id, span_id: *span_id, flags: *flags }.valid()
    }

    /// Reads the value of a `grpc-trace-bin` header: base64 of the binary form.
    pub fn from_header(value: &[u8]) -> Option<Context> {
        if value.is_empty() {
            return None;
        }
        Context::from_binary(&base64::decode(value)?)
    }

    /// The context of an incoming call: `traceparent` if it is valid, else `grpc-trace-bin`.
    pub fn of_call(traceparent: Option<&[u8]>, trace_bin: Option<&[u8]>) -> Option<Context> {
        traceparent.and_then(Context::parse).or_else(|| trace_bin.and_then(Context::from_header))
    }

    /// The `traceparent` value, version 00.
    pub fn traceparent(&self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let flags = [self.flags];
        let parts = [(3, &self.trace_id[..]), (36, &self.span_id[..]), (53, &flags[..])];
        for (from, bytes) in parts {
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            for (to, digit) in text.iter_mut().skip(from).zip(digits) {
                *to = b"0123456789abcdef".get(usize::from(digit)).copied().unwrap_or(b'0');
            }
        }
        text
    }

    /// The 29-byte binary form.
    pub fn binary(&self) -> [u8; 29] {
        let mut bytes = [0; 29];
        let tagged =
            [0, 0].into_iter().chain(self.trace_id).chain([1]).chain(self.span_id).chain([2, self.flags]);
        for (to, from) in bytes.iter_mut().zip(tagged) {
            *to = from;
        }
        bytes
    }

    /// The value of a `grpc-trace-bin` header: unpadded base64 of the binary form.
    pub fn trace_bin(&self) -> [u8; 39] {
        let mut text = Vec::with_capacity(39);
        base64::encode(&mut text, &self.binary(), Padding::Bare);
        let mut fixed = [b'A'; 39];
        for (to, from) in fixed.iter_mut().zip(text) {
            *to = from;
        }
        fixed
    }

    /// A new trace: ids from `draw`, which yields random numbers, sampled as `sampler` says.
    pub fn begin(mut draw: impl FnMut() -> u64, sampler: sampler::Sampler) -> Context {
        let mut number = || loop {
            let drawn = draw();
            if drawn != 0 {
                return drawn.to_be_bytes();
            }
        };
        let mut trace_id = [0; 16];
        let halves = number().into_iter().chain(number());
        trace_id.iter_mut().zip(halves).for_each(|(to, from)| *to = from);
        Context { trace_id, span_id: number(), flags: u8::from(sampler.samples(&trace_id)) }
    }

    /// Whether the sampled flag is set.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    fn valid(self) -> Option<Context> {
        let zero = self.trace_id == [0; 16] || self.span_id == [0; 8];
        (!zero).then_some(self)
    }
}

/// What is written as `traceparent` for a value that came along: the context it holds in version 00, else the value
/// itself, as daprd does (vectors trace-headers/default/garbage, version-01); nothing for an empty value and for
/// daprd's all-zero context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed<'a> {
    /// A valid context.
    Context(Context),
    /// Something else, to be passed untouched.
    Raw(&'a [u8]),
}

impl<'a> Passed<'a> {
    /// Judges a `traceparent` value that came along.
    pub fn of(value: &'a [u8]) -> Option<Passed<'a>> {
        match Context::parse(value) {
            Some(context) => Some(Passed::Context(context)),
            None if value.is_empty() || is_zero(value) => None,
            None => Some(Passed::Raw(value)),
        }
    }
}

fn is_zero(value: &[u8]) -> bool {
    value.len() == 55 && value.iter().take(52).all(|byte| matches!(byte, b'0' | b'-'))
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Lower-case hex only (W3C Trace Context section 3.2.2).
fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_survives_both_forms() {
        let context = Context::parse(SENT).unwrap();
        assert_eq!(&context.traceparent(), SENT);
        assert_eq!(Context::from_header(&context.trace_bin()), Some(context));
        // vector caller/http/trace
        assert_eq!(&context.trace_bin(), b"AAAK92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE");
        assert!(context.is_sampled());
    }

    #[test]
    fn a_new_trace_is_valid_and_sampled_as_wished() {
        let mut rng = crate::rng::Rng::new(1);
        let mut draws = [0, 5, 0].into_iter();
        let begun = Context::begin(|| draws.next().unwrap_or_else(|| rng.draw()), sampler::Sampler::new(1.0));
        assert!(begun.is_sampled());
        assert_eq!(Context::parse(&begun.traceparent()), Some(begun));
        assert!(!Context::begin(|| 7, sampler::Sampler::new(0.0)).is_sampled());
    }

    #[test]
    fn ids_of_zeros_are_no_context() {
        assert_eq!(Context::parse(b"00-00000000000000000000000000000000-b7ad6b7169203331-01"), None);
        assert_eq!(Context::parse(b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"), None);
        assert_eq!(Context::from_header(b"AAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAgA"), None);
    }

    #[test]
    fn an_all_zero_or_empty_traceparent_is_not_passed_on() {
        assert_eq!(Passed::of(b"00-00000000000000000000000000000000-0000000000000000-00"), None);
        assert_eq!(Passed::of(b""), None);
        assert_eq!(Passed::of(b"garbage"), Some(Passed::Raw(b"garbage")));
        assert_eq!(Passed::of(SENT), Some(Passed::Context(Context::parse(SENT).unwrap())));
    }

    #[test]
    fn malformed_binary_forms_are_refused() {
        let good = Context::parse(SENT).unwrap().binary();
        assert!(Context::from_binary(&good).is_some());
        for at in [0, 1, 18, 27] {
            let mut bad = good;
            bad[at] ^= 4;
            assert_eq!(Context::from_binary(&bad), None, "byte {at}");
        }
        assert_eq!(Context::from_binary(&good[..28]), None);
        assert_eq!(Context::from_header(b""), None);
    }

    #[test]
    fn later_versions_are_read_by_their_first_four_parts() {
        let id = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let expected = Context::parse(SENT);
        assert_eq!(Context::parse(format!("01-{id}").as_bytes()), expected);
        assert_eq!(Context::parse(format!("01-{id}-extra").as_bytes()), expected);
        assert_eq!(Context::parse(format!("00-{id}-extra").as_bytes()), None);
        assert_eq!(Context::parse(format!("ff-{id}").as_bytes()), None);
        assert_eq!(Context::parse(format!("01-{id}x").as_bytes()), None);
        assert_eq!(Context::parse(id.as_bytes()), None);
        assert_eq!(Context::parse(&SENT.to_ascii_uppercase()), None);
    }
}

//! What another attempt may do: which failures are tried again, and whether the callee may have seen the call.

use crate::grpc::status::Code;

/// Whether the callee may have worked on the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processed {
    /// Certainly not: never sent, REFUSED_STREAM, or above the last stream of a GOAWAY.
    No,
    /// Perhaps.
    Maybe,
}

/// What the next attempt would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Repeats nothing: the callee has not seen the call.
    Safe,
    /// May repeat what the callee did, as daprd documents it; counted, and off with `retryUnsafe: never`.
    Unsafe,
    /// None: another attempt would end the same way.
    No,
}

/// Judges an attempt that ended with `code` before its answer began (spec/invocation 1.10.1, compat.md). The client's
/// own mistakes never come here ([`super::failure::Kind::is_own_mistake`]).
pub fn retry(code: Code, processed: Processed) -> Retry {
    match (processed, code) {
        (Processed::No, Code::CANCELED | Code::DEADLINE_EXCEEDED) => Retry::No, // nobody waits any more
        (Processed::No, _) => Retry::Safe,
        (Processed::Maybe, Code::UNAVAILABLE | Code::UNAUTHENTICATED) => Retry::Unsafe,
        (Processed::Maybe, _) => Retry::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unavailable_and_unauthenticated_are_tried_again_when_the_call_may_have_been_processed() {
        for code in 0..20 {
            let expected = if code == 14 || code == 16 { Retry::Unsafe } else { Retry::No };
            assert_eq!(retry(Code(code), Processed::Maybe), expected, "code {code}");
        }
    }

    #[test]
    fn what_was_not_processed_is_safe_to_try_again_unless_nobody_waits() {
        assert_eq!(retry(Code::UNAVAILABLE, Processed::No), Retry::Safe);
        assert_eq!(retry(Code::INTERNAL, Processed::No), Retry::Safe);
        assert_eq!(retry(Code::CANCELED, Processed::No), Retry::No);
        assert_eq!(retry(Code::DEADLINE_EXCEEDED, Processed::No), Retry::No);
    }
}

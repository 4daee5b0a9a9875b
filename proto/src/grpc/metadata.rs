//! `grpc-message` and `grpc-timeout` (gRPC over HTTP/2, "Requests" and "Responses").

use core::time::Duration;

/// Appends a `grpc-message`: everything but printable ASCII is percent-encoded, and `%` itself.
pub fn encode_message(out: &mut Vec<u8>, message: &str) {
    for byte in message.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            escape(out, byte);
        }
    }
}

/// Appends `%XX`.
pub(crate) fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| HEX.get(usize::from(value & 15)).copied().unwrap_or(b'0');
    out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
}

/// Reads a `grpc-message`. Never fails: what is not percent-encoding stands for itself, what is not UTF-8 is replaced.
pub fn decode_message(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned())
}

/// The value of a hex digit; 0 for anything else.
pub(crate) fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).map_or(0, |value| value as u8)
}

/// Why a `grpc-timeout` is refused: grpc-go answers 400 with status Internal (vector callee/wire/timeout-bad).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTimeout;

/// Reads a `grpc-timeout`: at most 8 digits and a unit.
///
/// # Errors
/// Anything else.
pub fn parse_timeout(text: &[u8]) -> Result<Duration, BadTimeout> {
    let (unit, digits) = text.split_last().ok_or(BadTimeout)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadTimeout);
    }
    let amount = digits.iter().fold(0u64, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    Ok(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return Err(BadTimeout),
    })
}

/// Appends a `grpc-timeout`: the finest unit that holds it in 8 digits, rounded up, as grpc-go does. Zero becomes `0n`.
pub fn encode_timeout(out: &mut Vec<u8>, timeout: Duration) {
    const UNITS: [(u128, u8); 6] = [
        (1, b'n'),
        (1_000, b'u'),
        (1_000_000, b'm'),
        (1_000_000_000, b'S'),
        (60_000_000_000, b'M'),
        (3_600_000_000_000, b'H'),
    ];
    let nanos = timeout.as_nanos();
    for (size, unit) in UNITS {
        let amount = nanos.div_ceil(size);
        if amount < 100_000_000 || unit == b'H' {
            let amount = u64::try_from(amount.min(99_999_999)).unwrap_or(0);
            crate::http1::encode::decimal(out, amount);
            out.push(unit);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(message: &str) -> String {
        let mut out = Vec::new();
        encode_message(&mut out, message);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn messages_survive_percent_encoding() {
        assert_eq!(encoded("plain \"text\" ~"), "plain \"text\" ~");
        assert_eq!(encoded("100% café\n"), "100%25 caf%C3%A9%0A");
        for message in ["", "a%b", "%%41", "\u{0}\u{7f}é😀"] {
            assert_eq!(decode_message(encoded(message).as_bytes()), message);
        }
    }

    #[test]
    fn broken_percent_encoding_stands_for_itself() {
        assert_eq!(decode_message(b"50%"), "50%");
        assert_eq!(decode_message(b"%zz%4"), "%zz%4");
        assert_eq!(decode_message(b"%FF"), "\u{fffd}");
    }

    #[test]
    fn timeouts_are_read_in_every_unit() {
        for (text, micros) in
            [("1H", 3_600_000_000), ("2M", 120_000_000), ("3S", 3_000_000), ("400m", 400_000)]
        {
            assert_eq!(parse_timeout(text.as_bytes()), Ok(Duration::from_micros(micros)));
        }
        assert_eq!(parse_timeout(b"99999999n"), Ok(Duration::from_nanos(99_999_999)));
        for text in ["", "S", "x", "1", "123456789n", "-1S", "1s", "1.5S"] {
            assert_eq!(parse_timeout(text.as_bytes()), Err(BadTimeout), "{text}");
        }
    }

    #[test]
    fn a_timeout_is_written_in_the_finest_unit_that_holds_it_and_never_shorter() {
        for (timeout, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(5), "5000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::MAX, "99999999H"),
        ] {
            let mut out = Vec::new();
            encode_timeout(&mut out, timeout);
            assert_eq!(String::from_utf8(out.clone()).unwrap(), text);
            assert!(timeout == Duration::MAX || parse_timeout(&out).unwrap() >= timeout);
        }
    }
}

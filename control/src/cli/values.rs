//! Values as daprd writes them: Go durations, Kubernetes quantities, Go booleans.

use std::str::FromStr;
use std::time::Duration;

/// A Go duration such as `1h30m`, `500ms`, `-2s` or `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoDuration {
    nanos: i128,
}

impl GoDuration {
    /// The duration; negative ones are zero.
    pub fn as_duration(self) -> Duration {
        u64::try_from(self.nanos).map_or(Duration::ZERO, Duration::from_nanos)
    }

    /// Whether it is greater than zero.
    pub fn is_positive(self) -> bool {
        self.nanos > 0
    }
}

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<GoDuration, String> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, text.trim_start_matches('-')),
            Some(b'+') => (false, text.trim_start_matches('+')),
            _ => (false, text),
        };
        if digits == "0" {
            return Ok(GoDuration { nanos: 0 });
        }
        let nanos = parts(digits).ok_or_else(|| {
            format!("{text:?} is not a duration; expected a number with a unit, such as 500ms, 10s or 1h30m")
        })?;
        Ok(GoDuration { nanos: if negative { -nanos } else { nanos } })
    }
}

/// Sums `12h3.5m…`; `None` when a part has no number or no known unit, or the sum leaves 64 bits.
fn parts(mut rest: &str) -> Option<i128> {
    let mut sum = 0i128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, tail) = rest.split_at(number);
        let unit_ends = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_ends);
        sum = sum.checked_add(decimal(digits, unit_nanos(unit)?)?)?;
        rest = tail;
    }
    (sum <= i128::from(i64::MAX)).then_some(sum)
}

fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `digits` (with an optional fraction) times `unit`, rounded down.
fn decimal(digits: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 18 || fraction.contains('.') {
        return None;
    }
    let fraction = fraction.get(..fraction.len().min(15))?;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let scaled: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    whole.checked_mul(unit)?.checked_add(scaled.checked_mul(unit)? / scale)
}

/// A Kubernetes quantity in whole bytes, rounded up as Kubernetes does: `4194304`, `4Mi`, `10M`, `1.5Gi`, `1e6`.
///
/// # Errors
/// The text is no quantity, or it does not fit 64 bits.
pub fn quantity(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is not a size; expected bytes or a quantity such as 4Mi, 512Ki or 10M");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let (times, divided) = factor(suffix).ok_or_else(wrong)?;
    let scaled = decimal(number, times.checked_mul(1_000_000_000).ok_or_else(wrong)?).ok_or_else(wrong)?;
    let divisor = divided * 1_000_000_000;
    let bytes = scaled.checked_add(divisor - 1).ok_or_else(wrong)? / divisor;
    i64::try_from(if negative { -bytes } else { bytes }).map_err(|_| wrong())
}

/// A suffix as multiplier and divisor.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    let power = |base: i128, n: u32| base.checked_pow(n).map(|f| (f, 1));
    match suffix {
        "" => Some((1, 1)),
        "m" => Some((1, 1_000)),
        "u" => Some((1, 1_000_000)),
        "n" => Some((1, 1_000_000_000)),
        "k" => power(1000, 1),
        "M" => power(1000, 2),
        "G" => power(1000, 3),
        "T" => power(1000, 4),
        "P" => power(1000, 5),
        "E" => power(1000, 6),
        "Ki" => power(1024, 1),
        "Mi" => power(1024, 2),
        "Gi" => power(1024, 3),
        "Ti" => power(1024, 4),
        "Pi" => power(1024, 5),
        "Ei" => power(1024, 6),
        other => exponent(other),
    }
}

fn exponent(suffix: &str) -> Option<(i128, i128)> {
    let digits = suffix.strip_prefix(['e', 'E'])?;
    let n: i32 = digits.parse().ok()?;
    let size = 10i128.checked_pow(n.unsigned_abs().min(18))?;
    Some(if n < 0 { (1, size) } else { (size, 1) })
}

/// A boolean as Go's flag packages read it.
///
/// # Errors
/// The text is none of Go's twelve spellings.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_as_go_reads_them() {
        let ms = |text: &str| text.parse::<GoDuration>().unwrap().as_duration().as_millis();
        assert_eq!(ms("500ms"), 500);
        assert_eq!(ms("1h30m"), 5_400_000);
        assert_eq!(ms("1.5s"), 1_500);
        assert_eq!(ms(".5s"), 500);
        assert_eq!(ms("0"), 0);
        assert_eq!(ms("-3s"), 0);
        assert_eq!("1500µs".parse::<GoDuration>().unwrap().as_duration().as_micros(), 1_500);
    }

    #[test]
    fn what_is_no_go_duration_is_refused_with_an_example() {
        for wrong in ["", "5", "s", "1x", "1s2", "..5s", "1.2.3s", "9999999999h"] {
            let said = wrong.parse::<GoDuration>().unwrap_err();
            assert!(said.contains("500ms"), "{wrong}: {said}");
        }
    }

    #[test]
    fn quantities_are_bytes_rounded_up() {
        for (text, bytes) in [
            ("4Mi", 4 << 20),
            ("4Ki", 4096),
            ("10M", 10_000_000),
            ("0", 0),
            ("-1", -1),
            ("1.5Ki", 1536),
            ("1e6", 1_000_000),
            ("1500m", 2),
            ("1G", 1_000_000_000),
        ] {
            assert_eq!(quantity(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for wrong in ["", "Mi", "4mb", "4 Mi", "x", "4Mi4", "99999Ei", "1e"] {
            assert!(quantity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn booleans_have_gos_twelve_spellings() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(boolean("False"), Ok(false));
        assert!(boolean("yes").is_err());
    }
}

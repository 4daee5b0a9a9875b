//! `tracestate` (W3C Trace Context section 3.3).

/// Most list members.
const MAX_MEMBERS: usize = 32;

/// Whether a `tracestate` value may be told to a client: well-formed and at most [`super::MAX_TRACESTATE`] bytes.
pub fn is_valid(value: &[u8]) -> bool {
    if value.is_empty() || value.len() > super::MAX_TRACESTATE {
        return false;
    }
    let members = || value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let distinct = |(at, member): (usize, &[u8])| {
        let key = key(member);
        members().take(at).all(|earlier| earlier.is_empty() || self::key(earlier) != key)
    };
    members().count() <= MAX_MEMBERS
        && members()
            .enumerate()
            .all(|(at, member)| member.is_empty() || (is_member(member) && distinct((at, member))))
}

fn key(member: &[u8]) -> &[u8] {
    member.split(|byte| *byte == b'=').next().unwrap_or_default()
}

fn is_member(member: &[u8]) -> bool {
    let key = key(member);
    let Some(value) = member.get(key.len() + 1..) else { return false };
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b',' && *byte != b'=';
    is_key(key) && !value.is_empty() && value.len() <= 256 && value.iter().all(plain)
}

/// `simple` or `tenant@system`.
fn is_key(key: &[u8]) -> bool {
    let letters = |part: &[u8]| {
        part.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(byte))
    };
    let starts = |part: &[u8], digits: bool| {
        part.first().is_some_and(|byte| byte.is_ascii_lowercase() || (digits && byte.is_ascii_digit()))
    };
    let mut parts = key.splitn(2, |byte| *byte == b'@');
    match (parts.next().unwrap_or_default(), parts.next()) {
        (simple, None) => starts(simple, false) && simple.len() <= 256 && letters(simple),
        (tenant, Some(system)) => {
            let lengths = tenant.len() <= 241 && system.len() <= 14;
            lengths && starts(tenant, true) && letters(tenant) && starts(system, false) && letters(system)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_states_are_told() {
        for state in ["a=1", "a=1,b=2", "a=1 , b=2", "t1@sys=x y", "a=1,,b=2"] {
            assert!(is_valid(state.as_bytes()), "{state}");
        }
        let many: Vec<String> = (0..32).map(|at| format!("k{at}=v")).collect();
        assert!(is_valid(many.join(",").as_bytes()));
    }

    #[test]
    fn malformed_states_are_not_told() {
        let long = format!("a={}", "v".repeat(600));
        let many: Vec<String> = (0..33).map(|at| format!("k{at}=v")).collect();
        for state in ["", "not valid !", "a", "a=", "A=1", "a=1,a=2", "a=b=c", "1a=x", &long, &many.join(",")]
        {
            assert!(!is_valid(state.as_bytes()), "{state}");
        }
    }
}

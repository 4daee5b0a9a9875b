use super::*;
use crate::grpc::base64::{self, Padding};
use crate::policy::pipeline::keys::Material;

const NOW: u64 = 1_800_000_000;

fn key(id: &str, algorithm: Option<Algorithm>) -> VerifyKey {
    let material = Material::Rsa { modulus: vec![1], exponent: vec![3] };
    VerifyKey { id: id.into(), algorithm, material }
}

fn encoded(text: &[u8]) -> String {
    let mut out = Vec::new();
    base64::encode(&mut out, text, Padding::Bare);
    String::from_utf8(out).unwrap().replace('+', "-").replace('/', "_")
}

/// A token whose signature is good where it says `good`.
fn token(header: &str, claims: &str, signature: &str) -> String {
    format!("{}.{}.{}", encoded(header.as_bytes()), encoded(claims.as_bytes()), encoded(signature.as_bytes()))
}

fn judged(authorization: &str) -> Result<(), BadToken> {
    let keys = [key("a", None), key("p", Some(Algorithm::Ps256)), key("a", Some(Algorithm::Rs512))];
    let bearer =
        Bearer { issuer: "https://issuer/".into(), audience: "me".into(), keys: Some(keys.clone().into()) };
    bearer.judge(&keys, Shown::One(authorization.as_bytes()), NOW, |signed: Signed<'_>| {
        assert!(signed.key.takes(signed.algorithm));
        signed.message.contains(&b'.') && signed.signature == b"good"
    })
}

const GOOD: &str = r#"{"iss":"https://issuer/","aud":"me","exp":1800000001}"#;

fn header(alg: &str, kid: &str) -> String {
    format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"JWT"}}"#)
}

#[test]
fn a_token_of_a_known_key_is_taken_however_it_is_announced() {
    let good = token(&header("RS256", "a"), GOOD, "good");
    for authorization in [format!("Bearer {good}"), format!("bearer {good}"), format!("BEARER  {good} ")] {
        assert_eq!(judged(&authorization), Ok(()), "{authorization}");
    }
    for authorization in ["", "Bearer", "Bearer ", "Bearer   ", "Basic abc", &good, &format!("Bearer,{good}")]
    {
        assert_eq!(judged(authorization), Err(BadToken::Missing), "{authorization}");
    }
}

#[test]
fn several_lines_or_none_are_no_token() {
    let one = b"Bearer x".as_slice();
    assert_eq!(Shown::of(std::iter::empty()), Shown::Nothing);
    assert_eq!(Shown::of([one].into_iter()), Shown::One(one));
    assert_eq!(Shown::of([one, one].into_iter()), Shown::Several);
}

#[test]
fn the_token_chooses_neither_algorithm_nor_key() {
    for (alg, kid, answer) in [
        ("RS512", "a", Ok(())),
        ("PS256", "p", Ok(())),
        ("RS256", "p", Err(BadToken::Key)),
        ("ES256", "a", Err(BadToken::Key)),
        ("EdDSA", "a", Err(BadToken::Key)),
        ("RS256", "", Err(BadToken::Key)),
        ("RS256", "b", Err(BadToken::Key)),
        ("none", "a", Err(BadToken::Algorithm)),
        ("NONE", "a", Err(BadToken::Algorithm)),
        ("", "a", Err(BadToken::Algorithm)),
        ("HS256", "a", Err(BadToken::Algorithm)),
    ] {
        let token = token(&header(alg, kid), GOOD, "good");
        assert_eq!(judged(&format!("Bearer {token}")), answer, "{alg} {kid}");
    }
    let without = token(r#"{"alg":"RS256"}"#, GOOD, "good");
    assert_eq!(judged(&format!("Bearer {without}")), Err(BadToken::Key));
    let forged = token(&header("RS256", "a"), GOOD, "bad");
    assert_eq!(judged(&format!("Bearer {forged}")), Err(BadToken::Signature));
    let unsigned = token(&header("RS256", "a"), GOOD, "");
    assert_eq!(judged(&format!("Bearer {unsigned}")), Err(BadToken::Signature));
}

#[test]
fn claims_are_judged_with_five_minutes_of_patience() {
    for (claims, answer) in [
        (r#""aud":["x","me"]"#, Ok(())),
        (r#""aud":"me""#, Ok(())),
        (r#""aud":"me","exp":1799999701"#, Ok(())),
        (r#""aud":"me","exp":1799999700"#, Err(BadToken::Expired)),
        (r#""aud":"me","exp":1799999700.5"#, Ok(())),
        (r#""aud":"me","exp":-1"#, Err(BadToken::Expired)),
        (r#""aud":"me","nbf":1800000300"#, Ok(())),
        (r#""aud":"me","nbf":1800000301"#, Err(BadToken::Early)),
        (r#""aud":"me","iat":1800000301"#, Err(BadToken::Early)),
        (r#""aud":"you""#, Err(BadToken::Audience)),
        (r#""aud":"ME""#, Err(BadToken::Audience)),
        (r#""aud":[]"#, Err(BadToken::Audience)),
        (r#""sub":"me""#, Err(BadToken::Audience)),
        (r#""aud":"me","exp":null"#, Err(BadToken::Malformed)),
        (r#""aud":"me","exp":"1800000001""#, Err(BadToken::Malformed)),
        (r#""aud":"me","exp":1e999"#, Err(BadToken::Malformed)),
        (r#""aud":"me","aud":"me""#, Err(BadToken::Malformed)),
        (r#""aud":{"me":1}"#, Err(BadToken::Malformed)),
    ] {
        let token = token(&header("RS256", "a"), &format!(r#"{{"iss":"https://issuer/",{claims}}}"#), "good");
        assert_eq!(judged(&format!("Bearer {token}")), answer, "{claims}");
    }
    for claims in [r#"{"iss":"https://issuer","aud":"me"}"#, r#"{"aud":"me"}"#] {
        let token = token(&header("RS256", "a"), claims, "good");
        assert_eq!(judged(&format!("Bearer {token}")), Err(BadToken::Issuer), "{claims}");
    }
}

#[test]
fn what_is_no_signed_token_is_refused() {
    let good = token(&header("RS256", "a"), GOOD, "good");
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let deep = token(&header("RS256", "a"), &deep, "good");
    let crit = token(r#"{"alg":"RS256","kid":"a","crit":["exp"]}"#, GOOD, "good");
    let twice = token(r#"{"alg":"none","alg":"RS256","kid":"a"}"#, GOOD, "good");
    let huge = "a".repeat(LARGEST_TOKEN + 1);
    for token in [
        "abc",
        "a.b",
        "..",
        "a.b.c",
        &format!("{good}="),
        &format!("x.{good}"),
        &format!("{good}.x.y"),
        &deep,
    ] {
        assert_eq!(judged(&format!("Bearer {token}")), Err(BadToken::Malformed), "{token}");
    }
    for token in [crit, twice, huge] {
        assert_eq!(judged(&format!("Bearer {token}")), Err(BadToken::Malformed), "{token}");
    }
}

/// Bytes changed, taken out, doubled and cut off, by a fixed seed: what is taken is signed.
#[test]
fn no_token_makes_the_reader_panic() {
    let good = format!("Bearer {}", token(&header("RS256", "a"), GOOD, "bad!"));
    let mut rng = crate::rng::Rng::new(11);
    let mut next = |below: usize| usize::try_from(rng.below(below as u64)).unwrap();
    for _ in 0..5000 {
        let mut bytes = good.clone().into_bytes();
        for _ in 0..=next(4) {
            if bytes.len() < 2 {
                break;
            }
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, bytes[at]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        assert!(judged(&String::from_utf8_lossy(&bytes)).is_err());
    }
}

//! JSON Web Key Sets (RFC 7517, RFC 7518 section 6, RFC 8037): what of them can check a signature.

use proto::grpc::base64;
use proto::policy::pipeline::keys::{Algorithm, MOST_KEYS, Material, VerifyKey};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The keys that can be used, and why others cannot.
///
/// # Errors
/// It is no key set.
pub(super) fn read(document: &[u8]) -> Result<(Vec<VerifyKey>, Vec<String>), String> {
    let set: Set = serde_json::from_slice(document).map_err(|e| format!("no JSON Web Key Set: {e}"))?;
    if set.keys.len() > MOST_KEYS {
        return Err(format!("{} keys are more than {MOST_KEYS}", set.keys.len()));
    }
    let (mut usable, mut others) = (Vec::new(), Vec::new());
    for (at, value) in set.keys.into_iter().enumerate() {
        match key(value) {
            Ok(key) => usable.push(key),
            Err(why) => others.push(format!("key {at}: {why}")),
        }
    }
    Ok((usable, others))
}

fn key(value: Value) -> Result<VerifyKey, String> {
    let key: Key = serde_json::from_value(value).map_err(|e| e.to_string())?;
    let id = key.kid.clone().filter(|id| !id.is_empty()).ok_or("no kid, so that no token can name it")?;
    let verifies = key.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    if key.usage.as_deref().is_some_and(|usage| usage != "sig" && !usage.is_empty()) || !verifies {
        return Err(format!("{id:?} is for something else than signatures"));
    }
    let material = key.material().map_err(|why| format!("{id:?}: {why}"))?;
    let algorithm = match key.alg.as_deref().filter(|alg| !alg.is_empty()) {
        None => None,
        Some(name) => {
            Some(Algorithm::named(name).ok_or_else(|| format!("{id:?}: algorithm {name:?} is not built"))?)
        }
    };
    let key = VerifyKey { id, algorithm, material };
    match algorithm {
        Some(only) if !key.takes(only) => Err(format!("{:?} is no key for {}", key.id, only.name())),
        _ => Ok(key),
    }
}

impl Key {
    fn material(&self) -> Result<Material, String> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => rsa(bytes(self.n.as_ref(), "n")?, bytes(self.e.as_ref(), "e")?),
            ("EC", Some("P-256")) => Ok(Material::P256(self.point(32)?)),
            ("EC", Some("P-384")) => Ok(Material::P384(self.point(48)?)),
            ("OKP", Some("Ed25519")) => Ok(Material::Ed25519(exactly(bytes(self.x.as_ref(), "x")?, 32)?)),
            ("oct", _) => Err("a shared secret checks nothing where it is published".into()),
            (kind, curve) => {
                Err(format!("a key of type {kind:?} {} is not built", curve.unwrap_or_default()))
            }
        }
    }

    fn point(&self, size: usize) -> Result<Vec<u8>, String> {
        let mut point = vec![4];
        point.append(&mut exactly(bytes(self.x.as_ref(), "x")?, size)?);
        point.append(&mut exactly(bytes(self.y.as_ref(), "y")?, size)?);
        Ok(point)
    }
}

fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<Material, String> {
    let trimmed = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
    let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
    if !(256..=1024).contains(&modulus.len()) {
        return Err(format!("an RSA key of {} bits; 2048 to 8192 are taken", modulus.len() * 8));
    }
    if exponent.is_empty() || exponent.len() > 4 {
        return Err("an RSA exponent that is none".into());
    }
    Ok(Material::Rsa { modulus, exponent })
}

fn bytes(text: Option<&String>, name: &str) -> Result<Vec<u8>, String> {
    let text = text.ok_or_else(|| format!("no {name}"))?;
    base64::decode_url_exactly(text.trim_end_matches('=').as_bytes())
        .ok_or_else(|| format!("{name} is no base64url"))
}

fn exactly(bytes: Vec<u8>, size: usize) -> Result<Vec<u8>, String> {
    if bytes.len() == size { Ok(bytes) } else { Err(format!("{} bytes where {size} belong", bytes.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(key: &str) -> Result<VerifyKey, String> {
        let (mut usable, others) = read(format!("{{\"keys\":[{key}]}}").as_bytes()).unwrap();
        usable.pop().ok_or_else(|| others.concat())
    }

    #[test]
    fn keys_of_every_kind_are_read() {
        let n = format!("AAAP{}", "_".repeat(340)); // with leading zeros
        let rsa = read_one(&format!(r#"{{"kty":"RSA","kid":"r","n":"{n}","e":"AQAB","use":"sig","d":1}}"#));
        let Ok(VerifyKey { material: Material::Rsa { modulus, exponent }, algorithm: None, .. }) = rsa else {
            panic!("{rsa:?}")
        };
        assert_eq!((modulus.len(), exponent), (256, vec![1, 0, 1]));
        let x = "A".repeat(43);
        let ec = read_one(&format!(
            r#"{{"kty":"EC","kid":"e","crv":"P-256","x":"{x}","y":"{x}=","alg":"ES256","key_ops":["verify"]}}"#
        ));
        let ec = ec.unwrap();
        assert_eq!((ec.id.as_str(), ec.algorithm), ("e", Some(Algorithm::Es256)));
        assert!(matches!(ec.material, Material::P256(point) if point.len() == 65 && point[0] == 4));
        let okp = read_one(&format!(r#"{{"kty":"OKP","kid":"o","crv":"Ed25519","x":"{x}"}}"#)).unwrap();
        assert!(matches!(okp.material, Material::Ed25519(key) if key.len() == 32));
    }

    #[test]
    fn a_key_that_checks_nothing_is_left_out_with_its_reason() {
        let x = "A".repeat(43);
        for (key, why) in [
            (r#"{"kty":"oct","kid":"s","k":"AAAA"}"#.to_owned(), "a shared secret"),
            (r#"{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}"#.to_owned(), "an RSA key of 24 bits"),
            (r#"{"kty":"RSA","kid":"r","e":"AQAB"}"#.to_owned(), "no n"),
            (format!(r#"{{"kty":"EC","kid":"e","crv":"P-521","x":"{x}","y":"{x}"}}"#), "P-521 is not built"),
            (format!(r#"{{"kty":"EC","kid":"e","crv":"P-384","x":"{x}","y":"{x}"}}"#), "32 bytes where 48"),
            (
                format!(r#"{{"kty":"OKP","kid":"e","crv":"Ed25519","x":"{x}","alg":"RS256"}}"#),
                "is no key for RS256",
            ),
            (
                format!(r#"{{"kty":"OKP","kid":"e","crv":"Ed25519","x":"{x}","alg":"ES512"}}"#),
                "\"ES512\" is not built",
            ),
            (format!(r#"{{"kty":"OKP","kid":"e","crv":"Ed25519","x":"{x}","use":"enc"}}"#), "something else"),
            (
                format!(r#"{{"kty":"OKP","kid":"e","crv":"Ed25519","x":"{x}","key_ops":["sign"]}}"#),
                "something else",
            ),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#), "no kid"),
            (r#"{"kty":"OKP","kid":"e","crv":"Ed25519","x":"+"}"#.to_owned(), "no base64url"),
            ("7".to_owned(), "invalid type"),
        ] {
            let said = read_one(&key).unwrap_err();
            assert!(said.contains(why), "{key}: {said}");
        }
        assert_eq!(read(br#"{"keys":[]}"#), Ok((Vec::new(), Vec::new())));
        for text in ["", "[]", "{}", r#"{"keys":{}}"#] {
            assert!(read(text.as_bytes()).unwrap_err().starts_with("no JSON Web Key Set"), "{text}");
        }
        let many = vec!["7"; MOST_KEYS + 1].join(",");
        assert!(read(format!("{{\"keys\":[{many}]}}").as_bytes()).unwrap_err().contains("more than"));
    }
}

//! Private keys in the encodings that a Sentry reads: PKCS#8, SEC1 (`EC PRIVATE KEY`), PKCS#1 (`RSA PRIVATE KEY`).
//!
//! The cryptographic library reads PKCS#8 only, so the others are wrapped into it (RFC 5208).

use rcgen::KeyPair;

/// `AlgorithmIdentifier` of RSA keys.
const RSA: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
/// The same of P-256 keys.
const P256: &[u8] =
    &[0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// The same of P-384 keys.
const P384: &[u8] = &[0x30, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22];
/// What stands in front of an Ed25519 seed in PKCS#8 of version 1 (RFC 8410).
const ED25519: &[u8] = &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// Where the seed stands in version 2, which ring writes; everything between version and seed is the same.
const SEED: core::ops::Range<usize> = 16..48;

/// A new Ed25519 key whose PEM everybody reads: OpenSSL 3.0 refuses PKCS#8 of version 2.
pub(super) fn generate() -> Result<KeyPair, rcgen::Error> {
    let second_version = KeyPair::generate_for(&rcgen::PKCS_ED25519)?.serialize_der();
    let seed = second_version.get(SEED).unwrap_or_default();
    KeyPair::try_from([ED25519, seed].concat().as_slice())
}

/// The key inside a PEM block.
pub(super) fn read(label: &str, der: &[u8]) -> Result<KeyPair, String> {
    let candidates = match label {
        "PRIVATE KEY" => vec![der.to_vec()],
        "RSA PRIVATE KEY" => vec![wrapped(RSA, der)],
        "EC PRIVATE KEY" => vec![wrapped(P256, der), wrapped(P384, der)],
        other => return Err(format!("holds a {other:?} block; expected a PRIVATE KEY")),
    };
    let mut keys = candidates.iter().map(|der| KeyPair::try_from(der.as_slice()));
    keys.find_map(Result::ok)
        .ok_or_else(|| "the key cannot be used; expected Ed25519, ECDSA P-256 or P-384, or RSA".to_owned())
}

/// `SEQUENCE { INTEGER 0, algorithm, OCTET STRING key }`.
fn wrapped(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    element(0x30, &[&[2, 1, 0], algorithm, &element(4, key)].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let size = content.len().to_be_bytes();
    let size = size.get(content.len().leading_zeros() as usize / 8..).unwrap_or_default();
    let mut out = vec![tag];
    match size {
        [small @ 0..=127] => out.push(*small),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::PublicKeyData;

    #[test]
    fn lengths_are_written_in_der() {
        assert_eq!(element(4, &[7]), [4, 1, 7]);
        assert_eq!(element(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(element(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn a_generated_key_is_written_in_version_1_and_read_again() {
        let key = generate().unwrap();
        assert_eq!(&key.serialized_der()[..16], ED25519);
        let again = read("PRIVATE KEY", key.serialized_der()).unwrap();
        assert_eq!(again.subject_public_key_info(), key.subject_public_key_info());
    }

    #[test]
    fn sec1_keys_of_both_curves_are_read() {
        for (algorithm, header) in
            [(&rcgen::PKCS_ECDSA_P256_SHA256, P256), (&rcgen::PKCS_ECDSA_P384_SHA384, P384)]
        {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let pkcs8 = key.serialize_der();
            let at = pkcs8.windows(header.len()).position(|w| w == header).unwrap() + header.len();
            let sec1 = &pkcs8[at + if pkcs8[at + 1] < 128 { 2 } else { 3 }..];
            let again = read("EC PRIVATE KEY", sec1).unwrap();
            assert_eq!(again.subject_public_key_info(), key.subject_public_key_info());
        }
    }

    #[test]
    fn other_blocks_and_garbage_are_refused() {
        assert!(read("CERTIFICATE", &[]).unwrap_err().contains("CERTIFICATE"));
        assert!(read("PRIVATE KEY", &[1, 2, 3]).is_err());
        assert!(read("EC PRIVATE KEY", &[1, 2, 3]).is_err());
    }
}

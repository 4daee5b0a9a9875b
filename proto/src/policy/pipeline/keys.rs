//! Keys that signatures of tokens are checked with, and the algorithms there are (RFC 7518 section 3.1, RFC 8037).
//!
//! There is no algorithm with a shared secret and none without a signature: a key that everybody may know checks
//! nothing.

use core::fmt;

/// Most keys of one issuer.
pub const MOST_KEYS: usize = 64;

/// How something was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

const NAMES: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
];

impl Algorithm {
    /// The algorithm of that name; `None` where there is none, such as `none` and `HS256`.
    pub fn named(name: &str) -> Option<Algorithm> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| name)
    }
}

/// A public key, in the form that its algorithms take.
#[derive(Clone, PartialEq, Eq)]
pub enum Material {
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa {
        /// Modulus.
        modulus: Vec<u8>,
        /// Exponent.
        exponent: Vec<u8>,
    },
    /// An uncompressed point on P-256: `04`, x, y.
    P256(Vec<u8>),
    /// An uncompressed point on P-384.
    P384(Vec<u8>),
    /// 32 bytes.
    Ed25519(Vec<u8>),
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Material::Rsa { .. } => "RSA",
            Material::P256(_) => "P-256",
            Material::P384(_) => "P-384",
            Material::Ed25519(_) => "Ed25519",
        })
    }
}

/// A key of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyKey {
    /// `kid`; not empty.
    pub id: String,
    /// The only algorithm it is for; `None`: every one that fits it.
    pub algorithm: Option<Algorithm>,
    /// The key.
    pub material: Material,
}

impl VerifyKey {
    /// Whether it may check what was signed so.
    pub fn takes(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let fits = match self.material {
            Material::Rsa { .. } => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Material::P256(_) => algorithm == Es256,
            Material::P384(_) => algorithm == Es384,
            Material::Ed25519(_) => algorithm == EdDsa,
        };
        fits && self.algorithm.is_none_or(|only| only == algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_algorithm_takes_a_key_of_another_kind() {
        let key = |algorithm, material| VerifyKey { id: "k".into(), algorithm, material };
        let rsa = Material::Rsa { modulus: vec![1], exponent: vec![3] };
        for (key, taken) in [
            (key(None, rsa.clone()), "RS256 RS384 RS512 PS256 PS384 PS512"),
            (key(Some(Algorithm::Ps384), rsa.clone()), "PS384"),
            (key(Some(Algorithm::Es256), rsa), ""),
            (key(None, Material::P256(vec![])), "ES256"),
            (key(None, Material::P384(vec![])), "ES384"),
            (key(None, Material::Ed25519(vec![])), "EdDSA"),
        ] {
            let all: Vec<_> = NAMES.iter().filter(|(_, a)| key.takes(*a)).map(|(name, _)| *name).collect();
            assert_eq!(all.join(" "), taken, "{key:?}");
        }
        for name in ["none", "None", "HS256", "HS384", "HS512", "rs256", "ES512", "ES256K", ""] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
        assert!(NAMES.iter().all(|(name, algorithm)| algorithm.name() == *name));
    }
}

//! Signatures of tokens.

use proto::policy::pipeline::Signed;
use proto::policy::pipeline::keys::{Algorithm, Material};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// Whether a signature is good. A key that does not fit the algorithm checks nothing.
pub(crate) fn verifies(signed: Signed<'_>) -> bool {
    let Signed { algorithm, key, message, signature } = signed;
    let with = |how: &'static dyn VerificationAlgorithm, key: &[u8]| {
        UnparsedPublicKey::new(how, key).verify(message, signature).is_ok()
    };
    match (&key.material, algorithm) {
        (Material::Rsa { modulus, exponent }, algorithm) => rsa(algorithm).is_some_and(|how| {
            RsaPublicKeyComponents { n: modulus, e: exponent }.verify(how, message, signature).is_ok()
        }),
        (Material::P256(point), Algorithm::Es256) => with(&ECDSA_P256_SHA256_FIXED, point),
        (Material::P384(point), Algorithm::Es384) => with(&ECDSA_P384_SHA384_FIXED, point),
        (Material::Ed25519(key), Algorithm::EdDsa) => with(&ED25519, key),
        _ => false,
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

#[cfg(test)]
mod tests;

//! Signed tokens and the key sets that tell how they are checked.

use proto::grpc::base64::{self, Padding};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING as P256, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// Base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    base64::encode(&mut out, bytes, Padding::Bare);
    String::from_utf8(out).expect("ASCII").replace('+', "-").replace('/', "_")
}

/// Who signs tokens.
#[derive(Debug)]
pub struct Signer {
    kid: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// A fresh P-256 key of that name.
    pub fn p256(kid: &str) -> Signer {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&P256, &random).expect("a fresh key");
        let pair = EcdsaKeyPair::from_pkcs8(&P256, key.as_ref(), &random).expect("what was just made");
        Signer { kid: kid.to_owned(), pair: Pair::P256(pair) }
    }

    /// A fresh Ed25519 key of that name.
    pub fn ed25519(kid: &str) -> Signer {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a fresh key");
        let pair = Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("what was just made");
        Signer { kid: kid.to_owned(), pair: Pair::Ed25519(pair) }
    }

    /// The public key as it is published.
    pub fn public(&self) -> Value {
        match &self.pair {
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "kid": self.kid, "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            Pair::Ed25519(pair) => {
                let x = base64url(pair.public_key().as_ref());
                json!({"kty": "OKP", "kid": self.kid, "crv": "Ed25519", "x": x})
            }
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_of(&json!({"alg": self.algorithm(), "kid": self.kid, "typ": "JWT"}), claims)
    }

    /// A token with that header, signed as this key signs.
    pub fn token_of(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = match &self.pair {
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), message.as_bytes()).expect("a signature").as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", base64url(&signature))
    }

    /// A token whose "secret" is the public key, as a confused checker would take it.
    pub fn confused(&self, claims: &Value) -> String {
        let message = message(&json!({"alg": "HS256", "kid": self.kid}), claims);
        let public = match &self.pair {
            Pair::P256(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        };
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), message.as_bytes());
        format!("{message}.{}", base64url(tag.as_ref()))
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

/// A key set with these keys.
pub fn key_set(keys: &[&Signer]) -> String {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()}).to_string()
}

//! `middleware.http.bearer`: whether a request carries a token of the issuer for this audience (RFC 7519, RFC 7515).
//!
//! As in daprd: a token says by `kid` which key it is signed with; a token without an end has none; clocks may differ by
//! five minutes. Otherwise than there the token's own `alg` must be the key's, no key is a shared secret, extensions
//! that must be understood are refused, and so is a request with two `Authorization` lines: the app may read the other.

use super::keys::{Algorithm, MOST_KEYS, VerifyKey};
use super::{Means, Refusal};
use crate::grpc::base64;
use serde::Deserialize;
use std::sync::Arc;

/// Largest token, in bytes.
pub const LARGEST_TOKEN: usize = 16 << 10;

/// How far clocks may differ, in seconds.
const SKEW: f64 = 300.0;

/// Whose tokens are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Bearer {
    /// `iss`, exactly.
    pub issuer: String,
    /// What `aud` is, or holds.
    pub audience: String,
    /// The issuer's keys; `None`: not known yet, and then nothing is taken.
    pub keys: Option<Arc<[VerifyKey]>>,
}

/// What a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'c> {
    /// No `Authorization`.
    Nothing,
    /// Its value.
    One(&'c [u8]),
    /// More than one.
    Several,
}

impl<'c> Shown<'c> {
    /// The values of all its `Authorization` lines.
    pub fn of(mut values: impl Iterator<Item = &'c [u8]>) -> Shown<'c> {
        match (values.next(), values.next()) {
            (None, _) => Shown::Nothing,
            (Some(one), None) => Shown::One(one),
            (Some(_), Some(_)) => Shown::Several,
        }
    }
}

/// What is wrong with a token, or with its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// No `Authorization: Bearer`, or several lines.
    Missing,
    /// No signed token in the compact form.
    Malformed,
    /// An algorithm that is not taken.
    Algorithm,
    /// No key of that name takes its algorithm.
    Key,
    /// Not signed with that key.
    Signature,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    Early,
    /// Somebody else's.
    Issuer,
    /// For somebody else.
    Audience,
}

impl BadToken {
    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            BadToken::Missing => "missing",
            BadToken::Malformed => "malformed",
            BadToken::Algorithm => "algorithm",
            BadToken::Key => "key",
            BadToken::Signature => "signature",
            BadToken::Expired => "expired",
            BadToken::Early => "early",
            BadToken::Issuer => "issuer",
            BadToken::Audience => "audience",
        }
    }
}

/// What a signature is checked with.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'t> {
    /// How it was made; the key takes it.
    pub algorithm: Algorithm,
    /// Whose it should be.
    pub key: &'t VerifyKey,
    /// What was signed.
    pub message: &'t [u8],
    /// What the token shows for it.
    pub signature: &'t [u8],
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A time that is there is a number: `null` is none.
fn present<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Option<f64>, D::Error> {
    f64::deserialize(from).map(Some)
}

impl Bearer {
    /// Checks what must be configured; daprd's words.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if value.is_empty() {
                return Err(format!("metadata property '{name}' is required"));
            }
        }
        let many = self.keys.as_ref().is_some_and(|keys| keys.len() > MOST_KEYS);
        if many { Err(format!("more than {MOST_KEYS} keys")) } else { Ok(()) }
    }

    /// Why a request goes no further.
    pub(super) fn refusal(&self, shown: Shown<'_>, means: &impl Means) -> Option<Refusal> {
        let Some(keys) = &self.keys else {
            return Some(token(shown).err().map_or(Refusal::NoKeys, Refusal::BadToken));
        };
        self.judge(keys, shown, means.now(), |signed| means.verifies(signed)).err().map(Refusal::BadToken)
    }

    /// Judges what a request shows at that time (Unix seconds). `verifies`: whether a signature is good.
    ///
    /// # Errors
    /// What is wrong.
    fn judge(
        &self,
        keys: &[VerifyKey],
        shown: Shown<'_>,
        now: u64,
        verifies: impl Fn(Signed<'_>) -> bool,
    ) -> Result<(), BadToken> {
        let token = token(shown)?;
        let (message, signature) = split_last(token).ok_or(BadToken::Malformed)?;
        let (header, claims) = split_last(message).ok_or(BadToken::Malformed)?;
        let header: Header = json(header)?;
        if header.crit.is_some() {
            return Err(BadToken::Malformed);
        }
        let algorithm = Algorithm::named(&header.alg).ok_or(BadToken::Algorithm)?;
        let id = header.kid.unwrap_or_default();
        let signature = base64::decode_url_exactly(signature).ok_or(BadToken::Malformed)?;
        let mut fitting = keys.iter().filter(|key| key.id == id && key.takes(algorithm)).peekable();
        fitting.peek().ok_or(BadToken::Key)?;
        if !fitting.any(|key| verifies(Signed { algorithm, key, message, signature: &signature })) {
            return Err(BadToken::Signature);
        }
        self.accepts(&json(claims)?, now)
    }

    #[allow(clippy::cast_precision_loss, reason = "seconds")]
    fn accepts(&self, claims: &Claims, now: u64) -> Result<(), BadToken> {
        let now = now as f64;
        if claims.exp.is_some_and(|end| now >= end + SKEW) {
            return Err(BadToken::Expired);
        }
        if [claims.nbf, claims.iat].iter().flatten().any(|begin| now < begin - SKEW) {
            return Err(BadToken::Early);
        }
        if claims.iss.as_deref() != Some(&self.issuer) {
            return Err(BadToken::Issuer);
        }
        match &claims.aud {
            Some(Audience::One(one)) if *one == self.audience => Ok(()),
            Some(Audience::Many(many)) if many.contains(&self.audience) => Ok(()),
            _ => Err(BadToken::Audience),
        }
    }
}

/// The token behind `Bearer `, in any case.
fn token(shown: Shown<'_>) -> Result<&[u8], BadToken> {
    let Shown::One(value) = shown else { return Err(BadToken::Missing) };
    let (scheme, token) = value.split_at_checked("bearer ".len()).ok_or(BadToken::Missing)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(BadToken::Missing);
    }
    match token.trim_ascii() {
        b"" => Err(BadToken::Missing),
        token if token.len() > LARGEST_TOKEN => Err(BadToken::Malformed),
        token => Ok(token),
    }
}

/// What stands before the last dot, and what behind it.
fn split_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = text.iter().rposition(|byte| *byte == b'.')?;
    Some((text.get(..dot)?, text.get(dot + 1..)?))
}

fn json<T: serde::de::DeserializeOwned>(part: &[u8]) -> Result<T, BadToken> {
    let decoded = base64::decode_url_exactly(part).ok_or(BadToken::Malformed)?;
    serde_json::from_slice(&decoded).map_err(|_| BadToken::Malformed)
}

#[cfg(test)]
mod tests;

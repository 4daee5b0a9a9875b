//! HTTP pipelines, both ways.

use super::decode::Reasons;
use crate::control as wire;
use crate::control::middleware::Kind;
use crate::control::verify_key;
use crate::policy::pipeline::keys::{Algorithm, Material, VerifyKey};
use crate::policy::pipeline::{Bearer, Bodies, Middleware, Pipeline, Pipelines};

/// A data plane that does not know pipelines would let everything pass.
pub(super) fn required(pipelines: Option<&Pipelines>) -> Vec<String> {
    let any = pipelines.is_some_and(|pipelines| !pipelines.is_empty());
    if any { vec!["pipelines".into()] } else { Vec::new() }
}

pub(super) fn encode(pipelines: &Pipelines) -> wire::Pipelines {
    let all = |pipeline: &Pipeline| pipeline.middleware().iter().map(encode_one).collect();
    wire::Pipelines { api: all(&pipelines.api), app: all(&pipelines.app) }
}

fn encode_one(middleware: &Middleware) -> wire::Middleware {
    let kind = match middleware {
        Middleware::RouterAlias { routes } => {
            let alias = |(path, target): &(String, String)| wire::Alias {
                path: path.clone(),
                target: target.clone(),
            };
            Kind::RouterAlias(wire::RouterAlias { routes: routes.iter().map(alias).collect() })
        }
        Middleware::RouterChecker { rule } => Kind::RouterChecker(wire::RouterChecker { rule: rule.clone() }),
        Middleware::RateLimit { max_per_second } => {
            Kind::RateLimit(wire::RateLimit { max_per_second: *max_per_second })
        }
        Middleware::Bearer(bearer) => Kind::Bearer(encode_bearer(bearer)),
        Middleware::Uppercase(Bodies { request, response }) => {
            Kind::Uppercase(wire::Uppercase { request: *request, response: *response })
        }
    };
    wire::Middleware { kind: Some(kind) }
}

fn encode_bearer(bearer: &Bearer) -> wire::Bearer {
    let keys = bearer.keys.as_ref().map(|keys| keys.iter().map(encode_key).collect());
    wire::Bearer {
        issuer: bearer.issuer.clone(),
        audience: bearer.audience.clone(),
        keys: keys.map(|keys| wire::VerifyKeys { keys }),
    }
}

fn encode_key(key: &VerifyKey) -> wire::VerifyKey {
    let material = match key.material.clone() {
        Material::Rsa { modulus, exponent } => verify_key::Material::Rsa(wire::RsaKey { modulus, exponent }),
        Material::P256(point) => verify_key::Material::P256(point),
        Material::P384(point) => verify_key::Material::P384(point),
        Material::Ed25519(key) => verify_key::Material::Ed25519(key),
    };
    let algorithm = key.algorithm.map(Algorithm::name).unwrap_or_default();
    wire::VerifyKey { id: key.id.clone(), algorithm: algorithm.into(), material: Some(material) }
}

pub(super) fn decode(message: &wire::Pipelines, before: &Pipelines, reasons: &mut Reasons) -> Pipelines {
    let mut pipeline = |name: &str, handlers: &[wire::Middleware]| pipeline(name, handlers, before, reasons);
    Pipelines { api: pipeline("api", &message.api), app: pipeline("app", &message.app) }
}

fn pipeline(
    name: &str,
    handlers: &[wire::Middleware],
    before: &Pipelines,
    reasons: &mut Reasons,
) -> Pipeline {
    let known = handlers.iter().filter_map(decode_one);
    let known: Vec<Middleware> = known.map(|middleware| with_keys(middleware, before)).collect();
    reasons.expect(known.len() == handlers.len(), format_args!("pipelines: {name}: an unknown middleware"));
    reasons.ok(&format!("pipelines: {name}"), Pipeline::new(known)).unwrap_or_default()
}

/// A control process that was started again and has not fetched an issuer's keys yet takes none away.
fn with_keys(middleware: Middleware, before: &Pipelines) -> Middleware {
    let Middleware::Bearer(bearer @ Bearer { keys: None, .. }) = middleware else { return middleware };
    let mut known = before.api.middleware().iter().chain(before.app.middleware());
    let keys = known.find_map(|middleware| match middleware {
        Middleware::Bearer(known) if known.issuer == bearer.issuer => known.keys.clone(),
        _ => None,
    });
    Middleware::Bearer(Bearer { keys, ..bearer })
}

fn decode_one(message: &wire::Middleware) -> Option<Middleware> {
    Some(match message.kind.as_ref()? {
        Kind::RouterAlias(alias) => {
            let routes = alias.routes.iter().map(|route| (route.path.clone(), route.target.clone()));
            Middleware::RouterAlias { routes: routes.collect() }
        }
        Kind::RouterChecker(checker) => Middleware::RouterChecker { rule: checker.rule.clone() },
        Kind::RateLimit(limit) => Middleware::RateLimit { max_per_second: limit.max_per_second },
        Kind::Bearer(bearer) => Middleware::Bearer(decode_bearer(bearer)?),
        Kind::Uppercase(wire::Uppercase { request, response }) => {
            Middleware::Uppercase(Bodies { request: *request, response: *response })
        }
    })
}

/// `None`: a key that is none, or an algorithm that is not known.
fn decode_bearer(message: &wire::Bearer) -> Option<Bearer> {
    let keys = match &message.keys {
        None => None,
        Some(all) => Some(all.keys.iter().map(decode_key).collect::<Option<Vec<_>>>()?.into()),
    };
    Some(Bearer { issuer: message.issuer.clone(), audience: message.audience.clone(), keys })
}

fn decode_key(message: &wire::VerifyKey) -> Option<VerifyKey> {
    let material = match message.material.clone()? {
        verify_key::Material::Rsa(wire::RsaKey { modulus, exponent }) => Material::Rsa { modulus, exponent },
        verify_key::Material::P256(point) => Material::P256(point),
        verify_key::Material::P384(point) => Material::P384(point),
        verify_key::Material::Ed25519(key) => Material::Ed25519(key),
    };
    let algorithm = match message.algorithm.as_str() {
        "" => None,
        name => Some(Algorithm::named(name)?),
    };
    Some(VerifyKey { id: message.id.clone(), algorithm, material })
}

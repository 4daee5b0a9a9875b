//! HTTP pipelines as they are stored. Nothing that a handler is told is secret, wherever it stood.

use crate::keys::{Known, Place};
use proto::policy::pipeline::{self, Bearer, Bodies};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What requests pass on their way, the first handler first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pipelines {
    /// `spec.httpPipeline`.
    pub api: Vec<Middleware>,
    /// `spec.appHttpPipeline`.
    pub app: Vec<Middleware>,
}

/// One handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Middleware {
    /// `middleware.http.routeralias`: paths and their targets.
    RouterAlias(Vec<(String, String)>),
    /// `middleware.http.routerchecker`: the rule.
    RouterChecker(String),
    /// `middleware.http.ratelimit`: most requests a second.
    RateLimit(f64),
    /// `middleware.http.uppercase`.
    Uppercase {
        /// Bodies that are sent.
        request: bool,
        /// Bodies that are answered.
        response: bool,
    },
    /// `middleware.http.bearer`.
    Bearer {
        /// Whose tokens.
        issuer: Issuer,
        /// Whom they are for.
        audience: String,
    },
}

/// Who makes tokens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Issuer {
    /// `issuer`, as tokens name it.
    pub name: String,
    /// `jwksURL`; where it is absent the issuer's own description says where its keys are.
    pub keys_at: Option<String>,
}

impl Issuer {
    /// Where it describes itself (OpenID Connect Discovery 1.0 section 4).
    pub(crate) fn description(&self) -> String {
        let name = self.name.strip_suffix('/').unwrap_or(&self.name);
        format!("{name}/.well-known/openid-configuration")
    }

    /// Where what is to be fetched first stands.
    fn place(&self) -> Result<Place, String> {
        let (what, text) = match &self.keys_at {
            Some(text) => ("jwksURL", text.clone()),
            None => ("issuer", self.description()),
        };
        Place::parse(&text).map_err(|why| format!("{what}: expected a URL with http:// or https://: {why}"))
    }
}

impl Middleware {
    fn of(&self, known: &Known) -> pipeline::Middleware {
        match self {
            Middleware::RouterAlias(routes) => pipeline::Middleware::RouterAlias { routes: routes.clone() },
            Middleware::RouterChecker(rule) => pipeline::Middleware::RouterChecker { rule: rule.clone() },
            Middleware::RateLimit(max) => pipeline::Middleware::RateLimit { max_per_second: *max },
            Middleware::Bearer { issuer, audience } => pipeline::Middleware::Bearer(Bearer {
                issuer: issuer.name.clone(),
                audience: audience.clone(),
                keys: known.get(issuer).cloned(),
            }),
            Middleware::Uppercase { request, response } => {
                pipeline::Middleware::Uppercase(Bodies { request: *request, response: *response })
            }
        }
    }

    /// Whether a handler can be made of it.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        pipeline::Pipeline::new(vec![self.of(&Known::new())])?;
        match self {
            Middleware::Bearer { issuer, .. } => issuer.place().map(drop),
            _ => Ok(()),
        }
    }
}

impl Pipelines {
    /// The issuers whose tokens count somewhere.
    pub(crate) fn issuers(&self) -> BTreeSet<Issuer> {
        let all = self.api.iter().chain(&self.app);
        let named = all.filter_map(|middleware| match middleware {
            Middleware::Bearer { issuer, .. } => Some(issuer.clone()),
            _ => None,
        });
        named.collect()
    }

    /// Ready for use, with the keys that are known.
    ///
    /// # Errors
    /// The first handler that cannot be made, in words.
    pub(crate) fn built(&self, known: &Known) -> Result<pipeline::Pipelines, String> {
        let build =
            |all: &[Middleware]| pipeline::Pipeline::new(all.iter().map(|one| one.of(known)).collect());
        Ok(pipeline::Pipelines { api: build(&self.api)?, app: build(&self.app)? })
    }
}

//! HTTP pipelines as they are stored. Nothing in them is secret.

use proto::policy::pipeline::{self, Bodies};
use serde::{Deserialize, Serialize};

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
}

impl Middleware {
    fn of(&self) -> pipeline::Middleware {
        match self {
            Middleware::RouterAlias(routes) => pipeline::Middleware::RouterAlias { routes: routes.clone() },
            Middleware::RouterChecker(rule) => pipeline::Middleware::RouterChecker { rule: rule.clone() },
            Middleware::RateLimit(max) => pipeline::Middleware::RateLimit { max_per_second: *max },
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
        pipeline::Pipeline::new(vec![self.of()]).map(drop)
    }
}

impl Pipelines {
    /// Ready for use.
    ///
    /// # Errors
    /// The first handler that cannot be made, in words.
    pub(crate) fn built(&self) -> Result<pipeline::Pipelines, String> {
        let build = |all: &[Middleware]| pipeline::Pipeline::new(all.iter().map(Middleware::of).collect());
        Ok(pipeline::Pipelines { api: build(&self.api)?, app: build(&self.app)? })
    }
}

//! HTTP pipelines, both ways.

use super::decode::Reasons;
use crate::control as wire;
use crate::control::middleware::Kind;
use crate::policy::pipeline::{Bodies, Middleware, Pipeline, Pipelines};

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
        Middleware::Uppercase(Bodies { request, response }) => {
            Kind::Uppercase(wire::Uppercase { request: *request, response: *response })
        }
    };
    wire::Middleware { kind: Some(kind) }
}

pub(super) fn decode(message: &wire::Pipelines, reasons: &mut Reasons) -> Pipelines {
    Pipelines { api: pipeline("api", &message.api, reasons), app: pipeline("app", &message.app, reasons) }
}

fn pipeline(name: &str, handlers: &[wire::Middleware], reasons: &mut Reasons) -> Pipeline {
    let known: Vec<Middleware> = handlers.iter().filter_map(decode_one).collect();
    reasons.expect(known.len() == handlers.len(), format_args!("pipelines: {name}: an unknown middleware"));
    reasons.ok(&format!("pipelines: {name}"), Pipeline::new(known)).unwrap_or_default()
}

fn decode_one(message: &wire::Middleware) -> Option<Middleware> {
    Some(match message.kind.as_ref()? {
        Kind::RouterAlias(alias) => {
            let routes = alias.routes.iter().map(|route| (route.path.clone(), route.target.clone()));
            Middleware::RouterAlias { routes: routes.collect() }
        }
        Kind::RouterChecker(checker) => Middleware::RouterChecker { rule: checker.rule.clone() },
        Kind::RateLimit(limit) => Middleware::RateLimit { max_per_second: limit.max_per_second },
        Kind::Uppercase(wire::Uppercase { request, response }) => {
            Middleware::Uppercase(Bodies { request: *request, response: *response })
        }
    })
}

//! HTTP pipelines: what a request passes on its way, as daprd's middleware components say (spec/invocation 7.1).
//!
//! ```
//! use proto::policy::pipeline::rate::Rate;
//! use proto::policy::pipeline::{Called, Means, Middleware, Pipeline, Refusal, Shown, Signed};
//!
//! struct None;
//! impl Means for None {
//!     fn take(&self, _handler: usize, _rate: Rate, _path: &str) -> Option<u32> {
//!         Option::None
//!     }
//!     fn now(&self) -> u64 {
//!         0
//!     }
//!     fn verifies(&self, _signed: Signed<'_>) -> bool {
//!         false
//!     }
//! }
//! let rule = Middleware::RouterChecker { rule: "^/v1.0/invoke/orders/".into() };
//! let pipeline = Pipeline::new(vec![rule]).unwrap();
//! let called = Called { path: "/v1.0/invoke/bank/method/pay", query: "", shown: Shown::Nothing };
//! let passed = pipeline.run(&called, &None);
//! assert_eq!(passed.refusal, Some(Refusal::BadRoute));
//! ```

mod alias;
mod bearer;
pub mod keys;
pub mod rate;

pub use bearer::{BadToken, Bearer, LARGEST_TOKEN, Shown, Signed};

use crate::invoke::method;
use alias::Aliases;
use core::fmt;
use rate::{Rate, Said};
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;

/// Most handlers of a pipeline.
pub const MOST_HANDLERS: usize = 32;
/// Largest compiled regular expression, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// What one handler does, as configured.
#[derive(Clone, Debug, PartialEq)]
pub enum Middleware {
    /// `middleware.http.routeralias`: paths, and what stands in their place.
    RouterAlias {
        /// Pattern and target.
        routes: Vec<(String, String)>,
    },
    /// `middleware.http.routerchecker`: paths that the rule finds nothing in are refused.
    RouterChecker {
        /// A regular expression.
        rule: String,
    },
    /// `middleware.http.ratelimit`.
    RateLimit {
        /// `maxRequestsPerSecond` of one client for one path.
        max_per_second: f64,
    },
    /// `middleware.http.uppercase`: letters of bodies become capital ones.
    Uppercase(Bodies),
    /// `middleware.http.bearer`.
    Bearer(Bearer),
}

/// Which bodies a handler changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bodies {
    /// What is sent to the server.
    pub request: bool,
    /// What is answered.
    pub response: bool,
}

impl Bodies {
    /// The bodies that one of both names.
    fn with(self, other: Bodies) -> Bodies {
        Bodies { request: self.request | other.request, response: self.response | other.response }
    }
}

/// Both pipelines of a sidecar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pipelines {
    /// `spec.httpPipeline`: requests of local clients, before they are routed.
    pub api: Pipeline,
    /// `spec.appHttpPipeline`: requests on their way to the local app.
    pub app: Pipeline,
}

impl Pipelines {
    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.api.is_empty() && self.app.is_empty()
    }
}

/// Handlers, ready for use; the first one sees a request first.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    middleware: Vec<Middleware>,
    handlers: Vec<Handler>,
}

impl PartialEq for Pipeline {
    fn eq(&self, other: &Pipeline) -> bool {
        self.middleware == other.middleware // the handlers follow from it
    }
}

#[derive(Clone, Debug)]
enum Handler {
    Alias(Aliases),
    Checker(Regex),
    Limit(Rate),
    Uppercase(Bodies),
    Bearer(Bearer),
}

/// What handlers use that is not theirs.
pub trait Means {
    /// Takes one token of the bucket of the handler at that place for that path, and says how many are left; `None` where
    /// there was none.
    fn take(&self, handler: usize, rate: Rate, path: &str) -> Option<u32>;

    /// Unix seconds.
    fn now(&self) -> u64;

    /// Whether a signature is good.
    fn verifies(&self, signed: Signed<'_>) -> bool;
}

/// What a request calls, and who it says it is.
#[derive(Clone, Copy, Debug)]
pub struct Called<'c> {
    /// Decoded and cleaned, with a leading slash.
    pub path: &'c str,
    /// As it was sent, without `?`.
    pub query: &'c str,
    /// Its `Authorization`.
    pub shown: Shown<'c>,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passed {
    /// Path and query, where they are others now.
    pub changed: Option<Changed>,
    /// It goes no further.
    pub refusal: Option<Refusal>,
    /// What the answer tells about each limit that was asked.
    pub said: Vec<Said>,
    /// Bodies whose letters `a` to `z` become capital ones.
    pub uppercase: Bodies,
}

/// What stands in the place of what was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// With a leading slash; nothing in it needs decoding.
    pub path: String,
    /// Without `?`.
    pub query: String,
}

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No rule knows its path.
    BadRoute,
    /// It came too soon after others.
    TooMany,
    /// It shows no token that is taken.
    BadToken(BadToken),
    /// Nobody knows yet which tokens to take.
    NoKeys,
}

impl Refusal {
    /// Status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Refusal::BadRoute => 400,
            Refusal::TooMany => 429,
            Refusal::BadToken(_) => 401,
            Refusal::NoKeys => 503,
        }
    }

    /// Body of the answer, `text/plain; charset=utf-8`; daprd's words.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::BadRoute => "invalid router",
            Refusal::TooMany => "You have reached maximum request limit.",
            Refusal::BadToken(_) => "Unauthorized",
            Refusal::NoKeys => "the keys of the tokens' issuer are not known yet",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Pipeline {
    /// Makes handlers of their settings.
    ///
    /// # Errors
    /// The first setting that no handler can be made of, in words.
    pub fn new(middleware: Vec<Middleware>) -> Result<Pipeline, String> {
        if middleware.len() > MOST_HANDLERS {
            return Err(format!("{} handlers are more than {MOST_HANDLERS}", middleware.len()));
        }
        let handlers = middleware.iter().map(handler).collect::<Result<_, _>>()?;
        Ok(Pipeline { middleware, handlers })
    }

    /// The settings it was made of.
    pub fn middleware(&self) -> &[Middleware] {
        &self.middleware
    }

    /// Whether everything passes unseen.
    pub fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }

    /// Takes a request through.
    pub fn run(&self, called: &Called<'_>, means: &impl Means) -> Passed {
        let mut passed = Passed::default();
        for (at, handler) in self.handlers.iter().enumerate() {
            let now = match &passed.changed {
                None => *called,
                Some(changed) => Called { path: &changed.path, query: &changed.query, ..*called },
            };
            match handler {
                Handler::Alias(aliases) => {
                    if let Some(changed) = aliases.find(&now) {
                        passed.changed = Some(changed);
                    }
                }
                Handler::Checker(rule) if !rule.is_match(uri(&now).as_bytes()) => {
                    passed.refusal = Some(Refusal::BadRoute);
                }
                Handler::Checker(_) => {}
                Handler::Limit(rate) => {
                    let left = means.take(at, *rate, now.path);
                    passed.said.push(Said { rate: *rate, left: left.unwrap_or_default() });
                    passed.refusal = left.is_none().then_some(Refusal::TooMany);
                }
                Handler::Bearer(bearer) => passed.refusal = bearer.refusal(now.shown, means),
                Handler::Uppercase(bodies) => passed.uppercase = passed.uppercase.with(*bodies),
            }
            if passed.refusal.is_some() {
                break;
            }
        }
        passed
    }
}

fn handler(middleware: &Middleware) -> Result<Handler, String> {
    match middleware {
        Middleware::RouterAlias { routes } => Aliases::new(routes).map(Handler::Alias),
        Middleware::RouterChecker { rule } => {
            pattern(rule).map(Handler::Checker).map_err(|why| format!("rule {rule:?}: {why}"))
        }
        Middleware::RateLimit { max_per_second } => Rate::new(*max_per_second).map(Handler::Limit),
        Middleware::Uppercase(bodies) => Ok(Handler::Uppercase(*bodies)),
        Middleware::Bearer(bearer) => bearer.check().map(|()| Handler::Bearer(bearer.clone())),
    }
}

/// Classes such as `\w` are ASCII's, as in Go.
fn pattern(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).unicode(false).size_limit(LARGEST_PATTERN).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => format!("takes more than {limit} bytes when it is compiled"),
        error => error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
    })
}

fn uri<'c>(called: &Called<'c>) -> Cow<'c, str> {
    match called.query {
        "" => Cow::Borrowed(called.path),
        query => Cow::Owned(format!("{}?{query}", called.path)),
    }
}

/// A raw path as the handlers see it: decoded and cleaned, so that no spelling of a path passes a rule about another.
pub fn seen(raw: &str) -> String {
    let decoded = crate::invoke::escape::decode(raw, false).unwrap_or(Cow::Borrowed(raw.as_bytes()));
    let decoded = String::from_utf8_lossy(&decoded);
    let cleaned = method::clean(&decoded);
    if cleaned.starts_with('/') {
        cleaned.into_owned()
    } else {
        format!("/{}", cleaned.trim_start_matches('.'))
    }
}

#[cfg(test)]
mod tests;

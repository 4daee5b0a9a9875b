//! A log line for each request of the API (`--enable-api-logging`; vectors surface/log).

use super::Scope;
use super::route::is_about_health;
use crate::log::{self, Level};
use crate::metrics::Record;
use crate::shard::View;
use proto::api::log::name;
use proto::http1::head::Request;
use proto::http1::names::Known;
use proto::invoke::method;
use proto::invoke::target::{self, Path};
use proto::log::Value;
use std::borrow::Cow;

/// Scope of the lines.
const SCOPE: &str = "dapr.runtime.http-info";

/// Writes the line, where there is to be one.
pub(super) fn called(
    view: &View,
    scope: Scope,
    request: &Request<'_, '_>,
    path: &Path<'_>,
    record: &Record<'_>,
) {
    let api = &view.snapshot.api;
    let Some(logging) = api.logging.filter(|_| scope == Scope::Api && log::writes(Level::Info)) else {
        return;
    };
    if logging.omit_health_checks && is_about_health(path.raw) {
        return;
    }
    let method: Cow<'_, str> = if logging.obfuscate_urls {
        let called = target::find(path, &request.headers).ok();
        name(&api.rules, request.method, &method::clean(path.raw), called.as_ref().map(|called| &*called.id))
    } else {
        format!("{} {}", request.method, path.raw).into()
    };
    let number = |n: u64| Value::Number(i64::try_from(n).unwrap_or(i64::MAX));
    let agent = request.headers.first(Known::UserAgent).map(String::from_utf8_lossy);
    let mut fields = vec![
        ("method", Value::Text(&method)),
        ("code", number(record.status.into())),
        ("size", number(record.bytes_out)),
        ("duration", number(record.elapsed_ms().max(0.0) as u64)),
    ];
    if let Some(agent) = agent.as_deref().filter(|agent| !agent.is_empty()) {
        fields.push(("useragent", Value::Text(agent)));
    }
    log::call(SCOPE, "HTTP API Called", &fields);
}

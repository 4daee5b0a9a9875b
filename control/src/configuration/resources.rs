//! Resource files (`--resources-path`): which kinds there are, and the shape of those that matter to invocation
//! (spec/resolution 3.1, 7.1.1, 8.3).

use super::Gravity;
use super::reader::{Fields, Reader};
use super::tree::{Node, Value};
use crate::cli::values::GoDuration;

const API_VERSION: &str = "dapr.io/v1alpha1";

/// Judges one document of a resource file. `app` is the own app id, if the resources' scopes are to be looked at.
pub(super) fn read(document: &Node, app: Option<&str>, reader: &mut Reader<'_>) {
    let Some(fields) = reader.fields(document, "the document") else { return };
    let mut fields = fields.in_any_case();
    let Some(kind) = fields.take("kind") else {
        return reader.mistake(document, "no kind; expected a resource such as kind: Resiliency");
    };
    let kind = reader.text(kind, "kind").unwrap_or_default();
    let name = name(&mut fields, reader);
    let in_scope = in_scope(&mut fields, app, reader);
    match kind.as_str() {
        "Configuration" => reader.mistake(
            document,
            "a Configuration among the resources is not used; name the file with --config",
        ),
        "Resiliency" => {
            known(document, fields, resiliency, reader);
            if in_scope {
                let message =
                    format!("Resiliency {name:?} is not applied yet; the built-in retries stay as they are");
                reader.note(document.offset, Gravity::Note, message);
            }
        }
        "HTTPEndpoint" => {
            known(document, fields, http_endpoint, reader);
            if in_scope {
                let message =
                    format!("HTTPEndpoint {name:?} is not used yet; calls to it find no app of that name");
                reader.note(document.offset, Gravity::Note, message);
            }
        }
        _ if in_scope => {
            let message = format!("{kind} {name:?} belongs to another building block and is not used");
            reader.note(document.offset, Gravity::Note, message);
        }
        _ => {}
    }
}

fn name(fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> String {
    let metadata = fields.take("metadata").and_then(|node| reader.fields(node, "metadata"));
    let name = metadata.and_then(|fields| fields.in_any_case().take("name"));
    name.and_then(|node| reader.text(node, "metadata.name")).unwrap_or_default()
}

fn in_scope(fields: &mut Fields<'_>, app: Option<&str>, reader: &mut Reader<'_>) -> bool {
    let Some(node) = fields.take("scopes") else { return true };
    let scopes: Vec<String> =
        reader.items(node, "scopes").iter().filter_map(|scope| reader.text(scope, "scopes")).collect();
    app.is_none_or(|app| scopes.is_empty() || scopes.iter().any(|scope| scope == app))
}

/// A kind whose settings this build knows.
fn known(
    document: &Node,
    mut fields: Fields<'_>,
    spec: impl FnOnce(&Node, &mut Reader<'_>),
    reader: &mut Reader<'_>,
) {
    let version = fields.take("apiVersion");
    match version.map(|node| reader.text(node, "apiVersion").unwrap_or_default()) {
        Some(version) if version == API_VERSION => {}
        found => {
            let found = found.unwrap_or_default();
            reader.mistake(
                version.unwrap_or(document),
                format!("apiVersion is {found:?}; expected {API_VERSION:?}"),
            );
        }
    }
    match fields.take("spec") {
        Some(node) => spec(node, reader),
        None => reader.mistake(document, "no spec"),
    }
    fields.accept(&["auth", "status"]);
    fields.finish(reader);
}

fn resiliency(spec: &Node, reader: &mut Reader<'_>) {
    let Some(fields) = reader.fields(spec, "spec") else { return };
    let mut fields = fields.in_any_case();
    if let Some(fields_of_policies) = fields.take("policies").and_then(|n| reader.fields(n, "spec.policies"))
    {
        let mut policies = fields_of_policies.in_any_case();
        each(policies.take("timeouts"), "timeouts", reader, duration);
        each(policies.take("retries"), "retries", reader, retry);
        each(policies.take("circuitBreakers"), "circuitBreakers", reader, breaker);
        policies.finish(reader);
    }
    if let Some(targets) = fields.take("targets").and_then(|node| reader.fields(node, "spec.targets")) {
        let mut targets = targets.in_any_case();
        each(targets.take("apps"), "apps", reader, target);
        targets.accept(&["actors", "components"]);
        targets.finish(reader);
    }
    fields.finish(reader);
}

/// Judges every value of a mapping from names of the user's own.
fn each(
    node: Option<&Node>,
    context: &str,
    reader: &mut Reader<'_>,
    judge: fn(&Node, &str, &mut Reader<'_>),
) {
    let Some(node) = node else { return };
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                judge(value, &format!("{context}.{}", key.name), reader);
            }
        }
        Value::Null => {}
        other => {
            let message = format!("{context} expects settings, found {}", other.kind());
            reader.mistake(node, message);
        }
    }
}

/// A Go duration, or a bare number of milliseconds (spec/resolution 3.2).
fn duration(node: &Node, context: &str, reader: &mut Reader<'_>) {
    if matches!(node.value, Value::Number(_) | Value::Null) {
        return;
    }
    let Some(text) = reader.text(node, context) else { return };
    if text.parse::<GoDuration>().is_err() && text.parse::<i64>().is_err() {
        let message =
            format!("{context} is {text:?}; expected a duration such as 500ms or 5s, or milliseconds");
        reader.mistake(node, message);
    }
}

fn retry(node: &Node, context: &str, reader: &mut Reader<'_>) {
    let Some(fields) = reader.fields(node, context) else { return };
    let mut fields = fields.in_any_case();
    if let Some(policy) = fields.take("policy") {
        let text = reader.text(policy, context).unwrap_or_default();
        if !text.is_empty()
            && !["constant", "exponential"].iter().any(|known| text.eq_ignore_ascii_case(known))
        {
            reader.mistake(policy, format!("{context}.policy is {text:?}; expected constant or exponential"));
        }
    }
    for name in ["duration", "maxInterval"] {
        if let Some(node) = fields.take(name) {
            duration(node, &format!("{context}.{name}"), reader);
        }
    }
    if let Some(node) = fields.take("maxRetries") {
        reader.number(node, &format!("{context}.maxRetries"));
    }
    if let Some(matching) = fields.take("matching").and_then(|node| reader.fields(node, context)) {
        let mut matching = matching.in_any_case();
        matching.accept(&["httpStatusCodes", "gRPCStatusCodes"]);
        matching.finish(reader);
    }
    fields.finish(reader);
}

fn breaker(node: &Node, context: &str, reader: &mut Reader<'_>) {
    let Some(fields) = reader.fields(node, context) else { return };
    let mut fields = fields.in_any_case();
    for name in ["interval", "timeout"] {
        if let Some(node) = fields.take(name) {
            duration(node, &format!("{context}.{name}"), reader);
        }
    }
    if let Some(node) = fields.take("maxRequests") {
        reader.number(node, &format!("{context}.maxRequests"));
    }
    fields.accept(&["trip"]);
    fields.finish(reader);
}

fn target(node: &Node, context: &str, reader: &mut Reader<'_>) {
    let Some(fields) = reader.fields(node, context) else { return };
    let mut fields = fields.in_any_case();
    fields.accept(&["timeout", "retry", "circuitBreaker", "circuitBreakerCacheSize"]);
    fields.finish(reader);
}

fn http_endpoint(spec: &Node, reader: &mut Reader<'_>) {
    let Some(fields) = reader.fields(spec, "spec") else { return };
    let mut fields = fields.in_any_case();
    match fields.take("baseUrl") {
        None => reader.mistake(spec, "spec needs baseUrl"),
        Some(node) => {
            let url = reader.text(node, "spec.baseUrl").unwrap_or_default();
            if !url.starts_with("http://") && !url.starts_with("https://") {
                reader.mistake(
                    node,
                    format!("spec.baseUrl is {url:?}; expected a URL with http:// or https://"),
                );
            }
        }
    }
    fields.accept(&["headers", "clientTLS"]);
    fields.finish(reader);
}

//! Resource files (`--resources-path`): which kinds there are, and the shape of those that matter to invocation
//! (spec/resolution 3.1, 7.1.1, 8.3).

use super::reader::{Fields, Reader};
use super::secrets::{self, Secrets};
use super::tree::{Node, Value};
use super::{Gravity, endpoints, middleware};
use crate::cli::values::GoDuration;
use proto::snapshot::HttpEndpoints;
use std::sync::Arc;

const API_VERSION: &str = "dapr.io/v1alpha1";

/// Whose resources they are, and what they may refer to.
pub(super) struct Whose<'a> {
    /// The own app id, if scopes are to be looked at.
    pub(super) app: Option<&'a str>,
    /// The own namespace; empty where resources of all namespaces count.
    pub(super) namespace: &'a str,
    pub(super) secrets: &'a Secrets<'a>,
}

/// What is used of the resources.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) endpoints: HttpEndpoints,
    pub(super) middleware: middleware::Components,
}

/// The first look at a document: what others refer to.
pub(super) fn read_store(
    document: &Node,
    whose: &Whose<'_>,
    reader: &mut Reader<'_>,
) -> Option<secrets::Found> {
    let mut fields = reader.fields(document, "the document")?.in_any_case();
    let kind = fields.take("kind").and_then(|node| reader.text(node, "kind"))?;
    let named = Named::of(&mut fields, whose, reader);
    if kind != "Component" || !named.in_scope {
        return None;
    }
    secrets::read(named.name, fields.take("spec")?, reader)
}

/// Judges one document of a resource file, and takes over what is used of it.
pub(super) fn read(document: &Node, whose: &Whose<'_>, into: &mut Taken, reader: &mut Reader<'_>) {
    let Some(fields) = reader.fields(document, "the document") else { return };
    let mut fields = fields.in_any_case();
    let Some(kind) = fields.take("kind") else {
        return reader.mistake(document, "no kind; expected a resource such as kind: Resiliency");
    };
    let kind = reader.text(kind, "kind").unwrap_or_default();
    let Named { name, in_scope } = Named::of(&mut fields, whose, reader);
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
            let auth = fields.take("auth");
            let mut endpoint = None;
            let judge = |spec: &Node, reader: &mut Reader<'_>| {
                endpoint = endpoints::read(spec, auth, whose.secrets, reader);
            };
            known(document, fields, judge, reader);
            if let Some(endpoint) = endpoint.filter(|_| in_scope) {
                add(document, name, endpoint, &mut into.endpoints, reader);
            }
        }
        "Component" if in_scope => component(document, &mut fields, name, whose, into, reader),
        _ if in_scope => unused(document, &kind, &name, reader),
        _ => {}
    }
}

fn unused(document: &Node, kind: &str, name: &str, reader: &mut Reader<'_>) {
    let message = format!("{kind} {name:?} belongs to another building block and is not used");
    reader.note(document.offset, Gravity::Note, message);
}

fn component(
    document: &Node,
    fields: &mut Fields<'_>,
    name: String,
    whose: &Whose<'_>,
    into: &mut Taken,
    reader: &mut Reader<'_>,
) {
    let spec = fields.take("spec");
    let kind = middleware::kind_of(spec, reader);
    match spec {
        _ if secrets::is_store(&kind) => {}
        Some(spec) if middleware::is_built(&kind) => {
            let referred = middleware::Referred::of(fields, whose.secrets, reader);
            let read = middleware::read(spec, &kind, &referred, reader);
            if into.middleware.contains_key(&(name.clone(), kind.clone())) {
                reader.mistake(document, format!("duplicate definition of component {name:?}"));
                into.middleware.insert((name, kind), Err(())); // which one is meant cannot be told
            } else {
                into.middleware.insert((name, kind), read);
            }
        }
        _ => unused(document, "Component", &name, reader),
    }
}

fn add(
    document: &Node,
    name: String,
    endpoint: proto::snapshot::HttpEndpoint,
    into: &mut HttpEndpoints,
    reader: &mut Reader<'_>,
) {
    if name.is_empty() || name.contains(['/', '%']) {
        return reader.mistake(
            document,
            format!("an HTTPEndpoint named {name:?} cannot be called; name it in metadata.name"),
        );
    }
    if into.contains_key(&name) {
        return reader.mistake(
            document,
            format!("duplicate definition of HTTPEndpoint name {name:?}; the first one counts"),
        );
    }
    into.insert(name, Arc::new(endpoint));
}

/// A resource's name, and whether it is meant for this app.
struct Named {
    name: String,
    in_scope: bool,
}

impl Named {
    fn of(fields: &mut Fields<'_>, whose: &Whose<'_>, reader: &mut Reader<'_>) -> Named {
        let metadata = fields.take("metadata").and_then(|node| reader.fields(node, "metadata"));
        let mut metadata = metadata.map(Fields::in_any_case);
        let mut text = |name: &'static str| {
            let node = metadata.as_mut().and_then(|fields| fields.take(name));
            node.and_then(|node| reader.text(node, name)).unwrap_or_default()
        };
        let (name, namespace) = (text("name"), text("namespace"));
        let here = namespace.is_empty() || whose.namespace.is_empty() || namespace == whose.namespace;
        Named { name, in_scope: here && in_scope(fields, whose.app, reader) }
    }
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
    fields.accept(&["auth", "status", "scopes", "metadata"]);
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

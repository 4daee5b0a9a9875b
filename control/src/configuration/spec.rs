//! Kind Configuration: what this build uses of it, what it accepts unread, and what it refuses (spec/resolution 8.2).

use super::access::AccessControl;
use super::reader::{Fields, Reader};
use super::tree::{Node, Value};
use super::{Configuration, Gravity};
use crate::settings::ApiRule;
use proto::api::routes;
use proto::api::rules::Rule;

/// `spec.tracing.samplingRate` when it is absent or no number.
const DEFAULT_SAMPLING_RATE: f64 = 1e-4;
/// Reads one Configuration document over what earlier files said.
pub(super) fn read(
    document: &Node,
    into: &mut Configuration,
    access: &mut AccessControl,
    reader: &mut Reader<'_>,
) {
    let Some(mut fields) = reader.fields(document, "the document") else { return };
    head(&mut fields, reader);
    fields.accept(&["metadata", "status"]);
    if let Some(spec) = fields.take("spec") {
        sections(spec, into, access, reader);
    }
    fields.finish(reader);
}

/// `apiVersion` and `kind`, which daprd does not look at in `--config` files.
fn head(fields: &mut Fields<'_>, reader: &mut Reader<'_>) {
    for (name, expected) in [("apiVersion", "dapr.io/v1alpha1"), ("kind", "Configuration")] {
        let Some(node) = fields.take(name) else { continue };
        if node.value != Value::Text(expected.into()) {
            let found = reader.text(node, name).unwrap_or_default();
            reader.note(node.offset, Gravity::Mistake, format!("{name} is {found:?}; expected {expected:?}"));
        }
    }
}

fn sections(spec: &Node, into: &mut Configuration, access: &mut AccessControl, reader: &mut Reader<'_>) {
    let Some(mut fields) = reader.fields(spec, "spec") else { return };
    if let Some(node) = fields.take("tracing") {
        tracing(node, into, reader);
    }
    if let Some(node) = fields.take("nameResolution") {
        name_resolution(node, into, reader);
    }
    if let Some(node) = fields.take("mtls") {
        mtls(node, into, reader);
    }
    // The newer spelling wins, whatever the order in the file.
    for name in ["metric", "metrics"] {
        if let Some(node) = fields.take(name) {
            metrics(node, name, into, reader);
        }
    }
    if let Some(node) = fields.take("accessControl") {
        reader.protecting(|reader| access.read(node, into, reader));
    }
    if let Some(node) = fields.take("logging") {
        logging(node, into, reader);
    }
    for name in ["httpPipeline", "appHttpPipeline"] {
        if let Some(node) = fields.take(name) {
            reader.protecting(|reader| into.listed.read(node, name, reader));
        }
    }
    if let Some(node) = fields.take("api") {
        reader.protecting(|reader| api_lists(node, into, reader));
    }
    // Building blocks and switches that Outrigger does not have.
    fields.accept(&["features", "secrets", "components", "wasm", "workflow"]);
    fields.finish(reader);
}

fn tracing(node: &Node, into: &mut Configuration, reader: &mut Reader<'_>) {
    let Some(mut fields) = reader.fields(node, "spec.tracing") else { return };
    if let Some(rate) = fields.take("samplingRate") {
        into.sampling_rate = sampling_rate(rate, reader);
        into.begins_traces |=
            reader.text(rate, "spec.tracing.samplingRate").is_some_and(|text| !text.is_empty());
    }
    for exporter in ["otel", "zipkin", "stdout"] {
        if let Some(node) = fields.take(exporter).filter(|node| !is_off(&node.value)) {
            into.begins_traces = true; // daprd does as soon as its spans go somewhere
            let message = format!("spec.tracing.{exporter}: spans are not exported yet");
            reader.note(node.offset, Gravity::Note, message);
        }
    }
    fields.accept(&["expandParams", "includeBody"]);
    fields.finish(reader);
}

fn is_off(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false))
}

fn sampling_rate(node: &Node, reader: &mut Reader<'_>) -> f64 {
    let text = reader.text(node, "spec.tracing.samplingRate").unwrap_or_default();
    match text.trim().parse::<f64>() {
        Ok(rate) if rate.is_finite() => rate.clamp(0.0, 1.0),
        _ if text.is_empty() => DEFAULT_SAMPLING_RATE,
        _ => {
            let message = format!("spec.tracing.samplingRate is {text:?}; expected a number from 0 to 1");
            reader.note(node.offset, Gravity::Mistake, message);
            DEFAULT_SAMPLING_RATE
        }
    }
}

fn name_resolution(node: &Node, into: &mut Configuration, reader: &mut Reader<'_>) {
    let Some(mut fields) = reader.fields(node, "spec.nameResolution") else { return };
    if let Some(node) = fields.take("component") {
        let component = reader.text(node, "spec.nameResolution.component").unwrap_or_default();
        let component = component.trim().to_lowercase();
        if component.is_empty() {
            into.name_resolution = None;
        } else {
            if component != "mdns" {
                let message = format!(
                    "spec.nameResolution.component is {component:?}; only \"mdns\" is built yet, so no name would be found"
                );
                reader.note(node.offset, Gravity::Mistake, message);
            }
            into.name_resolution = Some(component);
        }
    }
    if let Some(node) = fields.take("version") {
        let version = reader.text(node, "spec.nameResolution.version").unwrap_or_default();
        if !["", "v0", "v1"].contains(&version.as_str()) {
            let message = format!("spec.nameResolution.version is {version:?}; expected \"v1\"");
            reader.note(node.offset, Gravity::Mistake, message);
        }
    }
    fields.accept(&["configuration"]);
    fields.finish(reader);
}

fn mtls(node: &Node, into: &mut Configuration, reader: &mut Reader<'_>) {
    let Some(mut fields) = reader.fields(node, "spec.mtls") else { return };
    if let Some(node) = fields.take("enabled") {
        into.mtls_enabled = reader.boolean(node, "spec.mtls.enabled");
    }
    fields.accept(&[
        "workloadCertTTL",
        "allowedClockSkew",
        "sentryAddress",
        "controlPlaneTrustDomain",
        "tokenValidators",
    ]);
    fields.finish(reader);
}

fn metrics(node: &Node, name: &str, into: &mut Configuration, reader: &mut Reader<'_>) {
    let context = format!("spec.{name}");
    let Some(mut fields) = reader.fields(node, &context) else { return };
    if let Some(enabled) =
        fields.take("enabled").and_then(|node| reader.boolean(node, &format!("{context}.enabled")))
    {
        into.metrics_enabled = Some(enabled);
    }
    for setting in ["rules", "http", "latencyDistributionBuckets", "recordErrorCodes"] {
        if let Some(node) = fields.take(setting).filter(|node| !is_off(&node.value)) {
            let message = format!("{context}.{setting} is not used yet");
            reader.note(node.offset, Gravity::Note, message);
        }
    }
    fields.accept(&["workflow"]);
    fields.finish(reader);
}

fn logging(node: &Node, into: &mut Configuration, reader: &mut Reader<'_>) {
    let Some(mut fields) = reader.fields(node, "spec.logging") else { return };
    let Some(node) = fields.take("apiLogging") else { return fields.finish(reader) };
    fields.finish(reader);
    let Some(mut fields) = reader.fields(node, "spec.logging.apiLogging") else { return };
    let log = &mut into.api_logging;
    for (name, value) in [
        ("enabled", &mut log.enabled),
        ("obfuscateURLs", &mut log.obfuscate_urls),
        ("omitHealthChecks", &mut log.omit_health_checks),
    ] {
        let node = fields.take(name);
        let context = format!("spec.logging.apiLogging.{name}");
        if let Some(given) = node.and_then(|node| reader.boolean(node, &context)) {
            *value = given;
        }
    }
    fields.finish(reader);
}

/// Lists of allowed and denied APIs. Whatever is unclear in them stops the start: it might have denied something.
fn api_lists(node: &Node, into: &mut Configuration, reader: &mut Reader<'_>) {
    let Some(mut fields) = reader.fields(node, "spec.api") else { return };
    for (list, rules) in [("allowed", &mut into.api.allowed), ("denied", &mut into.api.denied)] {
        if let Some(node) = fields.take(list) {
            let context = format!("spec.api.{list}");
            let items = reader.items(node, &context);
            *rules = items.iter().filter_map(|rule| api_rule(rule, &context, reader)).collect();
        }
    }
    fields.finish(reader);
}

fn api_rule(rule: &Node, context: &str, reader: &mut Reader<'_>) -> Option<ApiRule> {
    let mut fields = reader.fields(rule, &format!("{context}[]"))?;
    let mut text = |name: &'static str| {
        let node = fields.take(name);
        node.and_then(|node| reader.text(node, name)).unwrap_or_default()
    };
    let (name, version, protocol) = (text("name"), text("version"), text("protocol"));
    fields.finish(reader);
    if protocol.eq_ignore_ascii_case("grpc") {
        let message = format!("{context}: there is no gRPC API yet, so this rule has nothing to do");
        reader.note(rule.offset, Gravity::Note, message);
        return None;
    }
    if !protocol.eq_ignore_ascii_case("http") {
        reader.mistake(rule, format!("{context}[].protocol is {protocol:?}; expected http or grpc"));
    }
    if name.is_empty() || version.is_empty() {
        reader.mistake(rule, format!("{context}[] needs name and version, such as invoke and v1"));
    }
    if !routes::knows(&Rule { name: name.clone(), version: version.clone() }) {
        let message = format!(
            "{context}: there is no HTTP API {name:?} in version {version:?}, so this rule never matches; expected such as invoke and v1"
        );
        reader.note(rule.offset, Gravity::Mistake, message);
    }
    Some(ApiRule { name, version })
}

//! `spec.accessControl`: this build lets every authenticated peer call, so a configuration that asks for less stops the start
//! in both modes (spec/security 5.1, 5.2).

use super::reader::Reader;
use super::tree::{Node, Value};
use super::{Configuration, Gravity};
use std::path::PathBuf;

/// What the files said so far; later files replace lists and overwrite the rest.
#[derive(Debug, Default)]
pub(super) struct AccessControl {
    /// What asks for more than this build enforces, with its file, line and column.
    default_action: Option<Demand>,
    policies: Option<Demand>,
}

/// A setting that this build cannot honour.
#[derive(Clone, Debug)]
struct Demand {
    problem: super::Problem,
}

impl AccessControl {
    /// Reads one document's section. The reader is in its protecting state.
    pub(super) fn read(&mut self, node: &Node, into: &mut Configuration, reader: &mut Reader<'_>) {
        if node.value == Value::Null {
            *self = AccessControl::default();
            into.trust_domain = None;
            return;
        }
        let Some(mut fields) = reader.fields(node, "spec.accessControl") else { return };
        if let Some(node) = fields.take("trustDomain") {
            into.trust_domain = trust_domain(node, reader);
        }
        if let Some(node) = fields.take("defaultAction") {
            self.default_action = default_action(node, reader);
        }
        if let Some(node) = fields.take("policies") {
            self.policies = policies(node, reader);
        }
        fields.finish(reader);
    }

    /// What is still asked for after the last file.
    pub(super) fn unmet(self) -> Vec<super::Problem> {
        [self.default_action, self.policies].into_iter().flatten().map(|demand| demand.problem).collect()
    }
}

fn trust_domain(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.text(node, "spec.accessControl.trustDomain").filter(|text| !text.is_empty())?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if text.chars().all(fits) && text.len() <= 255 {
        return Some(text);
    }
    reader.mistake(
        node,
        format!(
            "spec.accessControl.trustDomain is {text:?}; expected lower-case letters, digits, dots, dashes and underscores"
        ),
    );
    None
}

/// Only a plain `allow` is what this build does anyway; an empty text means deny (spec/security 5.2).
fn default_action(node: &Node, reader: &mut Reader<'_>) -> Option<Demand> {
    let text = match &node.value {
        Value::Null => return None,
        _ => reader.text(node, "spec.accessControl.defaultAction")?,
    };
    if text.eq_ignore_ascii_case("allow") {
        return None;
    }
    let message = format!(
        "spec.accessControl.defaultAction is {text:?}, which denies calls; this build cannot deny yet, so the sidecar does not start"
    );
    Some(demand(node, message, reader))
}

fn policies(node: &Node, reader: &mut Reader<'_>) -> Option<Demand> {
    let policies = reader.items(node, "spec.accessControl.policies");
    policies.iter().for_each(|policy| one_policy(policy, reader));
    let first = policies.first()?;
    let message =
        "spec.accessControl.policies are not enforced by this build yet, so the sidecar does not start";
    Some(demand(first, message.to_owned(), reader))
}

/// The shape of a policy, so that `check` names mistakes in it.
fn one_policy(policy: &Node, reader: &mut Reader<'_>) {
    const CONTEXT: &str = "spec.accessControl.policies[]";
    let Some(mut fields) = reader.fields(policy, CONTEXT) else { return };
    for name in ["appId", "trustDomain", "namespace"] {
        let value = fields.take(name).and_then(|node| reader.text(node, name));
        if value.is_none_or(|text| text.is_empty()) {
            reader.mistake(policy, format!("{CONTEXT} needs {name}"));
        }
    }
    if let Some(node) = fields.take("defaultAction") {
        action(node, reader);
    }
    if let Some(node) = fields.take("operations") {
        let operations = reader.items(node, "operations");
        operations.iter().for_each(|operation| one_operation(operation, reader));
    }
    fields.finish(reader);
}

fn one_operation(operation: &Node, reader: &mut Reader<'_>) {
    let Some(mut fields) = reader.fields(operation, "operations[]") else { return };
    if fields.take("name").is_none() {
        reader.mistake(operation, "operations[] needs name");
    }
    if let Some(verbs) = fields.take("httpVerb") {
        reader.items(verbs, "httpVerb");
    }
    if let Some(node) = fields.take("action") {
        action(node, reader);
    }
    fields.finish(reader);
}

fn action(node: &Node, reader: &mut Reader<'_>) {
    let text = reader.text(node, "action").unwrap_or_default();
    if !text.is_empty() && !text.eq_ignore_ascii_case("allow") && !text.eq_ignore_ascii_case("deny") {
        reader.mistake(node, format!("action is {text:?}; expected allow or deny"));
    }
}

/// A demand is a finding that a later file may still take back, so it is kept apart from the reader's.
fn demand(node: &Node, message: String, reader: &mut Reader<'_>) -> Demand {
    reader.note(node.offset, Gravity::Fatal, message);
    let problem = reader.problems.pop().unwrap_or_else(|| super::Problem {
        file: PathBuf::new(),
        line: 0,
        column: 0,
        message: "access control is not enforced by this build yet".into(),
        gravity: Gravity::Fatal,
    });
    Demand { problem }
}

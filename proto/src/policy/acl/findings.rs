//! What a list says that it cannot mean: rules that never match, policies that never count.

use super::rules::{Acl, OperationRule, Policy};
use super::tree::{Found, Tree};

/// Verbs that travel between sidecars, and the wildcard.
const VERBS: [&str; 10] =
    ["*", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

impl Acl {
    /// One sentence for everything that has no effect, or another than its author may think. `http`: the app speaks
    /// HTTP; `mtls`: peers have an identity.
    pub fn findings(&self, http: bool, mtls: bool) -> Vec<String> {
        let rules = self.rules();
        let mut found = Vec::new();
        if !rules.policies.is_empty() && !mtls {
            found.push("policies have no effect while mTLS is off: only the default action applies".into());
        }
        if !rules.policies.is_empty() && rules.default_action.is_none() {
            found.push("defaultAction is not said: callers without a policy are denied".into());
        }
        for (at, policy) in rules.policies.iter().enumerate() {
            if rules.policies.iter().skip(at + 1).any(|later| is_same_caller(policy, later)) {
                found.push(format!("{}: a later policy for the same caller replaces this one", name(policy)));
            } else {
                operations(policy, http, &mut found);
            }
        }
        found
    }
}

fn name(policy: &Policy) -> String {
    format!("policy of {} in {}", policy.app_id, policy.namespace)
}

fn is_same_caller(one: &Policy, other: &Policy) -> bool {
    one.app_id == other.app_id && one.namespace == other.namespace
}

fn operations(policy: &Policy, http: bool, found: &mut Vec<String>) {
    let tree = Tree::of(&policy.operations, http);
    for (at, operation) in policy.operations.iter().enumerate() {
        let why = never_matches(operation)
            .or_else(|| verbs_without_effect(operation, http))
            .or_else(|| hidden(&tree, &policy.operations, at, http));
        if let Some(why) = why {
            found.push(format!("{}: operation {:?} {why}", name(policy), operation.name));
        }
    }
}

fn never_matches(operation: &OperationRule) -> Option<String> {
    let path = operation.name.strip_prefix('/').unwrap_or(&operation.name);
    let middle = path.rsplit_once('/').map_or("", |(middle, _)| middle);
    if !path.is_empty() && path.ends_with('/') {
        return Some("never matches: methods have no trailing slash".into());
    }
    if middle.split('/').any(|segment| segment == "*") {
        return Some(
            "never matches: * as a whole segment counts at the end only; ** stands for one in the middle"
                .into(),
        );
    }
    None
}

fn verbs_without_effect(operation: &OperationRule, http: bool) -> Option<String> {
    if !http {
        return None;
    }
    if operation.verbs.is_empty() {
        return Some("never counts: it names no httpVerb".into());
    }
    let unknown = operation.verbs.iter().find(|verb| !VERBS.contains(&verb.as_str()))?;
    Some(format!("names the verb {unknown:?}, which no call has; verbs are written in capitals"))
}

/// Whether the calls that this one means go to another rule, or are led astray by the beginning of a wider one.
fn hidden(tree: &Tree, all: &[OperationRule], at: usize, http: bool) -> Option<String> {
    let operation = all.get(at)?;
    let other = match operation.name.contains('*') {
        true => tree.at_path(&operation.name, http),
        false => tree.find(&operation.name, http).map(Found::at),
    };
    match other.map(|other| (other == at, all.get(other))) {
        Some((true, _)) => None,
        Some((false, other)) => {
            let name = other.map(|rule| rule.name.as_str()).unwrap_or_default();
            Some(format!("never counts: operation {name:?} takes its calls"))
        }
        None => Some("never counts: an earlier operation with a wildcard leads its calls elsewhere".into()),
    }
}

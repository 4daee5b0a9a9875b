//! A list as it is configured, and the same compiled for deciding.

use super::tree::{Found, Tree};
use super::{Level, Operation};
use crate::spiffe::SpiffeId;
use core::fmt;
use std::collections::HashMap;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes to the app.
    Allow,
    /// It is refused.
    Deny,
}

impl Action {
    /// `allow` in any case; every other text denies, also an empty one.
    pub fn parse(text: &str) -> Action {
        if text.eq_ignore_ascii_case("allow") { Action::Allow } else { Action::Deny }
    }
}

/// A list as it is configured (`spec.accessControl`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// For callers without a policy. Not said: allow without policies, deny with policies.
    pub default_action: Option<Action>,
    /// One a caller; of two for the same app id and namespace the later counts.
    pub policies: Vec<Policy>,
}

/// What one caller may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The caller's app id, to the letter.
    pub app_id: String,
    /// The caller's namespace.
    pub namespace: String,
    /// The caller's trust domain.
    pub trust_domain: String,
    /// For operations that are not listed; not said: the list's.
    pub default_action: Option<Action>,
    /// In order: of two for the same path the first counts.
    pub operations: Vec<OperationRule>,
}

/// A set of methods and verbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRule {
    /// A path of whole segments, also a prefix of longer ones; `*` and `**` as in spec/security 5.5.
    pub name: String,
    /// Verbs in capitals, or `*`. Only looked at for HTTP apps, where none means that the rule never counts.
    pub verbs: Vec<String>,
    /// What happens to the call.
    pub action: Action,
}

/// Why rules make no list; the text is daprd's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesError {
    /// App ids of policies without a trust domain.
    pub no_trust_domain: Vec<String>,
    /// App ids of policies without a namespace.
    pub no_namespace: Vec<String>,
    /// Whether a policy names no app.
    pub no_app: bool,
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid access control spec. missing trustdomain for apps: [{}], missing namespace for apps: [{}], \
             missing app name on at least one of the app policies: {}",
            self.no_trust_domain.join(" "),
            self.no_namespace.join(" "),
            self.no_app
        )
    }
}

impl std::error::Error for RulesError {}

/// The access-control list of one workload. The default allows every authenticated peer, as daprd does without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    rules: Rules,
    default_action: Action,
    /// By the caller's app id.
    callers: HashMap<String, Vec<Compiled>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Compiled {
    namespace: String,
    trust_domain: String,
    default_action: Option<Action>,
    tree: Tree,
}

impl Default for Acl {
    fn default() -> Acl {
        Acl { rules: Rules::default(), default_action: Action::Allow, callers: HashMap::new() }
    }
}

impl Acl {
    /// Compiles `rules` for an app that speaks HTTP or not: names of HTTP methods are compared without regard to case.
    ///
    /// # Errors
    /// A policy lacks app id, namespace or trust domain.
    pub fn new(rules: Rules, http: bool) -> Result<Acl, RulesError> {
        check(&rules.policies)?;
        let open = rules.policies.is_empty();
        let default_action = rules.default_action.unwrap_or(if open { Action::Allow } else { Action::Deny });
        let mut callers: HashMap<String, Vec<Compiled>> = HashMap::new();
        for policy in &rules.policies {
            let of_app = callers.entry(policy.app_id.clone()).or_default();
            of_app.retain(|earlier| earlier.namespace != policy.namespace);
            of_app.push(compile(policy, http));
        }
        Ok(Acl { rules, default_action, callers })
    }

    /// What it was compiled from.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What happens to callers without a policy.
    pub fn default_action(&self) -> Action {
        self.default_action
    }

    /// daprd's procedure (spec/security 5.4), steps 3 to 8.
    pub(super) fn decide(&self, peer: Option<&SpiffeId>, operation: Operation<'_>) -> (Action, Level) {
        let Some(policy) = peer.and_then(|id| self.policy_of(id)) else {
            return (self.default_action, Level::Global);
        };
        let (default_action, level) = match policy.default_action {
            Some(action) => (action, Level::App),
            None => (self.default_action, Level::Global),
        };
        let action = match policy.tree.find(operation.method, operation.http) {
            None => default_action,
            Some(found) if !operation.http => found.action(),
            // daprd takes the policy's own default here, and one that is not said denies
            Some(_) if operation.verb == "NONE" => policy.default_action.unwrap_or(Action::Deny),
            Some(found) => verb_action(found, operation.verb).unwrap_or(default_action),
        };
        (action, level)
    }

    fn policy_of(&self, id: &SpiffeId) -> Option<&Compiled> {
        let of_app = self.callers.get(&id.app_id)?;
        of_app.iter().find(|p| p.namespace == id.namespace && p.trust_domain == id.trust_domain)
    }
}

fn verb_action(found: &Found, verb: &str) -> Option<Action> {
    found.has_verb(verb).then(|| found.action())
}

fn compile(policy: &Policy, http: bool) -> Compiled {
    Compiled {
        namespace: policy.namespace.clone(),
        trust_domain: policy.trust_domain.clone(),
        default_action: policy.default_action,
        tree: Tree::of(&policy.operations, http),
    }
}

fn check(policies: &[Policy]) -> Result<(), RulesError> {
    let lacking = |what: fn(&Policy) -> &String| {
        let lacks = |p: &&Policy| !p.app_id.is_empty() && what(p).is_empty();
        policies.iter().filter(lacks).map(|p| p.app_id.clone()).collect::<Vec<_>>()
    };
    let error = RulesError {
        no_trust_domain: lacking(|p| &p.trust_domain),
        no_namespace: lacking(|p| &p.namespace),
        no_app: policies.iter().any(|p| p.app_id.is_empty()),
    };
    if error == RulesError::default() { Ok(()) } else { Err(error) }
}

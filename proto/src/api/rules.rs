//! Lists of allowed and denied HTTP APIs, `spec.api` (spec/invocation 7.2, spec/security 7.1).
//!
//! ```
//! use proto::api::rules::{Rule, Rules};
//!
//! let denied = vec![Rule { name: "invoke".into(), version: "v1".into() }];
//! let rules = Rules { denied, ..Rules::default() };
//! assert!(!rules.allow("v1.0", "invoke/*"));
//! assert!(rules.allow("v1.0", "metadata"));
//! ```

/// One entry of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Name of a group of routes, such as `invoke`; or the beginning of a route.
    pub name: String,
    /// `v1`, `v1alpha1`, …; or a path's version such as `v1.0`.
    pub version: String,
}

/// Both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Not empty: nothing else is served.
    pub allowed: Vec<Rule>,
    /// Not served even where it is allowed.
    pub denied: Vec<Rule>,
}

impl Rules {
    /// Whether `route` below the path's `version` is served.
    pub fn allow(&self, version: &str, route: &str) -> bool {
        let listed = |rules: &[Rule]| rules.iter().any(|rule| rule.covers(version, route));
        !listed(&self.denied) && (self.allowed.is_empty() || listed(&self.allowed))
    }
}

impl Rule {
    /// By group (`v1/invoke`), or as the beginning of the whole route (`v1.0/invoke`), as older configurations have it.
    pub(super) fn covers(&self, version: &str, route: &str) -> bool {
        let group = route.split('/').next().unwrap_or_default();
        let by_group = self.version == group_version(version) && self.name == group;
        by_group || (self.version == version && route.starts_with(self.name.as_str()))
    }
}

/// `v1.0-alpha1` is the groups' `v1alpha1`.
fn group_version(version: &str) -> &str {
    match version {
        "v1.0" => "v1",
        "v1.0-alpha1" => "v1alpha1",
        "v1.0-alpha2" => "v1alpha2",
        "v1.0-beta1" => "v1beta1",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, version: &str) -> Rule {
        Rule { name: name.into(), version: version.into() }
    }

    #[test]
    fn only_what_is_allowed_is_served_where_anything_is() {
        let rules = Rules { allowed: vec![rule("state", "v1alpha1")], denied: Vec::new() };
        assert!(rules.allow("v1.0-alpha1", "state/{}/query"));
        assert!(!rules.allow("v1.0", "state/{}") && !rules.allow("v1.0", "invoke/*"));
    }

    #[test]
    fn denied_wins() {
        let rules = Rules { allowed: vec![rule("state", "v1")], denied: vec![rule("state", "v1")] };
        assert!(!rules.allow("v1.0", "state/{}"));
    }

    #[test]
    fn a_rule_may_spell_the_beginning_of_the_path() {
        let rules =
            Rules { allowed: Vec::new(), denied: vec![rule("inv", "v1.0"), rule("publish/bulk", "v1.0")] };
        assert!(!rules.allow("v1.0", "invoke/*") && !rules.allow("v1.0", "publish/bulk/{}/*"));
        assert!(rules.allow("v1.0", "publish/{}/*") && rules.allow("v1.0-alpha1", "invoke/*"));
    }
}

//! The routes beside invocation. They win over the header form of an invocation, unless a list takes them away
//! (spec/invocation 1.3, 5.6, 7.2).

use super::blocks::Block;
use super::rules::{Rule, Rules};

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// `healthz`.
    Health,
    /// `healthz/outbound`.
    OutboundHealth,
    /// `GET metadata`.
    Metadata,
    /// `PUT metadata/{key}`.
    PutMetadata,
    /// `POST shutdown`.
    Shutdown,
    /// The API of a building block.
    Block(Block),
}

/// Which routes a port has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Api,
    /// `--dapr-public-port`: health and metadata.
    Public,
    /// `--profile-port`: none of these.
    Profile,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'p> {
    /// A route; `name` is its first variable part, percent-encoded.
    Route {
        /// What it does.
        does: Does,
        /// Name of a store, key, …; empty without one.
        name: &'p str,
    },
    /// Routes with other verbs only; the first one's.
    OtherVerb(&'static str),
    /// Nothing.
    Nothing,
}

/// Version prefixes, verbs and route; `{}` is one segment, `*` one or more.
type Entry = (&'static [&'static str], &'static [&'static str], &'static str, Does);

const V1: &[&str] = &["v1.0"];
const ALPHA: &[&str] = &["v1.0-alpha1"];
const ALPHA_2: &[&str] = &["v1.0-alpha1", "v1.0-alpha2"];
const BOTH: &[&str] = &["v1.0", "v1.0-alpha1"];
const THREE: &[&str] = &["v1.0", "v1.0-alpha1", "v1.0-beta1"];
const WRITE: &[&str] = &["POST", "PUT"];
const ANY: &[&str] = &["GET", "POST", "PUT", "DELETE"];

#[rustfmt::skip]
const TABLE: &[Entry] = &[
    (V1, &["GET"], "healthz", Does::Health),
    (V1, &["GET"], "healthz/outbound", Does::OutboundHealth),
    (V1, &["GET"], "metadata", Does::Metadata),
    (V1, &["PUT"], "metadata/{}", Does::PutMetadata),
    (V1, &["POST"], "shutdown", Does::Shutdown),
    (V1, WRITE, "state/{}", Does::Block(Block::State)),
    (V1, &["GET", "DELETE"], "state/{}/{}", Does::Block(Block::State)),
    (V1, WRITE, "state/{}/bulk", Does::Block(Block::State)),
    (V1, WRITE, "state/{}/transaction", Does::Block(Block::State)),
    (ALPHA, WRITE, "state/{}/query", Does::Block(Block::StateQuery)),
    (BOTH, WRITE, "publish/bulk/{}/*", Does::Block(Block::Publish)),
    (V1, WRITE, "publish/{}/*", Does::Block(Block::Publish)),
    (V1, WRITE, "bindings/{}", Does::Block(Block::Bindings)),
    (BOTH, &["GET"], "configuration/{}", Does::Block(Block::Configuration)),
    (BOTH, &["GET"], "configuration/{}/subscribe", Does::Block(Block::Configuration)),
    (BOTH, &["GET"], "configuration/{}/{}/unsubscribe", Does::Block(Block::Configuration)),
    (V1, &["GET"], "secrets/{}/{}", Does::Block(Block::Secrets)),
    (V1, WRITE, "actors/{}/{}/state", Does::Block(Block::ActorState)),
    (V1, &["GET"], "actors/{}/{}/state/{}", Does::Block(Block::Actors)),
    (V1, ANY, "actors/{}/{}/method/{}", Does::Block(Block::Actors)),
    (V1, ANY, "actors/{}/{}/reminders/{}", Does::Block(Block::ActorReminder)),
    (V1, &["POST", "PUT", "DELETE"], "actors/{}/{}/timers/{}", Does::Block(Block::ActorReminder)),
    (BOTH, &["GET", "POST", "DELETE"], "jobs/{}", Does::Block(Block::Jobs)),
    (THREE, &["GET"], "workflows/{}/{}", Does::Block(Block::Actors)),
    (THREE, &["POST"], "workflows/{}/{}/raiseEvent/{}", Does::Block(Block::Actors)),
    (THREE, &["POST"], "workflows/{}/{}/pause", Does::Block(Block::WorkflowChange)),
    (THREE, &["POST"], "workflows/{}/{}/resume", Does::Block(Block::WorkflowChange)),
    (THREE, &["POST"], "workflows/{}/{}/terminate", Does::Block(Block::WorkflowChange)),
    (THREE, &["POST"], "workflows/{}/{}/purge", Does::Block(Block::WorkflowChange)),
    (THREE, &["POST"], "workflows/{}/{}/start", Does::Block(Block::Actors)),
    (ALPHA, &["POST"], "lock/{}", Does::Block(Block::Lock)),
    (ALPHA, &["POST"], "unlock/{}", Does::Block(Block::Unlock)),
    (ALPHA, &["PUT"], "crypto/{}/encrypt", Does::Block(Block::Crypto)),
    (ALPHA, &["PUT"], "crypto/{}/decrypt", Does::Block(Block::Crypto)),
    (ALPHA, &["POST"], "subtlecrypto/{}/getkey", Does::Block(Block::SubtleCrypto)),
    (ALPHA, &["POST"], "subtlecrypto/{}/encrypt", Does::Block(Block::SubtleCrypto)),
    (ALPHA, &["POST"], "subtlecrypto/{}/decrypt", Does::Block(Block::SubtleCrypto)),
    (ALPHA, &["POST"], "subtlecrypto/{}/wrapkey", Does::Block(Block::SubtleCrypto)),
    (ALPHA, &["POST"], "subtlecrypto/{}/unwrapkey", Does::Block(Block::SubtleCrypto)),
    (ALPHA, &["POST"], "subtlecrypto/{}/sign", Does::Block(Block::SubtleCrypto)),
    (ALPHA, &["POST"], "subtlecrypto/{}/verify", Does::Block(Block::SubtleCrypto)),
    (ALPHA_2, &["POST"], "conversation/{}/converse", Does::Block(Block::Conversation)),
];

/// Finds what stands at `path`, which is cleaned and begins with a slash.
pub fn find<'p>(rules: &Rules, scope: Scope, verb: &str, path: &'p str) -> Found<'p> {
    let Some((version, rest)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return Found::Nothing;
    };
    let mut other = None;
    for (versions, verbs, route, does) in TABLE {
        let Some(name) = fits(route, rest).filter(|_| versions.contains(&version)) else { continue };
        if !is_served(rules, scope, version, route, *does) {
            continue;
        }
        if verbs.contains(&verb) {
            return Found::Route { does: *does, name };
        }
        other = other.or(verbs.first().copied());
    }
    other.map_or(Found::Nothing, Found::OtherVerb)
}

/// Whether invocation is served: by path, and as what is left over by headers.
pub fn has_invoke(rules: &Rules, scope: Scope) -> bool {
    scope == Scope::Api && rules.allow("v1.0", "invoke/*")
}

/// Whether a rule speaks of any route there is; one that does not has no effect.
pub fn knows(rule: &Rule) -> bool {
    let listed = |(versions, _, route, _): &Entry| versions.iter().any(|version| rule.covers(version, route));
    rule.covers("v1.0", "invoke/*") || TABLE.iter().any(listed)
}

fn is_served(rules: &Rules, scope: Scope, version: &str, route: &str, does: Does) -> bool {
    match does {
        Does::Health | Does::OutboundHealth => true,
        Does::Metadata | Does::PutMetadata => rules.allow(version, route),
        Does::Shutdown | Does::Block(_) => scope == Scope::Api && rules.allow(version, route),
    }
}

/// The first variable part of `path`, or nothing of it, where it fits `route`.
fn fits<'p>(route: &str, path: &'p str) -> Option<&'p str> {
    let (mut wanted, mut given) = (route.split('/'), path.split('/'));
    let mut name = None;
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(name.unwrap_or_default()),
            (Some("*"), Some(_)) => return Some(name.unwrap_or_default()),
            (Some("{}"), Some(part)) => _ = name.get_or_insert(part),
            (Some(word), Some(part)) if word == part => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'p>(verb: &str, path: &'p str) -> Found<'p> {
        find(&Rules::default(), Scope::Api, verb, path)
    }

    #[test]
    fn a_route_is_found_by_verb_and_path_with_its_name() {
        let state = Does::Block(Block::State);
        assert_eq!(at("GET", "/v1.0/state/s/k"), Found::Route { does: state, name: "s" });
        assert_eq!(at("POST", "/v1.0/state/s/bulk"), Found::Route { does: state, name: "s" });
        let publish = Does::Block(Block::Publish);
        assert_eq!(at("POST", "/v1.0/publish/bulk/p/a/b"), Found::Route { does: publish, name: "p" });
        assert_eq!(
            at("PUT", "/v1.0/metadata/a%2Fb"),
            Found::Route { does: Does::PutMetadata, name: "a%2Fb" }
        );
    }

    #[test]
    fn what_has_no_route_is_left_over() {
        for (verb, path) in [
            ("POST", "/v1.0/publish/p"),
            ("GET", "/v1.0/unknown/x"),
            ("POST", "/v1.0/lock/l"),
            ("GET", "/v1.0-alpha1/healthz"),
            ("PUT", "/v1.0/metadata/a/b"),
            ("GET", "/x"),
        ] {
            assert_eq!(at(verb, path), Found::Nothing, "{verb} {path}");
        }
        assert_eq!(at("POST", "/v1.0/healthz"), Found::OtherVerb("GET"));
    }

    #[test]
    fn lists_take_routes_away_but_never_health() {
        let rules =
            Rules { allowed: vec![Rule { name: "invoke".into(), version: "v1".into() }], denied: Vec::new() };
        assert_eq!(find(&rules, Scope::Api, "GET", "/v1.0/metadata"), Found::Nothing);
        assert!(matches!(find(&rules, Scope::Api, "GET", "/v1.0/healthz"), Found::Route { .. }));
        assert!(has_invoke(&rules, Scope::Api) && !has_invoke(&rules, Scope::Public));
    }

    #[test]
    fn a_rule_that_speaks_of_nothing_is_recognised() {
        let rule = |name: &str, version: &str| Rule { name: name.into(), version: version.into() };
        for (name, version) in
            [("invoke", "v1"), ("lock", "v1alpha1"), ("conversation", "v1alpha2"), ("state", "v1.0")]
        {
            assert!(knows(&rule(name, version)), "{name} {version}");
        }
        assert!(!knows(&rule("invok", "v1")) && !knows(&rule("invoke", "v2")) && !knows(&rule("lock", "v1")));
    }

    #[test]
    fn the_public_port_has_health_and_metadata_only() {
        let at = |verb, path| find(&Rules::default(), Scope::Public, verb, path);
        assert!(matches!(at("PUT", "/v1.0/metadata/k"), Found::Route { .. }));
        assert_eq!(at("POST", "/v1.0/shutdown"), Found::Nothing);
        assert_eq!(at("GET", "/v1.0/state/s/k"), Found::Nothing);
    }
}

//! HTTP pipelines: the handlers that a Configuration lists, and the components that say what they do
//! (spec/invocation 7.1).
//!
//! A handler may stand there to keep calls out: whatever cannot be applied as it is written stops the start in both
//! modes, where daprd leaves the handler out.

use super::reader::{Fields, Reader};
use super::secrets::Secrets;
use super::tree::{self, Node, Value};
use super::{Gravity, Problem};
use crate::settings::{Issuer, Middleware, Pipelines};
use proto::policy::pipeline::MOST_HANDLERS;
use std::collections::BTreeMap;

const ALIAS: &str = "middleware.http.routeralias";
const CHECKER: &str = "middleware.http.routerchecker";
const LIMIT: &str = "middleware.http.ratelimit";
const BEARER: &str = "middleware.http.bearer";
const UPPERCASE: &str = "middleware.http.uppercase";

/// The types that this build has.
const BUILT: [&str; 5] = [ALIAS, CHECKER, LIMIT, UPPERCASE, BEARER];

/// `maxRequestsPerSecond` where it is absent.
const DEFAULT_PER_SECOND: f64 = 100.0;

/// Components that handlers may name: by name and type.
pub(super) type Components = BTreeMap<(String, String), Result<Middleware, ()>>;

/// What the Configurations list, until the components are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Listed {
    api: Vec<Handler>,
    app: Vec<Handler>,
}

#[derive(Clone, Debug, PartialEq)]
struct Handler {
    component: (String, String),
    /// What is said, and where, if there is no such component.
    missing: Problem,
}

impl Listed {
    /// Reads `spec.httpPipeline` or `spec.appHttpPipeline`, over what an earlier file said.
    pub(super) fn read(&mut self, node: &Node, name: &'static str, reader: &mut Reader<'_>) {
        let context = format!("spec.{name}");
        let Some(mut fields) = reader.fields(node, &context) else { return };
        let handlers = fields.take("handlers");
        fields.finish(reader);
        let items =
            handlers.map(|node| reader.items(node, &format!("{context}.handlers"))).unwrap_or_default();
        if items.len() > MOST_HANDLERS {
            reader
                .mistake(node, format!("{context}: {} handlers are more than {MOST_HANDLERS}", items.len()));
        }
        let read = items.iter().filter_map(|item| handler(item, &context, reader)).collect();
        *(if name == "httpPipeline" { &mut self.api } else { &mut self.app }) = read;
    }

    /// Looks the components up. `weight` is that of one that is not there.
    pub(super) fn resolve(
        self,
        known: &Components,
        weight: Gravity,
        problems: &mut Vec<Problem>,
    ) -> Pipelines {
        let mut all = |handlers: Vec<Handler>| {
            let found = handlers.into_iter().filter_map(|handler| match known.get(&handler.component) {
                Some(Ok(middleware)) => Some(middleware.clone()),
                Some(Err(())) => {
                    let message =
                        format!("component {:?} cannot be used as it is written", handler.component.0);
                    problems.push(Problem { message, ..handler.missing });
                    None
                }
                None => {
                    problems.push(Problem { gravity: weight, ..handler.missing });
                    None
                }
            });
            found.collect()
        };
        Pipelines { api: all(self.api), app: all(self.app) }
    }
}

fn handler(node: &Node, context: &str, reader: &mut Reader<'_>) -> Option<Handler> {
    let mut fields = reader.fields(node, &format!("{context}.handlers[]"))?;
    let mut text =
        |name: &'static str| fields.take(name).and_then(|node| reader.text(node, name)).unwrap_or_default();
    let (name, kind, version) = (text("name"), text("type"), text("version"));
    fields.accept(&["selector"]);
    fields.finish(reader);
    if !is_built(&kind) {
        let message = format!(
            "{context}: middleware {kind:?} is not built; calls that it may refuse would pass without it, so this sidecar does not start"
        );
        reader.note(node.offset, Gravity::Fatal, message);
        return None;
    }
    if !["", "v1"].contains(&version.as_str()) {
        reader.note(
            node.offset,
            Gravity::Fatal,
            format!("{context}: version is {version:?}; expected \"v1\""),
        );
    }
    let message = format!(
        "{context}: there is no component {name:?} of type {kind}; calls would pass without it. Put it into --resources-path, or take the handler out"
    );
    let missing = reader.problem(node.offset, Gravity::Fatal, message);
    Some(Handler { component: (name, kind), missing })
}

/// Whether a component of this type is read here.
pub(super) fn is_built(kind: &str) -> bool {
    BUILT.contains(&kind)
}

/// The type of a component; empty where there is none.
pub(super) fn kind_of(spec: Option<&Node>, reader: &mut Reader<'_>) -> String {
    let fields = spec.and_then(|node| reader.fields(node, "spec"));
    let kind = fields.and_then(|fields| fields.in_any_case().take("type"));
    kind.and_then(|node| reader.text(node, "spec.type")).unwrap_or_default()
}

/// What a component of type `kind` does; what it cannot be is noted.
pub(super) fn read(
    spec: &Node,
    kind: &str,
    referred: &Referred<'_>,
    reader: &mut Reader<'_>,
) -> Result<Middleware, ()> {
    let mut fields = reader.fields(spec, "spec").map(Fields::in_any_case).ok_or(())?;
    let given = properties(fields.take("metadata"), referred, reader)?;
    fields.accept(&["type", "version", "ignoreErrors", "initTimeout"]);
    fields.finish(reader);
    let wanted =
        |name: &str| given.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let middleware = match kind {
        ALIAS => match wanted("routes") {
            Some(text) => Ok(Middleware::RouterAlias(routes(text))),
            None => Ok(Middleware::RouterAlias(given.clone())),
        },
        CHECKER => Ok(Middleware::RouterChecker(wanted("rule").cloned().unwrap_or_default())),
        UPPERCASE => Ok(uppercase(&given)),
        BEARER => Ok(bearer(&wanted)),
        _ => match wanted("maxRequestsPerSecond").map(|text| text.trim().parse()) {
            None => Ok(Middleware::RateLimit(DEFAULT_PER_SECOND)),
            Some(Ok(max)) => Ok(Middleware::RateLimit(max)),
            Some(Err(_)) => Err("metadata property maxRequestsPerSecond is not a number".to_owned()),
        },
    };
    let checked = middleware.and_then(|middleware| middleware.check().map(|()| middleware));
    checked.map_err(|why| reader.mistake(spec, format!("{kind}: {why}")))
}

/// Where values that are only referred to stand.
pub(super) struct Referred<'a> {
    pub(super) secrets: &'a Secrets<'a>,
    /// `auth.secretStore`.
    pub(super) store: String,
}

impl<'a> Referred<'a> {
    /// What a component may refer to.
    pub(super) fn of(
        fields: &mut Fields<'_>,
        secrets: &'a Secrets<'a>,
        reader: &mut Reader<'_>,
    ) -> Referred<'a> {
        let auth = fields.take("auth").and_then(|node| reader.fields(node, "auth")).map(Fields::in_any_case);
        let store = auth.and_then(|mut auth| auth.take("secretStore"));
        let store = store.and_then(|node| reader.text(node, "auth.secretStore")).unwrap_or_default();
        Referred { secrets, store }
    }
}

/// `spec.metadata` with the names as they are written. Without a value that is only referred to the handler would do
/// something else: then there is none.
fn properties(
    node: Option<&Node>,
    referred: &Referred<'_>,
    reader: &mut Reader<'_>,
) -> Result<Vec<(String, String)>, ()> {
    let Some(node) = node else { return Ok(Vec::new()) };
    reader.items(node, "spec.metadata").iter().map(|item| property(item, referred, reader)).collect()
}

fn property(item: &Node, referred: &Referred<'_>, reader: &mut Reader<'_>) -> Result<(String, String), ()> {
    let mut fields = reader.fields(item, "spec.metadata[]").map(Fields::in_any_case).ok_or(())?;
    let name =
        fields.take("name").and_then(|node| reader.text(node, "spec.metadata[].name")).unwrap_or_default();
    let context = format!("spec.metadata {name:?}");
    let before = reader.problems.len();
    let value = referred.secrets.value(&mut fields, (item, &context), &referred.store, reader);
    fields.finish(reader);
    match value {
        Some(value) if !name.is_empty() => Ok((name, value)),
        value => {
            if value.is_some() || reader.problems.len() == before {
                let message = "spec.metadata[] of a middleware needs name, and value, envRef or secretKeyRef";
                reader.mistake(item, message);
            }
            Err(())
        }
    }
}

/// The older names count where the newer ones are absent.
fn bearer<'v>(wanted: &impl Fn(&str) -> Option<&'v String>) -> Middleware {
    let given = |name: &str| wanted(name).filter(|value| !value.is_empty()).cloned();
    let name = given("issuer").or_else(|| given("issuerURL")).unwrap_or_default();
    let audience = given("audience").or_else(|| given("clientID")).unwrap_or_default();
    Middleware::Bearer { issuer: Issuer { name, keys_at: given("jwksURL") }, audience }
}

/// As daprd's: the name counts as it is spelled, and whatever is no direction means requests.
fn uppercase(given: &[(String, String)]) -> Middleware {
    let named = given.iter().rev().find(|(key, _)| key == "direction");
    match named.map(|(_, value)| value.to_lowercase()).as_deref() {
        Some("response") => Middleware::Uppercase { request: false, response: true },
        Some("both") => Middleware::Uppercase { request: true, response: true },
        _ => Middleware::Uppercase { request: true, response: false },
    }
}

/// A mapping of paths to targets as JSON or YAML; what is none has no usable path.
fn routes(text: &str) -> Vec<(String, String)> {
    let mut documents = tree::parse(text).unwrap_or_default().into_iter();
    let document = documents.next().map(|document| document.value);
    let target = |node: Node| if let Value::Text(text) = node.value { text } else { String::new() };
    match document {
        Some(Value::Map(entries)) => {
            entries.into_iter().map(|(key, node)| (key.name, target(node))).collect()
        }
        Some(Value::Null) | None if text.trim().is_empty() => Vec::new(),
        _ => vec![("routes".into(), text.into())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::expand::Expanded;
    use std::path::Path;

    /// What is read of a component, and what is said about it.
    fn component(kind: &str, metadata: &str) -> (Result<Middleware, ()>, Vec<String>) {
        let text = format!("type: {kind}\nversion: v1\nmetadata:\n{metadata}");
        let verbatim = Expanded::verbatim(&text);
        let mut reader = Reader::new(Path::new("r.yaml"), &text, &verbatim, Gravity::Mistake);
        let spec = tree::parse(&text).unwrap().remove(0);
        let variables =
            |name: &str| ["FOUND", "APP_API_TOKEN", "DAPR_X"].contains(&name).then(|| "^/a".to_owned());
        let secrets = Secrets { variables: &variables, stores: BTreeMap::new() };
        let referred = Referred { secrets: &secrets, store: String::new() };
        let read = read(&spec, kind, &referred, &mut reader);
        (read, reader.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn components_are_read_as_daprd_does() {
        let routes = |all: &[(&str, &str)]| {
            Middleware::RouterAlias(all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
        };
        let bearer = |issuer: &str, keys: Option<&str>| Middleware::Bearer {
            issuer: Issuer { name: issuer.into(), keys_at: keys.map(Into::into) },
            audience: "me".into(),
        };
        for (kind, metadata, wanted) in [
            (ALIAS, "- {name: routes, value: '{\"/A\": \"/b\"}'}", routes(&[("/A", "/b")])),
            (
                ALIAS,
                "- name: Routes\n  value: |\n    /x/{y}: /z\n    /a: /b",
                routes(&[("/x/{y}", "/z"), ("/a", "/b")]),
            ),
            (ALIAS, "- {name: /A, value: /b}", routes(&[("/A", "/b")])),
            (ALIAS, "", routes(&[])),
            (CHECKER, "- {name: RULE, value: ^/a}", Middleware::RouterChecker("^/a".into())),
            (LIMIT, "- {name: maxRequestsPerSecond, value: 2.5}", Middleware::RateLimit(2.5)),
            (LIMIT, "- {name: maxRequestsPerSecond, value: '10'}", Middleware::RateLimit(10.0)),
            (LIMIT, "", Middleware::RateLimit(100.0)),
            (CHECKER, "- {name: rule, envRef: FOUND}", Middleware::RouterChecker("^/a".into())),
            (
                BEARER,
                "- {name: issuer, value: 'http://i/'}\n- {name: audience, value: me}\n- {name: clientID, value: x}",
                bearer("http://i/", None),
            ),
            (
                BEARER,
                "- {name: issuerURL, value: i}\n- {name: clientId, value: me}\n- {name: JWKSURL, value: 'https://k/?a=b'}",
                bearer("i", Some("https://k/?a=b")),
            ),
            (UPPERCASE, "", Middleware::Uppercase { request: true, response: false }),
            (
                UPPERCASE,
                "- {name: direction, value: Response}",
                Middleware::Uppercase { request: false, response: true },
            ),
            (
                UPPERCASE,
                "- {name: direction, value: both}",
                Middleware::Uppercase { request: true, response: true },
            ),
            (
                UPPERCASE,
                "- {name: Direction, value: both}",
                Middleware::Uppercase { request: true, response: false },
            ),
        ] {
            assert_eq!(component(kind, metadata), (Ok(wanted), Vec::new()), "{metadata}");
        }
    }

    #[test]
    fn a_component_that_says_something_else_is_none() {
        for (kind, metadata, why) in [
            (
                ALIAS,
                "- {name: routes, value: '[a]'}",
                "r.yaml:1:1: middleware.http.routeralias: route \"routes\"",
            ),
            (ALIAS, "- {name: routes, value: '{/a: 1}'}", "target \"\""),
            (
                CHECKER,
                "- {name: rule, secretKeyRef: {name: a}}",
                "secret \"a\": no auth.secretStore says where it is",
            ),
            (CHECKER, "- {name: rule, envRef: APP_API_TOKEN}", "may not be referred to"),
            (CHECKER, "- {name: rule, envRef: DAPR_X}", "may not be referred to"),
            (CHECKER, "- {name: rule, envRef: LOST}", "\"LOST\" is not set"),
            (CHECKER, "- {name: rule}", "needs name, and value, envRef or secretKeyRef"),
            (CHECKER, "- {value: a}", "needs name, and value, envRef or secretKeyRef"),
            (BEARER, "- {name: audience, value: a}", "metadata property 'issuer' is required"),
            (BEARER, "- {name: issuer, value: 'http://i'}", "metadata property 'audience' is required"),
            (BEARER, "- {name: issuer, value: i}\n- {name: audience, value: a}", "issuer: expected a URL"),
            (
                BEARER,
                "- {name: issuer, value: i}\n- {name: audience, value: a}\n- {name: jwksURL, value: 'ftp://k'}",
                "jwksURL: expected a URL",
            ),
            (CHECKER, "- {name: rule, value: '['}", "rule \"[\""),
            (LIMIT, "- {name: maxRequestsPerSecond, value: many}", "is not a number"),
            (LIMIT, "- {name: maxRequestsPerSecond, value: 0}", "must be a positive value"),
        ] {
            let (read, said) = component(kind, metadata);
            assert_eq!(read, Err(()), "{metadata}");
            assert!(said.concat().contains(why), "{said:?}");
        }
    }
}

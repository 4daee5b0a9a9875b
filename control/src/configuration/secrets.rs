//! Values that stand elsewhere: `envRef`, and `secretKeyRef` into the local secret stores, the only ones there are
//! (spec/resolution 7.1.1).

use super::reader::{Fields, Reader};
use super::tree::Node;
use std::collections::BTreeMap;

/// What resources may refer to.
pub(super) struct Secrets<'a> {
    pub(super) variables: &'a dyn Fn(&str) -> Option<String>,
    pub(super) stores: BTreeMap<String, Store>,
}

/// A secret store that needs nothing but this host.
#[derive(Clone, Debug)]
pub(super) enum Store {
    /// `secretstores.local.env`.
    Env { prefix: String },
    /// `secretstores.local.file`: the file's values, nested names joined.
    File { values: BTreeMap<String, String>, separator: String, many: bool },
}

/// A store under its name.
pub(super) type Found = (String, Store);

const STORES: [&str; 2] = ["secretstores.local.env", "secretstores.local.file"];

/// Whether a component of this type is a store that [`read`] takes.
pub(super) fn is_store(kind: &str) -> bool {
    STORES.contains(&kind)
}

/// The store of a component, if it is one of those there are.
pub(super) fn read(name: String, spec: &Node, reader: &mut Reader<'_>) -> Option<Found> {
    let mut fields = reader.fields(spec, "spec")?.in_any_case();
    let kind = fields.take("type").and_then(|node| reader.text(node, "spec.type"))?;
    if !STORES.contains(&kind.as_str()) {
        return None;
    }
    let metadata = super::metadata(fields.take("metadata"), reader);
    let text = |name: &str| metadata.get(&name.to_lowercase()).cloned().unwrap_or_default();
    if kind == "secretstores.local.env" {
        return Some((name, Store::Env { prefix: text("prefix") }));
    }
    let file = text("secretsFile");
    let separator =
        Some(text("nestedSeparator")).filter(|text| !text.is_empty()).unwrap_or_else(|| ":".into());
    let mut values = BTreeMap::new();
    let read = std::fs::read_to_string(&file).map_err(|e| e.to_string());
    match read.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string())) {
        Ok(json) => flatten("", &json, &separator, &mut values),
        Err(why) => reader.mistake(spec, format!("secretsFile {file:?} of {name:?} cannot be read: {why}")),
    }
    Some((name, Store::File { values, separator, many: text("multiValued") == "true" }))
}

fn flatten(path: &str, json: &serde_json::Value, separator: &str, into: &mut BTreeMap<String, String>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}{separator}{name}") };
    match json {
        serde_json::Value::Object(entries) => {
            entries.iter().for_each(|(name, value)| flatten(&below(name), value, separator, into));
        }
        serde_json::Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, value)| flatten(&below(&at.to_string()), value, separator, into));
        }
        serde_json::Value::String(text) => drop(into.insert(path.to_owned(), text.clone())),
        other => drop(into.insert(path.to_owned(), other.to_string())),
    }
}

impl Secrets<'_> {
    /// The value of a `{value | secretKeyRef | envRef}`; what stands in the way is noted. `store`: `auth.secretStore`.
    pub(super) fn value(
        &self,
        fields: &mut Fields<'_>,
        (node, context): (&Node, &str),
        store: &str,
        reader: &mut Reader<'_>,
    ) -> Option<String> {
        let value = fields.take("value").and_then(|node| reader.text(node, context));
        let secret = fields.take("secretKeyRef");
        let variable = fields.take("envRef").and_then(|node| reader.text(node, context));
        let reference = secret.and_then(|node| reader.fields(node, context)).map(Fields::in_any_case);
        if let Some(mut fields) = reference {
            let mut text = |name: &'static str| {
                fields.take(name).and_then(|node| reader.text(node, context)).unwrap_or_default()
            };
            let (name, key) = (text("name"), text("key"));
            let key = if key.is_empty() { name.clone() } else { key };
            let found = self.secret(store, &name, &key).map_err(|why| format!("{context}: {why}"));
            return found.map_err(|why| reader.mistake(node, why)).ok();
        }
        if let Some(name) = variable.filter(|name| !name.is_empty()) {
            let found = self.variable(&name).map_err(|why| format!("{context}: {why}"));
            return found.map_err(|why| reader.mistake(node, why)).ok();
        }
        value
    }

    fn secret(&self, store: &str, name: &str, key: &str) -> Result<String, String> {
        let missing = || format!("secret {name:?} has no key {key:?} in store {store:?}");
        match self.stores.get(store) {
            None if store.is_empty() => Err(format!("secret {name:?}: no auth.secretStore says where it is")),
            None => Err(format!(
                "secret {name:?}: there is no secret store {store:?}; this sidecar has {}",
                STORES.join(" and ")
            )),
            Some(Store::Env { prefix }) if key == name => self.variable(&format!("{prefix}{name}")),
            Some(Store::File { values, many: false, .. }) if key == name => {
                values.get(name).cloned().ok_or_else(missing)
            }
            Some(Store::File { values, separator, many: true }) => {
                values.get(&format!("{name}{separator}{key}")).cloned().ok_or_else(missing)
            }
            Some(_) => Err(missing()),
        }
    }

    /// daprd never gives its own secrets away, and with `DAPR_ENV_KEYS` only what that lists.
    fn variable(&self, name: &str) -> Result<String, String> {
        let upper = name.to_uppercase();
        if upper == "APP_API_TOKEN" || upper.starts_with("DAPR_") || name.contains(' ') {
            return Err(format!("environment variable {name:?} may not be referred to"));
        }
        let listed = (self.variables)("DAPR_ENV_KEYS").filter(|keys| !keys.is_empty());
        if listed.is_some_and(|keys| !keys.split(' ').any(|key| key.eq_ignore_ascii_case(name))) {
            return Err(format!("environment variable {name:?} is not listed in DAPR_ENV_KEYS"));
        }
        (self.variables)(name).ok_or_else(|| format!("environment variable {name:?} is not set"))
    }
}

//! What stands in the API's log in the place of paths (`spec.logging.apiLogging.obfuscateURLs`).

use super::routes::{self, Does, Found, Scope};
use super::rules::Rules;
use std::borrow::Cow;

/// The name of what was asked for: no path, and of an invocation the app's id only (vector log/api-obfuscate).
///
/// ```
/// use proto::api::log::name;
/// use proto::api::rules::Rules;
///
/// let rules = Rules::default();
/// assert_eq!(name(&rules, "GET", "/v1.0/metadata", None), "GetMetadata");
/// assert_eq!(name(&rules, "GET", "/v1.0/invoke/orders/method/x", Some("orders")), "InvokeService/orders");
/// assert_eq!(name(&rules, "GET", "/x", None), "InvokeService");
/// ```
pub fn name(rules: &Rules, verb: &str, cleaned: &str, id: Option<&str>) -> Cow<'static, str> {
    match routes::find(rules, Scope::Api, verb, cleaned) {
        Found::Route { does, .. } => word(does).into(),
        Found::OtherVerb(_) | Found::Nothing => match id {
            Some(id) if !id.is_empty() => format!("InvokeService/{id}").into(),
            _ => "InvokeService".into(),
        },
    }
}

fn word(does: Does) -> String {
    match does {
        Does::Health => "Healthz".into(),
        Does::OutboundHealth => "HealthzOutbound".into(),
        Does::Metadata => "GetMetadata".into(),
        Does::PutMetadata => "SetMetadata".into(),
        Does::Shutdown => "Shutdown".into(),
        Does::Block(block) => format!("{block:?}"),
    }
}

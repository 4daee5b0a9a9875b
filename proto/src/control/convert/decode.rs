//! Messages into types. A message is taken as a whole or not at all, and then every reason is listed.

use super::{external, pipelines};
use crate::api::cors::Origins;
use crate::api::rules::{Rule, Rules};
use crate::control as wire;
use crate::policy::acl::Acl;
use crate::snapshot::{
    Api, ApiLogging, AppAddress, AppChannel, AppProtocol, AppRef, Endpoint, HealthProbe, IdentityMaterial,
    Limits, Route, Snapshot, Tried, Workload,
};
use crate::spiffe::SpiffeId;
use crate::trace::sampler::Sampler;
use core::fmt::Display;
use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

/// Most names in the resolution table.
pub const MAX_ROUTES: usize = 1 << 18;
/// Most endpoints of one name.
pub const MAX_ENDPOINTS: usize = 4096;
/// Most reasons that are listed; of further ones only the number.
const MAX_REASONS: usize = 32;

/// What is wrong with a message, one sentence each.
#[derive(Debug, Default)]
pub struct Reasons {
    listed: Vec<String>,
    more: usize,
}

impl Reasons {
    /// Notes one more.
    pub fn add(&mut self, reason: impl Display) {
        if self.listed.len() < MAX_REASONS {
            self.listed.push(reason.to_string());
        } else {
            self.more += 1;
        }
    }

    /// Notes `reason` unless `good`.
    pub fn expect(&mut self, good: bool, reason: impl Display) {
        if !good {
            self.add(reason);
        }
    }

    /// Notes an error; `None` then.
    pub(super) fn ok<T, E: Display>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|e| self.add(format_args!("{what}: {e}"))).ok()
    }

    /// `value` if nothing was noted.
    pub fn or<T>(mut self, value: T) -> Result<T, Vec<String>> {
        if self.more > 0 {
            self.listed.push(format!("and {} more", self.more));
        }
        if self.listed.is_empty() { Ok(value) } else { Err(self.listed) }
    }
}

/// The snapshot that `message` makes of `before`: a full one starts from nothing but keeps what is equal, so that nothing
/// is built anew that did not change.
///
/// # Errors
/// Every reason why the message is refused. Versions are the session's affair.
pub fn apply(before: &Snapshot, message: &wire::Snapshot) -> Result<Snapshot, Vec<String>> {
    understood(message)?;
    let mut reasons = Reasons::default();
    let mut next = if message.base == 0 { bare(before) } else { before.clone() };
    next.version = message.version;
    parts(&mut next, before, message, &mut reasons);
    routes(&mut next, before, message, &mut reasons);
    if !message.more {
        whole(&next, &mut reasons);
    }
    reasons.or(next)
}

/// A further part of a snapshot in several: only routes, added to what the parts before made.
///
/// # Errors
/// Every reason why the snapshot is refused.
pub fn apply_part(
    begun: &Snapshot,
    before: &Snapshot,
    message: &wire::Snapshot,
) -> Result<Snapshot, Vec<String>> {
    understood(message)?;
    let mut reasons = Reasons::default();
    let mut next = begun.clone();
    let routes_only = message.workload.is_none()
        && message.app.is_none()
        && message.api.is_none()
        && message.limits.is_none()
        && message.identity.is_none()
        && message.access_control.is_none()
        && message.http_endpoints.is_none()
        && message.pipelines.is_none();
    reasons.expect(routes_only, "a further part holds more than routes");
    routes(&mut next, before, message, &mut reasons);
    if !message.more {
        whole(&next, &mut reasons);
    }
    reasons.or(next)
}

/// A message of a later protocol is not looked into: its fields may mean something else.
fn understood(message: &wire::Snapshot) -> Result<(), Vec<String>> {
    let mut reasons = Reasons::default();
    reasons.expect(
        (1..=wire::PROTOCOL).contains(&message.protocol),
        format_args!("protocol {}: this data plane speaks 1 to {}", message.protocol, wire::PROTOCOL),
    );
    for name in message.requires.iter().filter(|name| !wire::CAPABILITIES.contains(&name.as_str())) {
        reasons.add(format_args!("requires '{name}', which this data plane does not know"));
    }
    reasons.or(())
}

/// What a full snapshot starts from. The workload has no default; its absence is noticed by `whole`.
fn bare(before: &Snapshot) -> Snapshot {
    let mut bare = Snapshot::default();
    keep(&mut bare.limits, &before.limits);
    keep(&mut bare.api, &before.api);
    keep(&mut bare.acl, &before.acl);
    keep(&mut bare.http_endpoints, &before.http_endpoints);
    keep(&mut bare.pipelines, &before.pipelines);
    bare
}

/// Takes the older of two equal values.
fn keep<T: PartialEq>(new: &mut Arc<T>, old: &Arc<T>) {
    if **new == **old {
        *new = Arc::clone(old);
    }
}

fn share<T: PartialEq>(value: T, old: &Arc<T>) -> Arc<T> {
    if value == **old { Arc::clone(old) } else { Arc::new(value) }
}

fn share_option<T: PartialEq>(value: Option<T>, old: Option<&Arc<T>>) -> Option<Arc<T>> {
    match (value, old) {
        (Some(value), Some(old)) => Some(share(value, old)),
        (value, _) => value.map(Arc::new),
    }
}

fn parts(next: &mut Snapshot, before: &Snapshot, message: &wire::Snapshot, reasons: &mut Reasons) {
    if let Some(workload) = &message.workload {
        next.workload = share(self::workload(workload, reasons), &before.workload);
    }
    if let Some(app) = &message.app {
        let channel = app.channel.as_ref().and_then(|channel| app_channel(channel, reasons));
        next.app = share_option(channel, before.app.as_ref());
    }
    if let Some(api) = &message.api {
        next.api = share(self::api(api, reasons), &before.api);
    }
    if let Some(limits) = &message.limits {
        next.limits = share(self::limits(limits, reasons), &before.limits);
    }
    if let Some(identity) = &message.identity {
        let material = identity.material.as_ref().and_then(|material| self::material(material, reasons));
        next.identity = share_option(material, before.identity.as_ref());
    }
    if let Some(list) = &message.access_control {
        next.acl = share(acl(list, reasons), &before.acl);
    }
    if let Some(endpoints) = &message.http_endpoints {
        next.http_endpoints = share(external::decode(endpoints, reasons), &before.http_endpoints);
    }
    if let Some(message) = &message.pipelines {
        next.pipelines = share(pipelines::decode(message, &before.pipelines, reasons), &before.pipelines);
    }
}

/// What must hold for the picture as a whole.
fn whole(next: &Snapshot, reasons: &mut Reasons) {
    let workload = &next.workload;
    if workload.app_id.is_empty() {
        reasons.add("workload: missing, or its app id is empty");
        return;
    }
    let id = next.identity.as_ref().map(|material| &material.id);
    reasons.expect(!workload.mtls || id.is_some(), "workload: mtls needs an identity");
    let own = |id: &&SpiffeId| id.app_id == workload.app_id && id.namespace == workload.namespace;
    if let Some(id) = id.filter(|id| !own(id)) {
        let name = format!("{}.{}", workload.app_id, workload.namespace);
        reasons.add(format_args!("identity: {id} does not belong to {name}"));
    }
}

fn port(number: u32, what: &str, reasons: &mut Reasons) -> u16 {
    let port = u16::try_from(number).ok().filter(|port| *port != 0);
    reasons.expect(port.is_some(), format_args!("{what}: {number} is not a port"));
    port.unwrap_or_default()
}

fn workload(message: &wire::Workload, reasons: &mut Reasons) -> Workload {
    Workload {
        app_id: message.app_id.clone(),
        namespace: message.namespace.clone(),
        trust_domain: or_public(&message.trust_domain),
        host_address: message.host_address.clone(),
        host_name: message.host_name.clone(),
        internal_port: port(message.internal_port, "workload: internal_port", reasons),
        mtls: message.mtls,
    }
}

fn or_public(trust_domain: &str) -> String {
    if trust_domain.is_empty() { "public".to_owned() } else { trust_domain.to_owned() }
}

fn app_channel(message: &wire::AppChannel, reasons: &mut Reasons) -> Option<AppChannel> {
    let protocol = app_protocol(message.protocol, reasons)?;
    let address = if message.unix_path.is_empty() {
        reasons.expect(!message.host.is_empty(), "app: neither host nor unix_path");
        AppAddress::Tcp { host: message.host.clone(), port: port(message.port, "app: port", reasons) }
    } else {
        let alone = message.host.is_empty() && message.port == 0;
        reasons.expect(alone, "app: unix_path stands beside host or port");
        AppAddress::Unix(message.unix_path.clone())
    };
    let max_concurrency = Some(message.max_concurrency).filter(|most| *most != 0);
    let health = message.health.as_ref().map(|health| health_probe(health, reasons));
    let asks_config = !message.no_config_question;
    Some(AppChannel { address, protocol, max_concurrency, token: message.token.clone(), health, asks_config })
}

fn health_probe(message: &wire::HealthProbe, reasons: &mut Reasons) -> HealthProbe {
    let times = message.timeout_ms != 0 && message.timeout_ms <= message.interval_ms;
    reasons.expect(times, "app: health: the time-out is 0 or above the interval");
    reasons.expect(message.threshold != 0, "app: health: the threshold is 0");
    let plain = message.path.starts_with('/') && message.path.bytes().all(|byte| byte.is_ascii_graphic());
    reasons.expect(plain, "app: health: the path does not begin with a slash, or cannot stand in a request");
    HealthProbe {
        path: message.path.clone(),
        interval: Duration::from_millis(message.interval_ms),
        timeout: Duration::from_millis(message.timeout_ms),
        threshold: message.threshold,
    }
}

fn api(message: &wire::Api, reasons: &mut Reasons) -> Api {
    reasons.expect(message.token.as_deref() != Some(""), "api: the token is empty");
    let mut rules = |rules: &[wire::ApiRule]| -> Vec<Rule> {
        reasons.expect(rules.iter().all(|rule| !rule.name.is_empty()), "api: a rule without a name");
        rules.iter().map(|rule| Rule { name: rule.name.clone(), version: rule.version.clone() }).collect()
    };
    Api {
        token: message.token.clone(),
        tracing: message.tracing,
        new_traces: message.new_traces.map(Sampler::new),
        origins: Origins::of(message.allowed_origins.iter().cloned()),
        rules: Rules { allowed: rules(&message.allowed), denied: rules(&message.denied) },
        logging: message.logging.map(|logging| ApiLogging {
            obfuscate_urls: logging.obfuscate_urls,
            omit_health_checks: logging.omit_health_checks,
        }),
    }
}

fn app_protocol(number: i32, reasons: &mut Reasons) -> Option<AppProtocol> {
    let Ok(protocol) = wire::AppProtocol::try_from(number) else {
        reasons.add(format_args!("app: protocol {number} is unknown"));
        return None;
    };
    Some(match protocol {
        wire::AppProtocol::Http => AppProtocol::Http,
        wire::AppProtocol::Https => AppProtocol::Https,
        wire::AppProtocol::H2c => AppProtocol::H2c,
        wire::AppProtocol::Grpc => AppProtocol::Grpc,
        wire::AppProtocol::Grpcs => AppProtocol::Grpcs,
    })
}

fn limits(message: &wire::Limits, reasons: &mut Reasons) -> Limits {
    let defaults = Limits::default();
    let contradiction = message.body_unlimited && message.max_body_bytes != 0;
    reasons.expect(!contradiction, "limits: body_unlimited stands beside max_body_bytes");
    let max_body = match message.max_body_bytes {
        _ if message.body_unlimited => None,
        0 => defaults.max_body,
        bytes => Some(bytes),
    };
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        max_body,
        max_head: if message.max_head_bytes == 0 { defaults.max_head } else { size(message.max_head_bytes) },
        max_replay_body: message.max_replay_body_bytes.map_or(defaults.max_replay_body, size),
        grace: message.grace_ms.map_or(defaults.grace, Duration::from_millis),
    }
}

fn material(message: &wire::IdentityMaterial, reasons: &mut Reasons) -> Option<IdentityMaterial> {
    reasons.expect(!message.chain.is_empty(), "identity: the chain is empty");
    reasons.expect(!message.private_key.is_empty(), "identity: the private key is missing");
    reasons.expect(!message.trust_anchors.is_empty(), "identity: there are no trust anchors");
    let id = reasons.ok("identity: spiffe_id", SpiffeId::parse(&message.spiffe_id))?;
    Some(IdentityMaterial {
        id,
        chain: message.chain.clone(),
        key: message.private_key.clone(),
        trust_anchors: message.trust_anchors.clone(),
        not_after: message.not_after,
    })
}

/// This build enforces no policies. A list that asks for any is refused: to skip it would allow what it forbids.
fn acl(message: &wire::AccessControl, reasons: &mut Reasons) -> Acl {
    let open = matches!(
        wire::Action::try_from(message.default_action),
        Ok(wire::Action::Unspecified | wire::Action::Allow)
    );
    reasons.expect(
        open && message.policies.is_empty(),
        "access_control: this data plane enforces no policies yet and would allow what they forbid",
    );
    Acl::default()
}

fn routes(next: &mut Snapshot, before: &Snapshot, message: &wire::Snapshot, reasons: &mut Reasons) {
    for removed in &message.removed_routes {
        if let Some(app) = app_ref("removed_routes", Some(removed), reasons) {
            next.routes.remove(&app);
        }
    }
    reasons
        .expect(message.base != 0 || message.removed_routes.is_empty(), "removed_routes in a full snapshot");
    for wanted in &message.routes {
        if let Some((app, route)) = route(wanted, reasons) {
            let same = before.routes.get(&app).filter(|old| ***old == route).map(Arc::clone);
            next.routes.insert(app, same.unwrap_or_else(|| Arc::new(route)));
        }
    }
    let count = next.routes.len();
    reasons.expect(count <= MAX_ROUTES, format_args!("{count} names are more than {MAX_ROUTES}"));
}

/// A name of a message; what is missing is noted with `place`.
pub fn app_ref(place: &str, message: Option<&wire::AppRef>, reasons: &mut Reasons) -> Option<AppRef> {
    let good = message.filter(|app| !app.app_id.is_empty());
    reasons.expect(good.is_some(), format_args!("{place}: app id is missing"));
    good.map(|app| AppRef { app_id: app.app_id.clone(), namespace: app.namespace.clone() })
}

/// A route of a message and the name it is for.
pub fn route(message: &wire::Route, reasons: &mut Reasons) -> Option<(AppRef, Route)> {
    let app = app_ref("routes", message.app.as_ref(), reasons)?;
    if message.endpoints.is_empty() {
        let tried = message.tried.iter().map(|t| Tried { way: t.way.clone(), answer: t.answer.clone() });
        return Some((app, Route::NotFound { tried: tried.collect() }));
    }
    let place = format!("routes: {}.{}", app.app_id, app.namespace);
    let count = message.endpoints.len();
    reasons.expect(
        count <= MAX_ENDPOINTS,
        format_args!("{place}: {count} endpoints are more than {MAX_ENDPOINTS}"),
    );
    let parsed = message.endpoints.iter().filter_map(|endpoint| {
        let address = reasons.ok(&place, parse_address(&endpoint.address))?;
        Some(Endpoint { address })
    });
    let endpoints = parsed.collect();
    Some((app, Route::Endpoints(endpoints)))
}

/// An endpoint's address: an IP address and a port that is not 0.
///
/// # Errors
/// What it is instead.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| format!("'{text}' is not an IP address with a port"))?;
    if address.port() == 0 { Err(format!("'{text}' has port 0")) } else { Ok(address) }
}

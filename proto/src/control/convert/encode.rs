//! Types into messages.

use super::{external, pipelines};
use crate::api::rules::Rule;
use crate::control as wire;
use crate::policy::acl::Acl;
use crate::snapshot::{
    Api, AppAddress, AppChannel, AppProtocol, AppRef, IdentityMaterial, Limits, Route, Snapshot, Workload,
};
use crate::trace::sampler::Sampler;
use core::time::Duration;
use std::sync::Arc;

/// The whole of `picture`.
pub fn full(picture: &Snapshot) -> wire::Snapshot {
    wire::Snapshot {
        protocol: wire::PROTOCOL,
        version: picture.version,
        base: 0,
        requires: pipelines::required(Some(&picture.pipelines)),
        workload: Some(workload(&picture.workload)),
        app: Some(app(picture.app.as_deref())),
        api: Some(api(&picture.api)),
        limits: Some(limits(&picture.limits)),
        identity: Some(identity(picture.identity.as_deref())),
        access_control: Some(access_control(&picture.acl)),
        http_endpoints: Some(external::encode(&picture.http_endpoints)),
        pipelines: Some(pipelines::encode(&picture.pipelines)),
        routes: picture.routes.iter().map(|(app, route)| encode_route(app, route)).collect(),
        removed_routes: Vec::new(),
        more: false,
    }
}

/// What turns `before` into `after`. The cost follows the difference.
pub fn delta(before: &Snapshot, after: &Snapshot) -> wire::Snapshot {
    let routes = after.routes.changes_since(&before.routes);
    wire::Snapshot {
        protocol: wire::PROTOCOL,
        version: after.version,
        base: before.version,
        requires: pipelines::required(changed(&before.pipelines, &after.pipelines)),
        workload: changed(&before.workload, &after.workload).map(workload),
        app: changed_option(before.app.as_ref(), after.app.as_ref()).then(|| app(after.app.as_deref())),
        api: changed(&before.api, &after.api).map(api),
        limits: changed(&before.limits, &after.limits).map(limits),
        identity: changed_option(before.identity.as_ref(), after.identity.as_ref())
            .then(|| identity(after.identity.as_deref())),
        access_control: changed(&before.acl, &after.acl).map(access_control),
        http_endpoints: changed(&before.http_endpoints, &after.http_endpoints).map(external::encode),
        pipelines: changed(&before.pipelines, &after.pipelines).map(pipelines::encode),
        routes: routes.set.iter().map(|(app, route)| encode_route(app, route)).collect(),
        removed_routes: routes.removed.iter().map(encode_app_ref).collect(),
        more: false,
    }
}

fn changed<'a, T: PartialEq>(before: &Arc<T>, after: &'a Arc<T>) -> Option<&'a T> {
    (!Arc::ptr_eq(before, after) && before != after).then_some(&**after)
}

fn changed_option<T: PartialEq>(before: Option<&Arc<T>>, after: Option<&Arc<T>>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => changed(before, after).is_some(),
        (before, after) => before.is_some() != after.is_some(),
    }
}

fn workload(it: &Workload) -> wire::Workload {
    wire::Workload {
        app_id: it.app_id.clone(),
        namespace: it.namespace.clone(),
        trust_domain: it.trust_domain.clone(),
        host_address: it.host_address.clone(),
        host_name: it.host_name.clone(),
        internal_port: it.internal_port.into(),
        mtls: it.mtls,
    }
}

fn app(channel: Option<&AppChannel>) -> wire::App {
    wire::App { channel: channel.map(app_channel) }
}

fn app_channel(it: &AppChannel) -> wire::AppChannel {
    let (host, port, unix_path) = match &it.address {
        AppAddress::Tcp { host, port } => (host.clone(), (*port).into(), String::new()),
        AppAddress::Unix(path) => (String::new(), 0, path.clone()),
    };
    let protocol = match it.protocol {
        AppProtocol::Http => wire::AppProtocol::Http,
        AppProtocol::Https => wire::AppProtocol::Https,
        AppProtocol::H2c => wire::AppProtocol::H2c,
        AppProtocol::Grpc => wire::AppProtocol::Grpc,
        AppProtocol::Grpcs => wire::AppProtocol::Grpcs,
    };
    wire::AppChannel {
        host,
        port,
        unix_path,
        protocol: protocol.into(),
        max_concurrency: it.max_concurrency.unwrap_or_default(),
        token: it.token.clone(),
        health: it.health.as_ref().map(|health| wire::HealthProbe {
            path: health.path.clone(),
            interval_ms: millis(health.interval),
            timeout_ms: millis(health.timeout),
            threshold: health.threshold,
        }),
        no_config_question: !it.asks_config,
    }
}

fn api(it: &Api) -> wire::Api {
    wire::Api {
        token: it.token.clone(),
        tracing: it.tracing,
        allowed_origins: it.origins.list().to_vec(),
        allowed: it.rules.allowed.iter().map(api_rule).collect(),
        denied: it.rules.denied.iter().map(api_rule).collect(),
        new_traces: it.new_traces.map(Sampler::ratio),
        logging: it.logging.map(|logging| wire::ApiLogging {
            obfuscate_urls: logging.obfuscate_urls,
            omit_health_checks: logging.omit_health_checks,
        }),
    }
}

fn api_rule(rule: &Rule) -> wire::ApiRule {
    wire::ApiRule { name: rule.name.clone(), version: rule.version.clone() }
}

fn limits(it: &Limits) -> wire::Limits {
    wire::Limits {
        max_body_bytes: it.max_body.unwrap_or_default(),
        body_unlimited: it.max_body.is_none(),
        max_head_bytes: it.max_head as u64,
        max_replay_body_bytes: Some(it.max_replay_body as u64),
        grace_ms: Some(millis(it.grace)),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn identity(material: Option<&IdentityMaterial>) -> wire::Identity {
    wire::Identity {
        material: material.map(|it| wire::IdentityMaterial {
            spiffe_id: it.id.to_string(),
            chain: it.chain.clone(),
            private_key: it.key.clone(),
            trust_anchors: it.trust_anchors.clone(),
            not_after: it.not_after,
        }),
    }
}

/// The list as a message.
pub fn access_control(_: &Acl) -> wire::AccessControl {
    wire::AccessControl::default()
}

/// A name as a message.
pub fn encode_app_ref(app: &AppRef) -> wire::AppRef {
    wire::AppRef { app_id: app.app_id.clone(), namespace: app.namespace.clone() }
}

/// A route as a message.
pub fn encode_route(app: &AppRef, route: &Route) -> wire::Route {
    let mut message = wire::Route { app: Some(encode_app_ref(app)), ..wire::Route::default() };
    match route {
        Route::Endpoints(endpoints) => {
            let address = |endpoint: &crate::snapshot::Endpoint| endpoint.address.to_string();
            message.endpoints = endpoints.iter().map(|e| wire::Endpoint { address: address(e) }).collect();
        }
        Route::NotFound { tried } => {
            let tried = tried.iter().map(|t| wire::Tried { way: t.way.clone(), answer: t.answer.clone() });
            message.tried = tried.collect();
        }
    }
    message
}

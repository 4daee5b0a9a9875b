use super::*;
use crate::api::cors::Origins;
use crate::api::rules::{Rule, Rules};
use crate::control as wire;
use crate::policy::pipeline::keys::{Algorithm, Material, VerifyKey};
use crate::policy::pipeline::{Bearer, Bodies, Middleware, Pipeline, Pipelines};
use crate::snapshot::*;
use crate::spiffe::SpiffeId;
use crate::trace::sampler::Sampler;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn app(id: &str) -> AppRef {
    AppRef { app_id: id.into(), namespace: "default".into() }
}

pub(crate) fn found(port: u16) -> Arc<Route> {
    Arc::new(Route::Endpoints(vec![Endpoint { address: ([10, 0, 0, 1], port).into() }]))
}

fn endpoint() -> HttpEndpoint {
    HttpEndpoint {
        base: crate::invoke::url::parse("https://u:p@bank.test:8443/v1").unwrap(),
        headers: vec![("Authorization".into(), "secret-header".into())],
        tls: ClientTls { roots: vec![vec![7]], chain: vec![vec![8]], key: b"secret-client-key".to_vec() },
    }
}

/// A picture with every part set to something that is not its default.
pub(crate) fn picture() -> Snapshot {
    let id = SpiffeId::new("example.org", "prod", "orders").unwrap();
    let tried = vec![Tried { way: "mdns".into(), answer: "silence".into() }];
    Snapshot {
        version: 3,
        workload: Arc::new(Workload {
            app_id: "orders".into(),
            namespace: "prod".into(),
            trust_domain: "example.org".into(),
            host_address: "10.0.0.5".into(),
            host_name: "h".into(),
            internal_port: 50002,
            mtls: true,
        }),
        app: Some(Arc::new(AppChannel {
            address: AppAddress::Tcp { host: "localhost".into(), port: 3000 },
            protocol: AppProtocol::Grpcs,
            max_concurrency: Some(7),
            token: Some("secret-app".into()),
            health: Some(HealthProbe {
                path: "/healthy".into(),
                interval: Duration::from_secs(1),
                timeout: Duration::from_millis(500),
                threshold: 2,
            }),
            asks_config: true,
        })),
        api: Arc::new(Api {
            token: Some("secret-api".into()),
            tracing: true,
            new_traces: Some(Sampler::new(1e-4)),
            origins: Origins::parse("http://good.test"),
            rules: Rules {
                allowed: vec![Rule { name: "invoke".into(), version: "v1".into() }],
                denied: vec![Rule { name: "state".into(), version: "v1".into() }],
            },
            logging: Some(ApiLogging { obfuscate_urls: true, omit_health_checks: false }),
        }),
        limits: Arc::new(Limits {
            max_body: None,
            max_head: 4096,
            max_replay_body: 0,
            grace: Duration::from_millis(1500),
        }),
        identity: Some(Arc::new(IdentityMaterial {
            id,
            chain: vec![vec![1], vec![2]],
            key: b"secret-key".to_vec(),
            trust_anchors: vec![vec![3]],
            not_after: 1_900_000_000,
        })),
        acl: Arc::default(),
        http_endpoints: Arc::new([("bank".to_owned(), Arc::new(endpoint()))].into()),
        pipelines: Arc::new(pipelines()),
        routes: [(app("a"), found(1)), (app("b"), Arc::new(Route::NotFound { tried }))].into_iter().collect(),
    }
}

fn pipelines() -> Pipelines {
    let routes = vec![("/a/{b}".to_owned(), "/c".to_owned())];
    let api = vec![Middleware::RouterAlias { routes }, Middleware::RateLimit { max_per_second: 0.5 }];
    let key = |material| VerifyKey { id: "k".into(), algorithm: None, material };
    let rsa = Material::Rsa { modulus: vec![1; 256], exponent: vec![3] };
    let keys = [
        VerifyKey { algorithm: Some(Algorithm::Ps384), ..key(rsa) },
        key(Material::P256(vec![4])),
        key(Material::P384(vec![4])),
        key(Material::Ed25519(vec![7])),
    ];
    let bearer = Bearer { issuer: "i".into(), audience: "a".into(), keys: None };
    let app = vec![
        Middleware::RouterChecker { rule: "^/a".into() },
        Middleware::Uppercase(Bodies { request: true, response: false }),
        Middleware::Bearer(Bearer { issuer: "later".into(), ..bearer.clone() }),
        Middleware::Bearer(Bearer { keys: Some(keys.into()), ..bearer }),
    ];
    Pipelines { api: Pipeline::new(api).unwrap(), app: Pipeline::new(app).unwrap() }
}

#[test]
fn keys_that_control_does_not_know_yet_stay_as_they_were() {
    let with = |issuer: &str, keys: Option<Vec<VerifyKey>>| {
        let keys = keys.map(Into::into);
        let bearer = Middleware::Bearer(Bearer { issuer: issuer.into(), audience: "a".into(), keys });
        let pipelines = Pipelines { app: Pipeline::new(vec![bearer]).unwrap(), ..Pipelines::default() };
        Snapshot { pipelines: Arc::new(pipelines), ..picture() }
    };
    let key = VerifyKey { id: "k".into(), algorithm: None, material: Material::Ed25519(vec![7]) };
    let before = with("i", Some(vec![key]));
    let after = |next: &Snapshot| apply(&before, &full(next)).unwrap().pipelines;
    assert_eq!(after(&with("i", None)), before.pipelines);
    assert_eq!(after(&with("j", None)), with("j", None).pipelines, "keys of another issuer");
    assert_eq!(after(&with("i", Some(vec![]))), with("i", Some(vec![])).pipelines, "all were withdrawn");
}

#[test]
fn pipelines_are_understood_or_refused() {
    assert_eq!(full(&picture()).requires, ["pipelines"]);
    let before = Snapshot { pipelines: Arc::default(), ..picture() };
    assert!(full(&before).requires.is_empty());
    let message = delta(&before, &Snapshot { version: 4, ..picture() });
    assert_eq!(
        (message.requires.clone(), apply(&before, &message).unwrap().pipelines),
        (vec!["pipelines".into()], picture().pipelines)
    );
    let checker = wire::middleware::Kind::RouterChecker(wire::RouterChecker { rule: "(".into() });
    let app = vec![wire::Middleware { kind: None }, wire::Middleware { kind: Some(checker) }];
    let message =
        wire::Snapshot { pipelines: Some(wire::Pipelines { api: vec![], app }), ..full(&picture()) };
    let reasons = refused(&message);
    assert_eq!(reasons[0], "pipelines: app: an unknown middleware");
    assert!(reasons[1].starts_with("pipelines: app: rule \"(\": "), "{reasons:?}");
}

fn refused(message: &wire::Snapshot) -> Vec<String> {
    apply(&picture(), message).unwrap_err()
}

#[test]
fn a_picture_survives_the_wire() {
    let unix = AppChannel {
        address: AppAddress::Unix("/run/app.sock".into()),
        protocol: AppProtocol::H2c,
        max_concurrency: None,
        token: None,
        health: None,
        asks_config: false,
    };
    let plain = Snapshot { app: Some(Arc::new(unix)), api: Arc::default(), ..picture() };
    let bare = Snapshot { app: None, limits: Arc::default(), ..picture() };
    for wanted in [picture(), plain, bare] {
        assert_eq!(apply(&Snapshot::default(), &full(&wanted)), Ok(wanted));
    }
}

#[test]
fn a_delta_holds_only_what_changed_and_leaves_the_rest_in_place() {
    let before = picture();
    let mut after = before.clone();
    after.version = 4;
    after.api = Arc::new(Api { token: None, ..(*before.api).clone() });
    after.routes.insert(app("c"), found(2));
    after.routes.remove(&app("b"));
    let message = delta(&before, &after);
    assert!(message.workload.is_none() && message.identity.is_none() && message.app.is_none());
    assert_eq!((message.routes.len(), message.removed_routes.len()), (1, 1));
    let applied = apply(&before, &message).unwrap();
    assert_eq!(applied, after);
    assert!(Arc::ptr_eq(&applied.workload, &before.workload));
    assert!(Arc::ptr_eq(applied.identity.as_ref().unwrap(), before.identity.as_ref().unwrap()));
    assert!(Arc::ptr_eq(applied.routes.get(&app("a")).unwrap(), before.routes.get(&app("a")).unwrap()));
}

#[test]
fn a_delta_takes_an_app_and_an_identity_away() {
    let before = picture();
    let plain = Arc::new(Workload { mtls: false, ..(*before.workload).clone() });
    let after = Snapshot { version: 4, app: None, identity: None, workload: plain, ..before.clone() };
    assert_eq!(apply(&before, &delta(&before, &after)), Ok(after));
}

#[test]
fn a_full_picture_that_equals_the_one_before_builds_nothing_anew() {
    let before = picture();
    let again = apply(&before, &full(&before)).unwrap();
    assert!(Arc::ptr_eq(&again.limits, &before.limits) && Arc::ptr_eq(&again.api, &before.api));
    assert!(Arc::ptr_eq(again.identity.as_ref().unwrap(), before.identity.as_ref().unwrap()));
    assert!(Arc::ptr_eq(again.routes.get(&app("a")).unwrap(), before.routes.get(&app("a")).unwrap()));
}

#[test]
fn a_newer_protocol_is_refused_without_looking_further() {
    let message = wire::Snapshot { protocol: wire::PROTOCOL + 1, ..wire::Snapshot::default() };
    assert_eq!(refused(&message), ["protocol 2: this data plane speaks 1 to 1"]);
}

#[test]
fn a_requirement_that_is_not_known_is_refused() {
    let message = wire::Snapshot { requires: vec!["quotas".into()], ..full(&picture()) };
    assert_eq!(refused(&message), ["requires 'quotas', which this data plane does not know"]);
}

#[test]
fn every_mistake_is_listed() {
    let mut message = full(&picture());
    message.workload.as_mut().unwrap().internal_port = 70_000;
    message.app.as_mut().unwrap().channel.as_mut().unwrap().protocol = 9;
    message.api.as_mut().unwrap().token = Some(String::new());
    message.limits.as_mut().unwrap().max_body_bytes = 5;
    message.identity.as_mut().unwrap().material.as_mut().unwrap().chain.clear();
    message.identity.as_mut().unwrap().material.as_mut().unwrap().spiffe_id = "spiffe://x".into();
    message.access_control.as_mut().unwrap().policies.push(wire::Policy::default());
    message.removed_routes.push(wire::AppRef { app_id: "z".into(), namespace: "default".into() });
    message.routes = vec![
        wire::Route::default(),
        wire::Route {
            app: Some(encode_app_ref(&app("a"))),
            endpoints: ["host:1", "10.0.0.1:0"].map(|a| wire::Endpoint { address: a.into() }).to_vec(),
            tried: Vec::new(),
        },
    ];
    let reasons = refused(&message);
    let expected = [
        "workload: internal_port: 70000 is not a port",
        "app: protocol 9 is unknown",
        "api: the token is empty",
        "limits: body_unlimited stands beside max_body_bytes",
        "identity: the chain is empty",
        "identity: spiffe_id: ",
        "access_control: this data plane enforces no policies yet",
        "removed_routes in a full snapshot",
        "routes: app id is missing",
        "routes: a.default: 'host:1' is not an IP address with a port",
        "routes: a.default: '10.0.0.1:0' has port 0",
        "workload: mtls needs an identity",
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:#?}");
    for (reason, expected) in reasons.iter().zip(expected) {
        assert!(reason.starts_with(expected), "{reason}");
    }
}

#[test]
fn a_list_that_forbids_anything_is_refused_rather_than_skipped() {
    let deny =
        wire::AccessControl { default_action: wire::Action::Deny.into(), ..wire::AccessControl::default() };
    let unknown = wire::AccessControl { default_action: 77, ..wire::AccessControl::default() };
    for list in [deny, unknown] {
        let message = wire::Snapshot { access_control: Some(list), ..full(&picture()) };
        assert_eq!(refused(&message).len(), 1);
    }
}

#[test]
fn an_identity_of_another_workload_is_refused() {
    let mut message = full(&picture());
    message.identity.as_mut().unwrap().material.as_mut().unwrap().spiffe_id =
        "spiffe://example.org/ns/prod/other".into();
    assert_eq!(
        refused(&message),
        ["identity: spiffe://example.org/ns/prod/other does not belong to orders.prod"]
    );
}

#[test]
fn a_full_picture_without_a_workload_is_refused() {
    let message = wire::Snapshot { workload: None, ..full(&picture()) };
    assert_eq!(refused(&message), ["workload: missing, or its app id is empty"]);
}

#[test]
fn a_thousand_mistakes_are_counted_not_listed() {
    let message = wire::Snapshot { routes: vec![wire::Route::default(); 1000], ..full(&picture()) };
    let reasons = refused(&message);
    assert_eq!((reasons.len(), reasons.last().unwrap().as_str()), (33, "and 968 more"));
}

#[test]
fn more_names_or_endpoints_than_the_limits_are_refused() {
    let many = (0..=MAX_ROUTES).map(|n| encode_route(&app(&format!("a{n}")), &found(1))).collect();
    let message = wire::Snapshot { routes: many, ..full(&picture()) };
    assert_eq!(refused(&message), [format!("{} names are more than {MAX_ROUTES}", MAX_ROUTES + 1)]);
    let crowd = vec![wire::Endpoint { address: "10.0.0.1:1".into() }; MAX_ENDPOINTS + 1];
    let route = wire::Route { app: Some(encode_app_ref(&app("a"))), endpoints: crowd, tried: Vec::new() };
    let message = wire::Snapshot { routes: vec![route], ..full(&picture()) };
    assert_eq!(refused(&message).len(), 1);
}

#[test]
fn no_secret_is_printed() {
    let printed = format!("{:?} {:?}", picture(), full(&picture()));
    assert!(!printed.contains("secret"), "{printed}");
}

#[test]
fn endpoints_outside_the_mesh_are_taken_whole_or_not_at_all() {
    let endpoint = |name: &str, base_url: &str| wire::HttpEndpoint {
        name: name.into(),
        base_url: base_url.into(),
        ..wire::HttpEndpoint::default()
    };
    let header = |name: &str, value: &str| wire::Header { name: name.into(), value: value.into() };
    let wrong = vec![
        wire::HttpEndpoint {
            headers: vec![header("Host", "x"), header("X", "a\nb")],
            ..endpoint("a", "http://h")
        },
        endpoint("a", "http://h"),
        endpoint("", "http://h"),
        wire::HttpEndpoint { chain: vec![vec![1]], ..endpoint("c", "ftp://h") },
    ];
    let message =
        wire::Snapshot { http_endpoints: Some(wire::HttpEndpoints { endpoints: wrong }), ..full(&picture()) };
    assert_eq!(
        refused(&message),
        [
            "http_endpoints: \"a\": header \"Host\" cannot be set",
            "http_endpoints: \"a\": header \"X\" cannot be set",
            "http_endpoints: \"a\" stands twice",
            "http_endpoints: a name is empty",
            "http_endpoints: \"c\": of certificate and private key only one is there",
            "http_endpoints: \"c\": base_url: unsupported protocol scheme: expected http:// or https://",
        ]
    );
}

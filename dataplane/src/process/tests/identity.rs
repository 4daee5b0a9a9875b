//! Calls between sidecars that prove who they are.

use super::*;
use crate::tls::tests::pki::Authority;
use proto::policy::acl::{Acl, Action, OperationRule, Policy, Rules};
use proto::policy::pipeline::{Middleware, Pipeline, Pipelines};
use proto::snapshot::IdentityMaterial;

fn secured(mut snapshot: Snapshot, identity: IdentityMaterial) -> Snapshot {
    let workload = Workload { mtls: true, ..(*snapshot.workload).clone() };
    snapshot.workload = Arc::new(workload);
    snapshot.identity = Some(Arc::new(identity));
    snapshot
}

#[test]
fn a_call_goes_through_two_sidecars_that_know_each_other() {
    for backend in backends() {
        let (app, authority) = (FakeApp::start(HELLO), Authority::new());
        let (caller, callee) = (Sidecar::start(backend.clone()), Sidecar::start(backend));
        callee.apply(secured(snapshot("callee", Some(app.at), &[]), authority.app("callee")));
        let routes = [("callee", callee.internal), ("somebody", callee.internal)];
        caller.apply(secured(snapshot("caller", None, &routes), authority.app("caller")));
        let spoofed = ask(
            caller.http,
            "GET /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Dapr-Caller-App-Id: evil\r\n\r\n",
        );
        assert!(spoofed.ends_with("hello"), "{spoofed}");
        let saw = app.saw().join("");
        assert!(saw.contains("Dapr-Caller-App-Id: caller\r\n") && !saw.contains("evil"), "{saw}");
        let other = get(caller.http, "/v1.0/invoke/somebody/method/x");
        assert!(other.contains("code = Unavailable"), "whoever answers there is not somebody: {other}");
        assert_eq!(app.saw().len(), 1);
    }
}

#[test]
fn a_plaintext_caller_does_not_reach_an_app_behind_mtls() {
    let (app, authority) = (FakeApp::start(HELLO), Authority::new());
    let (caller, callee) =
        (Sidecar::start(backends().swap_remove(0)), Sidecar::start(backends().swap_remove(0)));
    callee.apply(secured(snapshot("callee", Some(app.at), &[]), authority.app("callee")));
    caller.apply(snapshot("caller", None, &[("callee", callee.internal)]));
    let answer = ask(
        caller.http,
        "POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(app.saw().is_empty());
}

/// What may be called, and what stands for something else behind the door.
fn guarded(mut snapshot: Snapshot) -> Snapshot {
    let open =
        |name: &str| OperationRule { name: name.into(), verbs: vec!["*".into()], action: Action::Allow };
    let policy = Policy {
        app_id: "caller".into(),
        namespace: "default".into(),
        trust_domain: "public".into(),
        default_action: Some(Action::Deny),
        operations: vec![open("/open"), open("/way"), open("/door")],
    };
    let rules = Rules { default_action: Some(Action::Deny), policies: vec![policy] };
    snapshot.acl = Arc::new(Acl::new(rules, true).unwrap());
    let routes = [("/way", "/open//way/"), ("/door", "/secret"), ("/shut", "/open")];
    let routes = routes.map(|(path, target)| (path.to_owned(), target.to_owned())).into();
    let app = Pipeline::new(vec![Middleware::RouterAlias { routes }]).unwrap();
    snapshot.pipelines = Arc::new(Pipelines { app, ..Pipelines::default() });
    snapshot
}

#[test]
fn an_app_is_reached_with_a_permit_for_what_was_called_and_for_what_it_receives() {
    let (app, authority) = (FakeApp::start(HELLO), Authority::new());
    let (caller, callee) =
        (Sidecar::start(backends().swap_remove(0)), Sidecar::start(backends().swap_remove(0)));
    callee.apply(guarded(secured(snapshot("callee", Some(app.at), &[]), authority.app("callee"))));
    let routes = [("callee", callee.internal)];
    caller.apply(secured(snapshot("caller", None, &routes), authority.app("caller")));
    for (method, status) in [("open", 200), ("way", 200), ("door", 403), ("shut", 403), ("secret", 403)] {
        let answer = get(caller.http, &format!("/v1.0/invoke/callee/method/{method}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method}: {answer}");
        let told = status == 200 || answer.contains(&format!("operation: {method} verb: GET"));
        assert!(told, "{method}: {answer}");
    }
    let saw: Vec<String> =
        app.saw().iter().map(|head| head.lines().next().unwrap_or_default().into()).collect();
    assert_eq!(saw, ["GET /open HTTP/1.1", "GET /open/way HTTP/1.1"]);
}

#[test]
fn an_expired_identity_fails_readiness() {
    let sidecar = Sidecar::start(backends().swap_remove(0));
    let authority = Authority::new();
    sidecar.apply(secured(snapshot("me", None, &[]), authority.app("me")));
    let mut expired = secured(snapshot("me", None, &[]), authority.app("me"));
    let material = IdentityMaterial { not_after: 1, ..(**expired.identity.as_ref().unwrap()).clone() };
    let identity = Identity::new(&material);
    let Ok(identity) = identity else { return }; // refused even before
    expired.version = 2;
    let update = Update::Snapshot { snapshot: Arc::new(expired), identity: Some(identity) };
    sidecar.to[0].send(ToShard::Update(update)).ok().unwrap();
    eventually("healthz names the identity", || {
        get(sidecar.http, "/v1.0/healthz").contains("[security-provider]")
    });
}

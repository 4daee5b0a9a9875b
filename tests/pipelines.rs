//! HTTP pipelines of both sides: what passes, what is refused, what goes elsewhere, and what stops a start.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::ground::{Ground, Member};
use rig::http1::app::{Answer, App, Saw};
use rig::http1::client::{self, Client, Got};
use rig::http1::script::Step;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// One pipeline that lists this component, of this kind.
fn configuration(pipeline: &str, kind: &str, name: &str) -> String {
    format!(
        "kind: Configuration\nspec:\n  {pipeline}:\n    handlers:\n    - {{name: {name}, type: {kind}}}\n"
    )
}

fn component(kind: &str, name: &str, metadata: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n  type: {kind}\n  version: v1\n  metadata:\n{metadata}"
    )
}

/// A caller, and a callee with an app; one of them has a pipeline.
struct House {
    caller: Member,
    callee: Member,
    app: App,
    _ground: Ground,
}

impl House {
    /// `api`: the caller's API has it, else the callee's app.
    fn open(api: bool, middleware: &str, metadata: &str) -> House {
        let ground = Ground::new(rig::outrigger!());
        let kind = format!("middleware.http.{middleware}");
        let pipeline = if api { "httpPipeline" } else { "appHttpPipeline" };
        ground.folder().file("config.yaml", configuration(pipeline, &kind, "it"));
        ground.folder().file("resources/it.yaml", component(&kind, "it", metadata));
        let at = |name: &str| ground.folder().path().join(name).to_string_lossy().into_owned();
        let more = ["--config".to_owned(), at("config.yaml"), "--resources-path".to_owned(), at("resources")];
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let app = App::start();
        let callee = ground.start("callee", Some(app.port()), if api { &[] } else { &more });
        ground.await_registered("callee", 1);
        let caller = ground.start("caller", None, if api { &more } else { &[] });
        House { caller, callee, app, _ground: ground }
    }

    fn call(&self, target: &str) -> Got {
        client::request(self.caller.http, "POST", target, &[], b"body")
    }

    fn saw(&self) -> Vec<String> {
        self.app.saw(PATIENCE).iter().map(Saw::target).collect()
    }
}

const ROUTES: &str = "  - name: routes\n    value: '{\"/short/{id}\": \"/v1.0/invoke/callee/method/long\", \"/health\": \"/v1.0/healthz\"}'\n";

#[test]
fn an_alias_of_the_api_leads_to_an_app_or_to_another_api() {
    let house = House::open(true, "routeralias", ROUTES);
    let got = house.call("/short/7?a=b%20c");
    assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{}", got.text());
    assert_eq!(house.call("/v1.0/invoke/callee/method/direct").status, 200);
    assert_eq!(house.saw(), ["/long?a=b%20c&id=7", "/direct"]);
    assert_eq!(house.app.saw(PATIENCE)[0].body.bytes, b"body");
    assert_eq!(client::get(house.caller.http, "/health").status, 204);
    assert_eq!(house.call("/short/7/8").status, 404, "nobody is called");
    assert_eq!(house.call("//short/./8").status, 200, "a path is seen as it is routed");
}

#[test]
fn an_alias_of_the_app_changes_what_the_app_sees() {
    let house = House::open(false, "routeralias", "  - {name: '/old/{id}', value: /new}\n");
    assert_eq!(house.call("/v1.0/invoke/callee/method/old/7?x=1").status, 200);
    let local = client::get(house.callee.http, "/v1.0/invoke/callee/method/old/8");
    assert_eq!(local.status, 200);
    assert_eq!(house.saw(), ["/new?x=1&id=7", "/new?id=8"]);
    assert_eq!(house.app.saw(PATIENCE)[0].body.bytes, b"body");
}

const RULE: &str = "  - {name: rule, value: '^/v1.0/(healthz|invoke/callee/method/open/)'}\n";

#[test]
fn a_rule_of_the_api_keeps_other_paths_out_however_they_are_spelled() {
    let house = House::open(true, "routerchecker", RULE);
    assert_eq!(house.call("/v1.0/invoke/callee/method/open/a").status, 200);
    for target in [
        "/v1.0/invoke/callee/method/shut",
        "/v1.0/invoke/callee/method/open/../shut",
        "/v1.0/invoke/callee/method/open/%2e%2e/shut",
        "/v1.0/invoke/callee/method/shut?/v1.0/invoke/callee/method/open/",
        "/v1.0/metadata",
        "/nothing",
    ] {
        let got = house.call(target);
        assert_eq!((got.status, got.text().as_str()), (400, "invalid router"), "{target}");
        assert_eq!(got.header("content-type").as_deref(), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(house.saw(), ["/open/a"]);
}

#[test]
fn a_rule_of_the_app_keeps_calls_from_both_sides_out() {
    let house = House::open(false, "routerchecker", "  - {name: rule, value: '^/open(/|$)'}\n");
    assert_eq!(house.call("/v1.0/invoke/callee/method/open").status, 200);
    for member in [&house.caller, &house.callee] {
        for method in ["shut", "open/../shut", "openly"] {
            let target = format!("/v1.0/invoke/callee/method/{method}");
            let got = client::request(member.http, "POST", &target, &[], b"body");
            assert_eq!((got.status, got.text().as_str()), (400, "invalid router"), "{target}");
        }
    }
    for member in [&house.caller, &house.callee] {
        let large = vec![b'x'; 2 << 20];
        let got = client::request(member.http, "POST", "/v1.0/invoke/callee/method/shut", &[], &large);
        assert_eq!(
            (got.status, got.text().as_str()),
            (400, "invalid router"),
            "with a body that nobody reads"
        );
    }
    assert_eq!(client::get(house.callee.http, "/v1.0/healthz").status, 204, "it is not asked about the API");
    assert_eq!(house.saw(), ["/open"]);
}

/// One token in 100 seconds.
const RARELY: &str = "  - {name: maxRequestsPerSecond, value: 0.01}\n";
const TOO_MANY: (u16, &str) = (429, "You have reached maximum request limit.");

/// Calls until it is refused; tells how many calls passed before.
fn until_refused(mut call: impl FnMut() -> Got) -> (usize, Got) {
    for passed in 0..1000 {
        let got = call();
        if got.status != 200 {
            return (passed, got);
        }
    }
    panic!("nothing is refused");
}

/// Two a second: questions about the sidecar's health are counted too, and must be answered before the test begins.
#[test]
fn a_limit_of_the_api_counts_each_client_and_path_over_all_its_connections() {
    let house = House::open(true, "ratelimit", "  - {name: maxRequestsPerSecond, value: 2}\n");
    let got = house.call("/v1.0/invoke/callee/method/a");
    assert_eq!(
        (got.status, got.header("ratelimit-remaining").as_deref()),
        (200, Some("1")),
        "{}",
        got.text()
    );
    let (more, got) = until_refused(|| house.call("/v1.0/invoke/callee/method/a"));
    assert_eq!((got.status, got.text().as_str()), TOO_MANY);
    assert_eq!(got.header("x-rate-limit-limit").as_deref(), Some("2.00"));
    let (again, got) = until_refused(|| house.call("/v1.0/invoke/callee/method/%61"));
    assert_eq!(got.status, 429, "another spelling is the same path");
    let mut n = 0;
    let (third, got) = until_refused(|| {
        n += 1;
        let claimed = format!("10.9.8.{n}");
        let headers = [("X-Forwarded-For", claimed.as_str())];
        client::request(house.caller.http, "GET", "/v1.0/invoke/callee/method/a", &headers, b"")
    });
    assert_eq!(got.status, 429, "a client cannot say who it is");
    assert_eq!(house.call("/v1.0/invoke/callee/method/b").status, 200);
    assert_eq!(house.app.arrived(), 1 + more + again + third + 1, "what is refused reaches nobody");
}

#[test]
fn a_limit_of_the_app_counts_each_calling_app_and_path() {
    let house = House::open(false, "ratelimit", RARELY);
    assert_eq!(house.call("/v1.0/invoke/callee/method/a").status, 200);
    let got = house.call("/v1.0/invoke/callee/method/a");
    assert_eq!((got.status, got.text().as_str()), TOO_MANY);
    assert_eq!(got.header("ratelimit-reset").as_deref(), Some("1"));
    let own =
        |path: &str| client::get(house.callee.http, &format!("/v1.0/invoke/callee/method/{path}")).status;
    assert_eq!((own("a"), own("a"), own("b")), (200, 429, 200));
    assert_eq!(house.saw(), ["/a", "/a", "/b"]);
}

const BOTH: &str = "  - {name: direction, value: both}\n";

#[test]
fn uppercase_of_the_api_changes_bodies_both_ways_whatever_answers_and_leaves_their_length() {
    let house = House::open(true, "uppercase", BOTH);
    house.app.script(vec![Answer::text(200, "sent \u{e9} back")]);
    let got = house.call("/v1.0/invoke/callee/method/a");
    assert_eq!((got.status, got.text().as_str()), (200, "SENT \u{e9} BACK"), "ASCII only");
    let chunked = b"POST /v1.0/invoke/callee/method/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\none \xc3\r\n";
    let steps = [Step::Bytes(chunked.to_vec()), Step::Bytes(b"6\r\n\xa9, two\r\n0\r\n\r\n".to_vec())];
    assert_eq!(Client::new(house.caller.http).run(&steps, 1)[0].status, 200);
    let got = client::get(house.caller.http, "/nothing");
    assert!(got.text().starts_with("{\"ERRORCODE\":"), "{}", got.text());
    let saw: Vec<Vec<u8>> = house.app.saw(PATIENCE).iter().map(|saw| saw.body.bytes.clone()).collect();
    assert_eq!(saw, [&b"BODY"[..], b"ONE \xc3\xa9, TWO"]);
}

#[test]
fn uppercase_of_the_app_changes_calls_from_both_sides_and_small_and_large_bodies() {
    let house = House::open(false, "uppercase", BOTH);
    let large = "x".repeat(300_000);
    for member in [&house.caller, &house.callee] {
        for body in ["a", &large] {
            house.app.script(vec![Answer::text(200, body)]);
            let target = "/v1.0/invoke/callee/method/a";
            let got = client::request(member.http, "PUT", target, &[], body.as_bytes());
            assert_eq!((got.status, got.text()), (200, body.to_uppercase()));
            let saw = house.app.saw(PATIENCE).pop().unwrap();
            assert_eq!(saw.body.bytes, body.to_uppercase().as_bytes());
        }
        let got = client::get(member.http, "/v1.0/invoke/nobody/method/a");
        assert!(
            got.text().contains("errorCode"),
            "what the sidecar says itself is not the app's: {}",
            got.text()
        );
    }
}

#[test]
fn by_default_only_what_is_sent_is_changed() {
    let house = House::open(false, "uppercase", "");
    assert_eq!(house.call("/v1.0/invoke/callee/method/a").text(), "hello");
    assert_eq!(house.app.saw(PATIENCE)[0].body.bytes, b"BODY");
}

#[test]
fn what_a_middleware_is_told_may_stand_in_the_environment_and_in_a_secret_store() {
    let ground = Ground::new(rig::outrigger!());
    let (checker, at) = ("middleware.http.routerchecker", |name: &str| ground.folder().path().join(name));
    ground.folder().file("config.yaml", configuration("appHttpPipeline", checker, "it"));
    let secrets = ground.folder().file("secrets.json", r#"{"rules": {"open": "^/open/(a|b)$"}}"#);
    let store = format!("  - {{name: secretsFile, value: '{}'}}\n", secrets.display());
    for (reference, stores) in [
        ("envRef: RULE", String::new()),
        (
            "secretKeyRef: {name: 'rules:open'}",
            component("secretstores.local.file", "store", &store) + "---\n",
        ),
    ] {
        let it = component(checker, "it", &format!("  - {{name: rule, {reference}}}\n"));
        ground.folder().file("resources/it.yaml", format!("{stores}{it}auth: {{secretStore: store}}\n"));
        let app = App::start();
        let launch = ground.launch("callee", Some(app.port())).env("RULE", "^/open/");
        let launch =
            launch.arg("--config").arg(at("config.yaml")).arg("--resources-path").arg(at("resources"));
        let callee = ground.take("callee", launch);
        let status =
            |path: &str| client::get(callee.http, &format!("/v1.0/invoke/callee/method/{path}")).status;
        assert_eq!((status("open/a"), status("shut")), (200, 400), "{reference}");
    }
}

#[test]
fn what_may_not_be_referred_to_or_is_nowhere_stops_the_start() {
    let checker = "middleware.http.routerchecker";
    let listed = configuration("httpPipeline", checker, "it");
    for (reference, why) in [
        ("envRef: APP_API_TOKEN", "environment variable \"APP_API_TOKEN\" may not be referred to"),
        ("envRef: dapr_api_token", "may not be referred to"),
        ("envRef: NOWHERE", "environment variable \"NOWHERE\" is not set"),
        ("secretKeyRef: {name: a, key: b}", "secret \"a\": no auth.secretStore says where it is"),
    ] {
        let said = refused(&listed, &component(checker, "it", &format!("  - {{name: rule, {reference}}}\n")));
        assert!(said.contains(why) && said.contains("it.yaml:8:"), "{reference}: {said}");
    }
}

/// What a start with this Configuration and resource says before it ends.
fn refused(configuration: &str, resource: &str) -> String {
    let ground = Ground::new(rig::outrigger!());
    ground.folder().file("config.yaml", configuration);
    ground.folder().file("resources/it.yaml", resource);
    let at = |name: &str| ground.folder().path().join(name);
    let launch = ground.launch("caller", None).arg("--config").arg(at("config.yaml"));
    let mut sidecar = launch.arg("--resources-path").arg(at("resources")).spawn();
    rig::wait::until(PATIENCE, "the sidecar ends", || sidecar.has_ended().is_some());
    sidecar.tail()
}

#[test]
fn what_cannot_be_applied_as_it_is_written_stops_the_start_and_is_said_with_its_place() {
    let checker = "middleware.http.routerchecker";
    for kind in ["middleware.http.oauth2", "middleware.http.mine"] {
        let said = refused(&configuration("httpPipeline", kind, "it"), &component(kind, "it", ""));
        assert!(said.contains("config.yaml:5:7: spec.httpPipeline: middleware"), "{said}");
        assert!(said.contains(&format!("{kind:?} is not built")) || said.contains(kind), "{said}");
    }
    let listed = configuration("appHttpPipeline", checker, "other");
    let said = refused(&listed, &component(checker, "it", ""));
    assert!(said.contains("config.yaml:5:7: spec.appHttpPipeline: there is no component"), "{said}");
    let listed = configuration("appHttpPipeline", checker, "it");
    let said = refused(&listed, &component(checker, "it", "  - {name: rule, value: '('}\n"));
    assert!(said.contains("it.yaml:5:3: middleware.http.routerchecker: rule"), "{said}");
}

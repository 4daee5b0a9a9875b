//! The test vectors of spec/security 5.11 by their numbers, and what differs on purpose.

use super::*;

/// `allow /a GET,POST; deny /b *`: action, name, verbs.
fn operations(text: &str) -> Vec<OperationRule> {
    let one = |rule: &str| {
        let mut words = rule.split_whitespace();
        let action = Action::parse(words.next().unwrap().trim_matches('-'));
        let name = words.next().unwrap().to_owned();
        let verbs = words.next().map(|v| v.split(',').map(str::to_owned).collect());
        OperationRule { name, verbs: verbs.unwrap_or_default(), action }
    };
    text.split(';').map(str::trim).filter(|rule| !rule.is_empty()).map(one).collect()
}

/// `td/ns/app`, the policy's default if it has one, its operations.
fn policy(caller: &str, default_action: Option<Action>, rules: &str) -> Policy {
    let [trust_domain, namespace, app_id] = parts(caller);
    Policy { app_id, namespace, trust_domain, default_action, operations: operations(rules) }
}

fn parts(caller: &str) -> [String; 3] {
    caller.split('/').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
}

const ALLOW: Option<Action> = Some(Action::Allow);
const DENY: Option<Action> = Some(Action::Deny);

/// Fixture F of the vectors.
fn fixture() -> Rules {
    let op7 = "allow /op6; allow /op7/a/b/*; allow /op7/a/b/c/f; allow /op7/a/b*; allow /op7/c/**";
    Rules {
        default_action: DENY,
        policies: vec![
            policy("public/ns1/app1", ALLOW, "allow /op1 POST,GET; deny /op2 *"),
            policy("domain1/ns2/app2", DENY, "allow /op3/a/* PUT,GET; allow /op4 POST"),
            policy("domain1/ns1/app3", None, "allow /op5 POST"),
            policy("domain1/ns2/app4", DENY, op7),
            policy("public/ns4/app1", ALLOW, "allow /op6 *"),
        ],
    }
}

/// One policy for `public/default/c` that denies by default, in a list that does.
fn one(rules: &str) -> Rules {
    Rules { default_action: DENY, policies: vec![policy("public/default/c", DENY, rules)] }
}

/// `+` allows, `-` denies; booked on the app's policy, or globally with a `g` behind it.
fn decided(rules: &Rules, http: bool, caller: &str, method: &str, verb: &str) -> String {
    let acl = Acl::new(rules.clone(), http).unwrap();
    let [trust_domain, namespace, app_id] = parts(if caller == "-" { "x/x/x" } else { caller });
    let id = SpiffeId { trust_domain, namespace, app_id };
    let caller = if caller == "-" { Caller::Plaintext } else { Caller::Peer(&id) };
    let outcome = authorize(&acl, caller, Operation { method, verb, http });
    let (sign, level) = match &outcome {
        Ok(permit) => ("+", permit.level()),
        Err(denied) => ("-", denied.level),
    };
    format!("{sign}{}", if level == Level::Global { "g" } else { "" })
}

fn all(rules: &Rules, http: bool, cases: &[(u32, &str, &str, &str, &str)]) {
    for (number, caller, method, verb, want) in cases {
        assert_eq!(decided(rules, http, caller, method, verb), *want, "vector {number}: {method}");
    }
}

#[test]
fn vector_1_no_list_allows() {
    all(&Rules::default(), true, &[(1, "public/ns1/app1", "op1", "POST", "+g")]);
}

#[test]
fn vectors_2_to_22_and_33_policies_of_an_http_app() {
    let (app1, app2) = ("public/ns1/app1", "domain1/ns2/app2");
    let cases = [
        (2, "public/ns1/appX", "op1", "POST", "-g"),
        (3, "private/ns1/app1", "op1", "POST", "-g"),
        (4, "public/abcd/app1", "op1", "POST", "-g"),
        (5, "-", "op1", "POST", "-g"),
        (6, "public/ns1/", "op1", "POST", "-g"),
        (7, app1, "opX", "POST", "+"),
        (8, app1, "Op2", "POST", "-"),
        (9, app1, "op2", "PUT", "-"),
        (10, app1, "op1", "POST", "+"),
        (11, app1, "op1", "DELETE", "+"),
        (12, "public/ns4/app1", "op6", "PATCH", "+"),
        (13, app2, "op4", "PUT", "-"),
        (14, app2, "op4", "POST", "+"),
        (15, app2, "/op4", "POST", "+"),
        (16, app2, "op4", "NONE", "-"),
        (17, app2, "/op3/a", "PUT", "+"),
        (18, app2, "/op3/a/b", "PUT", "+"),
        (19, app2, "/op3/b/b", "PUT", "-"),
        (20, app2, "/op3/a/b/c", "PUT", "-"),
        (21, "domain1/ns1/app3", "op5", "PUT", "-g"),
        (22, "domain1/ns1/app3", "op5", "POST", "+g"),
        (33, "domain1/ns2/app4", "op6", "GET", "-"),
    ];
    all(&fixture(), true, &cases);
}

#[test]
fn vectors_23_to_32_policies_of_a_grpc_app() {
    let (app2, app4) = ("domain1/ns2/app2", "domain1/ns2/app4");
    let cases = [
        (23, app2, "/OP4", "NONE", "-"),
        (24, app2, "op4", "NONE", "+"),
        (25, app4, "op6", "NONE", "+"),
        (26, app4, "op7/a/b/c", "NONE", "+"),
        (27, app4, "op7/a/b/c/d", "NONE", "-"),
        (28, app4, "op7/a/b/c/f", "NONE", "+"),
        (29, app4, "op7/a/bc", "NONE", "+"),
        (30, app4, "op7/a/bc/z", "NONE", "+"),
        (31, app4, "op7/c/d/e", "NONE", "+"),
        (32, app4, "op7/c", "NONE", "+"),
    ];
    all(&fixture(), false, &cases);
}

#[test]
fn vectors_34_to_43_a_single_public_path() {
    let (c, public) = ("public/default/c", one("allow /public *"));
    let http = [
        (34, c, "public", "GET", "+"),
        (35, c, "admin", "GET", "-"),
        (36, c, "public/extra", "GET", "+"),
        (37, c, "publicX", "GET", "-"),
        (38, c, "PUBLIC", "GET", "+"),
        (39, c, "admin%stream", "GET", "-"),
        (40, c, "admin*stream", "GET", "-"),
        (41, c, "admin\\..\\public", "GET", "-"),
    ];
    all(&public, true, &http);
    let grpc = [(42, c, "admin%2F..%2Fpublic", "NONE", "-"), (43, c, "public;", "NONE", "-")];
    all(&public, false, &grpc);
}

#[test]
fn vectors_44_to_65_the_order_and_shape_of_rules() {
    let cases: [(u32, &str, &str, &str, &str); 22] = [
        (44, "deny /a *; allow /a/b *", "/a/b", "GET", "-"),
        (45, "allow /a/b *; deny /a *", "/a/b", "GET", "-"),
        (46, "allow /a/*/c *", "/a/b/c", "GET", "-"),
        (47, "allow /a/*/c *", "/a/*/c", "GET", "+"),
        (51, "allow /a/b/c *; allow /a/** *", "/a/b/d", "GET", "-"),
        (52, "allow /a/** *; allow /a/b/c *", "/a/b/d", "GET", "+"),
        (53, "allow * *", "/a", "GET", "+"),
        (54, "allow * *", "/a/b", "GET", "-"),
        (55, "allow * *", "", "GET", "+"),
        (56, "allow /** *", "/a/b/c", "GET", "+"),
        (57, "allow / *", "/a", "GET", "-"),
        (58, "allow /a/ *", "/a", "GET", "-"),
        (59, "allow /a *; deny /a *", "/a", "GET", "+"),
        (60, "allow /a post", "/a", "POST", "-"),
        (61, "allow /a GET", "/a", "HEAD", "-"),
        (62, "deny /a GET; allow /a POST", "/a", "POST", "-"),
        (64, "Allow /a *", "/a", "GET", "+"),
        // with the policy's default `allow`, below
        (48, "deny /op1/**/a *", "/op1/x/a", "GET", "-"),
        (49, "deny /op1/**/a *", "/op1/x/y/a", "GET", "+"),
        (50, "deny /op1/**/a *", "/op1/x/a/z", "GET", "-"),
        (63, "allow /a GET; deny /a *", "/a", "DELETE", "+"),
        (65, "- /a *", "/a", "GET", "-"),
    ];
    for (number, text, method, verb, want) in cases {
        let mut rules = one(text);
        if [48, 49, 50, 63, 65].contains(&number) {
            rules.policies[0].default_action = ALLOW;
        }
        all(&rules, true, &[(number, "public/default/c", method, verb, want)]);
    }
}

#[test]
fn vectors_66_and_67_a_policy_without_a_default_in_an_open_list() {
    let rules =
        |text: &str| Rules { default_action: ALLOW, policies: vec![policy("public/default/c", None, text)] };
    all(&rules("allow /a *"), true, &[(66, "public/default/c", "/a", "NONE", "-g")]);
    all(&rules("deny /a *"), true, &[(67, "public/default/c", "/b", "GET", "+g")]);
}

#[test]
fn vectors_68_to_76_grpc_names_and_the_lists_of_the_end_to_end_tests() {
    let proxy = Rules {
        default_action: DENY,
        policies: vec![policy(
            "public/dapr-tests/grpcproxyclient",
            DENY,
            "allow /helloworld.Greeter/SayHello; allow /helloworld.Greeter/SayGoodbye",
        )],
    };
    let client = "public/dapr-tests/grpcproxyclient";
    let cases = [
        (68, client, "/helloworld.Greeter/SayHello", "NONE", "+"),
        (69, client, "/helloworld.Greeter/sayhello", "NONE", "-"),
        (70, client, "/helloworld.Greeter/SayNo", "NONE", "-"),
    ];
    all(&proxy, false, &cases);
    let service = [(71, "public/default/c", "/helloworld.Greeter/SayHello", "NONE", "+")];
    all(&one("allow /helloworld.Greeter"), false, &service);
    let caller = "public/dapr-tests/allowlists-caller";
    let of = |text: &str| Rules { default_action: DENY, policies: vec![policy(caller, DENY, text)] };
    let http = [(72, caller, "opAllow", "POST", "+"), (73, caller, "opDeny", "POST", "-")];
    all(&of("allow /opAllow POST,GET; deny /opDeny *"), true, &http);
    let grpc = [
        (74, caller, "grpcToGrpcTest", "NONE", "+"),
        (75, caller, "grpcToGrpcWithoutVerbTest", "NONE", "+"),
        (76, caller, "httpToGrpcTest", "NONE", "-"),
    ];
    let text = "allow grpcToGrpcTest *; deny httpToGrpcTest *; allow grpcToGrpcWithoutVerbTest";
    all(&of(text), false, &grpc);
}

/// Vectors 77 to 79 are about a list that holds a trust domain only; that such a list, given to daprd's parser without
/// its loader, denies (78) cannot be written in a file.
#[test]
fn vector_77_a_list_without_policies_and_default_allows() {
    all(&Rules::default(), false, &[(77, "public/default/x", "hello", "NONE", "+g")]);
}

#[test]
fn policies_without_a_default_action_deny_the_others() {
    // compatibility table: daprd allows
    let rules = Rules { default_action: None, ..fixture() };
    all(&rules, true, &[(0, "public/ns1/stranger", "op1", "POST", "-g"), (0, "-", "op1", "POST", "-g")]);
}

#[test]
fn a_later_policy_for_the_same_caller_replaces_the_earlier_whatever_its_trust_domain() {
    let mut rules = one("allow /a *");
    rules.policies.push(policy("other/default/c", DENY, "allow /b *"));
    let cases = [(0, "public/default/c", "/a", "GET", "-g"), (0, "other/default/c", "/b", "GET", "+")];
    all(&rules, true, &cases);
}

#[test]
fn the_default_list_allows_every_verified_peer() {
    let id = SpiffeId::new("public", "default", "caller").unwrap();
    let caller = Caller::of(Some(&id), true);
    assert!(authorize(&Acl::default(), caller, Operation::http("pay", "POST")).is_ok());
    assert_eq!(Acl::new(Rules::default(), true).unwrap(), Acl::default());
}

#[test]
fn a_plaintext_peer_is_allowed_only_while_mtls_is_off() {
    let op = Operation::grpc("/a.B/C");
    assert!(authorize(&Acl::default(), Caller::of(None, false), op).is_ok());
    let denied = authorize(&Acl::default(), Caller::of(None, true), op).unwrap_err();
    let text = "access control policy has denied access to id:  operation: /a.B/C verb: NONE";
    assert_eq!(denied.to_string(), text);
}

#[test]
fn a_denial_reads_as_daprds() {
    // vectors/mtls port/acl-denied-op
    let acl = Acl::new(one("deny deny/x *"), true).unwrap();
    let id = SpiffeId::new("public", "default", "c").unwrap();
    let denied = authorize(&acl, Caller::Peer(&id), Operation::http("deny/x", "POST")).unwrap_err();
    let text = "access control policy has denied access to id: spiffe://public/ns/default/c operation: deny/x verb: POST";
    assert_eq!(denied.to_string(), text);
}

#[test]
fn only_the_own_app_in_its_own_namespace_is_a_self_call() {
    let workload = Workload { app_id: "a".into(), namespace: "default".into(), ..Workload::default() };
    let target =
        |app_id: &str, namespace: &str| AppRef { app_id: app_id.into(), namespace: namespace.into() };
    assert!(Permit::for_own_app(&workload, &target("a", "default")).is_some());
    assert!(Permit::for_own_app(&workload, &target("b", "default")).is_none());
    assert!(Permit::for_own_app(&workload, &target("a", "prod")).is_none());
}

#[test]
fn an_incomplete_policy_is_refused_with_daprds_words() {
    let policies = ["/ns/a", "td//b", "/ns/c", "td/ns/"].map(|caller| policy(caller, None, "")).to_vec();
    let error = Acl::new(Rules { default_action: None, policies }, true).unwrap_err();
    let text = "invalid access control spec. missing trustdomain for apps: [a c], missing namespace for apps: [b], \
                missing app name on at least one of the app policies: true";
    assert_eq!(error.to_string(), text);
}

#[test]
fn rules_without_effect_are_named() {
    let findings = |text: &str, http: bool| Acl::new(one(text), http).unwrap().findings(http, true);
    let one_finding = |text: &str, part: &str| {
        let found = findings(text, true);
        assert!(found.len() == 1 && found[0].contains(part), "{text}: {found:?}");
    };
    one_finding("allow /a/ *", "operation \"/a/\" never matches: methods have no trailing slash");
    one_finding("allow /a/*/c *", "* as a whole segment counts at the end only");
    one_finding("allow /a", "names no httpVerb");
    one_finding("allow /a post", "names the verb \"post\"");
    one_finding(
        "deny /a *; allow /a/b *",
        "operation \"/a/b\" never counts: operation \"/a\" takes its calls",
    );
    one_finding(
        "allow /a/b *; deny /a *",
        "operation \"/a/b\" never counts: operation \"/a\" takes its calls",
    );
    one_finding("allow /A GET; deny /a *", "operation \"/a\" never counts: operation \"/A\" takes its calls");
    one_finding("allow /a/* *; deny /a/* *", "operation \"/a/*\" never counts");
    one_finding(
        "allow /x/a*/d *; deny /x/ab *",
        "\"/x/ab\" never counts: an earlier operation with a wildcard",
    );
    assert_eq!(findings("allow /a *; deny /b GET,POST; allow /c/** *; allow / *; allow * *", true), [""; 0]);
    assert_eq!(findings("allow /a; deny /b", false), [""; 0], "gRPC rules need no verbs");
}

#[test]
fn lists_that_mean_something_else_than_they_say_are_named() {
    let acl = Acl::new(Rules { default_action: None, ..fixture() }, true).unwrap();
    let found = acl.findings(true, false);
    assert!(
        found[0].contains("no effect while mTLS is off") && found[1].contains("defaultAction is not said")
    );
    let mut twice = one("allow /a *");
    twice.policies.push(twice.policies[0].clone());
    let found = Acl::new(twice, true).unwrap().findings(true, true);
    assert_eq!(found, ["policy of c in default: a later policy for the same caller replaces this one"]);
    assert!(Acl::default().findings(true, false).is_empty());
}

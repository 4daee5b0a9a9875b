//! HTTPEndpoints and the secrets that they refer to.

use super::*;

const ENDPOINTS: &str = "\
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: bank}
spec:
  baseUrl: https://u:p@bank.test/v1
  headers:
  - {name: X-Plain, value: 1}
  - {name: X-Rate, envRef: RATE}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: elsewhere, namespace: other}
spec: {baseUrl: http://h}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: not-ours}
spec: {baseUrl: http://h}
scopes: [somebody]
";

fn read_resource(test: &str, text: &str) -> Findings {
    let folder = Folder::new(test);
    folder.write("r.yaml", text);
    let own = |name: &str| if name == "NAMESPACE" { Some("prod".into()) } else { variables(name) };
    let mut findings = read(&[], std::slice::from_ref(&folder.0), Strictness::Strict, &own);
    for problem in &mut findings.problems {
        problem.file = problem.file.file_name().unwrap().into();
    }
    findings
}

#[test]
fn endpoints_of_this_app_and_namespace_are_taken_over() {
    let findings = read_resource("endpoints", ENDPOINTS);
    assert_eq!(said(&findings), <[String; 0]>::default());
    let bank = &findings.http_endpoints["bank"];
    assert_eq!(bank.base.secret_text(), "https://u:p@bank.test/v1");
    let headers = [("X-Plain", "1"), ("X-Rate", "0.5")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(bank.headers, headers);
    assert_eq!(findings.http_endpoints.len(), 1);
}

#[test]
fn what_an_endpoint_cannot_have_is_said_with_its_place() {
    let text = "\
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: bank}
spec:
  baseUrl: http://h
  headers:
  - {name: Content-Length, value: 1}
  - {name: X, envRef: APP_API_TOKEN}
  - {name: W, envRef: NOBODY}
  - {name: Z, secretKeyRef: {name: s}}
  clientTLS: {renegotiation: Sometimes}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: bank}
spec: {baseUrl: http://h?x}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: bank}
spec: {baseUrl: http://h}
auth: {secretStore: vault}
";
    assert_eq!(
        said(&read_resource("bad-endpoints", text)),
        [
            "r.yaml:7:5: spec.headers: \"Content-Length\" is no header that a resource can set",
            "r.yaml:8:5: header \"X\": environment variable \"APP_API_TOKEN\" may not be referred to",
            "r.yaml:9:5: header \"W\": environment variable \"NOBODY\" is not set",
            "r.yaml:10:5: header \"Z\": secret \"s\": no auth.secretStore says where it is",
            "r.yaml:11:30: spec.clientTLS.renegotiation is \"Sometimes\"; expected RenegotiateNever, RenegotiateOnceAsClient or RenegotiateFreelyAsClient",
            "r.yaml:16:17: spec.baseUrl is \"http://h?x\"; expected a URL with http:// or https://: a query or a fragment has no place in a URL that a method follows",
            "r.yaml:18:1: duplicate definition of HTTPEndpoint name \"bank\"; the first one counts",
        ]
    );
}

#[test]
fn secrets_come_from_the_local_stores() {
    let folder = Folder::new("stores");
    let file = folder.write("secrets.json", r#"{"a": {"b": "nested"}, "plain": "text"}"#);
    let text = format!(
        "\
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {{name: bank}}
spec:
  baseUrl: http://h
  headers:
  - {{name: X, secretKeyRef: {{name: \"a:b\"}}}}
  - {{name: Y, secretKeyRef: {{name: plain, key: plain}}}}
  - {{name: Z, secretKeyRef: {{name: plain, key: other}}}}
auth: {{secretStore: file}}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {{name: env}}
spec:
  baseUrl: http://h
  headers:
  - {{name: X, secretKeyRef: {{name: TE}}}}
auth: {{secretStore: env}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: file}}
spec: {{type: secretstores.local.file, version: v1, metadata: [{{name: secretsFile, value: {file:?}}}]}}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: env}}
spec: {{type: secretstores.local.env, version: v1, metadata: [{{name: prefix, value: RA}}]}}
"
    );
    let findings = read_resource("secrets", &text);
    assert_eq!(
        said(&findings),
        ["r.yaml:9:5: header \"Z\": secret \"plain\" has no key \"other\" in store \"file\""]
    );
    let value = |name: &str, at: usize| findings.http_endpoints[name].headers[at].1.clone();
    assert_eq!([value("bank", 0), value("bank", 1), value("env", 0)], ["nested", "text", "0.5"]);
}

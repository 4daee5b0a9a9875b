mod endpoints;

use super::*;
use crate::settings::ApiRule;

/// A directory of its own that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("outrigger-conf-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn variables(name: &str) -> Option<String> {
    match name {
        "RATE" => Some("0.5".into()),
        "APP_ID" => Some("orders".into()),
        _ => None,
    }
}

fn read_text(test: &str, text: &str, strictness: Strictness) -> Findings {
    let folder = Folder::new(test);
    let file = folder.write("config.yaml", text);
    let mut findings = read(&[file], &[], strictness, &variables);
    for problem in &mut findings.problems {
        problem.file = problem.file.file_name().unwrap().into();
    }
    findings
}

fn said(findings: &Findings) -> Vec<String> {
    findings.problems.iter().map(ToString::to_string).collect()
}

const GOOD: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: appconfig
spec:
  tracing:
    samplingRate: \"${RATE}\"
  nameResolution:
    component: mDNS
  mtls:
    enabled: true
    workloadCertTTL: 24h
  metric:
    enabled: true
  metrics:
    enabled: false
  accessControl:
    defaultAction: allow
    trustDomain: example.org
  logging:
    apiLogging:
      enabled: true
      omitHealthChecks: true
  api:
    denied:
      - name: state
        version: v1
        protocol: http
  features:
    - name: Anything
      enabled: true
";

#[test]
fn a_configuration_says_what_this_build_uses_of_it() {
    let findings = read_text("good", GOOD, Strictness::Strict);
    assert_eq!(said(&findings), [""; 0]);
    let expected = Configuration {
        sampling_rate: 0.5,
        name_resolution: Some("mdns".into()),
        mtls_enabled: Some(true),
        metrics_enabled: Some(false),
        trust_domain: Some("example.org".into()),
        api_logging: ApiLogging { enabled: true, obfuscate_urls: false, omit_health_checks: true },
        api: ApiLists {
            allowed: Vec::new(),
            denied: vec![ApiRule { name: "state".into(), version: "v1".into() }],
        },
        begins_traces: true,
        ..Configuration::default()
    };
    assert_eq!(findings.configuration, expected);
}

#[test]
fn an_unknown_setting_is_named_with_file_line_and_column_and_what_was_meant() {
    let text = "spec:\n  tracing:\n    samplingrate: \"1\"\n";
    let findings = read_text("unknown", text, Strictness::Strict);
    assert_eq!(
        said(&findings),
        ["config.yaml:3:5: unknown setting \"samplingrate\" in spec.tracing; did you mean \"samplingRate\"?"]
    );
    assert_eq!(findings.that_stop(Strictness::Strict).len(), 1);
    assert_eq!(findings.that_stop(Strictness::Lenient).len(), 0);
}

#[test]
fn places_are_those_of_the_file_also_behind_a_variable() {
    let text = "spec:\n  tracing: {samplingRate: ${RATE}, smoke: 1}\n";
    let findings = read_text("behind", text, Strictness::Strict);
    let column = text.lines().nth(1).unwrap().find("smoke").unwrap() + 1;
    assert!(said(&findings)[0].starts_with(&format!("config.yaml:2:{column}: ")), "{:?}", said(&findings));
    assert_eq!(findings.configuration.sampling_rate, 0.5);
}

#[test]
fn an_undefined_variable_stops_run_and_is_empty_for_daprd() {
    let text = "spec:\n  tracing:\n    samplingRate: \"${NOBODY}\"\n";
    let strict = read_text("undefined", text, Strictness::Strict);
    assert_eq!(said(&strict), ["config.yaml:3:20: environment variable NOBODY is not set"]);
    assert_eq!(strict.that_stop(Strictness::Strict).len(), 1);
    let lenient = read_text("undefined-lenient", text, Strictness::Lenient);
    assert!(lenient.that_stop(Strictness::Lenient).is_empty());
    assert_eq!(lenient.configuration.sampling_rate, 1e-4);
}

#[test]
fn a_wrong_kind_of_value_says_what_was_expected() {
    for (text, expected) in [
        ("spec: [1]\n", "config.yaml:1:7: spec expects settings, found a list"),
        (
            "spec:\n  mtls:\n    enabled: \"yes\"\n",
            "config.yaml:3:14: spec.mtls.enabled expects true or false, found \"yes\"",
        ),
        (
            "spec:\n  tracing:\n    samplingRate: often\n",
            "config.yaml:3:19: spec.tracing.samplingRate is \"often\"; expected a number from 0 to 1",
        ),
        ("kind: Resiliency\n", "config.yaml:1:7: kind is \"Resiliency\"; expected \"Configuration\""),
    ] {
        let findings = read_text("kind", text, Strictness::Strict);
        assert_eq!(said(&findings), [expected]);
        assert_eq!(findings.that_stop(Strictness::Strict).len(), 1);
    }
}

#[test]
fn what_is_no_yaml_stops_the_start_in_both_modes_with_its_place() {
    let findings = read_text("no-yaml", "spec:\n  a: [1\n  b: }\n", Strictness::Lenient);
    assert_eq!(findings.that_stop(Strictness::Lenient).len(), 1);
    assert!(said(&findings)[0].starts_with("config.yaml:"), "{:?}", said(&findings));
    assert!(findings.problems[0].line > 0);
}

#[test]
fn a_missing_file_or_directory_stops_the_start_in_both_modes() {
    let findings = read(&["none.yaml".into()], &["none".into()], Strictness::Lenient, &variables);
    assert_eq!(said(&findings), ["none.yaml: no such file or directory", "none: no such file or directory"]);
    assert_eq!(findings.that_stop(Strictness::Lenient).len(), 2);
}

#[test]
fn access_control_that_this_build_cannot_enforce_stops_the_start_in_both_modes() {
    for text in [
        "spec:\n  accessControl:\n    defaultAction: deny\n",
        "spec:\n  accessControl:\n    defaultAction: \"\"\n",
        "spec:\n  accessControl:\n    policies:\n      - {appId: a, trustDomain: public, namespace: default}\n",
        "spec:\n  accessControl:\n    defaultaction: deny\n",
        "spec:\n  accessControl: deny\n",
        "spec:\n  api:\n    denied:\n      - {name: invoke, protocol: http}\n",
        "spec:\n  api:\n    denied:\n      - {name: invoke, version: v1, protocol: htp}\n",
        "spec:\n  httpPipeline:\n    handlers:\n      - {name: a, type: middleware.http.bearer}\n",
        "spec:\n  httpPipeline:\n    handlers:\n      - {name: a, type: middleware.http.routerchecker}\n",
        "spec:\n  httpPipeline:\n    handler:\n      - {name: a, type: middleware.http.routerchecker}\n",
        "spec: {}\n---\nspec:\n  accessControl: {defaultAction: deny}\n",
    ] {
        let findings = read_text("access", text, Strictness::Lenient);
        assert_eq!(findings.that_stop(Strictness::Lenient).len(), 1, "{text}: {:?}", said(&findings));
        assert!(findings.problems.iter().all(|problem| problem.line > 0), "{:?}", said(&findings));
    }
}

#[test]
fn access_control_that_asks_for_nothing_more_is_accepted() {
    for text in [
        "spec:\n  accessControl:\n    defaultAction: Allow\n",
        "spec:\n  accessControl:\n    trustDomain: helloworld\n    policies: []\n",
        "spec:\n  accessControl:\n",
    ] {
        let findings = read_text("access-none", text, Strictness::Strict);
        assert_eq!(said(&findings), [""; 0], "{text}");
    }
}

#[test]
fn a_later_file_can_take_access_control_back() {
    let folder = Folder::new("later");
    let first = folder.write("a.yaml", "spec:\n  accessControl:\n    defaultAction: deny\n");
    let second = folder.write("b.yaml", "spec:\n  accessControl:\n    defaultAction: allow\n");
    let both = read(&[first.clone(), second.clone()], &[], Strictness::Strict, &variables);
    assert_eq!(said(&both), [""; 0]);
    let turned = read(&[second, first], &[], Strictness::Strict, &variables);
    assert_eq!(turned.that_stop(Strictness::Lenient).len(), 1);
}

#[test]
fn an_unknown_resolver_stops_run_and_warns_in_daprd_mode() {
    let text = "spec:\n  nameResolution:\n    component: consul\n";
    let findings = read_text("resolver", text, Strictness::Lenient);
    assert_eq!(findings.that_stop(Strictness::Lenient).len(), 0);
    assert_eq!(findings.that_stop(Strictness::Strict).len(), 1);
    assert!(said(&findings)[0].starts_with("config.yaml:3:16: "), "{:?}", said(&findings));
}

#[test]
fn resources_of_other_building_blocks_are_noted_and_stop_nothing() {
    let folder = Folder::new("resources");
    folder.write(
        "all.yaml",
        "kind: Component\nmetadata: {name: store}\n---\nkind: Component\nmetadata: {name: other}\nscopes: [somebody]\n",
    );
    folder.write("readme.txt", "not: [yaml");
    let findings = read(&[], std::slice::from_ref(&folder.0), Strictness::Strict, &variables);
    assert_eq!(findings.problems.len(), 1, "{:?}", said(&findings));
    assert!(
        findings.problems[0].message.starts_with("Component \"store\" belongs to another building block")
    );
    assert!(findings.that_stop(Strictness::Strict).is_empty());
}

#[test]
fn mistakes_in_resiliency_and_endpoints_have_their_place() {
    let folder = Folder::new("resiliency");
    let file = folder.write(
        "r.yaml",
        "\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: r}
spec:
  policies:
    timeouts: {slow: nonsense}
    retries:
      twice: {policy: constant, duration: 5s, maxretries: 2, maxTries: 3}
  targets:
    apps:
      orders: {timeout: slow, retri: twice}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: e}
spec:
  baseURL: ftp://x
",
    );
    let findings = check(&[file]);
    let mistakes: Vec<(u64, u64)> =
        findings.that_stop(Strictness::Strict).iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(mistakes, [(6, 22), (8, 62), (11, 31), (17, 12)], "{:?}", said(&findings));
}

#[test]
fn check_judges_each_file_by_its_kind() {
    let folder = Folder::new("check");
    let good = folder.write("good.yaml", GOOD);
    let findings = check(&[good]);
    assert_eq!(findings.that_stop(Strictness::Strict).len(), 0, "{:?}", said(&findings));
    let misplaced = check(std::slice::from_ref(&folder.0));
    assert!(said(&misplaced)[0].contains("name the file with --config"), "{:?}", said(&misplaced));
}

/// Good text with bytes changed, taken out and doubled, by a fixed seed: whatever comes out is judged, in both modes.
#[test]
fn no_text_makes_the_reader_panic_and_every_place_lies_in_the_file() {
    let folder = Folder::new("mutated");
    let mut rng = proto::rng::Rng::new(7);
    let mut next = |below: usize| usize::try_from(rng.below(below as u64)).unwrap();
    for _ in 0..400 {
        let mut bytes = GOOD.as_bytes().to_vec();
        for _ in 0..1 + next(6) {
            if bytes.len() < 2 {
                break;
            }
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = b" :-#\n\t\"'[]{}$&*!|>%@`,\xc3"[next(23)],
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, bytes[at]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let file = folder.write("config.yaml", "");
        std::fs::write(&file, &bytes).unwrap();
        let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            let findings = read(std::slice::from_ref(&file), &[], strictness, &variables);
            assert!(findings.problems.iter().all(|problem| problem.line <= lines), "{:?}", said(&findings));
        }
        check(std::slice::from_ref(&folder.0));
    }
}

#[test]
fn a_rule_about_an_api_that_is_not_there_is_named() {
    let text = "spec:\n  api:\n    denied:\n      - {name: invok, version: v1, protocol: http}\n";
    let findings = read_text("api-rule", text, Strictness::Strict);
    assert!(said(&findings)[0].contains("no HTTP API \"invok\" in version \"v1\""), "{:?}", said(&findings));
    assert_eq!(findings.that_stop(Strictness::Strict).len(), 1);
    assert!(findings.that_stop(Strictness::Lenient).is_empty());
}

use super::*;
use crate::cli::{self, Command, SuperviseArgs};
use std::collections::BTreeMap;

fn arguments(line: &[&str]) -> SuperviseArgs {
    let whole = ["outrigger"].iter().chain(line).map(std::ffi::OsString::from);
    match cli::parse(whole) {
        Command::Supervise(arguments) => *arguments,
        other => panic!("{line:?} is no start: {other:?}"),
    }
}

fn environment() -> Environment {
    let variables = BTreeMap::from([
        ("HOME".to_owned(), "/home/x".to_owned()),
        ("DAPR_HOST_IP".to_owned(), "10.1.2.3".to_owned()),
    ]);
    Environment { variables, directory: PathBuf::from("/srv/app") }
}

fn plan(line: &[&str]) -> Plan {
    decide(&arguments(line), &environment()).unwrap()
}

fn refusal(line: &[&str]) -> String {
    decide(&arguments(line), &environment()).unwrap_err().0
}

#[test]
fn settings_survive_the_runtime_directory() {
    let dir = std::env::temp_dir().join(format!("outrigger-settings-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let settings = plan(&["run", "--app-id", "a", "--app-port", "3000"]).settings;
    settings.store(&dir).unwrap();
    assert_eq!(Settings::load(&dir).unwrap(), settings);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(dir.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn missing_settings_name_their_file() {
    let error = Settings::load(Path::new("/nonexistent/outrigger")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/outrigger/settings.json"), "{error}");
}

#[test]
fn run_authenticates_peers_unless_told_otherwise() {
    let own = plan(&["run", "--app-id", "a"]).settings.mtls;
    assert_eq!(own, Mtls::Own { dir: "/home/x/.local/state/outrigger/ca".into() });
    let off = plan(&["run", "--app-id", "a", "--no-mtls"]).settings;
    assert_eq!(off.mtls, Mtls::Off);
    assert!(off.warnings.iter().any(|w| w.contains("neither authenticated nor encrypted")));
    let files = plan(&["run", "--app-id", "a", "--issuer-credentials", "certs"]).settings.mtls;
    assert_eq!(files, Mtls::Files { dir: "/srv/app/certs".into() });
}

#[test]
fn daprd_mode_is_plain_text_unless_mtls_is_asked_for() {
    assert_eq!(plan(&["daprd", "--app-id", "a"]).settings.mtls, Mtls::Off);
    let files =
        plan(&["daprd", "--app-id", "a", "--enable-mtls", "--issuer-credentials", "/c"]).settings.mtls;
    assert_eq!(files, Mtls::Files { dir: "/c".into() });
}

#[test]
fn a_sentry_that_cannot_be_asked_stops_the_start() {
    for line in [
        vec!["daprd", "--app-id", "a", "--enable-mtls", "--sentry-address", "h:1"],
        vec!["daprd", "--app-id", "a", "--enable-mtls"],
        vec!["run", "--app-id", "a", "--sentry-address", "h:1"],
    ] {
        let said = refusal(&line);
        assert!(said.contains("--issuer-credentials DIR"), "{line:?}: {said}");
    }
}

#[test]
fn issuer_files_without_mtls_stop_the_start() {
    assert!(refusal(&["daprd", "--app-id", "a", "--issuer-credentials", "/c"]).contains("--enable-mtls"));
}

#[test]
fn mtls_asked_for_and_switched_off_stops_the_start() {
    assert!(refusal(&["run", "--app-id", "a", "--enable-mtls", "--no-mtls"]).contains("drop one"));
}

#[test]
fn the_starts_that_daprd_refuses_are_refused_in_its_words() {
    for (line, words) in [
        (vec!["--app-id", ""], "parameter app-id cannot be empty"),
        (vec!["--app-id", "a.b"], "parameter app-id cannot contain dots"),
        (vec!["--app-id", "a", "--mode", "nonsense"], "invalid mode: nonsense"),
        (vec!["--app-id", "a", "--app-port", "x"], "error parsing app-port"),
        (vec!["--app-id", "a", "--dapr-http-port", "x"], "error parsing dapr-http-port"),
        (
            vec!["--app-id", "a", "--app-port", "3500"],
            "the 'dapr-http-port' argument value 3500 conflicts with 'app-port'",
        ),
        (vec!["--app-id", "a", "--app-protocol", "smoke"], "invalid value for 'app-protocol'"),
        (
            vec![
                "--app-id",
                "a",
                "--enable-app-health-check",
                "--app-health-probe-timeout",
                "6000",
                "--app-health-probe-interval",
                "5",
            ],
            "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
        ),
    ] {
        let whole: Vec<&str> = ["daprd"].into_iter().chain(line).collect();
        let said = refusal(&whole);
        assert!(said.starts_with(words), "{whole:?}: {said}");
    }
}

#[test]
fn limits_have_daprds_meaning() {
    let limits = |line: &[&str]| {
        let whole: Vec<&str> = ["daprd", "--app-id", "a"].iter().chain(line).copied().collect();
        plan(&whole).settings.limits
    };
    assert_eq!(limits(&[]).max_body, Some(4 << 20));
    assert_eq!(limits(&[]).max_head, 64 << 10);
    assert_eq!(limits(&["--max-body-size", "-1"]).max_body, Some(4 << 20));
    assert_eq!(limits(&["--max-body-size", "0"]).max_body, None);
    assert_eq!(limits(&["--max-body-size", "10Mi"]).max_body, Some(10 << 20));
    assert_eq!(limits(&["--dapr-http-max-request-size", "2"]).max_body, Some(2 << 20));
    assert_eq!(
        limits(&["--dapr-http-max-request-size", "2", "--max-body-size", "1Mi"]).max_body,
        Some(1 << 20)
    );
    assert_eq!(limits(&["--read-buffer-size", "4Ki"]).max_head, 4096);
    assert_eq!(limits(&["--read-buffer-size", "-1"]).max_head, 64 << 10);
    assert_eq!(limits(&["--dapr-http-read-buffer-size", "8"]).max_head, 8192);
    assert_eq!(limits(&["--dapr-graceful-shutdown-seconds", "-3"]).grace_seconds, Some(5));
    assert_eq!(limits(&["--dapr-graceful-shutdown-seconds", "0"]).grace_seconds, None);
    assert_eq!(limits(&["--dapr-block-shutdown-duration", "1.5s"]).block_shutdown_ms, 1500);
}

#[test]
fn the_deprecated_app_ssl_makes_the_protocol_secure() {
    let protocol = |line: &[&str]| {
        let whole: Vec<&str> =
            ["daprd", "--app-id", "a", "--app-port", "1"].iter().chain(line).copied().collect();
        plan(&whole).settings.app.unwrap().protocol
    };
    assert_eq!(protocol(&["--app-ssl"]), Protocol::Https);
    assert_eq!(protocol(&["--app-ssl", "--app-protocol", "GRPC"]), Protocol::Grpcs);
    assert_eq!(protocol(&["--app-ssl=false"]), Protocol::Http);
}

#[test]
fn the_api_of_run_listens_on_loopback_and_daprds_everywhere() {
    let hosts = |line: &[&str]| -> Vec<String> {
        let http = |binding: &Binding| match (&binding.role, &binding.at) {
            (Role::Http, At::Tcp { host, .. }) => Some(host.clone()),
            _ => None,
        };
        plan(line).bindings.iter().filter_map(http).collect()
    };
    assert_eq!(hosts(&["run", "--app-id", "a"]), ["127.0.0.1", "[::1]"]);
    assert_eq!(hosts(&["daprd", "--app-id", "a"]), [""]);
    assert_eq!(
        hosts(&["daprd", "--app-id", "a", "--dapr-listen-addresses", "10.0.0.1, [::1]"]),
        ["10.0.0.1", "[::1]"]
    );
}

#[test]
fn a_loopback_mesh_port_is_announced_on_loopback() {
    let line = ["daprd", "--app-id", "a", "--dapr-internal-grpc-listen-address", "127.0.0.1"];
    assert_eq!(plan(&line).settings.resolution.advertise.to_string(), "127.0.0.1");
    assert_eq!(plan(&["daprd", "--app-id", "a"]).settings.resolution.advertise.to_string(), "10.1.2.3");
}

#[test]
fn flags_without_effect_are_named_once_and_only_when_given() {
    let warnings = plan(&["daprd", "--app-id", "a", "--placement-host-address", "x:1"]).settings.warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("--placement-host-address"), "{warnings:?}");
    assert!(plan(&["daprd", "--app-id", "a"]).settings.warnings.is_empty());
}

#[test]
fn an_unset_namespace_is_default_and_an_empty_one_stays_empty() {
    assert_eq!(plan(&["daprd", "--app-id", "a"]).settings.namespace, "default");
    let mut empty = environment();
    empty.variables.insert("NAMESPACE".into(), String::new());
    assert_eq!(decide(&arguments(&["daprd", "--app-id", "a"]), &empty).unwrap().settings.namespace, "");
}

#[test]
fn an_app_protocol_that_is_not_built_stops_run_and_warns_in_daprd_mode() {
    let line = ["--app-id", "a", "--app-port", "1", "--app-protocol", "grpc"];
    let whole = |verb| [verb].into_iter().chain(line).collect::<Vec<&str>>();
    assert!(refusal(&whole("run")).starts_with("--app-protocol grpc is not built yet"));
    assert!(plan(&whole("daprd")).settings.warnings[0].starts_with("--app-protocol grpc is not built yet"));
}

#[test]
fn an_app_may_listen_on_a_unix_socket() {
    let app = |address: &str| {
        plan(&["run", "--app-id", "a", "--app-channel-address", address]).settings.app.unwrap()
    };
    for address in ["unix:/run/app.sock", "unix:///run/app.sock"] {
        assert_eq!(app(address).socket, Some("/run/app.sock".into()));
        assert_eq!(app(address).place(), "socket /run/app.sock");
    }
    let said = refusal(&["run", "--app-id", "a", "--app-channel-address", "unix:app.sock"]);
    assert!(said.contains("absolute path"), "{said}");
    let both = ["run", "--app-id", "a", "--app-port", "1", "--app-channel-address", "unix:/a"];
    assert!(refusal(&both).contains("drop one"), "{}", refusal(&both));
}

#[test]
fn health_checks_have_daprds_defaults() {
    let health = |line: &[&str]| {
        let whole: Vec<&str> =
            ["daprd", "--app-id", "a", "--app-port", "1"].iter().chain(line).copied().collect();
        plan(&whole).settings.app.unwrap().health
    };
    assert_eq!(health(&[]), None);
    let odd = [
        "--app-health-probe-interval",
        "0",
        "--app-health-probe-timeout",
        "-1",
        "--app-health-threshold",
        "0",
    ];
    let flags: Vec<&str> =
        ["--enable-app-health-check", "--app-health-check-path", "up"].into_iter().chain(odd).collect();
    let expected = HealthProbe { path: "/up".into(), interval_ms: 5000, timeout_ms: 500, threshold: 3 };
    assert_eq!(health(&flags), Some(expected));
}

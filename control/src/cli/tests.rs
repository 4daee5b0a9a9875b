use super::*;

fn parsed(line: &[&str]) -> Command {
    parse(line.iter().map(OsString::from))
}

fn start(line: &[&str]) -> SuperviseArgs {
    match parsed(line) {
        Command::Supervise(arguments) => *arguments,
        other => panic!("{line:?} is no start: {other:?}"),
    }
}

#[test]
fn clap_finds_no_contradiction_in_the_command_line() {
    command().debug_assert();
}

/// Every flag of daprd (spec/invocation 6.1), with a value that its type takes.
const ALL: [(&str, Option<&str>); 58] = [
    ("actors-disseminate-timeout", Some("30s")),
    ("actors-service", Some("x")),
    ("allowed-origins", Some("*")),
    ("app-binding-options-timeout", Some("3s")),
    ("app-channel-address", Some("localhost")),
    ("app-health-check-path", Some("/h")),
    ("app-health-probe-interval", Some("5")),
    ("app-health-probe-timeout", Some("500")),
    ("app-health-threshold", Some("3")),
    ("app-id", Some("a")),
    ("app-max-concurrency", Some("-1")),
    ("app-port", Some("3000")),
    ("app-protocol", Some("http")),
    ("app-ssl", None),
    ("build-info", None),
    ("components-path", Some("d")),
    ("config", Some("c.yaml")),
    ("control-plane-address", Some("h:1")),
    ("control-plane-namespace", Some("n")),
    ("control-plane-trust-domain", Some("d")),
    ("dapr-block-shutdown-duration", Some("1m")),
    ("dapr-graceful-shutdown-seconds", Some("5")),
    ("dapr-grpc-port", Some("50001")),
    ("dapr-http-max-request-size", Some("4")),
    ("dapr-http-port", Some("3500")),
    ("dapr-http-read-buffer-size", Some("4")),
    ("dapr-internal-grpc-listen-address", Some("127.0.0.1")),
    ("dapr-internal-grpc-port", Some("50002")),
    ("dapr-listen-addresses", Some("127.0.0.1,[::1]")),
    ("dapr-public-listen-address", Some("0.0.0.0")),
    ("dapr-public-port", Some("3501")),
    ("disable-builtin-k8s-secret-store", None),
    ("disable-init-endpoints", Some("config,subscribe")),
    ("enable-api-logging", None),
    ("enable-app-health-check", None),
    ("enable-metrics", None),
    ("enable-mtls", None),
    ("enable-profiling", None),
    ("hot-reload-reconcile-interval", Some("30s")),
    ("log-as-json", None),
    ("log-file", Some("f")),
    ("log-level", Some("debug")),
    ("max-body-size", Some("4Mi")),
    ("metrics-listen-address", Some("127.0.0.1")),
    ("metrics-port", Some("9090")),
    ("mode", Some("standalone")),
    ("placement-host-address", Some("h:1,h:2")),
    ("profile-port", Some("7777")),
    ("read-buffer-size", Some("4Ki")),
    ("reminders-service", Some("x")),
    ("resources-path", Some("d")),
    ("scheduler-host-address", Some("h:1")),
    ("scheduler-job-streams", Some("3")),
    ("sentry-address", Some("h:1")),
    ("sentry-request-jwt-audiences", Some("a,b")),
    ("unix-domain-socket", Some("/tmp")),
    ("version", None),
    ("wait", None),
];

#[test]
fn every_flag_of_daprd_parses_in_each_spelling() {
    for (flag, value) in ALL {
        if ["version", "build-info", "wait"].contains(&flag) {
            continue;
        }
        for spelling in spellings(flag, value) {
            let line: Vec<&str> = ["daprd"].into_iter().chain(spelling.iter().map(String::as_str)).collect();
            let arguments = start(&line);
            assert_eq!(arguments.flags.given, [flag], "{line:?}");
            let in_run: Vec<&str> =
                ["outrigger", "run"].into_iter().chain(line.into_iter().skip(1)).collect();
            assert_eq!(start(&in_run).flags.given, [flag], "{in_run:?}");
        }
    }
}

fn spellings(flag: &str, value: Option<&str>) -> Vec<Vec<String>> {
    match value {
        Some(value) => vec![
            vec![format!("--{flag}"), value.to_owned()],
            vec![format!("--{flag}={value}")],
            vec![format!("-{flag}"), value.to_owned()],
            vec![format!("-{flag}={value}")],
        ],
        None => vec![
            vec![format!("--{flag}")],
            vec![format!("--{flag}=true")],
            vec![format!("-{flag}")],
            vec![format!("-{flag}=F")],
        ],
    }
}

#[test]
fn a_boolean_flag_takes_its_value_only_after_an_equals_sign() {
    let arguments = start(&["daprd", "--enable-mtls", "false"]);
    assert_eq!(arguments.flags.enable_mtls, Some(true));
    assert_eq!(arguments.extra, ["false"]);
}

#[test]
fn a_repeated_flag_takes_its_last_value_and_lists_grow() {
    let arguments = start(&[
        "daprd",
        "--dapr-http-port",
        "1",
        "--dapr-http-port",
        "2",
        "--config",
        "a,b",
        "--config",
        "c",
    ]);
    assert_eq!(arguments.flags.dapr_http_port, "2");
    assert_eq!(arguments.flags.config, ["a", "b", "c"].map(PathBuf::from));
}

#[test]
fn defaults_are_daprds() {
    let flags = start(&["daprd"]).flags;
    assert_eq!(
        (flags.dapr_http_port.as_str(), flags.dapr_grpc_port.as_str(), flags.metrics_port.as_str()),
        ("3500", "50001", "9090")
    );
    assert_eq!(flags.max_body_size, "4Mi");
    assert_eq!(flags.app_max_concurrency, -1);
    assert!(flags.enable_metrics && !flags.log_as_json);
    assert_eq!((flags.enable_api_logging, flags.enable_mtls), (None, None));
    assert_eq!(flags.ignored.scheduler_job_streams, 3);
    assert_eq!(flags.dapr_graceful_shutdown_seconds, 5);
    assert!(flags.given.is_empty());
}

#[test]
fn what_is_not_understood_ends_with_code_two() {
    for line in [
        vec!["daprd", "--nonsense"],
        vec!["daprd", "--app-max-concurrency", "x"],
        vec!["daprd", "--enable-mtls=maybe"],
        vec!["outrigger", "nonsense"],
        vec!["outrigger", "run", "stray"],
        vec!["outrigger"],
        vec!["outrigger", "man", "nonsense"],
    ] {
        assert!(matches!(parsed(&line), Command::Done(2)), "{line:?}");
    }
}

#[test]
fn what_only_prints_ends_with_code_zero() {
    for line in [
        vec!["daprd", "--version"],
        vec!["daprd", "-version"],
        vec!["daprd", "--build-info"],
        vec!["daprd", "--help"],
        vec!["outrigger", "--help"],
        vec!["outrigger", "version"],
        vec!["outrigger", "man"],
        vec!["outrigger", "man", "run"],
        vec!["outrigger", "completions", "zsh"],
    ] {
        assert!(matches!(parsed(&line), Command::Done(0)), "{line:?}");
    }
}

#[test]
fn the_app_and_its_arguments_stand_after_two_dashes() {
    let arguments = start(&["outrigger", "run", "--app-id", "a", "--", "node", "-app", "--app-id"]);
    assert_eq!(arguments.command, ["node", "-app", "--app-id"]);
    assert_eq!(arguments.mode, crate::settings::Mode::Run);
}

#[test]
fn the_data_plane_is_told_where_to_listen() {
    let line = [
        "outrigger",
        "dataplane",
        "--control-socket",
        "/r/control.sock",
        "--listen",
        "http=fd:3",
        "--listen",
        "internal=127.0.0.1:0",
        "--backend",
        "readiness",
        "--shards",
        "2",
        "--log-as-json",
    ];
    let Command::Dataplane(arguments) = parsed(&line) else { panic!("no data plane") };
    assert_eq!(arguments.listen[0], RoleAt { role: "http".into(), at: "fd:3".into() });
    assert_eq!(arguments.listen[1].at, "127.0.0.1:0");
    assert_eq!((arguments.shards, arguments.log_as_json), (2, true));
    let wrong = ["outrigger", "dataplane", "--control-socket", "/r", "--listen", "smoke=fd:3"];
    assert!(matches!(parsed(&wrong), Command::Done(2)));
}

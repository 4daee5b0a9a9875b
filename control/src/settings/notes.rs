//! Flags that are accepted but do less than they say: each is named once at the start.

use super::Mode;
use crate::cli::SuperviseArgs;

const NOT_PART: &str = "is accepted and has no effect: ";

/// Flag and reason, in the order of daprd's usage text. A flag is named only when it stands on the command line.
const WITHOUT_EFFECT: [(&str, &str); 15] = [
    ("placement-host-address", "actors are not part of Outrigger"),
    ("actors-service", "actors are not part of Outrigger"),
    ("reminders-service", "actors are not part of Outrigger"),
    ("actors-disseminate-timeout", "actors are not part of Outrigger"),
    ("scheduler-host-address", "jobs are not part of Outrigger"),
    ("scheduler-job-streams", "jobs are not part of Outrigger"),
    ("app-binding-options-timeout", "bindings are not part of Outrigger"),
    ("disable-builtin-k8s-secret-store", "secret stores are not part of Outrigger"),
    ("hot-reload-reconcile-interval", "configuration is read at the start; reloading is not built yet"),
    ("control-plane-address", "the Kubernetes operator is not asked yet"),
    ("sentry-address", "certificates from a Sentry are not built yet"),
    ("sentry-request-jwt-audiences", "certificates from a Sentry are not built yet"),
    ("control-plane-trust-domain", "certificates from a Sentry are not built yet"),
    ("control-plane-namespace", "certificates from a Sentry are not built yet"),
    ("dapr-grpc-port", "the gRPC API is not built yet, nothing listens on this port"),
];

/// One warning a flag.
pub(super) fn of_flags(arguments: &SuperviseArgs) -> Vec<String> {
    let flags = &arguments.flags;
    let given = |name: &str| flags.given.iter().any(|given| given == name);
    let mut warnings: Vec<String> = WITHOUT_EFFECT
        .iter()
        .filter(|(flag, _)| given(flag))
        .map(|(flag, reason)| format!("--{flag} {NOT_PART}{reason}"))
        .collect();
    warnings.extend(deprecated(&given));
    if !arguments.extra.is_empty() {
        warnings.push(format!("ignored what stands beside the flags, as daprd does: {:?}", arguments.extra));
    }
    if arguments.mode == Mode::Run && arguments.no_mtls {
        warnings.push("--no-mtls: calls between sidecars are neither authenticated nor encrypted".to_owned());
    }
    warnings
}

fn deprecated(given: &dyn Fn(&str) -> bool) -> Vec<String> {
    [
        ("app-ssl", "--app-protocol https or grpcs"),
        ("dapr-http-max-request-size", "--max-body-size"),
        ("dapr-http-read-buffer-size", "--read-buffer-size"),
        ("components-path", "--resources-path"),
    ]
    .iter()
    .filter(|(flag, _)| given(flag))
    .map(|(flag, now)| format!("--{flag} is deprecated; say {now}"))
    .collect()
}

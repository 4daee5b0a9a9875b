//! Starts that cannot be: said once, with daprd's exit code.

use crate::stage::{Stage, recorded};
use rig::scratch::Scratch;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_bad_authority_is_said_once_and_ends_the_start() {
    let folder = Scratch::new();
    for name in ["ca.crt", "issuer.crt", "issuer.key"] {
        folder.file(name, "garbage");
    }
    let issuer = folder.path().to_string_lossy().into_owned();
    let stage = Stage::new("gv-exit").args(&["--enable-mtls", "--issuer-credentials", &issuer]);
    let mut sidecar = stage.launch.spawn();
    let ended = sidecar.ends_within(PATIENCE).expect("an end");
    assert_eq!(ended.code(), Some(1), "{}", sidecar.tail());
    let said = sidecar.output();
    assert_eq!(said.matches("level=fatal").count(), 1, "{said}");
    assert!(said.contains("Fatal error from runtime: failed to retrieve the initial identity"), "{said}");
}

/// The recorded exits whose arguments need no files: the same code, and the same last words up to the cause that Go
/// spells in its own way.
#[test]
fn starts_that_daprd_refuses_are_refused_with_its_words_and_code() {
    for (name, words) in [
        ("exit/app-port-equals-http", "argument value"),
        ("exit/bad-app-port", "error parsing app-port"),
        ("exit/bad-http-port", "error parsing dapr-http-port"),
        ("exit/bad-mode", "invalid mode: nonsense"),
        ("exit/config-missing", "error loading configuration"),
        ("exit/dotted-app-id", "parameter app-id cannot contain dots"),
        (
            "exit/health-timeout",
            "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
        ),
        ("exit/unknown-flag", ""),
        ("exit/version", ""),
        ("exit/build-info", ""),
    ] {
        let case = recorded("exit.jsonl", name);
        let arguments = case["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
        let launch = rig::sidecar::Launch::daprd(&rig::outrigger!()).args(arguments);
        let mut sidecar = launch.spawn();
        let ended = sidecar.ends_within(PATIENCE).unwrap_or_else(|| panic!("{name} ends"));
        assert_eq!(ended.code().map(i64::from), case["exit_code"].as_i64(), "{name}: {}", sidecar.tail());
        let said = sidecar.output();
        assert!(said.contains(words), "{name}: {said}");
        let recorded = case["last_lines"].as_array().unwrap().last().and_then(|line| line.as_str());
        if recorded.is_some_and(|line| line.contains("level=fatal")) {
            let fatal = said.lines().last().unwrap_or_default();
            assert!(fatal.contains("level=fatal msg=\"Fatal error from runtime: "), "{name}: {said}");
            assert!(fatal.contains("scope=dapr.runtime type=log"), "{name}: {said}");
        }
    }
}

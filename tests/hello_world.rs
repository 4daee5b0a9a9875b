//! The example in examples/hello-world, by the commands of its own README (ports replaced by free ones).

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::scratch::Scratch;
use rig::{Launch, port, wait};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn folder() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-world").to_string_lossy().into_owned()
}

/// The README's `outrigger run` lines.
fn commands() -> Vec<Vec<String>> {
    let readme = std::fs::read_to_string(Path::new(&folder()).join("README.md")).unwrap();
    let runs = readme.lines().filter_map(|line| line.strip_prefix("outrigger "));
    runs.filter(|line| line.starts_with("run "))
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// The same on free ports, and with the files of the example wherever the test runs.
fn launch(mut words: Vec<String>, ground: &Scratch) -> Launch {
    for index in 1..words.len() {
        match words[index - 1].as_str() {
            "--app-port" => words[index] = port::one().to_string(),
            "--dapr-http-port" | "--metrics-port" => words[index] = "0".into(),
            "node" | "python3" => words[index] = format!("{}/{}", folder(), words[index]),
            _ => {}
        }
    }
    let own = ["--dapr-internal-grpc-listen-address", "127.0.0.1", "--mdns", "off"].map(str::to_owned);
    words.splice(1..1, own);
    let ground = ground.path().to_string_lossy();
    Launch::new(rig::outrigger!().path())
        .args(words)
        .env("XDG_RUNTIME_DIR", &ground)
        .env("XDG_STATE_HOME", &ground)
}

fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_python_app_calls_a_node_app_by_the_readmes_commands() {
    if !runs("python3") || !runs("node") {
        eprintln!("SKIPPED a_python_app_calls_a_node_app_by_the_readmes_commands: needs python3 and node");
        return;
    }
    let ground = Scratch::new();
    let [greeter, caller] = <[Vec<String>; 2]>::try_from(commands()).expect("two commands in the README");
    let mut greeter = launch(greeter, &ground).named("greeter").spawn();
    wait::until(LIMIT, "the greeter listens", || greeter.output().contains("greeter: listening on"));
    let mut caller = launch(caller, &ground).named("caller").spawn();
    let ended = caller.ends_within(LIMIT).expect("the caller ends");
    let output = caller.output();
    assert!(output.contains("caller: 200 Hello Python, says Node to caller"), "{output}\n{}", greeter.tail());
    assert_eq!(ended.code(), Some(0), "{output}");
    assert!(greeter.output().contains("greeter: POST /hello from caller"), "{}", greeter.tail());
    assert_eq!(greeter.terminate().and_then(|end| end.code()), Some(0), "{}", greeter.tail());
}

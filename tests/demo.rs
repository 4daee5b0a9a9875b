//! `outrigger demo` as somebody sees it who types it.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rig::{Launch, Sidecar, http1, wait};
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const SIGINT: i32 = 2;

fn demo() -> Launch {
    Launch::new(rig::outrigger!().path()).arg("demo").named("demo")
}

/// The numbers that lines begin with, in order.
fn steps(output: &str) -> Vec<u32> {
    output.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

fn left_behind(demo: &Sidecar) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let own = format!("outrigger-demo-{}", demo.id());
    entries.map(|entry| entry.path()).filter(|path| path.ends_with(&own)).collect()
}

#[test]
fn once_shows_seven_steps_in_order_and_ends_with_zero() {
    for mdns in ["on", "off"] {
        let mut demo = demo().args(["--once", "--mdns", mdns]).spawn();
        let ended = demo.ends_within(LIMIT).expect("the demonstration ends");
        let output = demo.output();
        assert_eq!(ended.code(), Some(0), "{output}");
        assert_eq!(steps(&output), [1, 2, 3, 4, 5, 6, 7], "{output}");
        for fact in ["spiffe://", "POST /hello, called by service-a", "Hello from app A"] {
            assert!(output.contains(fact), "{fact} is missing:\n{output}");
        }
        let way = if mdns == "off" { "by registry" } else { "by mdns" };
        assert!(output.contains(way) || output.contains("Multicast does not work"), "{output}");
        assert!(!output.contains('\u{1b}'), "no colour in a pipe:\n{output}");
        assert!(left_behind(&demo).is_empty());
    }
}

#[test]
fn it_stays_up_for_the_three_suggestions_and_an_interrupt_cleans_up() {
    let mut demo = demo().spawn();
    wait::until(LIMIT, "the suggestions", || demo.output().contains("Ctrl-C ends everything"));
    let output = demo.output();
    let suggested: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let [call, status, metrics] = suggested[..] else { panic!("three suggestions:\n{output}") };
    assert!(shell(call).contains("Hello world"), "{call}");
    assert!(shell(status).contains("service-a"), "{status}");
    assert!(shell(metrics).contains("dapr_"), "{metrics}");
    let family = demo.processes();
    assert!(family.len() >= 7, "two sidecars of three processes: {family:?}");
    demo.signal(SIGINT);
    let ended = demo.ends_within(LIMIT).expect("the demonstration ends");
    assert_eq!(ended.code(), Some(0), "{}", demo.output());
    for id in family {
        wait::until(LIMIT, "the end of all processes", || !PathBuf::from(format!("/proc/{id}")).exists());
    }
    assert!(left_behind(&demo).is_empty());
}

/// Runs what a person would paste; `curl` is played by the rig where it is missing.
fn shell(line: &str) -> String {
    if line.starts_with("curl") && !has("curl") {
        return without_curl(line);
    }
    let output = std::process::Command::new("sh").args(["-c", line]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn without_curl(line: &str) -> String {
    let (_, url) = line.split_once("http://").unwrap();
    let url = url.split(' ').next().unwrap();
    let (to, path) = url.split_once('/').unwrap();
    let method = if line.contains(" -d ") { "POST" } else { "GET" };
    http1::client::request(to.parse().unwrap(), method, &format!("/{path}"), &[], b"world").text()
}

fn has(program: &str) -> bool {
    std::process::Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .unwrap()
        .status
        .success()
}

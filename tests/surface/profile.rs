//! The profiling port (`--enable-profiling`): the paths of Go's pprof, with what there is of it here.

use crate::stage::Stage;
use rig::http1::client;
use rig::port;
use rig::sidecar::local;
use std::net::TcpStream;

#[test]
fn the_profiling_port_shows_the_data_plane_and_says_what_is_gos_alone() {
    let profile = port::one();
    let flags = ["--enable-profiling", "--profile-port", &profile.to_string(), "--shards", "2"];
    let (sidecar, http) = Stage::new("gv-prof").args(&flags).start();
    let at = local(profile);
    let index = client::get(at, "/debug/pprof/");
    assert_eq!(
        (index.status, index.header("content-type").as_deref()),
        (200, Some("text/html; charset=utf-8"))
    );
    for name in ["cmdline", "shards", "threads"] {
        assert!(index.text().contains(&format!("<a href='{name}'>")), "{}", index.text());
        assert_eq!(client::get(at, &format!("/debug/pprof/{name}")).status, 200);
    }
    let arguments = client::get(at, "/debug/pprof/cmdline").text();
    assert!(arguments.split('\0').any(|argument| argument == "dataplane"), "{arguments:?}");
    let shards = client::get(at, "/debug/pprof/shards").text();
    let lines: Vec<&str> = shards.lines().take(3).map(str::trim_start).collect();
    assert!(lines[1].starts_with("0 ") && lines[2].starts_with("1 "), "{shards}");
    assert!(shards.contains("calls in flight "), "{shards}");
    let threads = client::get(at, "/debug/pprof/threads").text();
    assert!(threads.lines().any(|line| line.ends_with("control-in")), "{threads}");
    let data_plane = sidecar.process_with("dataplane").unwrap();
    let missing = client::get(at, "/debug/pprof/profile?seconds=1");
    assert_eq!(missing.status, 501);
    assert!(missing.text().contains(&format!("perf record -F 99 -g -p {data_plane}")), "{}", missing.text());
    assert_eq!(client::get(at, "/debug/pprof").header("location").as_deref(), Some("/debug/pprof/"));
    let unknown = client::get(at, "/debug/pprof/nope");
    assert_eq!((unknown.status, unknown.text().as_str()), (404, "Unknown profile\n"));
    assert_eq!(client::get(at, "/v1.0/metadata").status, 404, "nothing else is served here");
    let refused = client::request(at, "POST", "/debug/pprof/", &[], b"");
    assert_eq!((refused.status, refused.header("allow").as_deref()), (405, Some("GET, HEAD")));
    assert_eq!(client::get(http, "/debug/pprof/").status, 404, "the API has none of it");
}

#[test]
fn without_the_flag_nothing_listens_on_the_profiling_port() {
    let profile = port::one();
    let (_sidecar, _http) = Stage::new("gv-prof").args(&["--profile-port", &profile.to_string()]).start();
    assert!(TcpStream::connect(local(profile)).is_err());
}

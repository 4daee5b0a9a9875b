//! `/v1.0/metadata` on both ports.

use crate::stage::{Stage, recorded};
use rig::http1::client::{self, Got};
use rig::sidecar::{Ready, Sidecar, local, send_signal};
use rig::wait;
use serde_json::Value;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Ours beside a recorded answer: what differs by build is left out.
fn same_json(got: &Got, recorded: &Value) {
    assert!(got.text().ends_with("}\n"), "{}", got.text());
    let (mut got, mut recorded): (Value, Value) =
        (serde_json::from_str(&got.text()).unwrap(), recorded.clone());
    for json in [&mut got, &mut recorded] {
        let object = json.as_object_mut().unwrap();
        object.remove("runtimeVersion").expect("a version");
        object.remove("enabledFeatures");
        object["extended"].as_object_mut().unwrap().remove("daprRuntimeVersion").expect("a version");
        object["appConnectionProperties"].as_object_mut().unwrap().remove("port");
    }
    assert_eq!(got, recorded);
}

fn ask(to: SocketAddr, line: &str, body: &str) -> Got {
    let (method, target) = line.split_once(' ').unwrap();
    let target = target.trim_end_matches(" HTTP/1.1");
    client::request(to, method, target, &[], body.as_bytes())
}

fn same_answer(got: &Got, recorded: &Value, what: &str) {
    assert_eq!(Value::from(got.status), recorded["status"], "{what}");
    let connection = |name: &str| matches!(name, "date" | "traceparent" | "content-length" | "connection");
    for header in recorded["headers"].as_array().unwrap() {
        let name = header[0].as_str().unwrap();
        if !connection(&name.to_lowercase()) {
            assert_eq!(got.header(name).as_deref(), header[1].as_str(), "{what}: {name}");
        }
    }
    if let Some(text) = recorded["body"]["text"].as_str().filter(|_| recorded["status"] != 400) {
        assert_eq!(got.text(), text, "{what}");
    }
}

#[test]
fn what_clients_put_is_shown() {
    let (_sidecar, http) = Stage::new("gv-meta").start();
    let case = recorded("metadata.jsonl", "metadata/put");
    for put in case["puts"].as_array().unwrap() {
        let line = put["sent"]["line"].as_str().unwrap();
        let got = ask(http, line, put["sent"]["body"]["text"].as_str().unwrap());
        same_answer(&got, &put["got"], line);
    }
    same_json(&client::get(http, "/v1.0/metadata"), &case["then"]["body_json"]);
}

#[test]
fn a_sidecar_without_and_one_with_an_app_and_one_that_waits_for_it() {
    let (_sidecar, http) = Stage::new("gv-meta").start();
    same_json(
        &client::get(http, "/v1.0/metadata"),
        &recorded("metadata.jsonl", "metadata/no-app")["http"]["body_json"],
    );
    let app = rig::echo::Echo::start("gv-meta");
    let (_sidecar, http) = Stage::new("gv-meta").args(&["--app-port", &app.port().to_string()]).start();
    same_json(
        &client::get(http, "/v1.0/metadata"),
        &recorded("metadata.jsonl", "metadata/http-app")["http"]["body_json"],
    );
    let stage = Stage::new("gv-meta").args(&["--app-port", &rig::port::one().to_string()]);
    let http = stage.http;
    let _sidecar = stage.launch.ready(Ready::Outbound(http)).start();
    same_json(
        &client::get(local(http), "/v1.0/metadata"),
        &recorded("metadata.jsonl", "metadata/waiting-for-app")["http"]["body_json"],
    );
}

#[test]
fn the_public_port_answers_health_and_metadata_only() {
    let stage = Stage::new("gv-meta");
    let public = stage.public;
    let flags = ["--dapr-public-port", &public.to_string(), "--dapr-public-listen-address", "127.0.0.1"];
    let (_sidecar, _http) = stage.args(&flags).start();
    for exchange in recorded("other.jsonl", "public-port")["exchanges"].as_array().unwrap() {
        let line = exchange["sent"].as_str().unwrap();
        same_answer(&ask(local(public), line, ""), &exchange["got"], line);
    }
}

#[test]
fn external_endpoints_are_listed_by_name() {
    let folder = rig::scratch::Scratch::new();
    folder.file(
        "ext.yaml",
        "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata:\n  name: gv-ext\nspec:\n  baseUrl: http://127.0.0.1:1\n",
    );
    let resources = folder.path().to_string_lossy().into_owned();
    let (_sidecar, http) = Stage::new("gv-meta").args(&["--resources-path", &resources]).start();
    let mut wanted = recorded("metadata.jsonl", "metadata/resources")["http"]["body_json"].clone();
    wanted.as_object_mut().unwrap().remove("resiliencies");
    same_json(&client::get(http, "/v1.0/metadata"), &wanted);
}

/// Kills one of the sidecar's processes, and waits until another has taken its place.
fn replace(sidecar: &Sidecar, word: &str) {
    let old = sidecar.process_with(word).expect("the process");
    send_signal(i32::try_from(old).unwrap(), 9);
    wait::until(PATIENCE, "another process", || sidecar.process_with(word).is_some_and(|new| new != old));
}

/// Whether control is connected to the data plane, as `outrigger status` asks.
fn knows_data_plane(sidecar: &Sidecar) -> bool {
    let socket = sidecar.folder().join(format!("run/outrigger/gv-meta-{}/status.sock", sidecar.id()));
    let mut document = String::new();
    let read = UnixStream::connect(socket).and_then(|mut stream| stream.read_to_string(&mut document));
    let document: Option<Value> = read.ok().and_then(|_| serde_json::from_str(&document).ok());
    document.is_some_and(|document| document["data_plane"]["connected"] == true)
}

#[test]
fn what_clients_put_outlives_the_data_plane_and_control() {
    let stage = Stage::new("gv-meta");
    let http = stage.http;
    let (mut sidecar, at) = stage.start();
    let put = |key: &str| assert_eq!(ask(at, &format!("PUT /v1.0/metadata/{key}"), key).status, 204);
    put("one");
    replace(&sidecar, "dataplane");
    sidecar.await_state(Ready::Healthz(http));
    let shown = client::get(at, "/v1.0/metadata").text();
    assert!(shown.contains("\"one\":\"one\""), "{shown}");
    // a new control process hears of it from the data plane, and tells the next one
    replace(&sidecar, "control");
    put("two");
    wait::until(PATIENCE, "control knows the data plane", || knows_data_plane(&sidecar));
    put("three"); // answered when control has it, and with it all that came before
    replace(&sidecar, "dataplane");
    sidecar.await_state(Ready::Healthz(http));
    let shown = client::get(at, "/v1.0/metadata").text();
    for key in ["one", "two", "three"] {
        assert!(shown.contains(&format!("\"{key}\":\"{key}\"")), "{shown}");
    }
}

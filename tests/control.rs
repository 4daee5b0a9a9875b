//! The control process as a process, with the data plane's own end of the channel at the other side.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "control/ground.rs"]
mod ground;

use ground::{Control, DataPlane, Foreign, app, found, settings};
use proto::snapshot::Route;
use rig::scratch::Scratch;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn two_sidecars_on_one_machine_find_each_other_without_multicast_until_one_drains() {
    let scratch = Scratch::new();
    let orders = Control::start(&scratch, settings(&scratch, "orders"));
    let stock = Control::start(&scratch, settings(&scratch, "stock"));
    let (orders_plane, stock_plane) = (orders.join(), stock.join());
    orders_plane.snapshot();
    stock_plane.snapshot();
    found(&stock_plane, "orders", |count| count == 1);
    orders_plane.subscription.draining(Duration::from_secs(5));
    stock_plane.until("the name is withdrawn", |now| now.routes.is_empty());
    let Route::NotFound { tried } = &*stock_plane.ask("orders") else { panic!("still found") };
    assert_eq!(tried[0].way, "registry");
}

#[test]
fn control_withdraws_the_name_and_exits_with_0_when_it_is_terminated() {
    let scratch = Scratch::new();
    let mut orders = Control::start(&scratch, settings(&scratch, "orders"));
    let plane = orders.join();
    plane.snapshot();
    let entries = || std::fs::read_dir(scratch.path().join("registry")).unwrap().count();
    rig::wait::until(ground::PATIENCE, "the entry appears", || entries() == 1);
    assert_eq!(orders.terminate(), Some(0));
    assert_eq!(entries(), 0);
}

#[test]
fn a_control_that_was_killed_resumes_under_the_same_issuer_and_nobody_loses_the_name() {
    let scratch = Scratch::new();
    let with_mtls = |id| {
        let mut settings = settings(&scratch, id);
        settings.mtls = control::settings::Mtls::Own { dir: scratch.path().join("ca") };
        settings
    };
    let mut orders = Control::start(&scratch, with_mtls("orders"));
    let stock = Control::start(&scratch, with_mtls("stock"));
    let (orders_plane, stock_plane) = (orders.join(), stock.join());
    let (before, _) = orders_plane.snapshot();
    stock_plane.snapshot();
    found(&stock_plane, "orders", |count| count == 1);
    orders.kill();
    orders.restart();
    let (after, identity) = orders_plane.snapshot();
    assert!(after.version > before.version, "{} follows {}", after.version, before.version);
    let anchors = |s: &proto::snapshot::Snapshot| s.identity.as_ref().unwrap().trust_anchors.clone();
    assert_eq!(anchors(&after), anchors(&before));
    assert_eq!(identity.unwrap().id().to_string(), "spiffe://public/ns/default/orders");
    let entries = || std::fs::read_dir(scratch.path().join("registry")).unwrap().count();
    rig::wait::until(ground::PATIENCE, "both are registered", || entries() == 2);
    assert!(stock_plane.never_lost(&app("orders")));
}

#[test]
fn metrics_and_status_are_answered_while_a_data_plane_serves() {
    let scratch = Scratch::new();
    let mut wanted = settings(&scratch, "orders");
    let port = rig::port::one();
    wanted.metrics =
        Some(control::settings::Metrics { listen: format!("127.0.0.1:{port}"), port, inherited: false });
    let orders = Control::start(&scratch, wanted);
    let plane = orders.join();
    plane.snapshot();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("\noutrigger_up{app_id=\"orders\"} 1\n"), "{text}");
    let document = control::status::ask(orders.runtime()).unwrap();
    assert!(document.data_plane.connected && document.data_plane.applied > 0, "{document:?}");
}

#[test]
fn settings_that_cannot_be_read_end_the_process_with_a_reason() {
    let scratch = Scratch::new();
    let runtime = scratch.folder("empty");
    let output = ground::outrigger().args(["control", "--runtime"]).arg(&runtime).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("settings.json"), "{output:?}");
}

/// The whole of `examples/static-control`, which shares no code with Outrigger.
#[test]
fn a_foreign_control_process_pushes_a_table_and_changes_to_it() {
    let arguments = ["caller", "50003", "orders=127.0.0.1:7"];
    let Some(mut foreign) = Foreign::start(&arguments) else {
        eprintln!("SKIPPED a_foreign_control_process_pushes_a_table_and_changes_to_it: no python3");
        return;
    };
    let plane = DataPlane::join(foreign.socket());
    let (first, _) = plane.snapshot();
    assert_eq!((first.version, first.workload.app_id.as_str()), (1, "caller"));
    let one = |route: &Route| matches!(route, Route::Endpoints(endpoints) if endpoints.len() == 1);
    assert!(first.routes.get(&app("orders")).is_some_and(|route| one(route)));
    foreign.say("stock=127.0.0.1:8,127.0.0.1:9");
    plane.until("the name is added", |now| now.version == 2 && now.routes.len() == 2);
    foreign.say("orders=");
    plane.until("the name is taken out", |now| now.version == 3 && now.routes.len() == 1);
    let Route::NotFound { tried } = &*plane.ask("ghost") else { panic!("found") };
    assert_eq!((tried[0].way.as_str(), tried[0].answer.as_str()), ("static", "not in the table"));
    foreign.restart(&arguments);
    let back = |now: &proto::snapshot::Snapshot| now.version == 4 && now.routes.contains_key(&app("orders"));
    plane.until("the new process is followed", back);
}

/// The commands of that example's page.
#[test]
fn two_data_planes_under_foreign_control_carry_a_call_and_go_on_without_it() {
    let (app_port, mesh) = (ground::app_that_says_hello().to_string(), [rig::port::one(), rig::port::one()]);
    let (http, ports) = (rig::port::one(), mesh.map(|port| port.to_string()));
    let entry = format!("orders=127.0.0.1:{}", mesh[0]);
    let (orders, caller) =
        (Foreign::start(&["orders", &ports[0], &app_port]), Foreign::start(&["caller", &ports[1], &entry]));
    let (Some(mut orders), Some(mut caller)) = (orders, caller) else {
        eprintln!(
            "SKIPPED two_data_planes_under_foreign_control_carry_a_call_and_go_on_without_it: no python3"
        );
        return;
    };
    let internal = |at: usize| format!("internal=127.0.0.1:{}", mesh[at]);
    let _orders = ground::Plane::start(orders.socket(), &[internal(0)]);
    let _caller = ground::Plane::start(caller.socket(), &[internal(1), format!("http=127.0.0.1:{http}")]);
    let call = || ground::ask_http(http, "/v1.0/invoke/orders/method/list");
    rig::wait::until(ground::PATIENCE, "the call arrives", || call().ends_with("hello"));
    orders.kill();
    caller.kill();
    for _ in 0..20 {
        let answer = call();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    }
}

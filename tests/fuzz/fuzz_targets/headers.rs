//! A client's head through the mesh to the app: at most one request comes out, and the client cannot say who calls.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::envelope::{Fixed, Identity, Peer, request};
use proto::grpc::frame;
use proto::http1::head::{Head, Limits, Request, Slots};
use proto::http1::names::Known;
use proto::invoke::headers::app::{self, Added, Caller};

fuzz_target!(|bytes: &[u8]| {
    let mut slots = Slots::new();
    let Ok(Head::Complete(client)) = Request::parse(bytes, &mut slots, &Limits::default()) else { return };
    let own = Identity { app_id: "shop", namespace: "blue", host_address: "10.0.0.5", host_name: "n" };
    let fixed = Fixed::new(&own, "orders");
    let added = Added { host: "app:1", app_id: "orders", token: Some("own"), ..Added::default() };
    for peer in [Peer::Daprd, Peer::Outrigger] {
        let call = request::Outgoing {
            headers: &client.headers,
            verb: client.method,
            method: "x",
            query: "",
            fixed: &fixed,
            peer,
            dropped: 0,
        };
        let mut wire = Vec::new();
        if request::first(&mut wire, &call, b"").is_err() {
            assert!(wire.is_empty());
            continue;
        }
        let message = frame::split(&wire, usize::MAX).unwrap().unwrap().message;
        let (invoke, _) = request::open(message, peer).unwrap().leading().unwrap();
        let mut out = Vec::new();
        if app::from_mesh(&mut out, &invoke, peer, "x", &added, None).is_ok() {
            one_request(&out);
        }
    }
    let caller = Some(Caller { app_id: "shop", namespace: "blue" });
    let mut out = Vec::new();
    if app::from_client(&mut out, &client, "x", "", &Added { caller, ..added }, 0).is_ok() {
        one_request(&out);
    }
});

fn one_request(head: &[u8]) {
    let mut slots = Slots::new();
    let parsed = Request::parse(head, &mut slots, &Limits { max_head: 1 << 24 });
    let seen = match parsed {
        Ok(Head::Complete(seen)) => seen,
        Err(error) => return assert_eq!(error.status(), 431),
        Ok(Head::Partial) => panic!("{}", String::from_utf8_lossy(head)),
    };
    assert_eq!(seen.len, head.len());
    let expected = [
        (Known::DaprCallerAppId, &b"shop"[..]),
        (Known::DaprCallerNamespace, b"blue"),
        (Known::DaprCalleeAppId, b"orders"),
        (Known::DaprApiToken, b"own"),
    ];
    for (known, value) in expected {
        assert_eq!(seen.headers.all(known).collect::<Vec<_>>(), [value]);
    }
}

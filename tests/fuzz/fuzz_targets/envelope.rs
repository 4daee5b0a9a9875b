//! Messages of the mesh hop: no panic, and whatever is read can only become one head.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::envelope::{Peer, request, response};
use proto::http1::head::{Head, Limits, Request, Response, Slots, Version};
use proto::invoke::headers::app::{self, Added};
use proto::invoke::headers::client::{self, Asked, Body};
use proto::invoke::{details, method};

const LARGE: Limits = Limits { max_head: 1 << 24 };

fn one_request(head: &[u8]) {
    let mut slots = Slots::new();
    match Request::parse(head, &mut slots, &LARGE) {
        Ok(Head::Complete(request)) => assert_eq!(request.len, head.len()),
        // more lines than a head may have: the app refuses it, nothing hides in it
        Err(error) => assert_eq!(error.status(), 431),
        Ok(Head::Partial) => panic!("{}", String::from_utf8_lossy(head)),
    }
}

fn one_response(head: &[u8]) {
    let mut slots = Slots::new();
    match Response::parse(head, &mut slots, &LARGE) {
        Ok(Head::Complete(response)) => assert_eq!(response.len, head.len()),
        Err(error) => assert_eq!(error.status(), 431),
        Ok(Head::Partial) => panic!("{}", String::from_utf8_lossy(head)),
    }
}

fuzz_target!(|bytes: &[u8]| {
    for peer in [Peer::Daprd, Peer::Outrigger] {
        let streamed =
            request::open(bytes, peer).and_then(|message| message.leading()).map(|(invoke, _)| invoke);
        for invoke in streamed.into_iter().chain(request::open_whole(bytes, peer)) {
            let Ok(method) = method::normalise(invoke.method) else { continue };
            let added = Added { host: "app:1", app_id: "orders", ..Added::default() };
            let mut out = Vec::new();
            match app::from_mesh(&mut out, &invoke, peer, &method, &added, Some(0)) {
                Ok(_) => one_request(&out),
                Err(_) => assert!(out.is_empty()),
            }
        }
        let streamed =
            response::open(bytes, peer).and_then(|message| message.leading()).map(|(answer, _)| answer);
        for answer in streamed.into_iter().chain(response::open_whole(bytes, peer)) {
            let asked = Asked {
                version: Version::Http11,
                head: false,
                events: bytes.len() % 2 == 0,
                streaming: false,
                close: false,
                trace: None,
                tracestate: None,
                baggage: None,
                date: b"Thu, 01 Jan 1970 00:00:00 GMT",
                extra: &[],
                upgrade: None,
            };
            let mut out = Vec::new();
            if client::from_mesh(&mut out, &answer, &asked, Body::Unknown).is_some() {
                one_response(&out);
            }
            let _ = details::json(&answer);
        }
    }
});

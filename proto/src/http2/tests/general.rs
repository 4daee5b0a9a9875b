//! What HTTP needs beyond gRPC: informational responses, HEAD, requests without a body, the upgrade from HTTP/1.1.

use super::wire::*;
use crate::http2::code::Code;
use crate::http2::frame::{flag, kind};
use crate::http2::hpack::Literal;
use crate::http2::{Connection, Limits, Slot};

const HEAD: [(&str, &[u8]); 3] = [(":method", b"HEAD"), (":scheme", b"http"), (":path", b"/")];

fn request(end: &mut End, fields: &[(&str, &[u8])], ended: bool) -> Slot {
    let literals: Vec<Literal<'_>> = fields.iter().map(|(name, value)| Literal::new(name, value)).collect();
    end.conn.request(&literals, ended).unwrap()
}

#[test]
fn informational_responses_are_swallowed_up_to_a_limit() {
    let mut end = End::client();
    let slot = end.start();
    for _ in 0..5 {
        end.ok(&headers(1, false, &[(":status", "103"), ("link", "x")]));
        assert_eq!(end.conn.status(slot), 0);
    }
    end.ok(&headers(1, false, &RESPONSE));
    assert_eq!(end.conn.status(slot), 200);

    let mut end = End::client();
    end.start();
    (0..5).for_each(|_| end.ok(&headers(1, false, &[(":status", "100")])));
    assert_eq!(end.resets(1, &headers(1, false, &[(":status", "100")])), Code::ENHANCE_YOUR_CALM);

    let mut end = End::client();
    end.start();
    assert_eq!(end.resets(1, &headers(1, true, &[(":status", "100")])), Code::PROTOCOL_ERROR, "8.1");
}

#[test]
fn a_length_that_answers_head_promises_no_data() {
    let mut end = End::client();
    let slot = request(&mut end, &HEAD, true);
    end.ok(&headers(1, true, &[(":status", "200"), ("content-length", "5")]));
    assert!(end.conn.failure(slot).is_none() && end.conn.is_complete(slot));
    let slot = end.start();
    end.ok(&headers(3, true, &[(":status", "304"), ("content-length", "5")]));
    assert!(end.conn.failure(slot).is_none());
    end.start();
    let get = headers(5, true, &[(":status", "200"), ("content-length", "5")]);
    assert_eq!(end.resets(5, &get), Code::PROTOCOL_ERROR, "8.1.1");
}

#[test]
fn a_request_without_a_body_ends_with_its_head() {
    let mut end = End::client();
    let slot = request(&mut end, &HEAD, true);
    let wrote = end.wrote();
    let (head, _) = wrote.iter().find(|(head, _)| head.kind == kind::HEADERS).unwrap();
    assert!(head.has(flag::END_STREAM));
    assert!(!end.conn.is_writable(slot));
}

#[test]
fn interim_answers_go_out_before_the_head_and_never_after() {
    let mut end = End::server();
    let slot = end.opened(1);
    end.conn.interim(slot, 100);
    end.conn.interim(slot, 103);
    end.conn.headers(slot, false, None, &[Literal::new(":status", b"200")]);
    end.conn.interim(slot, 100);
    let heads = end.wrote().iter().filter(|(head, _)| head.kind == kind::HEADERS).count();
    assert_eq!(heads, 3);
}

#[test]
fn an_upgraded_connection_answers_on_stream_1() {
    let window = [0, 4, 0, 0, 0, 3];
    let (conn, slot) = Connection::upgraded(limits(), START, &window).unwrap();
    let mut end = End { conn, now: START };
    assert!(end.conn.is_complete(slot));
    end.conn.headers(slot, false, None, &[Literal::new(":status", b"200")]);
    end.conn.data(slot, true, |out| out.extend_from_slice(b"hello"));
    let bytes: usize = end.wrote().iter().filter(|(f, _)| f.kind == kind::DATA).map(|(_, p)| p.len()).sum();
    assert_eq!(bytes, 3, "the window that HTTP2-Settings announced");
    assert!(Connection::upgraded(limits(), START, &[0, 2, 0, 0, 0, 9]).is_err());
    assert!(Connection::upgraded(limits(), START, b"odd").is_err());
}

#[test]
fn a_header_list_above_the_limit_is_answered_plainly_where_no_grpc_is_spoken() {
    let many = [&REQUEST[..], &[("a", "b"); 250]].concat();
    let answer = |grpc| {
        let mut end = End::server_with(Limits { grpc, ..limits() });
        end.ok(&headers(1, true, &many));
        let wrote = end.wrote();
        wrote.iter().find(|(head, _)| head.kind == kind::HEADERS).map(|(head, _)| head.length).unwrap()
    };
    assert!(answer(false) < 16, "a status alone");
    assert!(answer(true) > 16);
}

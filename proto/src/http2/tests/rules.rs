//! Every illegal frame has its code (RFC 9113): connection errors with GOAWAY, stream errors with RST_STREAM.

use super::wire::*;
use crate::http2::code::Code;
use crate::http2::frame::{flag, kind};
use crate::http2::{Connection, Event, Failure, Limits};

const PRIORITY: [u8; 5] = [0, 0, 0, 0, 15];

#[test]
fn connection_errors_have_the_codes_of_their_sections() {
    let cases: Vec<(&str, Vec<u8>, Code)> = vec![
        ("4.2 frame above the size", frame(kind::DATA, 0, 1, &vec![0; 16_385]), Code::FRAME_SIZE_ERROR),
        ("6.1 DATA on 0", data(0, false, b"x"), Code::PROTOCOL_ERROR),
        ("6.1 padding too long", frame(kind::DATA, flag::PADDED, 1, &[9, 0]), Code::PROTOCOL_ERROR),
        ("6.2 HEADERS on 0", headers(0, false, &REQUEST), Code::PROTOCOL_ERROR),
        ("6.2 padding too long", frame(kind::HEADERS, flag::PADDED | 4, 3, &[9, 0]), Code::PROTOCOL_ERROR),
        ("6.2 priority cut", frame(kind::HEADERS, flag::PRIORITY | 4, 3, &[0; 4]), Code::FRAME_SIZE_ERROR),
        ("6.3 PRIORITY on 0", frame(kind::PRIORITY, 0, 0, &PRIORITY), Code::PROTOCOL_ERROR),
        ("6.4 RST_STREAM on 0", reset(0, Code::CANCEL), Code::PROTOCOL_ERROR),
        ("6.4 RST_STREAM on idle", reset(9, Code::CANCEL), Code::PROTOCOL_ERROR),
        ("6.4 RST_STREAM size", frame(kind::RST_STREAM, 0, 1, &[0; 3]), Code::FRAME_SIZE_ERROR),
        ("6.5 SETTINGS on a stream", frame(kind::SETTINGS, 0, 1, &[]), Code::PROTOCOL_ERROR),
        ("6.5 SETTINGS size", frame(kind::SETTINGS, 0, 0, &[0; 5]), Code::FRAME_SIZE_ERROR),
        ("6.5 ACK with payload", frame(kind::SETTINGS, flag::ACK, 0, &[0; 6]), Code::FRAME_SIZE_ERROR),
        ("6.5.2 push", settings(&[(2, 2)]), Code::PROTOCOL_ERROR),
        ("6.5.2 window", settings(&[(4, 1 << 31)]), Code::FLOW_CONTROL_ERROR),
        ("6.5.2 frame size", settings(&[(5, 1)]), Code::PROTOCOL_ERROR),
        ("6.6 PUSH_PROMISE", frame(kind::PUSH_PROMISE, 4, 1, &[0; 4]), Code::PROTOCOL_ERROR),
        ("6.7 PING on a stream", frame(kind::PING, 0, 1, &[0; 8]), Code::PROTOCOL_ERROR),
        ("6.7 PING size", frame(kind::PING, 0, 0, &[0; 7]), Code::FRAME_SIZE_ERROR),
        ("6.8 GOAWAY on a stream", frame(kind::GOAWAY, 0, 1, &[0; 8]), Code::PROTOCOL_ERROR),
        ("6.8 GOAWAY size", frame(kind::GOAWAY, 0, 0, &[0; 7]), Code::FRAME_SIZE_ERROR),
        ("6.9 increment 0", window_update(0, 0), Code::PROTOCOL_ERROR),
        ("6.9 size", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]), Code::FRAME_SIZE_ERROR),
        ("6.9.1 overflow", window_update(0, 0x7fff_ffff), Code::FLOW_CONTROL_ERROR),
        ("6.10 CONTINUATION alone", frame(kind::CONTINUATION, 4, 1, &[]), Code::PROTOCOL_ERROR),
        (
            "6.10 another frame within a block",
            [frame(kind::HEADERS, 0, 3, &[]), frame(kind::PING, 0, 0, &[0; 8])].concat(),
            Code::PROTOCOL_ERROR,
        ),
        (
            "6.10 another stream's CONTINUATION",
            [frame(kind::HEADERS, 0, 3, &[]), frame(kind::CONTINUATION, 4, 5, &[])].concat(),
            Code::PROTOCOL_ERROR,
        ),
        (
            "5.5 unknown frame within a block",
            [frame(kind::HEADERS, 0, 3, &[]), frame(0x42, 0, 3, &[])].concat(),
            Code::PROTOCOL_ERROR,
        ),
        ("5.1 DATA on idle", data(9, false, b"x"), Code::PROTOCOL_ERROR),
        ("5.1 WINDOW_UPDATE on idle", window_update(9, 1), Code::PROTOCOL_ERROR),
        ("5.1.1 even id", headers(2, false, &REQUEST), Code::PROTOCOL_ERROR),
        ("4.3 bad block", frame(kind::HEADERS, 4, 3, &[0xff, 0xff]), Code::COMPRESSION_ERROR),
    ];
    for (name, bytes, code) in cases {
        let mut end = End::server();
        end.opened(1);
        assert_eq!(end.refuses(&bytes), code, "{name}");
        assert!(end.conn.receive(&data(1, false, b"x"), end.now).is_err(), "{name}: stays ended");
    }
}

#[test]
fn a_client_refuses_what_only_clients_may_send() {
    assert_eq!(End::client().refuses(&headers(2, false, &RESPONSE)), Code::PROTOCOL_ERROR, "pushed stream");
    assert_eq!(End::client().refuses(&headers(1, false, &RESPONSE)), Code::PROTOCOL_ERROR, "idle stream");
    assert_eq!(End::client().refuses(&settings(&[(2, 1)])), Code::PROTOCOL_ERROR, "push from a server");
    assert_eq!(End::client().refuses(&frame(kind::PUSH_PROMISE, 4, 1, &[0; 4])), Code::PROTOCOL_ERROR);
}

#[test]
fn the_first_bytes_are_the_preface_and_settings() {
    let fresh = |server: bool| End {
        conn: if server {
            Connection::server(Limits::default(), START)
        } else {
            Connection::client(Limits::default(), START)
        },
        now: START,
    };
    assert_eq!(fresh(true).refuses(b"GET / HTTP/1.1\r\n\r\n"), Code::PROTOCOL_ERROR);
    assert_eq!(fresh(true).refuses(b"PRI * HTTP/2.0\r\n\r\nXX"), Code::PROTOCOL_ERROR);
    assert_eq!(fresh(false).refuses(b"HTTP/1.1 400 Bad Request\r\n"), Code::FRAME_SIZE_ERROR);
    assert_eq!(fresh(false).refuses(&frame(kind::PING, 0, 0, &[0; 8])), Code::PROTOCOL_ERROR);
    assert_eq!(fresh(false).refuses(&frame(kind::SETTINGS, flag::ACK, 0, &[])), Code::PROTOCOL_ERROR);
}

#[test]
fn stream_errors_have_the_codes_of_their_sections_and_spare_the_connection() {
    let overflow = [window_update(1, 0x7fff_ffff), window_update(1, 0x7fff_ffff)].concat();
    let cases: Vec<(&str, Vec<u8>, Code)> = vec![
        ("5.1 DATA on half-closed", [data(1, true, b""), data(1, false, b"x")].concat(), Code::STREAM_CLOSED),
        (
            "5.1 HEADERS on half-closed",
            [data(1, true, b""), headers(1, true, &[])].concat(),
            Code::STREAM_CLOSED,
        ),
        (
            "5.1 a second request",
            [data(1, true, b""), headers(1, true, &REQUEST)].concat(),
            Code::STREAM_CLOSED,
        ),
        ("8.1 trailers without END_STREAM", headers(1, false, &[("a", "b")]), Code::PROTOCOL_ERROR),
        ("8.1 pseudo field in trailers", headers(1, true, &[(":status", "200")]), Code::PROTOCOL_ERROR),
        ("8.2.1 upper case", headers(1, true, &[("A", "b")]), Code::PROTOCOL_ERROR),
        ("6.3 PRIORITY size", frame(kind::PRIORITY, 0, 1, &[0; 4]), Code::FRAME_SIZE_ERROR),
        ("5.3.1 own parent", frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), Code::PROTOCOL_ERROR),
        ("6.9 increment 0", window_update(1, 0), Code::PROTOCOL_ERROR),
        ("6.9.1 overflow", overflow, Code::FLOW_CONTROL_ERROR),
    ];
    for (name, bytes, code) in cases {
        let mut end = End::server();
        let slot = end.opened(1);
        assert_eq!(end.resets(1, &bytes), code, "{name}");
        assert!(matches!(end.conn.failure(slot), Some(Failure::Violated(v)) if v.code == code), "{name}");
        end.ok(&data(1, false, b"still on its way")); // §5.4.2
        end.conn.release(slot);
        end.opened(3);
    }
}

#[test]
fn malformed_requests_are_reset_and_never_reported() {
    let without = |i: usize| {
        let mut list = REQUEST.to_vec();
        list.remove(i);
        list
    };
    let with = |more: (&'static str, &'static str)| [&REQUEST[..], &[more]].concat();
    let lists = [
        without(0),
        without(1),
        without(2),
        with((":method", "POST")),
        with((":foo", "x")),
        with((":status", "200")),
        with(("connection", "close")),
        with(("te", "gzip")),
        with(("Upper", "x")),
        with(("a", "b\0")),
        with(("content-length", "x")),
    ];
    let mut end = End::server();
    for (i, list) in (0u32..).zip(&lists) {
        let id = 2 * i + 1;
        assert_eq!(end.resets(id, &headers(id, false, list)), Code::PROTOCOL_ERROR, "{list:?}");
        assert_eq!(end.conn.poll(), None);
    }
    assert_eq!(end.resets(99, &headers(99, true, &with(("content-length", "1")))), Code::PROTOCOL_ERROR);
    assert_eq!(end.conn.open_streams(), 0);
}

#[test]
fn a_body_must_be_as_long_as_its_content_length() {
    let list = [&REQUEST[..], &[("content-length", "3")]].concat();
    for (body, end_stream, good) in [("abcd", false, false), ("ab", true, false), ("abc", true, true)] {
        let mut end = End::server();
        end.ok(&headers(1, false, &list));
        end.ok(&data(1, end_stream, body.as_bytes()));
        let reset = end.wrote().iter().any(|(h, p)| h.kind == kind::RST_STREAM && p[3] == 1);
        assert_eq!(reset, !good, "{body}");
    }
}

#[test]
fn streams_that_are_gone_are_told_apart() {
    let mut end = End::server();
    let slot = end.opened(5);
    assert_eq!(
        end.refuses(&headers(3, false, &REQUEST)),
        Code::PROTOCOL_ERROR,
        "5.1.1: skipped, never opened"
    );
    assert_eq!(end.conn.failure(slot), Some(Failure::Lost));

    let mut end = End::server();
    end.opened(1);
    end.ok(&reset(1, Code::CANCEL));
    end.ok(&window_update(1, 1));
    end.ok(&reset(1, Code::CANCEL));
    end.ok(&frame(kind::PRIORITY, 0, 1, &PRIORITY));
    assert_eq!(end.refuses(&data(1, false, b"x")), Code::STREAM_CLOSED, "the peer reset it");

    let mut end = End::server();
    let slot = end.opened(1);
    end.conn.reset(slot, Code::CANCEL);
    end.ok(&data(1, false, b"x"));
    end.ok(&headers(1, true, &[("a", "b")]));

    let mut end = End::server();
    let slot = end.opened(1);
    let ok = end.conn.register(&RESPONSE);
    end.ok(&data(1, true, b""));
    end.conn.headers(slot, true, Some(ok), &[]);
    assert_eq!(end.refuses(&headers(1, true, &[("a", "b")])), Code::STREAM_CLOSED, "both ended it");
}

#[test]
fn responses_are_checked() {
    let cases: [(&[(&str, &str)], bool); 7] = [
        (&[(":status", "200")], true),
        (&[(":status", "503"), ("a", "b")], true),
        (&[(":status", "100")], true),
        (&[(":status", "103")], true),
        (&[(":status", "101")], false),
        (&[("content-type", "application/grpc")], false),
        (&[(":status", "200"), (":path", "/")], false),
    ];
    for (list, good) in cases {
        let mut end = End::client();
        let slot = end.start();
        end.ok(&headers(1, false, list));
        assert_eq!(end.conn.failure(slot).is_none(), good, "{list:?}");
    }
    let mut end = End::client();
    end.start();
    assert_eq!(end.resets(1, &data(1, false, b"x")), Code::PROTOCOL_ERROR, "8.1: DATA before the head");
}

#[test]
fn padding_priority_and_continuation_are_understood() {
    let mut end = End::server();
    let head = block(&REQUEST);
    let first = [&[3, 0x80, 0, 0, 9, 200][..], &head[..10], &[0, 0, 0]].concat();
    end.ok(&frame(kind::HEADERS, flag::PADDED | flag::PRIORITY, 1, &first));
    end.ok(&frame(kind::CONTINUATION, 0, 1, &head[10..20]));
    end.ok(&frame(kind::CONTINUATION, flag::END_HEADERS, 1, &head[20..]));
    let Some(Event::Opened(slot)) = end.conn.poll() else { panic!("not opened") };
    assert_eq!(end.conn.head(slot).named(b":path"), Some(&b"/s/m"[..]));
    end.ok(&frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, &[2, b'h', b'i', 0, 0]));
    assert_eq!(end.conn.received(slot), b"hi");
    assert!(end.conn.is_complete(slot));
}

#[test]
fn unknown_frames_and_priority_are_ignored() {
    let mut end = End::server();
    end.ok(&frame(0x42, 0xff, 77, b"whatever"));
    end.ok(&frame(kind::PRIORITY, 0, 77, &PRIORITY));
    end.ok(&frame(kind::WINDOW_UPDATE, 0xff, 0, &[0, 0, 0, 1])); // undefined flags
    assert!(end.wrote().is_empty());
}

#[test]
fn settings_and_pings_are_acknowledged() {
    let mut end = End::server();
    end.ok(&settings(&[(4, 100), (0x99, 1)]));
    end.ok(&frame(kind::PING, 0, 0, b"12345678"));
    let wrote = end.wrote();
    assert_eq!((wrote[0].0.kind, wrote[0].0.flags, wrote[0].0.length), (kind::SETTINGS, flag::ACK, 0));
    assert_eq!(
        (wrote[1].0.kind, wrote[1].0.flags, &wrote[1].1[..]),
        (kind::PING, flag::ACK, &b"12345678"[..])
    );
    end.ok(&frame(kind::PING, flag::ACK, 0, b"whatever"));
    assert!(end.wrote().is_empty());
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let mut bytes = vec![];
    for id in [1, 3, 5] {
        bytes.extend(headers(id, false, &REQUEST));
        bytes.extend(data(id, true, &[id as u8; 40]));
    }
    for step in 1..60 {
        let mut end = End::server();
        bytes.chunks(step).for_each(|part| end.ok(part));
        for id in [1u8, 3, 5] {
            let Some(Event::Opened(slot)) = end.conn.poll() else { panic!("step {step}") };
            assert_eq!(end.conn.received(slot), [id; 40]);
        }
    }
}

#[test]
fn trailers_and_the_message_arrive_whole() {
    let mut end = End::client();
    let slot = end.start();
    end.ok(&headers(1, false, &RESPONSE));
    end.ok(&data(1, false, b"body"));
    end.ok(&headers(1, true, &[("grpc-status", "0"), ("x", "y")]));
    assert_eq!(end.conn.poll(), Some(Event::Progress(slot)));
    assert_eq!(end.conn.status(slot), 200);
    assert_eq!(end.conn.received(slot), b"body");
    assert_eq!(end.conn.trailers(slot).tagged(crate::http2::Name::GrpcStatus), Some(&b"0"[..]));
    assert!(end.conn.is_complete(slot));
}

//! Beginning and end: time-outs, keep-alive, idleness, GOAWAY, what is provably unprocessed.

use super::wire::*;
use crate::http2::frame::{flag, kind, number};
use crate::http2::{Code, Connection, Event, Failure, Limits, NotStarted};
use core::time::Duration;

fn after(end: &mut End, seconds: u64) {
    end.now = end.now + Duration::from_secs(seconds);
}

#[test]
fn a_client_starts_nothing_before_the_settings_are_there() {
    let mut conn = Connection::client(Limits::default(), START);
    let id = conn.register(&REQUEST);
    assert_eq!(conn.room(), 0);
    assert_eq!(conn.start(id, None, &[]), Err(NotStarted::Unsettled));
}

#[test]
fn missing_settings_end_the_connection_in_time() {
    let mut conn = Connection::client(Limits::default(), START);
    let late = START + Duration::from_secs(10);
    assert_eq!(conn.deadline(), late);
    assert!(conn.tick(START + Duration::from_secs(9)).is_ok());
    assert_eq!(conn.tick(late).unwrap_err().code, Code::SETTINGS_TIMEOUT);
}

#[test]
fn silence_is_answered_with_a_ping_and_a_missing_answer_with_the_end() {
    let mut end = End::client();
    assert_eq!(end.conn.deadline(), START + Duration::from_secs(10));
    after(&mut end, 10);
    end.conn.tick(end.now).unwrap();
    let wrote = end.wrote();
    assert_eq!((wrote[0].0.kind, wrote[0].0.flags), (kind::PING, 0));
    after(&mut end, 4);
    end.ok(&frame(kind::PING, flag::ACK, 0, &wrote[0].1));
    end.conn.tick(end.now).unwrap();
    assert!(end.wrote().is_empty());
    after(&mut end, 10);
    end.conn.tick(end.now).unwrap();
    assert_eq!(end.wrote().len(), 1);
    let slot = end.start();
    end.wrote();
    after(&mut end, 5);
    assert!(end.conn.tick(end.now).is_err());
    assert_eq!(end.conn.failure(slot), Some(Failure::Lost));
    assert!(end.conn.is_over());
}

#[test]
fn traffic_keeps_pings_away() {
    let mut end = End::server();
    end.opened(1);
    for _ in 0..20 {
        after(&mut end, 9);
        end.ok(&data(1, false, b"x"));
        end.conn.tick(end.now).unwrap();
        assert!(end.wrote().is_empty());
    }
}

#[test]
fn an_idle_connection_closes_after_three_minutes_and_a_used_one_does_not() {
    let mut end = End::client();
    let mut goaway_at = None;
    let slot = end.start();
    for second in 1..=600u64 {
        after(&mut end, 1);
        if second == 300 {
            end.ok(&headers(1, true, &[&RESPONSE[..], &[("grpc-status", "0")]].concat()));
            end.conn.data(slot, true, |_| ());
            end.conn.release(slot);
        }
        end.conn.tick(end.now).unwrap();
        for (head, payload) in end.wrote() {
            if head.kind == kind::PING {
                end.ok(&frame(kind::PING, flag::ACK, 0, &payload));
            }
            if head.kind == kind::GOAWAY {
                goaway_at.get_or_insert(second);
            }
        }
        if end.conn.is_over() {
            break;
        }
    }
    assert_eq!(goaway_at, Some(480));
    assert!(end.conn.is_over());
}

#[test]
fn a_server_leaves_in_two_steps_and_loses_no_stream_on_its_way() {
    let mut end = End::server();
    let slot = end.opened(1);
    after(&mut end, 9); // the peer has been silent for some time
    end.conn.shutdown(end.now);
    end.conn.tick(end.now).unwrap();
    let wrote = end.wrote();
    assert_eq!((wrote[0].0.kind, number(&wrote[0].1)), (kind::GOAWAY, 0x7fff_ffff));
    assert_eq!(wrote[1].0.kind, kind::PING);
    let late = end.opened(3); // sent before the client knew
    end.ok(&frame(kind::PING, flag::ACK, 0, &wrote[1].1));
    let wrote = end.wrote();
    assert_eq!((wrote[0].0.kind, number(&wrote[0].1)), (kind::GOAWAY, 3));
    end.ok(&headers(5, false, &REQUEST));
    end.ok(&data(5, true, b"ignored"));
    assert!(end.wrote().is_empty(), "the last id says it all");
    let ok = end.conn.register(&RESPONSE);
    for slot in [slot, late] {
        assert!(!end.conn.is_over());
        end.conn.headers(slot, true, Some(ok), &[]);
        end.conn.release(slot);
    }
    assert_eq!(end.conn.poll(), Some(Event::Over));
    assert!(end.conn.is_over());
}

#[test]
fn a_peer_that_trickles_bytes_cannot_hold_a_connection_without_calls() {
    let mut end = End::server();
    end.ok(&frame(kind::HEADERS, 0, 1, &[])); // a header block that never ends
    let part = frame(kind::CONTINUATION, 0, 1, &[0; 100]);
    let mut bytes = part.iter().cycle();
    let closed = (1..1000u64).find(|_| {
        after(&mut end, 9);
        end.ok(&[*bytes.next().unwrap()]);
        end.conn.tick(end.now).unwrap();
        end.wrote();
        end.conn.is_over()
    });
    assert_eq!(closed, Some(24), "three minutes and half of one");
}

#[test]
fn goaway_separates_what_may_have_been_processed_from_what_was_not() {
    let mut end = End::client();
    let slots: Vec<_> = (0..3).map(|_| end.start()).collect();
    end.wrote();
    end.ok(&goaway(0x7fff_ffff, Code::NO_ERROR));
    assert_eq!(end.conn.failure(slots[2]), None);
    assert!(!end.conn.takes_streams());
    end.ok(&goaway(3, Code::NO_ERROR));
    assert_eq!(end.conn.failure(slots[2]), Some(Failure::Unprocessed));
    assert_eq!(end.conn.failure(slots[1]), None);
    let id = end.conn.register(&REQUEST);
    assert_eq!(end.conn.start(id, None, &[]), Err(NotStarted::Draining));
    end.ok(&headers(1, true, &[&RESPONSE[..], &[("grpc-status", "0")]].concat()));
    assert!(end.conn.is_complete(slots[0]), "open streams go on");
    end.conn.closed();
    assert_eq!(end.conn.failure(slots[1]), Some(Failure::Lost));
    assert!(end.conn.is_complete(slots[0]));
}

#[test]
fn what_was_never_handed_to_the_transport_is_unprocessed() {
    let mut end = End::client();
    let sent = end.start();
    end.wrote();
    let unsent = end.start();
    end.conn.closed();
    assert_eq!(end.conn.failure(sent), Some(Failure::Lost));
    assert_eq!(end.conn.failure(unsent), Some(Failure::Unprocessed));
}

#[test]
fn a_refused_stream_is_unprocessed_and_any_other_reset_is_not() {
    let mut end = End::client();
    let (a, b) = (end.start(), end.start());
    end.ok(&reset(1, Code::REFUSED_STREAM));
    end.ok(&reset(3, Code::CANCEL));
    assert_eq!(end.conn.failure(a), Some(Failure::Unprocessed));
    assert_eq!(end.conn.failure(b), Some(Failure::Reset(Code::CANCEL)));
}

#[test]
fn a_reset_behind_a_whole_answer_takes_nothing_away() {
    let mut end = End::client();
    let slot = end.start();
    end.ok(&headers(1, true, &[&RESPONSE[..], &[("grpc-status", "0")]].concat()));
    end.ok(&reset(1, Code::NO_ERROR));
    assert!(end.conn.is_complete(slot));
    assert!(!end.conn.is_writable(slot));
}

#[test]
fn a_server_hears_of_a_reset_even_when_the_request_was_complete() {
    let mut end = End::server();
    let slot = end.opened(1);
    end.ok(&data(1, true, b"all"));
    while end.conn.poll().is_some() {}
    end.ok(&reset(1, Code::CANCEL));
    assert_eq!(end.conn.poll(), Some(Event::Progress(slot)));
    assert_eq!(end.conn.failure(slot), Some(Failure::Reset(Code::CANCEL)));
}

#[test]
fn an_early_answer_is_followed_by_a_reset_without_error() {
    let mut end = End::server();
    let slot = end.opened(1);
    let ok = end.conn.register(&RESPONSE);
    end.conn.headers(slot, true, Some(ok), &[]);
    end.conn.release(slot);
    let wrote = end.wrote();
    assert_eq!(wrote[0].0.kind, kind::HEADERS);
    assert_eq!((wrote[1].0.kind, number(&wrote[1].1)), (kind::RST_STREAM, Code::NO_ERROR.0));
    end.ok(&data(1, false, b"on its way"));
}

#[test]
fn a_dropped_stream_is_cancelled() {
    let mut end = End::client();
    let slot = end.start();
    end.conn.release(slot);
    let wrote = end.wrote();
    assert_eq!((wrote[1].0.kind, number(&wrote[1].1)), (kind::RST_STREAM, Code::CANCEL.0));
}

#[test]
fn the_peers_concurrency_is_respected_and_room_is_told() {
    let mut end = End::client_with(Limits::default(), &[(3, 1)]);
    let slot = end.start();
    let id = end.conn.register(&REQUEST);
    assert_eq!(end.conn.start(id, None, &[]), Err(NotStarted::Full));
    end.ok(&reset(1, Code::CANCEL));
    let events: Vec<Event> = std::iter::from_fn(|| end.conn.poll()).collect();
    assert_eq!(events, [Event::Progress(slot), Event::Room]);
    assert_eq!(end.conn.room(), 1);
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let mut end = End::server();
    end.ok(&settings(&[(4, 0)]));
    let slot = end.opened(1);
    let ok = end.conn.register(&RESPONSE);
    end.conn.headers(slot, false, Some(ok), &[]);
    end.conn.data(slot, true, |out| out.extend_from_slice(b"never read"));
    end.conn.release(slot);
    end.wrote();
    let mut reset_after = None;
    for second in 1..60u64 {
        after(&mut end, 1);
        end.ok(&window_update(0, 1)); // the peer lives
        end.conn.tick(end.now).unwrap();
        if end.wrote().iter().any(|(h, _)| h.kind == kind::RST_STREAM) {
            reset_after.get_or_insert(second);
        }
    }
    assert_eq!(reset_after, Some(30));
    assert_eq!(end.conn.open_streams(), 0);
}

#[test]
fn a_header_list_above_the_peers_limit_is_not_sent() {
    let mut end = End::client_with(Limits::default(), &[(6, 1000)]);
    let id = end.conn.register(&REQUEST);
    let long = vec![b'x'; 600];
    let started = end.conn.start(id, None, &[crate::http2::Literal::new("a", &long)]);
    assert_eq!(started, Err(NotStarted::TooLarge));
    assert!(end.wrote().is_empty());
}

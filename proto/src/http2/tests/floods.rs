//! What a hostile peer may try (the HTTP/2 families of known attacks): each is refused, none grows memory.

use super::wire::*;
use crate::http2::code::Code;
use crate::http2::frame::{flag, kind};
use crate::http2::{Event, Limits};
use core::time::Duration;

/// Feeds `make(i)` until the connection ends; the code and how many were accepted.
fn flood(end: &mut End, most: u32, mut make: impl FnMut(u32) -> Vec<u8>) -> (Code, u32) {
    for i in 0..most {
        if let Err(violation) = end.conn.receive(&make(i), end.now) {
            return (violation.code, i);
        }
        while end.conn.poll().is_some() {}
        end.conn.write().clear();
    }
    panic!("{most} were accepted");
}

#[test]
fn rapid_resets_end_the_connection() {
    let mut end = End::server();
    let (code, accepted) = flood(&mut end, 100_000, |i| {
        [headers(2 * i + 1, false, &REQUEST), reset(2 * i + 1, Code::CANCEL)].concat()
    });
    assert_eq!((code, accepted), (Code::ENHANCE_YOUR_CALM, Limits::default().resets_per_second));
}

#[test]
fn a_stream_opened_and_reset_in_one_read_never_becomes_a_call() {
    let mut end = End::server();
    end.ok(&[headers(1, false, &REQUEST), reset(1, Code::CANCEL)].concat());
    assert_eq!(end.conn.poll(), None);
}

#[test]
fn reset_streams_count_until_their_handler_lets_go() {
    let mut end = End::server_with(Limits { concurrent_streams: 1, ..limits() });
    let first = end.opened(1);
    end.ok(&reset(1, Code::CANCEL));
    end.opened(3);
    assert_eq!(end.resets(5, &headers(5, false, &REQUEST)), Code::REFUSED_STREAM, "one is open");
    end.ok(&reset(3, Code::CANCEL));
    assert_eq!(end.resets(7, &headers(7, false, &REQUEST)), Code::REFUSED_STREAM, "two execute");
    end.conn.release(first);
    end.opened(9);
}

#[test]
fn resets_that_the_peer_provokes_are_counted() {
    let mut end = End::server();
    let (code, accepted) = flood(&mut end, 1000, |i| {
        [headers(2 * i + 1, false, &REQUEST), window_update(2 * i + 1, 0)].concat()
    });
    assert_eq!((code, accepted), (Code::ENHANCE_YOUR_CALM, Limits::default().stream_errors_per_second));
}

#[test]
fn refused_streams_are_counted() {
    let mut end = End::server_with(Limits { concurrent_streams: 0, ..limits() });
    let (code, _) = flood(&mut end, 2000, |i| headers(2 * i + 1, false, &REQUEST));
    assert_eq!(code, Code::ENHANCE_YOUR_CALM);
}

#[test]
fn endless_continuation_ends_after_a_few_frames() {
    let mut end = End::server();
    end.ok(&frame(kind::HEADERS, 0, 1, &block(&REQUEST)));
    let part = block(&[("x", &"y".repeat(100))]);
    let (code, accepted) = flood(&mut end, 1000, |_| frame(kind::CONTINUATION, 0, 1, &part));
    assert_eq!((code, accepted), (Code::ENHANCE_YOUR_CALM, Limits::default().continuations));

    let mut end = End::server();
    end.ok(&frame(kind::HEADERS, 0, 1, &block(&REQUEST)));
    let part = block(&[("x", &"y".repeat(16_000))]);
    let (code, accepted) = flood(&mut end, 1000, |_| frame(kind::CONTINUATION, 0, 1, &part));
    assert_eq!(code, Code::ENHANCE_YOUR_CALM);
    assert!(accepted <= 4, "64 KiB");
}

#[test]
fn floods_of_small_frames_end_the_connection() {
    let limits = Limits::default();
    let mut end = End::server();
    end.opened(1);
    let ping = flood(&mut end, 100_000, |_| frame(kind::PING, 0, 0, &[0; 8]));
    assert_eq!(ping.0, Code::ENHANCE_YOUR_CALM);
    assert!(ping.1 <= limits.pings_per_second + 1);
    type Make = fn(u32) -> Vec<u8>;
    let kinds: [(Make, u32); 4] = [
        (|_| settings(&[(4, 70_000)]), limits.settings_per_second),
        (|_| data(1, false, b""), limits.empty_frames_per_second),
        (|_| frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), limits.ignored_frames_per_second),
        (|_| frame(0x77, 0, 1, &[]), limits.ignored_frames_per_second),
    ];
    for (make, most) in kinds {
        let mut end = End::server();
        end.opened(1);
        let (code, accepted) = flood(&mut end, 100_000, make);
        assert_eq!(code, Code::ENHANCE_YOUR_CALM);
        assert!(accepted <= most);
    }
}

#[test]
fn the_same_frames_at_a_calm_pace_are_welcome() {
    let mut end = End::server();
    end.opened(1);
    for _ in 0..300 {
        end.now = end.now + Duration::from_secs(1);
        end.ok(&frame(kind::PING, 0, 0, &[0; 8]));
        end.ok(&settings(&[(4, 70_000)]));
        end.ok(&data(1, false, b""));
        end.ok(&frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]));
        end.wrote();
    }
}

#[test]
fn a_ping_with_every_message_is_welcome() {
    let mut end = End::server();
    let slot = end.opened(1);
    for _ in 0..5000 {
        end.ok(&[data(1, false, b"x"), frame(kind::PING, 0, 0, &[0; 8])].concat());
        end.conn.take(slot, 1);
        end.wrote();
    }
}

#[test]
fn answers_for_a_peer_that_does_not_read_are_bounded() {
    let mut end = End::server_with(Limits { pings_per_second: u32::MAX, ..limits() });
    let ping = frame(kind::PING, 0, 0, &[0; 8]);
    let accepted = (0..100_000).find(|_| end.conn.receive(&ping, end.now).is_err());
    assert!(accepted.unwrap() <= Limits::default().frames_queued);
    assert!(end.conn.write().len() < 40_000);
}

#[test]
fn a_header_list_above_the_limits_is_answered_and_not_kept() {
    let many: Vec<(&str, &str)> = REQUEST.into_iter().chain([("a", "b"); 300]).collect();
    let mut end = End::server();
    end.ok(&headers(1, false, &many));
    let wrote = end.wrote();
    assert_eq!((wrote[0].0.kind, wrote[0].0.flags & flag::END_STREAM), (kind::HEADERS, flag::END_STREAM));
    assert_eq!((wrote[1].0.kind, wrote[1].1[3]), (kind::RST_STREAM, 0));
    assert_eq!(end.conn.poll(), Some(Event::Refused("header_list")));
    end.opened(3);
}

#[test]
fn a_table_entry_referred_to_ten_thousand_times_costs_no_memory() {
    let mut end = End::server();
    let mut bomb = vec![0x40, 1, b'a', 0x7f, 0x81, 0x1e]; // "a" with 4000 bytes of value, indexed
    bomb.extend([b'v'; 4000]);
    bomb.extend([0xbe; 10_000]);
    let bytes = frame(kind::HEADERS, flag::END_HEADERS, 1, &[block(&REQUEST), bomb].concat());
    end.ok(&bytes);
    assert_eq!(end.conn.poll(), Some(Event::Refused("header_list")));
    assert_eq!(end.wrote()[0].0.kind, kind::HEADERS, "431");
    let (code, _) = flood(&mut end, 1000, |i| {
        frame(kind::HEADERS, flag::END_HEADERS, 2 * i + 3, &[block(&REQUEST), vec![0xbe; 16_000]].concat())
    });
    assert_eq!(code, Code::ENHANCE_YOUR_CALM);
}

#[test]
fn windows_are_enforced_on_the_stream_and_on_the_connection() {
    let mut end = End::server();
    end.opened(1);
    for _ in 0..4 {
        end.ok(&data(1, false, &[0; 16_384]));
    }
    assert_eq!(
        end.resets(1, &data(1, false, &[0])),
        Code::FLOW_CONTROL_ERROR,
        "a byte too many on the stream"
    );

    let mut end = End::server_with(Limits { connection_window: 65_535, ..limits() });
    end.opened(1);
    for _ in 0..3 {
        end.ok(&data(1, false, &[0; 16_384]));
    }
    end.opened(3);
    assert_eq!(
        end.refuses(&data(3, false, &[0; 16_384])),
        Code::FLOW_CONTROL_ERROR,
        "65,536 on the connection"
    );
}

#[test]
fn padding_is_paid_for_and_given_back() {
    let mut end = End::server();
    let slot = end.opened(1);
    let padded = frame(kind::DATA, flag::PADDED, 1, &[&[255][..], &[0; 255]].concat());
    let mut given = 0;
    for _ in 0..5000 {
        end.now = end.now + Duration::from_millis(20);
        end.ok(&padded);
        for (head, payload) in end.wrote() {
            assert_eq!(head.kind, kind::WINDOW_UPDATE);
            if head.stream == 1 {
                given += u64::from(crate::http2::frame::number(&payload));
            }
        }
    }
    assert!(given > 900_000, "{given}");
    assert_eq!(end.conn.received(slot), b"");
    assert_eq!(end.conn.poll(), Some(Event::Progress(slot)));
}

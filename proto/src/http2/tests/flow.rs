//! Flow control from the sender's and the reader's side.

use super::wire::*;
use crate::http2::frame::{flag, kind, number};
use crate::http2::{Code, Event, Limits, Literal, Slot};

fn body(end: &mut End, stream: u32) -> (usize, bool) {
    let (mut bytes, mut ended) = (0, false);
    for (head, payload) in end.wrote() {
        if head.kind == kind::DATA && head.stream == stream {
            assert!(!ended);
            bytes += payload.len();
            ended = head.has(flag::END_STREAM);
        }
    }
    (bytes, ended)
}

fn put(end: &mut End, slot: Slot, bytes: usize, last: bool) {
    end.conn.data(slot, last, |out| out.resize(out.len() + bytes, 7));
}

#[test]
fn data_waits_for_the_stream_window() {
    let mut end = End::client_with(Limits::default(), &[(4, 10)]);
    let slot = end.start();
    put(&mut end, slot, 25, true);
    assert_eq!(body(&mut end, 1), (10, false));
    assert_eq!(end.conn.unsent(slot), 15);
    end.ok(&window_update(1, 5));
    assert!(end.conn.wants_write());
    assert_eq!(body(&mut end, 1), (5, false));
    assert!(!end.conn.wants_write());
    end.ok(&window_update(1, 100));
    assert_eq!(body(&mut end, 1), (10, true));
}

#[test]
fn data_waits_for_the_connection_window_and_streams_take_turns() {
    let mut end = End::client_with(Limits::default(), &[(4, 1_000_000)]);
    let slots: Vec<Slot> = (0..4).map(|_| end.start()).collect();
    for slot in &slots {
        put(&mut end, *slot, 100_000, true);
    }
    let mut sent = std::collections::BTreeMap::new();
    for round in 0..40 {
        for (head, payload) in end.wrote() {
            if head.kind == kind::DATA {
                *sent.entry(head.stream).or_insert(0) += payload.len();
            }
        }
        if round == 20 {
            let (least, most) = (sent.values().min().unwrap(), sent.values().max().unwrap());
            assert!(most - least <= 65_535, "the first took the window, then all took turns: {sent:?}");
        }
        end.ok(&window_update(0, 10_000));
    }
    assert_eq!(sent.into_values().sum::<usize>(), 400_000);
}

#[test]
fn a_smaller_initial_window_makes_windows_negative() {
    let mut end = End::client_with(Limits::default(), &[(4, 100)]);
    let slot = end.start();
    put(&mut end, slot, 150, false);
    assert_eq!(body(&mut end, 1).0, 100);
    end.ok(&settings(&[(4, 40)]));
    end.ok(&window_update(1, 60));
    assert_eq!(body(&mut end, 1).0, 0, "at zero again");
    end.ok(&settings(&[(4, 60)]));
    assert_eq!(body(&mut end, 1).0, 20);
    end.ok(&window_update(1, 30));
    assert_eq!(body(&mut end, 1).0, 30);
}

#[test]
fn trailers_wait_for_data_that_waits() {
    let mut end = End::server();
    end.ok(&settings(&[(4, 10)]));
    let slot = end.opened(1);
    let head = end.conn.register(&RESPONSE);
    end.conn.headers(slot, false, Some(head), &[]);
    put(&mut end, slot, 30, false);
    end.conn.headers(slot, true, None, &[Literal::new("grpc-status", b"0")]);
    end.conn.release(slot);
    assert_eq!(body(&mut end, 1), (10, false));
    end.ok(&window_update(1, 20));
    let wrote = end.wrote();
    assert_eq!(wrote[0].0.length, 20);
    assert_eq!((wrote[1].0.kind, wrote[1].0.flags), (kind::HEADERS, flag::END_STREAM | flag::END_HEADERS));
    assert_eq!(wrote[1].1, block(&[("grpc-status", "0")]));
}

#[test]
fn a_turn_is_bounded_and_the_rest_follows() {
    let mut end = End::client_with(Limits { turn_bytes: 50_000, ..limits() }, &[(4, 1 << 20)]);
    end.ok(&window_update(0, 1 << 20));
    let slot = end.start();
    put(&mut end, slot, 200_000, true);
    let mut total = 0;
    for _ in 0..5 {
        assert!(end.conn.wants_write());
        let (bytes, ended) = body(&mut end, 1);
        assert!(bytes <= 50_000 + (32 << 10));
        total += bytes;
        assert_eq!(ended, total == 200_000);
        if ended {
            break;
        }
    }
    assert_eq!(total, 200_000);
    assert!(!end.conn.wants_write());
}

#[test]
fn a_writer_hears_when_its_bytes_became_fewer() {
    let mut end = End::client_with(Limits { stream_unsent: 100, ..limits() }, &[(4, 10)]);
    let slot = end.start();
    put(&mut end, slot, 150, false);
    assert!(!end.conn.has_room(slot));
    end.ok(&window_update(1, 60));
    end.wrote();
    assert_eq!(end.conn.poll(), None, "80 are few enough, but the window is used up");
    end.ok(&window_update(1, 200));
    end.wrote();
    assert_eq!(end.conn.poll(), Some(Event::Progress(slot)));
    assert!(end.conn.has_room(slot));
    put(&mut end, slot, 300, false);
    assert!(!end.conn.has_room(slot), "180 wait");
    end.ok(&window_update(1, 50));
    end.wrote();
    assert_eq!(end.conn.poll(), None, "130 wait");
    end.ok(&window_update(1, 1000));
    end.wrote();
    assert_eq!(end.conn.poll(), Some(Event::Progress(slot)));
}

#[test]
fn a_full_turn_has_room_again_when_it_is_emptied() {
    let mut end = End::client_with(Limits { turn_bytes: 1000, ..limits() }, &[(4, 1 << 20)]);
    end.ok(&window_update(0, 1 << 20));
    let slots = [(); 3].map(|()| end.start());
    end.wrote();
    put(&mut end, slots[0], 1500, false);
    assert_eq!(end.conn.unsent(slots[0]), 0, "the last piece of a turn is not cut");
    assert!(slots.iter().all(|slot| !end.conn.has_room(*slot)));
    end.conn.release(slots[2]);
    assert_eq!(body(&mut end, 1), (1500, false));
    let mut told = vec![];
    while let Some(Event::Progress(slot)) = end.conn.poll() {
        told.push(slot.index());
    }
    told.sort_unstable();
    assert_eq!(told, [slots[0].index(), slots[1].index()]);
    assert!(end.conn.has_room(slots[0]) && end.conn.has_room(slots[1]));
}

#[test]
fn a_body_is_framed_like_data_whatever_stops_it() {
    let text: Vec<u8> = (0..40_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    for (window, turn) in [(1 << 20, 1 << 20), (70, 1 << 20), (20_000, 1 << 20), (1 << 20, 3000), (0, 10)] {
        let mut sent = vec![];
        for piecewise in [true, false] {
            let limits = Limits { turn_bytes: turn, stream_unsent: 1 << 20, ..limits() };
            let mut end = End::client_with(limits, &[(4, window)]);
            end.ok(&window_update(0, 1 << 20));
            let slot = end.start();
            end.wrote();
            for (size, last) in [(10, false), (5000, false), (30_000, false), (0, false), (40_000, true)] {
                let piece = &text[..size];
                match piecewise {
                    true => end.conn.body(slot, last, |out| out.extend_from_slice(b"lead"), piece),
                    false => end.conn.data(slot, last, |out| out.extend([b"lead", piece].concat())),
                }
            }
            let mut all = vec![];
            for _ in 0..60 {
                all.extend(end.wrote().into_iter().map(|(head, payload)| (head.flags, payload)));
                end.ok(&window_update(1, 16_000));
            }
            assert_eq!(all.iter().filter(|(flags, _)| flags & flag::END_STREAM != 0).count(), 1);
            sent.push(all.into_iter().flat_map(|(_, payload)| payload).collect::<Vec<_>>());
        }
        assert_eq!(sent[0].len(), 75_010 + 5 * 4);
        assert!(sent[0] == sent[1], "window {window}, turn {turn}");
    }
}

#[test]
fn detached_bytes_are_lent_until_they_are_returned() {
    let mut end = End::server();
    let slot = end.opened(1);
    for byte in *b"ab" {
        end.ok(&data(1, false, &[byte; 10_000]));
    }
    end.conn.take(slot, 5000);
    let (buffer, at) = end.conn.detach(slot, 10_000, Vec::new());
    assert_eq!(buffer[at..at + 10_000], [[b'a'; 5000], [b'b'; 5000]].concat());
    assert_eq!(end.conn.received(slot), [b'b'; 5000], "what is behind them stays");
    assert_eq!(increments(&mut end, 1), 0);
    end.ok(&data(1, false, &[b'c'; 16_000]));
    end.ok(&data(1, false, &[b'c'; 16_000]));
    assert_eq!(end.conn.received(slot).len(), 37_000);
    end.conn.returned(slot, 4000);
    end.conn.returned(slot, usize::MAX);
    end.conn.returned(slot, 1);
    end.conn.take(slot, usize::MAX);
    assert!(increments(&mut end, 1) >= 32_000);
    let (_, _) = end.conn.detach(slot, 1, Vec::new());
    end.conn.release(slot);
}

fn increments(end: &mut End, stream: u32) -> u32 {
    end.wrote()
        .iter()
        .filter(|(h, _)| h.kind == kind::WINDOW_UPDATE && h.stream == stream)
        .map(|(_, p)| number(p))
        .sum()
}

#[test]
fn windows_are_given_back_only_as_bytes_are_taken() {
    let mut end = End::server();
    let slot = end.opened(1);
    end.ok(&[data(1, false, &[0; 16_384]), data(1, false, &[0; 16_384])].concat());
    assert_eq!(increments(&mut end, 1), 0);
    end.conn.take(slot, 32_767);
    assert_eq!(increments(&mut end, 1), 0, "not yet half");
    end.conn.take(slot, 1);
    let grown = limits().stream_window_grown - limits().stream_window;
    assert_eq!(increments(&mut end, 1), 32_768 + grown, "a reader that takes gets a larger window");
}

#[test]
fn a_message_larger_than_the_window_widens_it_and_no_more_than_it_needs() {
    let mut end = End::server();
    let slot = end.opened(1);
    end.ok(&data(1, false, &[0; 10]));
    assert_eq!(end.conn.poll(), Some(Event::Progress(slot)));
    end.conn.wait_for(slot, 4_000_000);
    assert_eq!(increments(&mut end, 1), 4_000_000 - 65_536);
    let mut sent = 10;
    while sent < 4_000_000 {
        let n = (4_000_000 - sent).min(16_384);
        assert_eq!(end.conn.poll(), None, "no event before the message is whole");
        end.ok(&data(1, false, &vec![0; n]));
        sent += n;
    }
    assert_eq!(end.conn.poll(), Some(Event::Progress(slot)));
    end.conn.take(slot, 4_000_000);
    let back = increments(&mut end, 1);
    assert!(back <= Limits::default().stream_window_grown, "the growth is not given away twice: {back}");
}

#[test]
fn large_messages_wait_for_each_others_growth() {
    let mut end = End::server_with(Limits { window_growth: 5_000_000, ..limits() });
    let slots = [end.opened(1), end.opened(3)];
    for (slot, id) in slots.iter().zip([1, 3]) {
        end.ok(&data(id, false, &[0; 10]));
        end.conn.wait_for(*slot, 4_000_000);
    }
    assert!(end.conn.wants_write());
    let wrote = end.wrote();
    let updated: Vec<u32> =
        wrote.iter().filter(|(h, _)| h.kind == kind::WINDOW_UPDATE).map(|(h, _)| h.stream).collect();
    assert_eq!(updated, [1], "the second waits");
    end.ok(&reset(1, Code::CANCEL));
    end.conn.release(slots[0]);
    assert_eq!(increments(&mut end, 3), 4_000_000 - 65_536);
}

#[test]
fn bytes_of_a_released_stream_go_back_to_the_connection() {
    let mut end = End::server_with(Limits { connection_window: 65_535, ..limits() });
    for id in [1, 3, 5, 7, 9] {
        let slot = end.opened(id);
        end.ok(&[data(id, false, &[0; 16_384]), data(id, false, &[0; 16_384])].concat());
        end.conn.release(slot);
        assert_eq!(increments(&mut end, 0), 32_768, "stream {id}");
        end.ok(&data(id, false, &[0; 16_384]));
        end.ok(&data(id, false, &[0; 16_384]));
        assert_eq!(increments(&mut end, 0), 32_768, "on its way when the stream was reset");
    }
}

#[test]
fn a_smaller_window_than_the_default_holds_from_its_acknowledgement() {
    use super::wire::START;
    use crate::http2::Connection;
    use crate::http2::frame::PREFACE;
    let limits = Limits { stream_window: 100, stream_window_grown: 100, ..limits() };
    let mut end = End { conn: Connection::server(limits, START), now: START };
    end.ok(PREFACE);
    end.ok(&settings(&[]));
    end.ok(&headers(1, false, &REQUEST));
    end.ok(&data(1, false, &[0; 60]));
    end.ok(&frame(kind::SETTINGS, flag::ACK, 0, &[]));
    end.ok(&data(1, false, &[0; 40]));
    assert_eq!(end.resets(1, &data(1, false, &[0; 1])), Code::FLOW_CONTROL_ERROR);
}

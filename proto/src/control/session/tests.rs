use super::*;
use crate::control::convert::full;
use crate::control::{
    Ack, Collect, FromControl, FromDataplane, Hello, Nack, Resolve, Snapshot as Message, frame, from_control,
    from_dataplane,
};
use crate::rng::Rng;
use crate::snapshot::{AppRef, Endpoint, Route, Snapshot, Workload};
use std::sync::Arc;

fn app(id: &str) -> AppRef {
    AppRef { app_id: id.into(), namespace: "default".into() }
}

fn found(port: u16) -> Arc<Route> {
    Arc::new(Route::Endpoints(vec![Endpoint { address: ([10, 0, 0, 1], port).into() }]))
}

fn picture(version: u64) -> Snapshot {
    let workload = Workload {
        app_id: "orders".into(),
        namespace: "default".into(),
        trust_domain: "public".into(),
        internal_port: 50002,
        ..Workload::default()
    };
    Snapshot { version, workload: Arc::new(workload), ..Snapshot::default() }
}

fn snapshot(message: Message) -> FromControl {
    FromControl { message: Some(from_control::Message::Snapshot(Box::new(message))) }
}

fn said(message: from_dataplane::Message) -> FromDataplane {
    FromDataplane { message: Some(message) }
}

/// Both ends, joined by queues.
struct Pair {
    subscriber: Subscriber,
    publisher: Publisher,
}

impl Pair {
    fn connected() -> Pair {
        let (mut subscriber, mut publisher) = (Subscriber::new(), Publisher::new());
        let hello = subscriber.connected(&About::default());
        assert!(matches!(publisher.received(hello), Ok(Event::Greeted(_))));
        Pair { subscriber, publisher }
    }

    fn reconnect(&mut self) -> Event {
        self.subscriber.disconnected();
        self.publisher = Publisher::new();
        self.publisher.received(self.subscriber.connected(&About::default())).unwrap()
    }

    /// Delivers one message; what control makes of the answer.
    fn deliver(&mut self, message: FromControl) -> Option<Event> {
        let answer = match self.subscriber.received(message).unwrap() {
            Heard::Candidate(candidate) => self.subscriber.accept(candidate),
            Heard::Refused { answer, .. } => answer,
            _ => return None,
        };
        Some(self.publisher.received(answer).unwrap())
    }

    fn publish(&mut self, picture: &Arc<Snapshot>) -> Vec<Event> {
        let messages = self.publisher.publish(picture);
        messages.into_iter().filter_map(|message| self.deliver(message)).collect()
    }
}

#[test]
fn a_full_picture_comes_first_and_changes_follow() {
    let mut pair = Pair::connected();
    let first = Arc::new(picture(1));
    assert_eq!(pair.publish(&first), [Event::Acked { version: 1 }]);
    assert!(pair.publish(&first).is_empty(), "nothing new");
    let mut second = picture(2);
    second.routes.insert(app("a"), found(1));
    let messages = pair.publisher.publish(&Arc::new(second.clone()));
    let Some(from_control::Message::Snapshot(delta)) = &messages[0].message else { panic!("no snapshot") };
    assert_eq!((delta.base, delta.routes.len(), delta.workload.is_none()), (1, 1, true));
    assert_eq!(pair.deliver(messages[0].clone()), Some(Event::Acked { version: 2 }));
    assert_eq!(**pair.subscriber.current(), second);
    assert!(pair.publisher.is_settled());
}

#[test]
fn a_candidate_names_the_routes_that_came_with_it() {
    let mut pair = Pair::connected();
    let mut first = picture(1);
    first.routes.insert(app("a"), found(1));
    let heard = pair.subscriber.received(snapshot(full(&first)));
    let Ok(Heard::Candidate(candidate)) = heard else { panic!("no candidate") };
    assert_eq!(candidate.routes(), [app("a")]);
    assert_eq!(candidate.snapshot().version, 1);
    let answer = pair.subscriber.accept(candidate);
    assert_eq!(answer, said(from_dataplane::Message::Ack(Ack { version: 1 })));
}

#[test]
fn a_refused_picture_leaves_the_old_one_and_only_a_later_one_is_sent() {
    let mut pair = Pair::connected();
    pair.publish(&Arc::new(picture(1)));
    let bad = Snapshot { workload: Arc::default(), ..picture(2) };
    let events = pair.publish(&Arc::new(bad.clone()));
    assert!(matches!(&events[..], [Event::Nacked { version: 2, reasons }] if !reasons.is_empty()));
    assert_eq!(pair.subscriber.current().version, 1);
    assert!(pair.publish(&Arc::new(bad)).is_empty(), "it would be refused again");
    assert_eq!(pair.publish(&Arc::new(picture(3))), [Event::Acked { version: 3 }]);
}

#[test]
fn a_picture_that_only_the_data_plane_can_refuse_is_refused_too() {
    let mut pair = Pair::connected();
    let heard = pair.subscriber.received(snapshot(full(&picture(1)))).unwrap();
    let Heard::Candidate(candidate) = heard else { panic!("no candidate") };
    let answer = pair.subscriber.refuse(candidate, vec!["the key does not fit".into()]);
    let nack = Nack { version: 1, reasons: vec!["the key does not fit".into()], wants_full: false };
    assert_eq!(answer, said(from_dataplane::Message::Nack(nack)));
    assert_eq!(pair.subscriber.current().version, 0);
    assert!(matches!(pair.subscriber.received(snapshot(full(&picture(2)))), Ok(Heard::Candidate(_))));
}

#[test]
fn a_newer_protocol_is_refused_and_the_old_picture_stays() {
    let mut pair = Pair::connected();
    pair.publish(&Arc::new(picture(1)));
    let newer = Message { protocol: 2, ..full(&picture(2)) };
    let heard = pair.subscriber.received(snapshot(newer)).unwrap();
    let Heard::Refused { reasons, .. } = heard else { panic!("taken") };
    assert_eq!(reasons, ["protocol 2: this data plane speaks 1 to 1"]);
    assert_eq!(pair.subscriber.current().version, 1);
}

#[test]
fn a_change_to_the_wrong_base_is_refused_and_a_full_picture_follows_at_once() {
    let mut pair = Pair::connected();
    pair.publish(&Arc::new(picture(1)));
    let lost = pair.publisher.publish(&Arc::new(picture(2)));
    assert_eq!(lost.len(), 1);
    // Control believes that version 2 arrived; the data plane settles the change to it as a stranger.
    let third = Arc::new(picture(3));
    let [late] = &pair.publisher.publish(&third)[..] else { panic!("one delta") };
    let heard = pair.subscriber.received(late.clone()).unwrap();
    let Heard::Refused { answer, .. } = heard else { panic!("taken") };
    let Some(from_dataplane::Message::Nack(nack)) = &answer.message else { panic!("no nack") };
    assert!(nack.wants_full);
    let earlier = Nack { version: 2, ..nack.clone() };
    pair.publisher.received(said(from_dataplane::Message::Nack(earlier))).unwrap();
    let again = pair.publisher.publish(&third);
    let Some(from_control::Message::Snapshot(message)) = &again[0].message else { panic!("no snapshot") };
    assert_eq!(message.base, 0);
    pair.publisher.received(answer).unwrap();
    assert!(pair.publisher.publish(&third).is_empty(), "one full picture is on its way");
    assert_eq!(pair.deliver(again[0].clone()), Some(Event::Acked { version: 3 }));
}

#[test]
fn an_older_or_equal_version_is_refused() {
    let mut pair = Pair::connected();
    pair.publish(&Arc::new(picture(5)));
    for version in [5, 4, 0] {
        let heard = pair.subscriber.received(snapshot(full(&picture(version)))).unwrap();
        assert!(matches!(heard, Heard::Refused { .. }), "{version}");
    }
}

#[test]
fn after_a_reconnect_everything_is_told_again_and_the_old_picture_is_served_meanwhile() {
    let mut pair = Pair::connected();
    pair.publish(&Arc::new(picture(7)));
    let Event::Greeted(peer) = pair.reconnect() else { panic!("not greeted") };
    assert_eq!(peer.serving, 7);
    assert_eq!(pair.subscriber.current().version, 7);
    let delta = Message { base: 7, ..full(&picture(8)) };
    assert!(matches!(pair.subscriber.received(snapshot(delta)), Ok(Heard::Refused { .. })));
    let restarted = Arc::new(picture(1));
    assert_eq!(pair.publish(&restarted), [Event::Acked { version: 1 }]);
}

#[test]
fn changes_wait_while_answers_are_outstanding_and_are_told_together() {
    let mut pair = Pair::connected();
    let mut last = picture(1);
    let mut sent = Vec::new();
    for version in 1..=20 {
        last.version = version;
        last.routes.insert(app(&format!("a{version}")), found(1));
        sent.extend(pair.publisher.publish(&Arc::new(last.clone())));
    }
    assert_eq!(sent.len(), MAX_UNANSWERED);
    sent.into_iter().for_each(|message| assert!(pair.deliver(message).is_some()));
    assert_eq!(pair.publish(&Arc::new(last.clone())), [Event::Acked { version: 20 }]);
    assert_eq!(**pair.subscriber.current(), last);
}

#[test]
fn a_very_large_picture_comes_in_parts_and_is_applied_as_a_whole() {
    let mut pair = Pair::connected();
    let mut large = picture(1);
    large.routes.extend((0..60_000).map(|n| (app(&format!("app-{n}")), found(1))));
    let large = Arc::new(large);
    let parts = pair.publisher.publish(&large);
    assert!(parts.len() > 1);
    let mut events = Vec::new();
    for part in parts {
        assert_eq!(pair.subscriber.current().version, 0);
        assert!(prost::Message::encoded_len(&part) <= crate::control::frame::MAX_FRAME);
        events.extend(pair.deliver(part));
    }
    assert_eq!(events, [Event::Acked { version: 1 }]);
    assert_eq!(pair.subscriber.current().routes.len(), 60_000);
}

#[test]
fn a_bad_part_refuses_the_snapshot_once_and_its_further_parts_are_skipped() {
    let mut pair = Pair::connected();
    let first = Message { more: true, ..full(&picture(1)) };
    let bad = Message { more: true, base: 0, ..Message { workload: None, ..full(&picture(1)) } };
    let last = Message { protocol: 1, version: 1, ..Message::default() };
    assert!(matches!(pair.subscriber.received(snapshot(first)), Ok(Heard::Nothing)));
    assert!(matches!(pair.subscriber.received(snapshot(bad)), Ok(Heard::Refused { .. })));
    assert!(matches!(pair.subscriber.received(snapshot(last)), Ok(Heard::Nothing)));
    assert!(matches!(pair.subscriber.received(snapshot(full(&picture(2)))), Ok(Heard::Candidate(_))));
}

#[test]
fn a_snapshot_that_interrupts_another_is_refused() {
    let mut pair = Pair::connected();
    let first = Message { more: true, ..full(&picture(1)) };
    assert!(matches!(pair.subscriber.received(snapshot(first)), Ok(Heard::Nothing)));
    assert!(matches!(pair.subscriber.received(snapshot(full(&picture(2)))), Ok(Heard::Refused { .. })));
}

#[test]
fn an_illegal_message_is_a_typed_error() {
    let collect = FromControl { message: Some(from_control::Message::Collect(Collect { id: 1 })) };
    assert_eq!(Subscriber::new().received(collect).unwrap_err(), SessionError::NotGreeted);
    let mut pair = Pair::connected();
    let ack = said(from_dataplane::Message::Ack(Ack { version: 9 }));
    assert_eq!(pair.publisher.received(ack.clone()), Err(SessionError::Unasked { version: 9 }));
    assert_eq!(Publisher::new().received(ack), Err(SessionError::NotGreeted));
    let hello = pair.subscriber.connected(&About::default());
    assert_eq!(pair.publisher.received(hello), Err(SessionError::GreetedTwice));
    let resolve = said(from_dataplane::Message::Resolve(Resolve::default()));
    assert!(matches!(pair.publisher.received(resolve), Err(SessionError::Malformed(_))));
    let held = pair.subscriber.received(snapshot(full(&picture(1))));
    assert!(matches!(held, Ok(Heard::Candidate(_))));
    let second = pair.subscriber.received(snapshot(full(&picture(2))));
    assert_eq!(second.unwrap_err(), SessionError::Unsettled);
}

#[test]
fn a_data_plane_without_a_common_protocol_version_is_turned_away() {
    for (min, max, good) in [(1, 1, true), (1, 9, true), (2, 3, false), (0, 0, false)] {
        let hello = Hello { protocol_min: min, protocol_max: max, ..Hello::default() };
        let answer = Publisher::new().received(said(from_dataplane::Message::Hello(hello)));
        assert_eq!(answer.is_ok(), good, "{min} to {max}");
    }
}

#[test]
fn messages_of_unknown_kinds_are_skipped_by_both_ends() {
    let mut pair = Pair::connected();
    assert!(matches!(pair.subscriber.received(FromControl { message: None }), Ok(Heard::Nothing)));
    assert_eq!(pair.publisher.received(FromDataplane { message: None }), Ok(Event::Nothing));
}

#[test]
fn whatever_happens_between_them_both_ends_agree_in_the_end() {
    for seed in 0..200 {
        let (mut rng, mut pair) = (Rng::new(seed), Pair::connected());
        let mut wanted = picture(1);
        let mut wire = std::collections::VecDeque::new();
        for _ in 0..60 {
            match rng.below(8) {
                0..=2 => {
                    wanted.version += 1;
                    let name = app(&format!("a{}", rng.below(12)));
                    match rng.below(2) {
                        0 => drop(wanted.routes.insert(name, found(1 + rng.below(9) as u16))),
                        _ => drop(wanted.routes.remove(&name)),
                    }
                }
                3..=4 => wire.extend(pair.publisher.publish(&Arc::new(wanted.clone()))),
                5..=6 => drop(wire.pop_front().and_then(|message| pair.deliver(message))),
                _ => {
                    wire.clear();
                    pair.reconnect();
                }
            }
        }
        while let Some(message) = wire.pop_front() {
            pair.deliver(message);
        }
        pair.publish(&Arc::new(wanted.clone()));
        assert_eq!(**pair.subscriber.current(), wanted, "seed {seed}");
    }
}

/// Whatever arrives: an error, a refusal or a good picture, never a panic and never half a picture.
#[test]
fn damaged_messages_never_put_a_bad_picture_in_force() {
    let mut wanted = picture(1);
    wanted.routes.extend((0..20).map(|n| (app(&format!("a{n}")), found(1))));
    let mut good = Vec::new();
    frame::encode(&snapshot(full(&wanted)), &mut good).unwrap();
    for seed in 0..3000 {
        let (mut rng, mut bytes, mut subscriber) = (Rng::new(seed), good.clone(), Subscriber::new());
        subscriber.connected(&About::default());
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.draw() as u8;
        }
        bytes.truncate(bytes.len() - rng.below(3) as usize);
        let mut decoder = frame::Decoder::new();
        decoder.push(&bytes);
        while let Ok(Some(message)) = decoder.take() {
            if let Ok(Heard::Candidate(candidate)) = subscriber.received(message) {
                let _answer = subscriber.accept(candidate);
            }
        }
        let current = subscriber.current();
        assert!(current.version == 0 || !current.workload.app_id.is_empty(), "seed {seed}");
    }
}

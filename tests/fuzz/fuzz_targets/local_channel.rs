//! The local channel from both ends: no panic, no more memory than what came, a refused picture changes nothing, and
//! an accepted one can be told to another data plane as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::control::frame::{self, Decoder};
use proto::control::session::{About, Heard, Publisher, Subscriber};
use proto::control::{FromControl, FromDataplane, convert};
use proto::snapshot::Snapshot;

fuzz_target!(|input: &[u8]| {
    let Some((&first, bytes)) = input.split_first() else { return };
    let piece = usize::from(first >> 1).max(1);
    if first & 1 == 0 { to_data_plane(bytes, piece) } else { to_control(bytes, piece) }
});

fn to_data_plane(bytes: &[u8], piece: usize) {
    let (mut decoder, mut subscriber) = (Decoder::new(), Subscriber::new());
    let _ = subscriber.connected(&About::default());
    for part in bytes.chunks(piece) {
        decoder.push(part);
        loop {
            let before = subscriber.current().clone();
            match decoder.take::<FromControl>() {
                Ok(Some(message)) => match subscriber.received(message) {
                    Ok(Heard::Candidate(candidate)) => {
                        let accepted = candidate.snapshot().clone();
                        let refused = accepted.version % 3 == 0;
                        let answer = if refused {
                            subscriber.refuse(candidate, vec!["no".into()])
                        } else {
                            subscriber.accept(candidate)
                        };
                        assert!(frame::encode(&answer, &mut Vec::new()).is_ok());
                        assert_eq!(
                            **subscriber.current(),
                            if refused { (*before).clone() } else { (*accepted).clone() }
                        );
                        if !refused {
                            retold(&accepted);
                        }
                    }
                    Ok(_) => assert_eq!(*subscriber.current(), before),
                    Err(_) => return assert_eq!(*subscriber.current(), before),
                },
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn retold(picture: &Snapshot) {
    let told = convert::full(picture);
    if let Err(reasons) = convert::apply(&Snapshot::default(), &told) {
        panic!("an accepted picture is refused when told again: {reasons:?}");
    }
}

fn to_control(bytes: &[u8], piece: usize) {
    let (mut decoder, mut publisher) = (Decoder::new(), Publisher::new());
    for part in bytes.chunks(piece) {
        decoder.push(part);
        loop {
            match decoder.take::<FromDataplane>() {
                Ok(Some(message)) => {
                    if publisher.received(message).is_err() {
                        return;
                    }
                    let _ = publisher.is_settled();
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

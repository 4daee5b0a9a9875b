//! Chunked bodies: the same body and the same end in one piece, in place and in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::http1::framing::{BodyError, Framing, Incoming};

fn pieces(bytes: &[u8], size: usize) -> (Vec<u8>, Result<Option<usize>, BodyError>) {
    let (mut incoming, mut body, mut used) = (Incoming::new(Framing::Chunked), Vec::new(), 0);
    for piece in bytes.chunks(size) {
        let mut rest = piece;
        while !rest.is_empty() {
            let step = match incoming.step(rest) {
                Ok(step) => step,
                Err(error) => return (body, Err(error)),
            };
            body.extend_from_slice(&rest[step.skip..step.skip + step.take]);
            used += step.skip + step.take;
            rest = &rest[step.skip + step.take..];
            if step.done {
                return (body, Ok(Some(used)));
            }
        }
    }
    (body, Ok(None))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let whole = pieces(bytes, usize::MAX);
    assert_eq!(whole, pieces(bytes, usize::from(*size).max(1)));
    let mut in_place = bytes.to_vec();
    match (Incoming::new(Framing::Chunked).compact(&mut in_place), whole) {
        (Ok(compacted), (body, Ok(end))) => {
            assert_eq!(&in_place[..compacted.body], body);
            assert_eq!(end, compacted.done.then_some(compacted.used));
        }
        (Err(one), (_, Err(other))) => assert_eq!(one, other),
        (one, (_, other)) => panic!("{one:?} {other:?}"),
    }
});

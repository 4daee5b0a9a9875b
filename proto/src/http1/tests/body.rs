use crate::http1::framing::{BodyError, Framing, Incoming, Outgoing};
use crate::rng::Rng;

/// Feeds `bytes` in pieces of random sizes and collects the body and what is left after its end.
fn read(
    framing: Framing,
    bytes: &[u8],
    rng: &mut Rng,
    compact: bool,
) -> Result<(Vec<u8>, usize, bool), BodyError> {
    let (mut incoming, mut body, mut at) = (Incoming::new(framing), Vec::new(), 0);
    let mut done = incoming.is_done();
    while at < bytes.len() && !done {
        let end = bytes.len().min(at + 1 + rng.below(20) as usize);
        let mut piece = bytes[at..end].to_vec();
        if compact {
            let compacted = incoming.compact(&mut piece)?;
            body.extend_from_slice(&piece[..compacted.body]);
            (at, done) = (at + compacted.used, compacted.done);
        } else {
            let step = incoming.step(&piece)?;
            body.extend_from_slice(&piece[step.skip..step.skip + step.take]);
            (at, done) = (at + step.skip + step.take, step.done);
        }
    }
    Ok((body, at, done))
}

fn chunked(bytes: &[u8]) -> Result<Vec<u8>, BodyError> {
    read(Framing::Chunked, bytes, &mut Rng::new(1), false).map(|(body, ..)| body)
}

#[test]
fn a_body_is_the_same_however_it_arrives() {
    let mut rng = Rng::new(42);
    for round in 0..400 {
        let (mut wire, mut whole) = (Vec::new(), Vec::new());
        let framing = if round % 2 == 0 { Framing::Chunked } else { Framing::Length(rng.below(200)) };
        let mut outgoing = Outgoing::new(framing);
        let total = framing.length().unwrap_or_else(|| rng.below(200)) as usize;
        while whole.len() < total {
            let size = (1 + rng.below(40) as usize).min(total - whole.len());
            let piece: Vec<u8> = (0..size).map(|_| rng.draw() as u8).collect();
            outgoing.piece(&mut wire, &piece).unwrap();
            whole.extend(piece);
        }
        outgoing.finish(&mut wire).unwrap();
        let length = wire.len();
        wire.extend_from_slice(b"GET /next");
        for compact in [false, true] {
            let (body, used, done) = read(framing, &wire, &mut rng, compact).unwrap();
            assert_eq!((body, used, done), (whole.clone(), length, true), "round {round}");
        }
    }
}

#[test]
fn chunk_extensions_and_trailers_are_dropped() {
    let wire = b"4;name=val;q=\"x;y\"\r\nping\r\n000A \r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(chunked(wire).unwrap(), b"ping0123456789");
}

#[test]
fn broken_chunks_are_refused_with_gos_text() {
    for (wire, why) in [
        (&b"4\nping\r\n0\r\n\r\n"[..], "chunked line ends with bare LF"),
        (b"4;a=\nb\r\nping\r\n0\r\n\r\n", "chunked line ends with bare LF"),
        (b"4\r\npingpong\r\n0\r\n\r\n", "malformed chunked encoding"),
        (b" 4\r\nping\r\n", "invalid byte in chunk length"),
        (b"+4\r\nping\r\n", "invalid byte in chunk length"),
        (b"-4\r\nping\r\n", "invalid byte in chunk length"),
        (b"0x4\r\nping\r\n", "invalid byte in chunk length"),
        (b"zz\r\n", "invalid byte in chunk length"),
        (b"\r\n", "invalid byte in chunk length"),
        (b"4 4\r\n", "invalid byte in chunk length"),
        (b"10000000000000004\r\nping\r\n", "http chunk length too large"),
        (b"4\r\nping\n0\r\n\r\n", "malformed chunked encoding"),
        (b"4;a\x01\r\nping\r\n", "malformed chunked encoding"),
        (b"0\r\n folded: 1\r\n\r\n", "malformed trailer"),
        (b"0\r\nX: a\nb\r\n\r\n", "malformed chunked encoding"),
        (b"0\r\n\rX", "malformed chunked encoding"),
    ] {
        assert_eq!(chunked(wire), Err(BodyError::Chunked(why)), "{}", String::from_utf8_lossy(wire));
    }
}

#[test]
fn framing_without_measure_is_refused() {
    let long = [b"4;a=".to_vec(), vec![b'x'; 5000], b"\r\nping\r\n".to_vec()].concat();
    assert_eq!(chunked(&long), Err(BodyError::Chunked("header line too long")));
    let tiny = b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(2000);
    assert_eq!(chunked(&tiny), Err(BodyError::Chunked("chunked encoding contains too much non-data")));
    let fair = b"1\r\nx\r\n".repeat(20_000);
    assert_eq!(chunked(&fair).unwrap().len(), 20_000, "tiny chunks alone are fine");
    let trailers = [b"0\r\n".to_vec(), b"X-T: 1\r\n".repeat(4000)].concat();
    assert_eq!(chunked(&trailers), Err(BodyError::Chunked("header line too long")));
}

#[test]
fn the_end_of_the_stream_is_the_end_of_the_body_only_where_nothing_was_declared() {
    let mut until_close = Incoming::new(Framing::UntilClose);
    assert_eq!(until_close.step(b"abc").unwrap().take, 3);
    assert_eq!(until_close.end_of_stream(), Ok(()));
    for (framing, seen) in [(Framing::Length(4), &b"abc"[..]), (Framing::Chunked, b"3\r\nabc\r\n0\r\n")] {
        let mut cut = Incoming::new(framing);
        cut.compact(&mut seen.to_vec()).unwrap();
        assert_eq!(cut.end_of_stream(), Err(BodyError::Truncated));
    }
    let mut complete = Incoming::new(Framing::Length(3));
    complete.step(b"abc").unwrap();
    assert_eq!(complete.end_of_stream(), Ok(()));
}

#[test]
fn a_declared_length_is_kept_or_the_body_is_not_finished() {
    let mut out = Vec::new();
    let mut outgoing = Outgoing::new(Framing::Length(9));
    outgoing.piece(&mut out, b"hello").unwrap();
    let short = outgoing.finish(&mut out).unwrap_err();
    assert_eq!(short.to_string(), "http: ContentLength=9 with Body length 5"); // vector callee/http/length-too-large
    let long = outgoing.piece(&mut out, b"hello").unwrap_err();
    assert_eq!(long, BodyError::Length { declared: 9, actual: 10 });
    assert_eq!(out, b"hello", "nothing beyond the declared length is written");
    assert!(Outgoing::new(Framing::None).piece(&mut out, b"x").is_err());
}

#[test]
fn an_empty_piece_does_not_end_a_chunked_body() {
    let mut out = Vec::new();
    let mut outgoing = Outgoing::new(Framing::Chunked);
    outgoing.piece(&mut out, b"").unwrap();
    outgoing.piece(&mut out, b"x").unwrap();
    outgoing.finish(&mut out).unwrap();
    assert_eq!(out, b"1\r\nx\r\n0\r\n\r\n");
}

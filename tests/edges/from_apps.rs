//! Answers of an app that hold a second one, a header or a length for somebody who reads them in another way. Judged by
//! the bytes that the client's socket received, and by the next call, which must get its own answer.

use crate::from_clients::Pair;
use crate::raw::{Answer, Kind, exchange, messages};

const SECOND: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden";

/// What the client may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// An error of the sidecar's.
    Refused,
    /// The app's status with this body.
    One(&'static str),
    /// An answer that is cut off, or an error.
    Cut,
}

use Want::{Cut, One, Refused};

fn answers() -> Vec<(&'static str, String, bool, Want)> {
    let ok = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    vec![
        ("two lengths", ok("Content-Length: 5\r\nContent-Length: 50\r\n", "hello"), false, Refused),
        ("a list of lengths", ok("Content-Length: 5, 50\r\n", "hello"), false, Refused),
        (
            "the same length twice",
            ok("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
            false,
            One("hello"),
        ),
        (
            "a length and a coding",
            ok("Content-Length: 50\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            false,
            Refused,
        ),
        (
            "a coding and a length",
            ok("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            false,
            Refused,
        ),
        ("a length with a sign", ok("Content-Length: +5\r\n", "hello"), false, Refused),
        ("a length below zero", ok("Content-Length: -5\r\n", "hello"), false, Refused),
        ("a length that wraps", ok("Content-Length: 18446744073709551621\r\n", "hello"), false, Refused),
        (
            "an unknown coding",
            ok("Transfer-Encoding: xchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
            true,
            Refused,
        ),
        ("a space before the colon of a length", ok("Content-Length : 5\r\n", "hello"), true, Refused),
        ("a folded field", ok("X: y\r\n hidden\r\nContent-Length: 5\r\n", "hello"), false, Refused),
        ("lines that end in LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello".to_owned(), false, Refused),
        ("a CR in a value", ok("X: y\rHidden: z\r\nContent-Length: 5\r\n", "hello"), false, Refused),
        ("a NUL in a value", ok("X: y\0\r\nContent-Length: 5\r\n", "hello"), false, Refused),
        (
            "a second answer behind the first",
            ok("Content-Length: 5\r\n", &format!("hello{SECOND}")),
            false,
            One("hello"),
        ),
        (
            "a second answer behind chunks",
            chunked(&format!("5\r\nhello\r\n0\r\n\r\n{SECOND}")),
            false,
            One("hello"),
        ),
        ("an answer behind a 204", format!("HTTP/1.1 204 No Content\r\n\r\n{SECOND}"), false, One("")),
        (
            "a body behind a 204",
            "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nhidden".to_owned(),
            false,
            One(""),
        ),
        (
            "a body behind a 304",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nhidden".to_owned(),
            false,
            One(""),
        ),
        (
            "a 101 that nobody asked for",
            format!("HTTP/1.1 101 Switching Protocols\r\n\r\n{SECOND}"),
            false,
            Refused,
        ),
        ("interim answers without end", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20), false, Refused),
        ("a chunk size with 0x", chunked("0x5\r\nhello\r\n0\r\n\r\n"), false, Cut),
        ("a chunk size that wraps", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"), false, Cut),
        ("a chunk ended by a bare LF", chunked("5\r\nhello\n0\r\n\r\n"), false, Cut),
        ("a chunk longer than its size", chunked("2\r\nhello\r\n0\r\n\r\n"), false, Cut),
        ("a body shorter than its length", ok("Content-Length: 50\r\n", "hello"), true, Cut),
        ("chunks without end", chunked("5\r\nhello\r\n"), true, Cut),
        (
            "trailers that frame",
            chunked("5\r\nhello\r\n0\r\nContent-Length: 99\r\nX: y\r\n\r\n"),
            false,
            One("hello"),
        ),
        ("no HTTP", "hidden\r\n\r\n".to_owned(), true, Refused),
        (
            "a status that is no number",
            "HTTP/1.1 2x0 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            false,
            Refused,
        ),
        (
            "a reason with a CR",
            "HTTP/1.1 200 O\rK\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            false,
            Refused,
        ),
        (
            "hop-by-hop fields",
            ok(
                "Connection: close, x-hidden\r\nX-Hidden: y\r\nKeep-Alive: hidden\r\nContent-Length: 5\r\n",
                "hello",
            ),
            true,
            One("hello"),
        ),
    ]
}

/// The client got one answer, whole or visibly not.
fn judge(bytes: &[u8], closed: bool, want: Want) -> Result<(), String> {
    let (all, rest) = messages(bytes, Kind::Response { closed: false })?;
    let is_refusal = |status: &str| status.starts_with('5');
    let right = match (want, all.as_slice()) {
        (Refused, [one]) => is_refusal(one.second()) && rest.is_empty(),
        (One(body), [one]) => !is_refusal(one.second()) && one.body == body.as_bytes() && rest.is_empty(),
        (Cut, [one]) => is_refusal(one.second()),
        (Cut, []) => closed,
        _ => false,
    };
    let hidden =
        all.iter().flat_map(|one| &one.headers).any(|(n, v)| n.contains("hidden") || v.contains("hidden"));
    if right && !hidden {
        Ok(())
    } else {
        Err(format!("wanted {want:?}, got {all:?} and {} bytes", rest.len()))
    }
}

#[test]
fn answers_that_can_be_read_in_two_ways_reach_no_client_and_no_other_call() {
    let pair = Pair::open(&[]);
    let mut wrong = Vec::new();
    for to in [pair.caller.http, pair.callee.http] {
        pair.still_serves(to).unwrap();
        for (what, bytes, closes, want) in answers() {
            pair.app.answers(Answer(bytes.into_bytes(), closes));
            let request =
                b"GET /v1.0/invoke/callee/method/seen HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let (answer, closed) = exchange(to, request, true);
            let verdict = judge(&answer, closed, want).and_then(|()| pair.still_serves(to));
            if let Err(why) = verdict {
                wrong.push(format!("{what}: {why}; answer {:?}", String::from_utf8_lossy(&answer)));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

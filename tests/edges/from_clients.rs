//! Requests that hold a second one, a header or a length for somebody who reads them in another way. Judged by the bytes
//! that the app's sockets received.

use crate::raw::{Answer, Heard, Kind, Message, RawApp, exchange, messages};
use rig::ground::{Ground, Member};
use rig::http1::client;
use std::net::SocketAddr;

/// What the app may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Nothing: the client gets an error.
    Nothing,
    /// Nothing: the sidecar answers itself.
    Own,
    /// One whole request with this body.
    One(&'static str),
    /// One request that is cut off, or nothing.
    Cut,
}

use Want::{Cut, Nothing, One, Own};

const POST: &str = "POST /v1.0/invoke/callee/method/seen HTTP/1.1\r\nHost: a\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const HIDDEN: &str = "GET /v1.0/invoke/callee/method/hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// Lengths and codings that do not agree.
fn framings() -> Vec<(&'static str, String, Want)> {
    let hidden = HIDDEN;
    let n = HIDDEN.len();
    let post = |fields: &str, body: &str| format!("{POST}{fields}\r\n{body}");
    let zero = format!("0\r\n\r\n{hidden}");
    vec![
        ("a length and a coding", post(&format!("Content-Length: {}\r\n{CHUNKED}", n + 5), &zero), Nothing),
        ("a coding and a length", post(&format!("{CHUNKED}Content-Length: {}\r\n", n + 5), &zero), Nothing),
        ("a coding and no length at all", post(&format!("{CHUNKED}Content-Length:\r\n"), &zero), Nothing),
        ("two lengths", post(&format!("Content-Length: 0\r\nContent-Length: {n}\r\n"), hidden), Nothing),
        ("a list of lengths", post(&format!("Content-Length: 0, {n}\r\n"), hidden), Nothing),
        ("the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), Nothing),
        ("a length with a sign", post("Content-Length: +5\r\n", "hello"), Nothing),
        ("a length in hexadecimal", post("Content-Length: 0x5\r\n", "hello"), Nothing),
        ("a length with a space", post("Content-Length: 5 0\r\n", "hello"), Nothing),
        ("a length with a fraction", post("Content-Length: 5.0\r\n", "hello"), Nothing),
        ("a length that wraps", post("Content-Length: 18446744073709551621\r\n", "hello"), Nothing),
        ("a length with a form feed", post("Content-Length: \x0c5\r\n", "hello"), Nothing),
        ("an empty length", post("Content-Length: \r\n", hidden), Nothing),
        ("chunked twice", post(&format!("{CHUNKED}{CHUNKED}"), &zero), Nothing),
        ("chunked of chunked", post("Transfer-Encoding: chunked, chunked\r\n", &zero), Nothing),
        ("gzip of chunked", post("Transfer-Encoding: gzip, chunked\r\n", &zero), Nothing),
        (
            "a coding behind chunked",
            post(&format!("{CHUNKED}Transfer-Encoding: identity\r\n"), &zero),
            Nothing,
        ),
        ("an unknown coding", post("Transfer-Encoding: xchunked\r\n", &zero), Nothing),
        ("a coding in quotes", post("Transfer-Encoding: \"chunked\"\r\n", &zero), Nothing),
        ("a coding with a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", &zero), Nothing),
        ("a coding with a bare CR", post("Transfer-Encoding: chun\rked\r\n", &zero), Nothing),
        ("a coding with a NUL", post("Transfer-Encoding: chunked\0\r\n", &zero), Nothing),
        ("a space before the colon of a coding", post("Transfer-Encoding : chunked\r\n", &zero), Nothing),
        ("a tab before the colon of a length", post("Content-Length\t: 5\r\n", "hello"), Nothing),
        ("a folded coding", post("Transfer-Encoding:\r\n chunked\r\n", &zero), Nothing),
        (
            "a length folded into another field",
            post(&format!("X: y\r\n Content-Length: {n}\r\n"), hidden),
            Nothing,
        ),
        ("HTTP/1.0 with a coding", post(CHUNKED, &zero).replacen("HTTP/1.1", "HTTP/1.0", 1), Nothing),
        (
            "a length named hop-by-hop",
            post("Connection: content-length\r\nContent-Length: 5\r\n", "hello"),
            One("hello"),
        ),
        (
            "a coding named hop-by-hop",
            post(&format!("Connection: transfer-encoding\r\n{CHUNKED}"), "5\r\nhello\r\n0\r\n\r\n"),
            One("hello"),
        ),
    ]
}

/// Chunks that end elsewhere than they say.
fn chunks() -> Vec<(&'static str, String, Want)> {
    let chunked = |body: &str| format!("{POST}{CHUNKED}\r\n{body}");
    vec![
        ("a chunk size with 0x", chunked(&format!("0x5\r\nhello\r\n0\r\n\r\n{HIDDEN}")), Nothing),
        ("a chunk size with a sign", chunked("+5\r\nhello\r\n0\r\n\r\n"), Nothing),
        ("a chunk size below zero", chunked("-5\r\nhello\r\n0\r\n\r\n"), Nothing),
        ("a chunk size that wraps", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"), Nothing),
        ("a chunk size with a space in it", chunked("0 5\r\nhello\r\n0\r\n\r\n"), Nothing),
        ("an empty chunk size", chunked(&format!("\r\n0\r\n\r\n{HIDDEN}")), Nothing),
        ("a chunk size ended by a bare LF", chunked(&format!("5\nhello\r\n0\r\n\r\n{HIDDEN}")), Nothing),
        ("a chunk ended by a bare LF", chunked(&format!("5\r\nhello\n0\r\n\r\n{HIDDEN}")), Cut),
        ("a chunk longer than its size", chunked(&format!("2\r\nhello\r\n0\r\n\r\n{HIDDEN}")), Cut),
        ("a chunk without its line end", chunked(&format!("5\r\nhello0\r\n\r\n{HIDDEN}")), Cut),
        ("an extension with a bare LF", chunked(&format!("5;a\nb\r\nhello\r\n0\r\n\r\n{HIDDEN}")), Nothing),
        (
            "an extension with a line end in quotes",
            chunked(&format!("5;a=\"\r\n\r\n0\r\n\r\n{HIDDEN}\"\r\nhello\r\n0\r\n\r\n")),
            Cut,
        ),
        ("an extension", chunked("5;name=\"value\"\r\nhello\r\n0;last\r\n\r\n"), One("hello")),
        (
            "an extension without end",
            chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000))),
            Nothing,
        ),
        (
            "trailers that frame",
            chunked("5\r\nhello\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n"),
            One("hello"),
        ),
        ("a trailer that is no field", chunked(&format!("5\r\nhello\r\n0\r\n{HIDDEN}")), One("hello")),
        ("chunks without end", chunked("5\r\nhello\r\n"), Cut),
    ]
}

/// Heads that are read differently.
fn heads() -> Vec<(&'static str, String, Want)> {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let get = |fields: &str| format!("GET /v1.0/invoke/callee/method/seen HTTP/1.1\r\n{fields}\r\n");
    vec![
        ("lines that end in LF", HIDDEN.replace("\r\n", "\n"), Nothing),
        ("one line that ends in LF", get("Host: a\nX: y\r\n"), Nothing),
        ("a CR in a value", get("Host: a\r\nX: y\rZ: hidden\r\n"), Nothing),
        ("a NUL in a value", get("Host: a\r\nX: y\0\r\n"), Nothing),
        ("a NUL in a name", get("Host: a\r\nX\0Y: y\r\n"), Nothing),
        ("a name that is not ASCII", get("Host: a\r\nX\u{e9}: y\r\n"), Nothing),
        ("a line without a colon", get("Host: a\r\nhidden\r\n"), Nothing),
        ("an empty name", get("Host: a\r\n: hidden\r\n"), Nothing),
        ("a space before the first field", get(" Host: a\r\nX: y\r\n"), Nothing),
        ("a folded field", get("Host: a\r\nX: y\r\n\thidden\r\n"), Nothing),
        ("two hosts", get("Host: a\r\nHost: b\r\n"), Nothing),
        ("no host", get(""), Nothing),
        ("a host with a space", get("Host: a b\r\n"), Nothing),
        ("no version", "GET /v1.0/invoke/callee/method/hidden\r\n\r\n".to_owned(), Nothing),
        ("a version in small letters", line("GET /v1.0/invoke/callee/method/hidden http/1.1"), Nothing),
        ("a version of another kind", line("GET /v1.0/invoke/callee/method/hidden HTTP/1.2"), Nothing),
        ("two spaces in the first line", line("GET  /v1.0/invoke/callee/method/hidden HTTP/1.1"), Nothing),
        ("a tab in the first line", line("GET\t/v1.0/invoke/callee/method/hidden HTTP/1.1"), Nothing),
        (
            "a fourth word in the first line",
            line("GET /v1.0/invoke/callee/method/hidden x HTTP/1.1"),
            Nothing,
        ),
        ("a verb that is no token", line("GE(T /v1.0/invoke/callee/method/hidden HTTP/1.1"), Nothing),
        (
            "an absolute target of the API",
            line("GET http://a/v1.0/invoke/callee/method/seen HTTP/1.1"),
            One(""),
        ),
        ("an absolute target of another host", line("GET http://evil/hidden HTTP/1.1"), Nothing),
        ("a target that is an authority", line("CONNECT hidden:80 HTTP/1.1"), Nothing),
        ("a target that is a star", line("OPTIONS * HTTP/1.1"), Own),
        (
            "a line end in the path",
            line("GET /v1.0/invoke/callee/method/seen%0d%0aX-Hidden:%20yes HTTP/1.1"),
            Nothing,
        ),
        (
            "a whole request in the path",
            line("GET /v1.0/invoke/callee/method/seen%20HTTP/1.1%0d%0a%0d%0aGET%20/hidden HTTP/1.1"),
            Nothing,
        ),
        (
            "a line end in the query",
            line("GET /v1.0/invoke/callee/method/seen?a=%0d%0aX-Hidden:%20yes HTTP/1.1"),
            One(""),
        ),
        (
            "dot segments that climb out",
            line("GET /v1.0/invoke/callee/method/..%2f..%2f..%2fhidden HTTP/1.1"),
            Nothing,
        ),
        (
            "an upgrade to HTTP/2 whose settings are not for this hop",
            get(
                "Host: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
            ),
            One(""),
        ),
        (
            "the caller's name",
            get("Host: a\r\nDapr-Caller-App-Id: hidden\r\nDapr-Caller-Namespace: hidden\r\n"),
            One(""),
        ),
        ("the caller's name with underscores", get("Host: a\r\nDapr_Caller_App_Id: seen\r\n"), One("")),
    ]
}

/// What the app got is what is wanted, on one connection and for the strictest reader.
pub(crate) fn judge(heard: &[Heard], want: Want) -> Result<Vec<Message>, String> {
    let mut all = Vec::new();
    let mut cut = 0;
    for Heard { bytes, closed } in heard {
        let text = || String::from_utf8_lossy(bytes).into_owned();
        let (whole, rest) = messages(bytes, Kind::Request).map_err(|why| format!("{why} in {:?}", text()))?;
        if !rest.is_empty() && !closed {
            return Err(format!("an open connection in the middle of a request: {:?}", text()));
        }
        cut += usize::from(!rest.is_empty());
        all.extend(whole);
    }
    let shows = |message: &Message| {
        let hidden = |text: &str| text.to_ascii_lowercase().contains("hidden");
        let named = |(name, value): &(String, String)| {
            hidden(name) || (hidden(value) && name != "x-forwarded-host" && name != "forwarded")
        };
        !message.second().starts_with("/seen") || message.headers.iter().any(named)
    };
    if let Some(message) = all.iter().find(|message| shows(message)) {
        return Err(format!("what was hidden shows: {message:?}"));
    }
    let right = match want {
        Nothing | Own => all.is_empty() && cut == 0,
        One(body) => cut == 0 && all.len() == 1 && all[0].body == body.as_bytes(),
        Cut => all.is_empty() && cut <= 1,
    };
    if right { Ok(all) } else { Err(format!("wanted {want:?}, got {cut} cut and {all:?}")) }
}

/// A pair with a raw app behind the callee.
pub(crate) struct Pair {
    pub(crate) caller: Member,
    pub(crate) callee: Member,
    pub(crate) app: RawApp,
    _ground: Ground,
}

impl Pair {
    pub(crate) fn open(more: &[&str]) -> Pair {
        let ground = Ground::new(rig::outrigger!());
        let app = RawApp::start();
        let callee = ground.start("callee", Some(app.port()), more);
        ground.await_registered("callee", 1);
        let caller = ground.start("caller", None, more);
        Pair { caller, callee, app, _ground: ground }
    }

    /// A good call gets its own answer, whatever happened before.
    pub(crate) fn still_serves(&self, through: SocketAddr) -> Result<(), String> {
        self.app.answers(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter".to_vec(), false));
        let got = client::get(through, "/v1.0/invoke/callee/method/seen");
        self.app.answers(Answer::default());
        if got.status == 200 && got.text() == "after" { Ok(()) } else { Err(format!("afterwards {got:?}")) }
    }
}

fn played(cases: Vec<(&'static str, String, Want)>) {
    let pair = Pair::open(&[]);
    let mut wrong = Vec::new();
    for to in [pair.caller.http, pair.callee.http] {
        pair.still_serves(to).unwrap();
        for (what, bytes, want) in &cases {
            pair.app.forget();
            let (answer, closed) = exchange(to, bytes.as_bytes(), true);
            let verdict = judge(&pair.app.heard(), *want).map(drop);
            let verdict =
                verdict.and_then(|()| answered(&answer, closed, *want)).and_then(|()| pair.still_serves(to));
            if let Err(why) = verdict {
                wrong.push(format!("{what}: {why}; answer {:?}", String::from_utf8_lossy(&answer)));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The client gets one answer, well-formed: an error for what is not wanted.
fn answered(bytes: &[u8], closed: bool, want: Want) -> Result<(), String> {
    let (all, rest) = messages(bytes, Kind::Response { closed })?;
    let refused = |message: &Message| matches!(message.second().as_bytes().first(), Some(b'4' | b'5'));
    let one_by_one = all.iter().skip(1).all(refused) && rest.is_empty();
    match all.first() {
        Some(first) if one_by_one && (refused(first) || matches!(want, One(_) | Own)) => Ok(()),
        None if want == Cut && rest.is_empty() => Ok(()),
        _ => Err(format!("{} answers and {} bytes", all.len(), rest.len())),
    }
}

#[test]
fn lengths_and_codings_that_disagree_are_refused() {
    played(framings());
}

#[test]
fn chunks_that_end_elsewhere_than_they_say_are_refused() {
    played(chunks());
}

#[test]
fn heads_that_can_be_read_in_two_ways_are_refused() {
    played(heads());
}

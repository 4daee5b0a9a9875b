//! The app of the recordings: what it answers is told by the path.

use crate::case::pattern;
use rig::http1::{Answer, End, Step};

/// A request as the recording says it reaches the app.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: &'a [u8],
}

/// The body of the answer, where it is long.
pub(crate) fn sized(path: &str) -> Option<Vec<u8>> {
    if let Some(length) = path.strip_prefix("/size/") {
        return length.parse().ok().map(pattern);
    }
    path.strip_prefix("/chunked/").map(|list| parts(list).concat())
}

fn parts(list: &str) -> Vec<Vec<u8>> {
    list.split(',').map(|n| pattern(n.parse().expect("a length"))).collect()
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 {status} S\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    Answer::bytes([head.as_bytes(), body].concat())
}

fn typed(content_type: &str) -> String {
    format!("Content-Type: {content_type}\r\n")
}

/// The head of a chunked answer, with whatever else comes at once.
fn chunked(headers: &str, rest: &[u8]) -> Step {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n");
    Step::Bytes([head.as_bytes(), rest].concat())
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// What the app answers.
pub(crate) fn answers(asked: &Asked<'_>) -> Answer {
    let plain = typed("text/plain");
    if let Some(list) = asked.path.strip_prefix("/chunked/") {
        let mut bytes: Vec<u8> = parts(list).iter().flat_map(|part| chunk(part)).collect();
        bytes.extend(b"0\r\n\r\n");
        return Answer::steps(vec![chunked(&plain, &bytes)]);
    }
    if let Some(body) = sized(asked.path) {
        return answer(200, &plain, &body);
    }
    if let Some(status) = asked.path.strip_prefix("/status/").and_then(|s| s.parse().ok()) {
        return status_answer(status, &plain);
    }
    match asked.path {
        "/early-hints" => early_hints(&plain),
        "/gzip" => answer(200, &format!("Content-Encoding: gzip\r\n{plain}"), &zipped()),
        "/no-type" => answer(200, "", b"<html>"),
        "/slow" => slowly(&plain, b"one", b"two"),
        "/close" => Answer::steps(vec![Step::End(End::Close)]),
        "/bad" => Answer::steps(vec![Step::text("nonsense\r\n\r\n"), Step::End(End::Close)]),
        "/headers" => answer(200, HEADERS, b"ok"),
        "/hang" => Answer::steps(vec![
            Step::wait_ms(1500),
            Step::text("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ]),
        "/sse" => events(),
        "/sse202" => answer(202, &typed("text/event-stream"), b"data: 1\n\n"),
        "/sse-big" => answer(200, &typed("text/event-stream"), &pattern(3000)),
        _ => echo(asked),
    }
}

const HEADERS: &str = "Content-Type: text/plain; charset=utf-8\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: gv\r\n\
    Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
    X-Data-Bin: AAEC\r\nX-Multi: one\r\nX-Multi: two\r\n";

fn status_answer(status: u16, plain: &str) -> Answer {
    let headers = format!("{plain}X-App: 1\r\n");
    if status == 204 || status == 304 {
        return Answer::bytes(format!("HTTP/1.1 {status} S\r\n{headers}\r\n"));
    }
    answer(status, &headers, format!("status {status}").as_bytes())
}

fn early_hints(plain: &str) -> Answer {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    Answer::bytes(format!("{hint}HTTP/1.1 200 OK\r\n{plain}Content-Length: 2\r\n\r\nok"))
}

/// `zipped`, packed; as recorded.
fn zipped() -> Vec<u8> {
    crate::case::hex("1f8b0800000000000203abca2c28484d01005768c2e206000000")
}

fn slowly(headers: &str, first: &[u8], second: &[u8]) -> Answer {
    let last = [&chunk(second)[..], b"0\r\n\r\n"].concat();
    Answer::steps(vec![
        chunked(headers, b""),
        Step::wait_ms(300),
        Step::Bytes(chunk(first)),
        Step::wait_ms(300),
        Step::Bytes(last),
    ])
}

fn events() -> Answer {
    let headers = format!("{}X-App: 1\r\n", typed("text/event-stream"));
    let last = [&chunk(b"data: 2\n\n")[..], b"0\r\n\r\n"].concat();
    Answer::steps(vec![chunked(&headers, &chunk(b"data: 1\n\n")), Step::wait_ms(300), Step::Bytes(last)])
}

fn echo(asked: &Asked<'_>) -> Answer {
    let content_type = asked.content_type.map(typed).unwrap_or_default();
    let body = if asked.method == "HEAD" { b"" } else { asked.body };
    answer(200, &format!("{content_type}X-App: 1\r\n"), body)
}

use crate::http1::framing::Framing;
use crate::http1::head::{
    Head, Limits, MAX_LINES, Opening, Request, Response, SLACK, Slots, Version, may_end, opening,
};
use crate::http1::names::Known;
use crate::http1::refusal::HeadError;

const WHOLE: &[u8] =
    b"POST /a?b=c HTTP/1.1\r\nHost: x:1\r\nX-A: 1\r\ncontent-length: 3\r\nx-a:2 \r\nEmpty:\r\n\r\n";

/// What a request head is taken for: its framing, or why it is refused.
fn request(bytes: &[u8]) -> Result<Framing, HeadError> {
    let mut slots = Slots::new();
    match Request::parse(bytes, &mut slots, &Limits::default())? {
        Head::Complete(request) => Ok(request.framing()),
        Head::Partial => panic!("partial: {}", String::from_utf8_lossy(bytes)),
    }
}

fn response(bytes: &[u8]) -> Result<Framing, HeadError> {
    let mut slots = Slots::new();
    match Response::parse(bytes, &mut slots, &Limits::default())? {
        Head::Complete(response) => Ok(response.framing(false)),
        Head::Partial => panic!("partial: {}", String::from_utf8_lossy(bytes)),
    }
}

fn with(lines: &str) -> Result<Framing, HeadError> {
    request(format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
}

#[test]
fn a_head_is_a_view_of_its_bytes() {
    let mut slots = Slots::new();
    let Ok(Head::Complete(head)) = Request::parse(WHOLE, &mut slots, &Limits::default()) else { panic!() };
    assert_eq!(
        (head.method, head.target, head.version, head.len),
        ("POST", "/a?b=c", Version::Http11, WHOLE.len())
    );
    let lines: Vec<_> = head.headers.iter().map(|line| (line.name, line.value)).collect();
    let expected: [(&str, &[u8]); 5] =
        [("Host", b"x:1"), ("X-A", b"1"), ("content-length", b"3"), ("x-a", b"2"), ("Empty", b"")];
    assert_eq!(lines, expected);
    assert_eq!(head.headers.first(Known::Host), Some(&b"x:1"[..]));
    assert_eq!(head.headers.first(Known::Accept), None);
    assert_eq!(head.headers.named("X-a").collect::<Vec<_>>(), [b"1", b"2"]);
    assert!(head.headers.may_repeat());
    assert_eq!(head.framing(), Framing::Length(3));
}

#[test]
fn every_beginning_of_a_head_is_partial() {
    for end in 0..WHOLE.len() {
        let mut slots = Slots::new();
        let parsed = Request::parse(&WHOLE[..end], &mut slots, &Limits::default());
        assert!(matches!(parsed, Ok(Head::Partial)), "{end}");
        assert!(!may_end(&WHOLE[..end], 0), "{end}");
    }
    let answer = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for end in 0..answer.len() {
        let mut slots = Slots::new();
        let parsed = Response::parse(&answer[..end], &mut slots, &Limits::default());
        assert!(matches!(parsed, Ok(Head::Partial)), "{end}");
    }
}

#[test]
fn the_end_of_a_head_is_seen_wherever_its_pieces_meet() {
    for before in 0..WHOLE.len() {
        assert!(may_end(WHOLE, before), "{before}");
    }
    assert!(may_end(b"GET / HTTP/1.1\n\n", 15));
}

#[test]
fn a_request_head_may_have_what_the_flag_says_and_four_kib_more() {
    // vectors limits/head-8192-bytes, limits/head-8193-bytes
    let limits = Limits { max_head: 4096 };
    for (size, fits) in [(4096 + SLACK, true), (4096 + SLACK + 1, false)] {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        let head = frame.replace("X: ", &format!("X: {}", "p".repeat(size - frame.len())));
        assert_eq!(head.len(), size);
        let mut slots = Slots::new();
        let parsed = Request::parse(head.as_bytes(), &mut slots, &limits);
        assert_eq!(matches!(parsed, Ok(Head::Complete(_))), fits);
        let mut slots = Slots::new();
        let cut = Request::parse(&head.as_bytes()[..size - 1], &mut slots, &limits);
        assert_eq!(
            matches!(cut, Ok(Head::Partial)),
            fits,
            "what cannot fit any more is refused before its end"
        );
    }
}

#[test]
fn a_head_above_the_limit_is_431_and_the_answer_names_the_flag() {
    let error = HeadError::TooLarge { flag: 65_536 };
    let mut out = Vec::new();
    error.answer(&mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{text}");
    assert!(text.contains("--read-buffer-size") && text.contains("65536"), "{text}");
    assert!(text.contains("Connection: close\r\n"), "{text}");
}

#[test]
fn many_header_lines_fit_and_too_many_are_431() {
    for (count, fits) in [(64, true), (65, true), (300, true), (MAX_LINES - 1, true), (MAX_LINES, false)] {
        let lines: String = (0..count).map(|at| format!("n{at}: v\r\n")).collect();
        match with(&lines) {
            Ok(_) => assert!(fits, "{count}"),
            Err(error) => assert_eq!((fits, error.status()), (false, 431), "{count}"),
        }
    }
}

/// compat.md: bare LF, obs-fold, `Content-Length` with `Transfer-Encoding`, doubled lengths are 400.
#[test]
fn heads_that_readers_could_understand_differently_are_refused() {
    for head in [
        "GET /x HTTP/1.1\nHost: a\n\n",
        "GET /x HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\n\n",
        "GET /x HTTP/1.1\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
        "GET /x HTTP/1.1\r\n folded: 1\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX\t: 1\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: a\u{7f}b\r\n\r\n",
        "GET /x\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x y HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x http/1.1\r\nHost: a\r\n\r\n",
        "GET /x HTTP/01.1\r\nHost: a\r\n\r\n",
        "GET /x\r\nHost: a\r\n\r\n",
        "\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a b/c\r\n\r\n",
        "POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let error = request(head.as_bytes()).unwrap_err();
        assert_eq!(error.status(), 400, "{head:?}: {error}");
    }
}

#[test]
fn body_lengths_of_requests_are_unambiguous() {
    assert_eq!(with(""), Ok(Framing::None));
    assert_eq!(with("Content-Length: 0\r\n"), Ok(Framing::Length(0)));
    assert_eq!(with("Content-Length:  4 \r\n"), Ok(Framing::Length(4)));
    assert_eq!(with("Transfer-Encoding: CHUNKED\r\n"), Ok(Framing::Chunked));
    for lines in [
        "Content-Length: 4\r\nContent-Length: 4\r\n",
        "Content-Length: 4, 4\r\n",
        "Content-Length: \r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -4\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: 0_4\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        assert_eq!(with(lines).unwrap_err().status(), 400, "{lines:?}");
    }
}

#[test]
fn transfer_codings_but_chunked_are_501() {
    for value in
        ["identity", "gzip, chunked", "chunked, chunked", "xchunked", "\"chunked\"", "", "chunked;q=1"]
    {
        let error = with(&format!("Transfer-Encoding: {value}\r\n")).unwrap_err();
        assert_eq!(error, HeadError::TransferCoding, "{value}");
    }
    assert_eq!(
        with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n").unwrap_err().status(),
        501
    );
}

#[test]
fn versions_that_are_not_ours_are_505() {
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0"] {
        let error = request(format!("GET / {version}\r\nHost: a\r\n\r\n").as_bytes()).unwrap_err();
        assert_eq!(error.status(), 505, "{version}");
    }
}

#[test]
fn an_http10_request_needs_no_host_and_its_connection_closes() {
    let bytes = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let mut slots = Slots::new();
    let Ok(Head::Complete(head)) = Request::parse(bytes, &mut slots, &Limits::default()) else { panic!() };
    assert_eq!((head.version, head.keeps_alive()), (Version::Http10, false));
}

#[test]
fn connection_options_are_read_from_lists_in_any_case() {
    for (value, kept) in
        [("x, close", false), ("CLOSE", false), ("keep-alive", true), ("x-close", true), ("", true)]
    {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n");
        let mut slots = Slots::new();
        let Ok(Head::Complete(head)) = Request::parse(bytes.as_bytes(), &mut slots, &Limits::default())
        else {
            panic!()
        };
        assert_eq!(head.keeps_alive(), kept, "{value}");
    }
}

#[test]
fn wishes_of_a_request_are_recognised() {
    let bytes =
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nExpect: 100-Continue\r\n\
        Accept: TEXT/event-stream\r\n\r\n";
    let mut slots = Slots::new();
    let Ok(Head::Complete(head)) = Request::parse(bytes, &mut slots, &Limits::default()) else { panic!() };
    assert!(head.expects_continue() && !head.expects_the_unknown() && head.wants_events());
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
}

#[test]
fn the_body_of_a_response_ends_as_rfc_9112_says() {
    let framing = |lines: &str| response(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes());
    assert_eq!(framing("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(framing("Content-Length: 5\r\nContent-Length: 5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Ok(Framing::Chunked));
    assert_eq!(framing(""), Ok(Framing::UntilClose));
    assert!(framing("Content-Length: 5\r\nContent-Length: 6\r\n").is_err());
    assert!(framing("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n").is_err());
    assert!(framing("Transfer-Encoding: gzip\r\n").is_err());
    for status in ["204 No Content", "304 Not Modified", "103 Early Hints"] {
        let bytes = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(response(bytes.as_bytes()), Ok(Framing::None), "{status}");
    }
}

#[test]
fn an_answer_to_head_has_no_body_but_its_declared_length() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let mut slots = Slots::new();
    let Ok(Head::Complete(head)) = Response::parse(bytes, &mut slots, &Limits::default()) else { panic!() };
    assert_eq!((head.framing(true), head.declared_length()), (Framing::None, Some(5)));
}

#[test]
fn no_status_of_an_app_is_taken_that_could_not_be_written() {
    for status in ["000", "099", "1000", "-200", "2x0", "20"] {
        let bytes = format!("HTTP/1.1 {status} Odd\r\nContent-Length: 2\r\n\r\nok");
        assert!(response(bytes.as_bytes()).is_err(), "{status}");
    }
    assert_eq!(response(b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\n"), Ok(Framing::Length(2)));
}

#[test]
fn http2_is_told_from_http1_by_its_preface() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for end in 0..preface.len() {
        assert_eq!(opening(&preface[..end]), Opening::Undecided);
    }
    assert_eq!(opening(preface), Opening::Http2);
    assert_eq!(opening(b"PRI /x HTTP/1.1\r\n"), Opening::Http1);
    assert_eq!(opening(b"GET"), Opening::Http1);
}

#[test]
fn the_first_protocol_but_h2c_is_what_a_request_switches_to() {
    let switches = |lines: &str| {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut slots = Slots::new();
        match Request::parse(bytes.as_bytes(), &mut slots, &Limits::default()) {
            Ok(Head::Complete(request)) => request.switches_to().map(str::to_owned),
            other => panic!("{other:?}"),
        }
    };
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(switches("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"), said("websocket"));
    assert_eq!(switches("Connection: upgrade\r\nUpgrade: a/1, b\r\nContent-Length: 0\r\n"), said("a/1"));
    assert_eq!(switches("Upgrade: websocket\r\n"), None, "Connection does not list it");
    assert_eq!(switches("Connection: upgrade\r\nUpgrade: h2c\r\n"), None);
    assert_eq!(switches("Connection: upgrade\r\nUpgrade: a b\r\n"), None);
    assert_eq!(switches("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n"), None);
    assert_eq!(switches("Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n"), None);
}

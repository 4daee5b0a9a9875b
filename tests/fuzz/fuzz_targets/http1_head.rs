//! HTTP/1 heads: no panic, and the same meaning in one piece and byte by byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::http1::head::{Head, Limits, Request, Response, Slots, may_end};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_head: 4096 };
    let (mut slots, mut answer) = (Slots::new(), Slots::new());
    let whole = Request::parse(bytes, &mut slots, &limits);
    if let Err(error) = &whole {
        error.answer(&mut Vec::new());
    }
    if let Ok(Head::Complete(request)) = &whole {
        assert!(bytes[..request.len].ends_with(b"\r\n\r\n"));
        assert!(!bytes[..request.len - 4].windows(4).any(|four| four == b"\r\n\r\n"));
        let _ = (request.framing(), request.keeps_alive(), request.upgrade(), request.wants_events());
        // nothing before its end looks complete
        for end in 0..request.len {
            let mut slots = Slots::new();
            assert!(matches!(Request::parse(&bytes[..end], &mut slots, &limits), Ok(Head::Partial)));
        }
        assert!(may_end(&bytes[..request.len], request.len - 1));
    }
    if let Ok(Head::Complete(response)) = Response::parse(bytes, &mut answer, &limits) {
        assert!((100..1000).contains(&response.status));
        let _ = (response.framing(true), response.framing(false), response.keeps_alive());
    }
});

//! Targets and methods: a normal form that stays, and that a request line can hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::http1::head::{Head, Limits, Request, Slots};
use proto::invoke::{escape, method, target};

fn check(raw: &str) {
    let Ok(normal) = method::normalise(raw) else { return };
    assert_eq!(method::normalise(&normal).as_deref(), Ok(&*normal));
    assert!(!method::climbs(&normal) && !normal.contains("//"));
    let mut line = Vec::new();
    if escape::path(&mut line, &normal).is_ok() {
        assert!(line.iter().all(|byte| (b'!'..=b'~').contains(byte) && *byte != b'?' && *byte != b'#'));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    check(text);
    let head = format!("GET {text} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut slots = Slots::new();
    let Ok(Head::Complete(head)) = Request::parse(head.as_bytes(), &mut slots, &Limits::default()) else {
        return;
    };
    let Ok(path) = target::split(head.target) else { return };
    if let Ok(found) = target::find(&path, &head.headers) {
        check(&found.method);
        let _ = target::destination(&found.id);
    }
});

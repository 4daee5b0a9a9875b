use crate::http1::encode;

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn status_lines_have_gos_reasons() {
    assert_eq!(text(|out| encode::status_line(out, 200)), "HTTP/1.1 200 OK\r\n");
    assert_eq!(text(|out| encode::status_line(out, 404)), "HTTP/1.1 404 Not Found\r\n");
    assert_eq!(text(|out| encode::status_line(out, 299)), "HTTP/1.1 299 status code 299\r\n");
    let mut reasons = (100..600).filter(|status| encode::reason(*status).is_some());
    assert_eq!(reasons.by_ref().count(), 62, "the table is sorted, so that every entry is found");
}

#[test]
fn names_are_written_in_canonical_spelling() {
    for (name, written) in [
        ("x-request-ID", "X-Request-Id"),
        ("TE", "Te"),
        ("x_under_score", "X_under_score"),
        ("metadata.x", "Metadata.x"),
        ("x!#$%&'*+.^_`|~9", "X!#$%&'*+.^_`|~9"),
        ("-a--b", "-A--B"),
    ] {
        assert_eq!(text(|out| encode::canonical(out, name.as_bytes())), written);
    }
}

#[test]
fn numbers_are_written_in_full() {
    for number in [0, 7, 10, 4096, u64::MAX] {
        assert_eq!(text(|out| encode::decimal(out, number)), number.to_string());
    }
    for length in [1, 15, 16, 255, 4096, usize::MAX] {
        assert_eq!(text(|out| encode::chunk_size(out, length)), format!("{length:x}\r\n"));
    }
}

#[test]
fn what_could_end_a_line_is_no_name_and_no_value() {
    for name in ["", "a b", "a:b", "a\r", "ä", "a\0"] {
        assert!(!encode::is_name(name.as_bytes()), "{name:?}");
    }
    assert!(encode::is_name(b"X-A_1"));
    for value in ["a\r\nX: y", "a\0b", "\u{1f}", "\u{7f}"] {
        assert!(!encode::is_value(value.as_bytes()), "{value:?}");
    }
    assert!(encode::is_value(b"a\tb \xff"));
}

#[test]
fn dates_are_imf_fixdates() {
    for (unix, date) in [
        (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
    ] {
        assert_eq!(core::str::from_utf8(&encode::date(unix)).unwrap(), date);
    }
}

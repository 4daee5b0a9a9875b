//! Literal URLs and redirects: what is read is written alike, and a redirect's path has no dot segments.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::invoke::url;

fuzz_target!(|text: &str| {
    let (text, to) = text.split_once('\n').unwrap_or((text, "../x?y"));
    let Ok(read) = url::parse(text) else { return };
    assert_eq!(url::parse(&read.secret_text()).as_ref(), Ok(&read));
    let shown = url::parse(&read.text()).unwrap();
    assert_eq!((&shown.origin, &shown.path, shown.user), (&read.origin, &read.path, None));
    assert!(read.origin.host.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
    assert!(read.origin.port != 0);
    assert!(read.credentials().is_none_or(|value| value.bytes().all(|byte| (b' '..=b'~').contains(&byte))));
    let Ok((next, _)) = read.redirected(&read.path, to) else { return };
    assert!(next.path.split('/').all(|segment| segment != "." && segment != ".."), "{next:?}");
    assert!(next.path.is_empty() || next.path.starts_with('/'));
});

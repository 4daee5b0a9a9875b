//! SPIFFE IDs: no panic, and what is read is written alike, in the alphabet of an ID.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::spiffe::{MAX_URI, SpiffeId, SpiffeUri};

fuzz_target!(|text: &str| {
    let Ok(uri) = SpiffeUri::parse(text) else { return };
    assert_eq!(uri.to_string(), text);
    assert!(text.len() <= MAX_URI && text.bytes().all(|b| b.is_ascii_graphic()));
    let Ok(id) = uri.workload() else { return };
    assert!(text.starts_with(&id.to_string()) && uri.path().starts_with(&id.path()));
    assert_eq!(SpiffeId::new(&id.trust_domain, &id.namespace, &id.app_id).as_ref(), Ok(&id));
    assert_eq!(SpiffeId::parse(&id.to_string()), Ok(id));
});

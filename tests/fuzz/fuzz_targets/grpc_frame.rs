//! gRPC frames and metadata: no panic, nothing larger than the limit, what is read is written alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::grpc::{base64, frame, metadata};
use proto::trace::Context;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(first)) = frame::split(rest, 1000) {
        assert!(first.message.len() <= 1000 && first.used == first.message.len() + frame::PREFIX);
        let mut again = Vec::new();
        let at = frame::open(&mut again);
        again.extend_from_slice(first.message);
        frame::close(&mut again, at);
        assert_eq!(&again, &rest[..first.used]);
        rest = &rest[first.used..];
    }
    let text = metadata::decode_message(bytes);
    let mut encoded = Vec::new();
    metadata::encode_message(&mut encoded, &text);
    assert_eq!(metadata::decode_message(&encoded), text);
    if let Ok(timeout) = metadata::parse_timeout(bytes) {
        let mut written = Vec::new();
        metadata::encode_timeout(&mut written, timeout);
        assert!(metadata::parse_timeout(&written).is_ok_and(|read| read >= timeout));
    }
    if let Some(data) = base64::decode(bytes) {
        let mut written = Vec::new();
        base64::encode(&mut written, &data, base64::Padding::Padded);
        assert_eq!(base64::decode(&written), Some(data));
    }
    if let Some(context) = Context::of_call(Some(bytes), Some(bytes)) {
        assert_eq!(Context::parse(&context.traceparent()), Some(context));
        assert_eq!(Context::from_header(&context.trace_bin()), Some(context));
    }
});

//! HTTP/2 frames by hand, for peers that keep no rule.

/// What a client says first, with empty settings.
pub(crate) const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The code of ENHANCE_YOUR_CALM.
pub(crate) const CALM: u32 = 0xb;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header field without compression.
pub(crate) fn literal(name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name.as_bytes(), value] {
        integer(text.len(), &mut bytes);
        bytes.extend(text);
    }
    bytes
}

/// A number with a prefix of seven bits.
fn integer(number: usize, out: &mut Vec<u8>) {
    if number < 127 {
        return out.push(number as u8);
    }
    out.push(127);
    let mut rest = number - 127;
    while rest > 127 {
        out.push((rest & 127) as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The head of a call.
pub(crate) fn call_head() -> Vec<u8> {
    let fields: [(&str, &[u8]); 6] = [
        (":method", b"POST"),
        (":scheme", b"http"),
        (":path", b"/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream"),
        (":authority", b"callee"),
        ("content-type", b"application/grpc"),
        ("te", b"trailers"),
    ];
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// HEADERS, complete.
pub(crate) fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(1, 4, stream, block)
}

/// The code of the GOAWAY among these frames, if it is an error.
pub(crate) fn goaway(mut bytes: &[u8]) -> Option<u32> {
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let payload = bytes.get(9..9 + length)?;
        if bytes[3] == 7 {
            let code = u32::from_be_bytes(payload.get(4..8)?.try_into().unwrap());
            if code != 0 {
                return Some(code);
            }
        }
        bytes = &bytes[9 + length..];
    }
    None
}

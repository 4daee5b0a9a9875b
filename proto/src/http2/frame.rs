//! Frames (RFC 9113 §4, §6): the nine-byte head, padding, and cutting a payload to the peer's frame size in place.

// Every range below lies within `out` by the arithmetic beside it; foreign bytes choose none of them.
#![allow(clippy::indexing_slicing)]

use super::code::{Code, Fault};

/// Length of a frame's head.
pub(super) const HEAD: usize = 9;
/// The largest payload this end accepts, and the protocol's default (§4.2).
pub(super) const MAX_FRAME: usize = 16_384;
/// What a client sends first (§3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (§6).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0x0;
    pub(in super::super) const HEADERS: u8 = 0x1;
    pub(in super::super) const PRIORITY: u8 = 0x2;
    pub(in super::super) const RST_STREAM: u8 = 0x3;
    pub(in super::super) const SETTINGS: u8 = 0x4;
    pub(in super::super) const PUSH_PROMISE: u8 = 0x5;
    pub(in super::super) const PING: u8 = 0x6;
    pub(in super::super) const GOAWAY: u8 = 0x7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 0x8;
    pub(in super::super) const CONTINUATION: u8 = 0x9;
}

/// Frame flags (§6).
pub(super) mod flag {
    pub(in super::super) const END_STREAM: u8 = 0x1;
    pub(in super::super) const ACK: u8 = 0x1;
    pub(in super::super) const END_HEADERS: u8 = 0x4;
    pub(in super::super) const PADDED: u8 = 0x8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

/// A frame's head (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// The head at the start of `bytes`, if all nine bytes are there. The reserved bit is ignored (§4.1).
    pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3, ..] = bytes else { return None };
        Some(Head {
            length: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn bytes(&self) -> [u8; HEAD] {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }
}

/// Appends a whole frame.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&Head { length: payload.len(), kind, flags, stream }.bytes());
    out.extend_from_slice(payload);
}

/// Leaves room for a head and says where; `close` fills it.
pub(super) fn open(out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; HEAD]);
    at
}

/// How a payload becomes frames: type and flags of the first frame, of the following ones, and of the last.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) first: u8,
    pub(super) following: u8,
    pub(super) first_flags: u8,
    pub(super) last_flags: u8,
}

impl Shape {
    /// DATA; END_STREAM belongs on the last one (§6.1).
    pub(super) fn data(end: bool) -> Shape {
        let last_flags = if end { flag::END_STREAM } else { 0 };
        Shape { first: kind::DATA, following: kind::DATA, first_flags: 0, last_flags }
    }

    /// HEADERS and CONTINUATION: END_STREAM belongs on the first, END_HEADERS on the last (§6.2, §6.10).
    pub(super) fn headers(end: bool) -> Shape {
        let first_flags = if end { flag::END_STREAM } else { 0 };
        Shape {
            first: kind::HEADERS,
            following: kind::CONTINUATION,
            first_flags,
            last_flags: flag::END_HEADERS,
        }
    }
}

/// Turns everything behind `at` (a place given by [`open`]) into frames of at most `max` bytes of payload.
/// Bytes move only when there is more than one frame, and then once.
pub(super) fn close(out: &mut Vec<u8>, at: usize, max: usize, shape: Shape, stream: u32) {
    close_uneven(out, at, (max, max), shape, stream);
}

/// [`close`] with another size for the first frame than for those that follow.
pub(super) fn close_uneven(
    out: &mut Vec<u8>,
    at: usize,
    (first, max): (usize, usize),
    shape: Shape,
    stream: u32,
) {
    let length = out.len() - at - HEAD;
    if length <= first {
        let flags = shape.first_flags | shape.last_flags;
        out[at..at + HEAD].copy_from_slice(&Head { length, kind: shape.first, flags, stream }.bytes());
        return;
    }
    let following = (length - first).div_ceil(max);
    out.resize(out.len() + following * HEAD, 0);
    for i in (1..=following).rev() {
        let before = first + (i - 1) * max;
        let (from, size) = (at + HEAD + before, max.min(length - before));
        let to = from + i * HEAD;
        out.copy_within(from..from + size, to);
        let flags = if i == following { shape.last_flags } else { 0 };
        let head = Head { length: size, kind: shape.following, flags, stream };
        out[to - HEAD..to].copy_from_slice(&head.bytes());
    }
    let head = Head { length: first, kind: shape.first, flags: shape.first_flags, stream };
    out[at..at + HEAD].copy_from_slice(&head.bytes());
}

/// The most payload of a DATA frame whose head stands at `at` in the turn's buffer: up to the end of the TLS record that
/// it will be in, so that the receiver finds whole frames in records. Next to a record's end that is not worth a frame.
pub(super) fn data_room(at: usize) -> usize {
    const RECORD: usize = MAX_FRAME;
    const WORTH: usize = 256;
    match RECORD - at % RECORD {
        left if left >= HEAD + WORTH => left - HEAD,
        _ => RECORD - HEAD,
    }
}

/// Appends a body as DATA frames, each to the end of its record. The first is open at `at`, with the beginning of its
/// payload. END_STREAM stands on the last one if `end`.
pub(super) fn fill_data(out: &mut Vec<u8>, mut at: usize, mut body: &[u8], end: bool, stream: u32) {
    loop {
        let held = out.len() - at - HEAD;
        let (now, rest) = body.split_at(data_room(at).saturating_sub(held).min(body.len()));
        out.extend_from_slice(now);
        let flags = if end && rest.is_empty() { flag::END_STREAM } else { 0 };
        let head = Head { length: held + now.len(), kind: kind::DATA, flags, stream };
        out[at..at + HEAD].copy_from_slice(&head.bytes());
        if rest.is_empty() {
            return;
        }
        (at, body) = (open(out), rest);
    }
}

/// The payload without padding (§6.1, §6.2): padding that fills or exceeds the payload is a connection error.
pub(super) fn unpad<'a>(head: &Head, payload: &'a [u8]) -> Result<&'a [u8], Fault> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let Some((&padding, rest)) = payload.split_first() else {
        return Err(Fault::connection(Code::FRAME_SIZE_ERROR, "§6.1", "padded frame without a pad length"));
    };
    let Some(end) = rest.len().checked_sub(usize::from(padding)) else {
        return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.1", "padding longer than the frame"));
    };
    Ok(&rest[..end])
}

/// A big-endian number at the start of `bytes`; zero where bytes are missing.
pub(super) fn number(bytes: &[u8]) -> u32 {
    match *bytes {
        [a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(mut bytes: &[u8]) -> Vec<Head> {
        let mut all = vec![];
        while let Some(head) = Head::parse(bytes) {
            bytes = &bytes[HEAD + head.length..];
            all.push(head);
        }
        assert!(bytes.is_empty());
        all
    }

    #[test]
    fn a_payload_is_cut_to_the_frame_size_and_keeps_its_bytes() {
        for length in [0, 1, 9, 10, 11, 20, 21, 95] {
            let body: Vec<u8> = (0..length).collect();
            let mut out = b"before".to_vec();
            let at = open(&mut out);
            out.extend_from_slice(&body);
            close(&mut out, at, 10, Shape::data(true), 3);
            assert_eq!(&out[..6], b"before");
            let all = heads(&out[6..]);
            assert_eq!(all.len(), usize::from(length).div_ceil(10).max(1));
            let ends: Vec<bool> = all.iter().map(|h| h.has(flag::END_STREAM)).collect();
            assert_eq!(ends.iter().filter(|&&e| e).count(), 1);
            assert_eq!(ends.last(), Some(&true));
            let mut rest = &out[6..];
            let mut joined = vec![];
            for head in all {
                joined.extend_from_slice(&rest[HEAD..HEAD + head.length]);
                rest = &rest[HEAD + head.length..];
            }
            assert_eq!(joined, body);
        }
    }

    #[test]
    fn data_is_cut_where_records_end() {
        for (before, lead, length) in
            [(0, 0, 0), (0, 30, 100), (100, 30, 40_000), (16_000, 30, 20_000), (16_200, 0, 9)]
        {
            let body: Vec<u8> = (0..length).map(|i: u32| i.to_le_bytes()[0]).collect();
            let mut all = vec![];
            for piecewise in [true, false] {
                let mut out = vec![0; before];
                let at = open(&mut out);
                out.extend_from_slice(&vec![1; lead]);
                if piecewise {
                    fill_data(&mut out, at, &body, true, 5);
                } else {
                    out.extend_from_slice(&body);
                    let sizes = (data_room(at), MAX_FRAME - HEAD);
                    close_uneven(&mut out, at, sizes, Shape::data(true), 5);
                }
                all.push(out);
            }
            assert_eq!(all[0], all[1], "written or moved, the same");
            let mut at = before;
            for head in heads(&all[0][before..]) {
                let end = at + HEAD + head.length;
                assert!(at / MAX_FRAME == (end - 1) / MAX_FRAME || MAX_FRAME - at % MAX_FRAME < HEAD + 256);
                assert_eq!(head.has(flag::END_STREAM), end == all[0].len());
                at = end;
            }
        }
    }

    #[test]
    fn end_stream_stands_on_headers_and_end_headers_on_the_last_continuation() {
        let mut out = vec![];
        let at = open(&mut out);
        out.extend_from_slice(&[7; 25]);
        close(&mut out, at, 10, Shape::headers(true), 1);
        let all: Vec<(u8, u8)> = heads(&out).iter().map(|h| (h.kind, h.flags)).collect();
        assert_eq!(all, [(kind::HEADERS, 1), (kind::CONTINUATION, 0), (kind::CONTINUATION, 4)]);
    }

    #[test]
    fn padding_may_fill_the_payload_but_not_exceed_it() {
        let head = |length| Head { length, kind: kind::DATA, flags: flag::PADDED, stream: 1 };
        assert_eq!(unpad(&head(4), &[2, b'x', 0, 0]), Ok(&b"x"[..]));
        assert_eq!(unpad(&head(3), &[2, 0, 0]), Ok(&b""[..]));
        assert!(
            matches!(unpad(&head(3), &[3, 0, 0]), Err(Fault::Connection(v)) if v.code == Code::PROTOCOL_ERROR)
        );
        assert!(
            matches!(unpad(&head(0), &[]), Err(Fault::Connection(v)) if v.code == Code::FRAME_SIZE_ERROR)
        );
    }
}

//! A peer made of bytes: frames written by hand, and what an end answers taken apart.

use crate::http2::code::Code;
use crate::http2::frame::{self, HEAD, Head, PREFACE, flag, kind};
use crate::http2::hpack::{Literal, encode};
use crate::http2::{Connection, Event, Limits, Slot};
use crate::time::Tick;

pub(super) const START: Tick = Tick::from_micros(1_000_000_000);
pub(super) const REQUEST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/s/m"), ("content-type", "application/grpc")];
pub(super) const RESPONSE: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

/// The defaults with a small stream window.
pub(super) fn limits() -> Limits {
    Limits { stream_window: 64 << 10, ..Limits::default() }
}

/// A frame with these bytes as payload.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    frame::put(&mut out, kind, flags, stream, payload);
    out
}

/// A header block of literals.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![];
    for (name, value) in fields {
        encode::literal(Literal::new(name, value.as_bytes()), &mut out);
    }
    out
}

pub(super) fn headers(stream: u32, end: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    let end = if end { flag::END_STREAM } else { 0 };
    frame(kind::HEADERS, flag::END_HEADERS | end, stream, &block(fields))
}

pub(super) fn data(stream: u32, end: bool, payload: &[u8]) -> Vec<u8> {
    frame(kind::DATA, if end { flag::END_STREAM } else { 0 }, stream, payload)
}

pub(super) fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        values.iter().flat_map(|(id, v)| [&id.to_be_bytes()[..], &v.to_be_bytes()].concat()).collect();
    frame(kind::SETTINGS, 0, 0, &payload)
}

pub(super) fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

pub(super) fn reset(stream: u32, code: Code) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

pub(super) fn goaway(last: u32, code: Code) -> Vec<u8> {
    frame(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), code.0.to_be_bytes()].concat())
}

/// What an end wrote, frame by frame.
pub(super) fn frames(bytes: &[u8]) -> Vec<(Head, Vec<u8>)> {
    let mut bytes = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    let mut all = vec![];
    while let Some(head) = Head::parse(bytes) {
        all.push((head, bytes[HEAD..HEAD + head.length].to_vec()));
        bytes = &bytes[HEAD + head.length..];
    }
    assert!(bytes.is_empty(), "a cut frame");
    all
}

/// One end under test, settled, with what it wrote so far thrown away.
pub(super) struct End {
    pub(super) conn: Connection,
    pub(super) now: Tick,
}

impl End {
    pub(super) fn server() -> End {
        End::server_with(limits())
    }

    pub(super) fn server_with(limits: Limits) -> End {
        let mut end = End { conn: Connection::server(limits, START), now: START };
        end.ok(PREFACE);
        end.settle()
    }

    pub(super) fn client() -> End {
        End::client_with(limits(), &[])
    }

    pub(super) fn client_with(limits: Limits, peer: &[(u16, u32)]) -> End {
        let mut end = End { conn: Connection::client(limits, START), now: START };
        end.ok(&settings(peer));
        end.settle()
    }

    fn settle(mut self) -> End {
        if self.conn.role() == crate::http2::Role::Server {
            self.ok(&settings(&[]));
        }
        self.ok(&frame(kind::SETTINGS, flag::ACK, 0, &[]));
        assert_eq!(self.conn.poll(), Some(Event::Ready));
        self.wrote();
        self
    }

    /// Starts a client stream.
    pub(super) fn start(&mut self) -> Slot {
        let id = self.conn.register(&REQUEST);
        self.conn.start(id, None, &[]).unwrap()
    }

    /// The peer opens a stream at this server.
    pub(super) fn opened(&mut self, id: u32) -> Slot {
        self.ok(&headers(id, false, &REQUEST));
        let opened = |event| if let Event::Opened(slot) = event { Some(slot) } else { None };
        std::iter::from_fn(|| self.conn.poll()).find_map(opened).expect("a new stream")
    }

    pub(super) fn ok(&mut self, bytes: &[u8]) {
        self.conn.receive(bytes, self.now).unwrap();
    }

    pub(super) fn wrote(&mut self) -> Vec<(Head, Vec<u8>)> {
        frames(&std::mem::take(self.conn.write()))
    }

    /// The code with which the connection ends because of `bytes`; the GOAWAY says the same.
    pub(super) fn refuses(&mut self, bytes: &[u8]) -> Code {
        let violation = self.conn.receive(bytes, self.now).expect_err("a connection error");
        assert!(!violation.section.is_empty());
        let wrote = self.wrote();
        let (head, payload) = wrote.last().expect("a GOAWAY");
        assert_eq!(head.kind, kind::GOAWAY);
        assert_eq!(payload[4..8], violation.code.0.to_be_bytes());
        assert!(self.conn.is_over());
        violation.code
    }

    /// The code with which the stream is reset because of `bytes`; the connection lives.
    pub(super) fn resets(&mut self, stream: u32, bytes: &[u8]) -> Code {
        self.ok(bytes);
        let wrote = self.wrote();
        let reset = wrote.iter().find(|(h, _)| h.kind == kind::RST_STREAM && h.stream == stream);
        Code(frame::number(&reset.unwrap_or_else(|| panic!("no reset in {wrote:?}")).1))
    }
}

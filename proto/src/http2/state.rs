//! The life of a stream (RFC 9113 §5.1), as two halves that advance on their own.
//!
//! ```text
//!             idle                                        receive half × send half = state of §5.1
//!              │ HEADERS, sent or received                open, open       = open
//!              ▼                                          open, closed     = half-closed (local)
//!   each half: Head ── HEADERS ──▶ Body ── DATA ──▶ Body  closed, open     = half-closed (remote)
//!               │                   │                     closed, closed   = closed
//!               └── END_STREAM ─────┴─────▶ Closed ◀── RST_STREAM closes both
//! ```
//!
//! A half is open in `Head` and `Body`. Only the receive half can meet illegal frames; the send half is driven by
//! this end and checked in debug builds. Streams that do not exist (idle, forgotten) are judged by `connection`.

use super::code::{Code, Fault};

/// One direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// The message has not begun.
    Head,
    /// Its head is through; DATA and trailers may follow.
    Body,
    /// It ended, or was reset.
    Closed,
}

/// What a HEADERS frame begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    /// The head of the message.
    Head,
    /// Its trailers.
    Trailers,
}

/// Both halves of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    receive: Half,
    send: Half,
}

impl State {
    /// A stream that this end opened by sending HEADERS, with END_STREAM or without.
    pub(super) fn opened_here(end: bool) -> State {
        State { receive: Half::Head, send: if end { Half::Closed } else { Half::Body } }
    }

    /// A stream that the peer opens; its HEADERS are received next.
    pub(super) fn opened_there() -> State {
        State { receive: Half::Head, send: Half::Head }
    }

    /// No stream.
    pub(super) fn closed() -> State {
        State { receive: Half::Closed, send: Half::Closed }
    }

    pub(super) fn receive_half(self) -> Half {
        self.receive
    }

    pub(super) fn send_half(self) -> Half {
        self.send
    }

    pub(super) fn is_closed(self) -> bool {
        self.receive == Half::Closed && self.send == Half::Closed
    }

    /// A whole header block arrived: what it is, or why it is illegal.
    pub(super) fn receive_headers(&mut self, end: bool) -> Result<Headers, Fault> {
        let what = match self.receive {
            Half::Head => Headers::Head,
            Half::Body if end => Headers::Trailers,
            Half::Body => {
                return Err(Fault::stream(Code::PROTOCOL_ERROR, "§8.1", "trailers without END_STREAM"));
            }
            Half::Closed => return Err(half_closed("HEADERS on a half-closed stream")),
        };
        self.receive = if end { Half::Closed } else { Half::Body };
        Ok(what)
    }

    /// A DATA frame arrived.
    pub(super) fn receive_data(&mut self, end: bool) -> Result<(), Fault> {
        match self.receive {
            Half::Head => return Err(Fault::stream(Code::PROTOCOL_ERROR, "§8.1", "DATA before HEADERS")),
            Half::Closed => return Err(half_closed("DATA on a half-closed stream")),
            Half::Body => {}
        }
        if end {
            self.receive = Half::Closed;
        }
        Ok(())
    }

    /// This end sends a header block: its head, or its trailers.
    pub(super) fn send_headers(&mut self, end: bool) {
        debug_assert!(self.send == Half::Head || (self.send == Half::Body && end), "{self:?}");
        self.send = if end { Half::Closed } else { Half::Body };
    }

    /// This end sends DATA.
    pub(super) fn send_data(&mut self, end: bool) {
        debug_assert_eq!(self.send, Half::Body);
        if end {
            self.send = Half::Closed;
        }
    }

    /// RST_STREAM, either way, or the connection's end.
    pub(super) fn reset(&mut self) {
        *self = State::closed();
    }
}

fn half_closed(what: &'static str) -> Fault {
    Fault::stream(Code::STREAM_CLOSED, "§5.1", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receive_half_follows_the_table() {
        use Half::{Body, Closed, Head};
        // state, HEADERS, HEADERS+END, DATA, DATA+END: the next state, or the code of the stream error
        type Row = (Half, [Result<Half, Code>; 4]);
        let (ok, bad) = (Ok::<Half, Code>, Err::<Half, Code>);
        let table: [Row; 3] = [
            (Head, [ok(Body), ok(Closed), bad(Code::PROTOCOL_ERROR), bad(Code::PROTOCOL_ERROR)]),
            (Body, [bad(Code::PROTOCOL_ERROR), ok(Closed), ok(Body), ok(Closed)]),
            (Closed, [bad(Code::STREAM_CLOSED); 4]),
        ];
        for (from, row) in table {
            for (event, expected) in row.into_iter().enumerate() {
                for send in [Head, Body, Closed] {
                    let mut state = State { receive: from, send };
                    let end = event % 2 == 1;
                    let result = match event {
                        0 | 1 => state.receive_headers(end).map(|_| ()),
                        _ => state.receive_data(end),
                    };
                    let got = match result {
                        Ok(()) => Ok(state.receive),
                        Err(Fault::Stream(v)) => Err(v.code),
                        Err(fault) => panic!("{fault:?}"),
                    };
                    assert_eq!(got, expected, "{from:?}, event {event}");
                    assert_eq!(state.send, send, "the other half does not move");
                }
            }
        }
    }

    #[test]
    fn the_first_header_block_is_the_head_and_the_second_the_trailers() {
        assert_eq!(State::opened_here(true).send_half(), Half::Closed);
        let mut state = State::opened_here(false);
        assert_eq!(state.receive_headers(false), Ok(Headers::Head));
        assert_eq!(state.receive_headers(true), Ok(Headers::Trailers));
        assert_eq!(state.send_half(), Half::Body);
        state.send_data(true);
        assert!(state.is_closed());
    }
}

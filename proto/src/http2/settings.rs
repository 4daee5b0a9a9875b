//! SETTINGS (RFC 9113 §6.5): what the peer allows, and what this end announces.

use super::code::{Code, Fault};
use super::flow::MAX_WINDOW;
use super::frame::{self, MAX_FRAME, kind};
use super::limits::Limits;

/// The private setting by which Outriggers recognise each other. Peers that do not know it ignore it (§6.5.2).
pub const OUTRIGGER: u16 = 0x4f52;
/// Value bit of [`OUTRIGGER`]: large chunks, full duplex, the real verb, header values that are not UTF-8.
pub const OUTRIGGER_V1: u32 = 1;
/// Value bit of [`OUTRIGGER`]: calls that switch protocols.
pub const OUTRIGGER_UPGRADE: u32 = 2;

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// The peer's settings, with the protocol's defaults until it says otherwise (§6.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of its header table that this end's encoder may use.
    pub header_table_size: u32,
    /// Streams this end may have open at once.
    pub max_concurrent_streams: u32,
    /// Bytes this end may send on a fresh stream.
    pub initial_window_size: u32,
    /// Largest frame payload it accepts.
    pub max_frame_size: u32,
    /// Largest header list it accepts, 32 bytes counted a field.
    pub max_header_list_size: u32,
    /// Value of the private setting [`OUTRIGGER`]; 0 if not announced.
    pub outrigger: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            header_table_size: 4096,
            max_concurrent_streams: u32::MAX,
            initial_window_size: 65_535,
            max_frame_size: MAX_FRAME as u32,
            max_header_list_size: u32::MAX,
            outrigger: 0,
        }
    }
}

impl Settings {
    /// Takes over one SETTINGS payload; values are processed in order, unknown ones ignored (§6.5.3).
    pub(super) fn apply(&mut self, payload: &[u8], from_server: bool) -> Result<(), Fault> {
        let (all, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Fault::connection(
                Code::FRAME_SIZE_ERROR,
                "§6.5",
                "SETTINGS length is no multiple of 6",
            ));
        }
        all.iter().try_for_each(|&[i, j, a, b, c, d]| {
            self.set(u16::from_be_bytes([i, j]), u32::from_be_bytes([a, b, c, d]), from_server)
        })
    }

    fn set(&mut self, id: u16, value: u32, from_server: bool) -> Result<(), Fault> {
        match id {
            HEADER_TABLE_SIZE => self.header_table_size = value,
            ENABLE_PUSH if value > 1 || (from_server && value == 1) => {
                return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.5.2", "bad SETTINGS_ENABLE_PUSH"));
            }
            MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
            INITIAL_WINDOW_SIZE if value > MAX_WINDOW => {
                return Err(Fault::connection(
                    Code::FLOW_CONTROL_ERROR,
                    "§6.5.2",
                    "initial window above 2^31-1",
                ));
            }
            INITIAL_WINDOW_SIZE => self.initial_window_size = value,
            MAX_FRAME_SIZE if !(16_384..=16_777_215).contains(&value) => {
                return Err(Fault::connection(Code::PROTOCOL_ERROR, "§6.5.2", "bad SETTINGS_MAX_FRAME_SIZE"));
            }
            MAX_FRAME_SIZE => self.max_frame_size = value,
            MAX_HEADER_LIST_SIZE => self.max_header_list_size = value,
            OUTRIGGER => self.outrigger = value,
            _ => {}
        }
        Ok(())
    }
}

/// Appends this end's SETTINGS frame. The header table stays at its default and is not mentioned.
pub(super) fn announce(out: &mut Vec<u8>, limits: &Limits, server: bool) {
    let role = if server { (MAX_CONCURRENT_STREAMS, limits.concurrent_streams) } else { (ENABLE_PUSH, 0) };
    let ours = [
        role,
        (INITIAL_WINDOW_SIZE, limits.stream_window),
        (MAX_HEADER_LIST_SIZE, limits.header_list),
        (OUTRIGGER, limits.features),
    ];
    let at = frame::open(out);
    let said = ours.iter().filter(|(id, value)| *id != OUTRIGGER || *value != 0);
    for (id, value) in said {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
    let shape =
        frame::Shape { first: kind::SETTINGS, following: kind::SETTINGS, first_flags: 0, last_flags: 0 };
    frame::close(out, at, MAX_FRAME, shape, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: u16, value: u32) -> Vec<u8> {
        [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
    }

    #[test]
    fn announced_settings_are_understood_by_the_other_end() {
        let mut out = vec![];
        announce(&mut out, &Limits::default(), true);
        let mut peer = Settings::default();
        peer.apply(&out[frame::HEAD..], true).unwrap();
        assert_eq!(peer.outrigger, OUTRIGGER_V1 | OUTRIGGER_UPGRADE);
        assert_eq!(peer.initial_window_size, Limits::default().stream_window);
        assert_eq!(peer.max_concurrent_streams, Limits::default().concurrent_streams);
    }

    #[test]
    fn impossible_values_are_refused_with_the_code_of_their_section() {
        let cases = [
            (one(ENABLE_PUSH, 2), Code::PROTOCOL_ERROR),
            (one(INITIAL_WINDOW_SIZE, 1 << 31), Code::FLOW_CONTROL_ERROR),
            (one(MAX_FRAME_SIZE, 16_383), Code::PROTOCOL_ERROR),
            (one(MAX_FRAME_SIZE, 1 << 24), Code::PROTOCOL_ERROR),
            (vec![0; 5], Code::FRAME_SIZE_ERROR),
        ];
        for (payload, code) in cases {
            match Settings::default().apply(&payload, false) {
                Err(Fault::Connection(v)) => assert_eq!(v.code, code),
                other => panic!("{other:?}"),
            }
        }
        assert!(
            Settings::default().apply(&one(ENABLE_PUSH, 1), true).is_err(),
            "a server may not enable push"
        );
        assert!(Settings::default().apply(&one(ENABLE_PUSH, 1), false).is_ok());
        assert!(Settings::default().apply(&one(0x99, 7), false).is_ok(), "unknown settings are ignored");
    }
}

//! Every limit of a connection has a name and a default; what exceeds one is refused with the code beside it.

use super::flow::MOST_OWED;
use super::settings::{OUTRIGGER_UPGRADE, OUTRIGGER_V1};
use crate::time::Tick;
use core::time::Duration;

/// Limits and waits of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams at once. A server answers more with REFUSED_STREAM, as it does new ones while twice as many execute (a
    /// reset stream executes until its owner lets go); a client starts no more, whatever the peer allows, and counts those
    /// that are complete and not released. Default 1000.
    pub concurrent_streams: u32,
    /// Bytes of a decoded header list, 32 counted a field; larger requests are answered 431. Default 64 KiB.
    pub header_list: u32,
    /// Fields of a header list; more are answered 431. Default 200.
    pub header_fields: u32,
    /// Bytes of an encoded header block; more is ENHANCE_YOUR_CALM. Default 64 KiB.
    pub header_block: usize,
    /// CONTINUATION frames of one header block; more are ENHANCE_YOUR_CALM. Default 16.
    pub continuations: u32,
    /// RST_STREAM frames a second; more are ENHANCE_YOUR_CALM. Default 1000.
    pub resets_per_second: u32,
    /// Stream errors a second that the peer provokes; more are ENHANCE_YOUR_CALM. Default 100.
    pub stream_errors_per_second: u32,
    /// SETTINGS frames a second; more are ENHANCE_YOUR_CALM. Default 20.
    pub settings_per_second: u32,
    /// PING frames a second beyond one for every HEADERS or DATA frame; more are ENHANCE_YOUR_CALM. Default 20.
    pub pings_per_second: u32,
    /// Empty DATA frames without END_STREAM a second, and empty header fragments; more are ENHANCE_YOUR_CALM.
    /// Default 100.
    pub empty_frames_per_second: u32,
    /// PRIORITY frames and frames of unknown types a second; more are ENHANCE_YOUR_CALM. Default 1000.
    pub ignored_frames_per_second: u32,
    /// Answers (acknowledgements, resets) that wait while the peer does not read; more are ENHANCE_YOUR_CALM.
    /// Default 2000.
    pub frames_queued: u32,
    /// Bytes the peer may send on a fresh stream, buffered until taken: so much is kept for each reader who stalls.
    /// Default 64 KiB.
    pub stream_window: u32,
    /// What a stream's window grows to once its reader has shown that it takes what comes. Default 1 MiB.
    pub stream_window_grown: u32,
    /// Bytes of all windows beyond [`Limits::stream_window`] together; streams wait for their share. Default 8 MiB.
    pub window_growth: u32,
    /// Bytes buffered on the whole connection. It is the default of every stream's whole window, of the growth and of
    /// 8 MiB not yet given back, 78 MiB: streams whose readers stall cannot use it up, so that others go on. A smaller
    /// one is for a connection whose streams have one owner.
    pub connection_window: u32,
    /// Bytes waiting for the socket above which DATA stays with its stream, and no stream is writable. The piece that passes
    /// it may do so by 32 KiB. Default 128 KiB.
    pub turn_bytes: usize,
    /// Unsent bytes of a stream below which it is writable. Default 64 KiB.
    pub stream_unsent: usize,
    /// Silence after which a PING is sent. Default 10 s (daprd punishes less than 8 s).
    pub keepalive: Duration,
    /// How long an unanswered PING is waited for. Default 5 s.
    pub keepalive_timeout: Duration,
    /// How long SETTINGS and their acknowledgement are waited for. Default 10 s.
    pub settings_timeout: Duration,
    /// Time without streams after which the connection is closed gracefully. Default 3 min.
    pub idle: Duration,
    /// How long a finished answer may wait for the peer's window, and a draining end for the peer to notice. Default
    /// 30 s.
    pub linger: Duration,
    /// Whether a refused header list is answered in gRPC's form too. Default true.
    pub grpc: bool,
    /// Value of the private setting; see [`super::settings::OUTRIGGER`].
    pub features: u32,
}

// Defaults from which another one follows.
const STREAMS: u32 = 1000;
const STREAM_WINDOW: u32 = 64 << 10;
const WINDOW_GROWTH: u32 = 8 << 20;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            concurrent_streams: STREAMS,
            header_list: 64 << 10,
            header_fields: 200,
            header_block: 64 << 10,
            continuations: 16,
            resets_per_second: 1000,
            stream_errors_per_second: 100,
            settings_per_second: 20,
            pings_per_second: 20,
            empty_frames_per_second: 100,
            ignored_frames_per_second: 1000,
            frames_queued: 2000,
            stream_window: STREAM_WINDOW,
            stream_window_grown: 1 << 20,
            window_growth: WINDOW_GROWTH,
            connection_window: STREAMS * STREAM_WINDOW + WINDOW_GROWTH + MOST_OWED,
            turn_bytes: 128 << 10,
            stream_unsent: 64 << 10,
            keepalive: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            settings_timeout: Duration::from_secs(10),
            idle: Duration::from_secs(180),
            linger: Duration::from_secs(30),
            grpc: true,
            features: OUTRIGGER_V1 | OUTRIGGER_UPGRADE,
        }
    }
}

/// Counts events of a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    since: Tick,
    count: u32,
}

impl Rate {
    /// Counts one more; `false` when it is one too many within a second.
    #[must_use]
    pub(super) fn admit(&mut self, limit: u32, now: Tick) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Rate { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_admits_its_limit_every_second() {
        let mut rate = Rate::default();
        let at = |ms: u64| Tick::from_micros(10_000_000 + ms * 1000);
        assert!((0..3).all(|_| rate.admit(3, at(0))));
        assert!(!rate.admit(3, at(999)));
        assert!(rate.admit(3, at(1000)));
    }
}

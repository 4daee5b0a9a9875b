//! The 64 bits that name an operation in its completion.

use crate::rt::ShardId;
use std::os::fd::RawFd;

/// What a completion belongs to. Slots are named with their generation, so that a late completion can never be taken for
/// one of a later use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rt) enum Op {
    /// Nothing depends on it.
    Ignore,
    Accept(u32, u32),
    Recv(u32, u32),
    /// Completes only if not everything was sent at once.
    SendNow(u32, u32),
    Send(u32, u32),
    Connect(u32, u32),
    /// The shard's bell was read.
    Bell,
    /// Another shard hands a connection over; its descriptor is the result.
    Adopt {
        unix: bool,
    },
    /// A hand-over of ours failed.
    HandOver {
        fd: RawFd,
        unix: bool,
        to: ShardId,
    },
}

/// Kind in the top byte, generation in the 24 bits below, slot in the lower half.
const KIND: u32 = 56;
const GENERATION: u64 = 0xff_ffff;

impl Op {
    pub(in crate::rt) fn encode(self) -> u64 {
        let slot = |kind: u64, at: u32, generation: u32| {
            kind << KIND | (u64::from(generation) & GENERATION) << 32 | u64::from(at)
        };
        match self {
            Op::Ignore => 0,
            Op::Accept(at, generation) => slot(1, at, generation),
            Op::Recv(at, generation) => slot(2, at, generation),
            Op::SendNow(at, generation) => slot(3, at, generation),
            Op::Send(at, generation) => slot(4, at, generation),
            Op::Connect(at, generation) => slot(5, at, generation),
            Op::Bell => 6 << KIND,
            Op::Adopt { unix } => 7 << KIND | u64::from(unix),
            Op::HandOver { fd, unix, to } => {
                8 << KIND | u64::from(unix) << 48 | (to.index() as u64) << 32 | u64::from(fd as u32)
            }
        }
    }

    pub(in crate::rt) fn decode(data: u64) -> Op {
        let (at, generation) = (data as u32, (data >> 32 & GENERATION) as u32);
        match data >> KIND {
            1 => Op::Accept(at, generation),
            2 => Op::Recv(at, generation),
            3 => Op::SendNow(at, generation),
            4 => Op::Send(at, generation),
            5 => Op::Connect(at, generation),
            6 => Op::Bell,
            7 => Op::Adopt { unix: data & 1 == 1 },
            8 => Op::HandOver {
                fd: at as RawFd,
                unix: data >> 48 & 1 == 1,
                to: ShardId::new((data >> 32) as u16),
            },
            _ => Op::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_recognised_in_its_completion() {
        let (at, generation) = (u32::MAX, 0xff_fffe);
        let to = ShardId::new(u16::MAX);
        for op in [
            Op::Ignore,
            Op::Accept(at, generation),
            Op::Recv(0, 1),
            Op::SendNow(at, 0),
            Op::Send(7, generation),
            Op::Connect(at, generation),
            Op::Bell,
            Op::Adopt { unix: true },
            Op::Adopt { unix: false },
            Op::HandOver { fd: i32::MAX, unix: true, to },
            Op::HandOver { fd: 0, unix: false, to: ShardId::new(0) },
        ] {
            assert_eq!(Op::decode(op.encode()), op);
        }
    }
}

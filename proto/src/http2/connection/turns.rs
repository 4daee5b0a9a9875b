//! Whose turn it is to send: streams take turns, a frame each, those with little to say before those with much. And who
//! may write more.

use super::{Connection, Half, Slot};
use std::collections::VecDeque;

/// Bytes up to which a stream has little to say.
const LITTLE: usize = 4 << 10;
/// Frames of streams with little to say before one with much has its turn.
const IN_A_ROW: u32 = 8;

/// Streams that wait for their turn. A short message does not wait behind a frame of each long one; the long ones are
/// never kept waiting for more than [`IN_A_ROW`] short ones.
#[derive(Debug, Default)]
pub(super) struct Turns {
    short: VecDeque<Slot>,
    long: VecDeque<Slot>,
    in_a_row: u32,
}

impl Turns {
    /// The last in its line. Each stream waits at most once.
    pub(super) fn push(&mut self, slot: Slot, unsent: usize) {
        let line = if unsent <= LITTLE { &mut self.short } else { &mut self.long };
        line.push_back(slot);
    }

    /// Whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Slot> {
        if self.in_a_row < IN_A_ROW
            && let Some(slot) = self.short.pop_front()
        {
            self.in_a_row += 1;
            return Some(slot);
        }
        self.in_a_row = 0;
        self.long.pop_front().or_else(|| self.short.pop_front())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.short.is_empty() && self.long.is_empty()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.short.iter().chain(&self.long)
    }
}

impl Connection {
    /// Whether unsent bytes, of the stream and in the turn's buffer, are few enough to write more; of a stream whose
    /// window is used up no byte may wait. If not, [`Event::Progress`] will say when.
    pub fn has_room(&mut self, slot: Slot) -> bool {
        let full = self.out.len() >= self.limits.turn_bytes;
        let stream = &mut self.streams[slot];
        let few = stream.has_room(self.limits.stream_unsent) && !full;
        let room = few || stream.state.send_half() == Half::Closed;
        stream.wants_room = !room;
        if full && !room && !stream.wants_turn {
            stream.wants_turn = true;
            self.crowd.push(slot);
        }
        if !room && stream.send.available() == 0 {
            stream.spare_memory();
        }
        room
    }

    /// The turn's buffer is about to be emptied: who waited for that may write again.
    pub(super) fn admit_crowd(&mut self) {
        while let Some(slot) = self.crowd.pop() {
            let stream = &mut self.streams[slot];
            stream.wants_turn = false;
            if stream.wants_room && stream.has_room(self.limits.stream_unsent) {
                stream.wants_room = false;
                self.news(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_goes_before_long_ones_and_long_ones_go_too() {
        let mut turns = Turns::default();
        (0..3).for_each(|n| turns.push(Slot(n), LITTLE + 1));
        (100..120).for_each(|n| turns.push(Slot(n), 1));
        let order: Vec<u32> = std::iter::from_fn(|| turns.pop()).map(|slot| slot.0).collect();
        assert_eq!(order.len(), 23);
        assert_eq!(order[..8], [100, 101, 102, 103, 104, 105, 106, 107]);
        assert_eq!(order[8], 0);
        assert_eq!(order[17], 1);
        assert_eq!(order[22], 2);
        assert!(turns.is_empty());
    }
}

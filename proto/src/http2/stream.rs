//! Streams in a slab, found by id through a small table that hashes nothing.

// A `Slot` is made by `Streams::open` alone and the slab never shrinks; table places are masked to its length.
#![allow(clippy::indexing_slicing)]

use super::code::{Code, Violation};
use super::field::Fields;
use super::flow::{ReceiveWindow, SendWindow};
use super::state::State;
use crate::time::Tick;

/// A stream of one connection, from its start until [`super::Connection::release`]. Numbers are used again after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub(super) u32);

impl Slot {
    /// The slot's number: small, so that it can index a table of the caller's.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why a stream ended before its message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer reset it.
    Reset(Code),
    /// The peer provably did nothing for it: the call may be repeated (RFC 9113 §8.7).
    Unprocessed,
    /// The connection ended; the peer may have acted.
    Lost,
    /// The peer broke a rule on this stream, which was therefore reset.
    Violated(Violation),
}

/// One stream's memory. Its buffers are kept for the slot's next stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) state: State,
    pub(super) failure: Option<Failure>,
    /// Received and not taken: `data[taken..]`.
    pub(super) data: Vec<u8>,
    pub(super) taken: usize,
    /// Bytes that left with [`super::Connection::detach`] and are not given back to the windows.
    pub(super) away: usize,
    pub(super) receive: ReceiveWindow,
    /// The window's size when no large message makes it larger.
    pub(super) normal: u32,
    /// What the window has of the connection's growth.
    pub(super) grown: u32,
    /// `content-length` of the received message and what came of it (§8.1.1).
    pub(super) declared: Option<u64>,
    pub(super) arrived: u64,
    pub(super) send: SendWindow,
    /// Written and not yet framed: `pending[framed..]`.
    pub(super) pending: Vec<u8>,
    pub(super) framed: usize,
    /// END_STREAM follows the pending bytes.
    pub(super) pending_end: bool,
    /// Encoded trailers that follow the pending bytes.
    pub(super) tail: Vec<u8>,
    pub(super) head: Fields,
    pub(super) trailers: Fields,
    pub(super) status: u16,
    /// Informational responses that came before it.
    pub(super) interims: u8,
    /// The request was HEAD: `content-length` of its response says nothing about DATA (§8.1.1).
    pub(super) to_head: bool,
    /// Bytes the reader waits for; fewer raise no event.
    pub(super) wanted: usize,
    /// The writer waits for its unsent bytes to become fewer.
    pub(super) wants_room: bool,
    /// In the list of streams that wait until the turn's buffer is emptied.
    pub(super) wants_turn: bool,
    /// In the list of events.
    pub(super) queued: bool,
    /// In the list of streams with something to send.
    pub(super) sendable: bool,
    /// In the list of streams that wait for a larger window.
    pub(super) wants_window: bool,
    /// Somebody owns the slot.
    pub(super) held: bool,
    /// Just opened by the peer.
    pub(super) fresh: bool,
    /// When an unowned stream with pending bytes is given up.
    pub(super) linger: Tick,
}

impl Stream {
    fn vacant() -> Stream {
        Stream {
            id: 0,
            state: State::closed(),
            failure: None,
            data: Vec::new(),
            taken: 0,
            away: 0,
            receive: ReceiveWindow::default(),
            normal: 0,
            grown: 0,
            declared: None,
            arrived: 0,
            send: SendWindow::default(),
            pending: Vec::new(),
            framed: 0,
            pending_end: false,
            tail: Vec::new(),
            head: Fields::default(),
            trailers: Fields::default(),
            status: 0,
            interims: 0,
            to_head: false,
            wanted: 0,
            wants_room: false,
            wants_turn: false,
            queued: false,
            sendable: false,
            wants_window: false,
            held: false,
            fresh: false,
            linger: Tick::NEVER,
        }
    }

    /// Everything but the buffers' memory and the place in the event list is as new.
    fn renew(&mut self, id: u32, state: State) {
        let empty = |buffer: &mut Vec<u8>| {
            let mut buffer = core::mem::take(buffer);
            buffer.clear();
            if buffer.capacity() > KEPT { Vec::new() } else { buffer }
        };
        let (mut head, mut trailers) = (core::mem::take(&mut self.head), core::mem::take(&mut self.trailers));
        head.clear();
        trailers.clear();
        *self = Stream {
            id,
            state,
            data: empty(&mut self.data),
            pending: empty(&mut self.pending),
            tail: empty(&mut self.tail),
            head,
            trailers,
            queued: self.queued,
            sendable: self.sendable,
            wants_turn: self.wants_turn,
            wants_window: self.wants_window,
            held: true,
            ..Stream::vacant()
        };
    }

    pub(super) fn received(&self) -> &[u8] {
        &self.data[self.taken..]
    }

    pub(super) fn unsent(&self) -> usize {
        self.pending.len() - self.framed
    }

    /// Whether bytes, an end or trailers wait to be framed.
    pub(super) fn has_pending(&self) -> bool {
        self.unsent() > 0 || self.pending_end || !self.tail.is_empty()
    }

    pub(super) fn drop_pending(&mut self) {
        self.pending.clear();
        self.framed = 0;
        self.pending_end = false;
        self.tail.clear();
    }

    /// Removes received bytes from the front.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken == self.data.len() {
            self.data.clear();
            self.taken = 0;
        } else if self.taken >= COMPACT && self.taken >= self.data.len() / 2 {
            self.data.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Whether more may be written: no more waits than the peer takes at once, and no more than `most`. So of a stream
    /// whose reader stalls one piece waits at most.
    pub(super) fn has_room(&self, most: usize) -> bool {
        self.unsent() < self.send.available().clamp(1, most)
    }

    /// Gives back memory that a stalled stream does not need: nobody knows for how long it stalls.
    pub(super) fn spare_memory(&mut self) {
        if self.pending.capacity() > KEPT {
            self.pending.drain(..self.framed);
            self.framed = 0;
            self.pending.shrink_to(2 * COMPACT);
        }
    }

    /// Keeps what arrived. Room comes from what was taken before it comes from the allocator.
    pub(super) fn keep(&mut self, body: &[u8]) {
        if self.taken > 0 && self.data.len() + body.len() > self.data.capacity() {
            self.data.drain(..self.taken);
            self.taken = 0;
        }
        self.data.extend_from_slice(body);
    }

    /// Removes framed bytes from the front.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.framed += bytes;
        if self.framed == self.pending.len() {
            self.pending.clear();
            self.framed = 0;
        } else if self.framed >= COMPACT && self.framed >= self.pending.len() / 2 {
            self.pending.drain(..self.framed);
            self.framed = 0;
        }
    }
}

/// Buffer memory a slot keeps for its next stream.
const KEPT: usize = 64 << 10;
/// Consumed bytes at the front of a buffer that are worth moving the rest over.
const COMPACT: usize = 16 << 10;

/// All streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Vec<Stream>,
    vacant: Vec<u32>,
    ids: Ids,
}

impl Streams {
    /// A slot for a stream that begins now.
    pub(super) fn open(&mut self, id: u32, state: State) -> Slot {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Stream::vacant());
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize].renew(id, state);
        self.ids.insert(id, slot);
        Slot(slot)
    }

    pub(super) fn find(&self, id: u32) -> Option<Slot> {
        self.ids.find(id).map(Slot)
    }

    /// The stream is over on the wire; its slot stays with its owner.
    pub(super) fn forget(&mut self, slot: Slot) {
        let id = self.slots[slot.index()].id;
        self.ids.remove(id);
    }

    /// Nobody needs the slot any more.
    pub(super) fn vacate(&mut self, slot: Slot) {
        let stream = &mut self.slots[slot.index()];
        debug_assert!(!stream.held && stream.state.is_closed());
        stream.id = 0;
        if stream.data.capacity() > KEPT {
            stream.data = Vec::new();
        }
        if stream.pending.capacity() > KEPT {
            stream.pending = Vec::new();
        }
        self.vacant.push(slot.0);
    }

    /// Streams open on the wire.
    pub(super) fn open_count(&self) -> usize {
        self.ids.count
    }

    /// Slots in use: open on the wire, or still owned.
    pub(super) fn used(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// Every slot in use.
    pub(super) fn each(&self) -> impl Iterator<Item = Slot> + use<> {
        let used: Vec<u32> =
            self.slots.iter().zip(0u32..).filter(|(s, _)| s.id != 0).map(|(_, slot)| slot).collect();
        used.into_iter().map(Slot)
    }
}

impl core::ops::Index<Slot> for Streams {
    type Output = Stream;

    fn index(&self, slot: Slot) -> &Stream {
        &self.slots[slot.index()]
    }
}

impl core::ops::IndexMut<Slot> for Streams {
    fn index_mut(&mut self, slot: Slot) -> &mut Stream {
        &mut self.slots[slot.index()]
    }
}

/// Stream ids to slots: open addressing, at most half full. Ids of one peer ascend; a multiplication spreads them, so that
/// those of all open streams do not stand in one row, which every removal would have to look through to its end. A
/// peer that picks colliding ids pays with probes, at most as many as it has streams open.
#[derive(Debug, Default)]
struct Ids {
    /// `(id, slot)`, id 0 for an empty place; the length is a power of two, or zero.
    places: Vec<(u32, u32)>,
    count: usize,
}

/// 2³² divided by the golden ratio: multiples of it are far apart in their upper bits.
const SPREAD: u32 = 0x9e37_79b9;

impl Ids {
    fn mask(&self) -> usize {
        self.places.len().wrapping_sub(1)
    }

    /// Where an id stands if nothing is in its way.
    fn home(&self, id: u32) -> usize {
        (id.wrapping_mul(SPREAD) >> 16) as usize & self.mask()
    }

    fn find(&self, id: u32) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = self.home(id);
        loop {
            match self.places[at] {
                (found, slot) if found == id => return Some(slot),
                (0, _) => return None,
                _ => at = (at + 1) & self.mask(),
            }
        }
    }

    fn insert(&mut self, id: u32, slot: u32) {
        if 2 * (self.count + 1) > self.places.len() {
            let places = vec![(0, 0); (2 * self.places.len()).max(64)];
            let old = core::mem::replace(&mut self.places, places);
            old.into_iter().filter(|p| p.0 != 0).for_each(|(id, slot)| self.place(id, slot));
        }
        self.place(id, slot);
        self.count += 1;
    }

    fn place(&mut self, id: u32, slot: u32) {
        let mut at = self.home(id);
        while self.places[at].0 != 0 {
            at = (at + 1) & self.mask();
        }
        self.places[at] = (id, slot);
    }

    /// Empties a place and moves back what was displaced by it, so that no probe ends too early.
    fn remove(&mut self, id: u32) {
        if self.places.is_empty() {
            return;
        }
        let mask = self.mask();
        let mut hole = self.home(id);
        while self.places[hole].0 != id {
            if self.places[hole].0 == 0 {
                return;
            }
            hole = (hole + 1) & mask;
        }
        self.count -= 1;
        let mut next = (hole + 1) & mask;
        while self.places[next].0 != 0 {
            let home = self.home(self.places[next].0);
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.places[hole] = self.places[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.places[hole] = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::HashMap;

    #[test]
    fn ids_are_found_like_in_a_map_whatever_the_collisions() {
        let mut rng = Rng::new(11);
        let (mut ids, mut model) = (Ids::default(), HashMap::new());
        for _ in 0..200_000 {
            // few distinct low bits: many collisions
            let id = (rng.below(200) << 12 | rng.below(4) << 1 | 1) as u32;
            if model.contains_key(&id) {
                ids.remove(id);
                model.remove(&id);
            } else if model.len() < 300 {
                let slot = rng.below(1000) as u32;
                ids.insert(id, slot);
                model.insert(id, slot);
            }
            let probe = (rng.below(200) << 12 | rng.below(4) << 1 | 1) as u32;
            assert_eq!(ids.find(probe), model.get(&probe).copied());
            assert_eq!(ids.count, model.len());
        }
        assert!(ids.places.len() <= 2048);
        ids.remove(2);
    }

    #[test]
    fn streams_that_are_open_together_stand_apart() {
        let mut ids = Ids::default();
        (0..1000).for_each(|n| ids.insert(2 * n + 1, n));
        let rows = ids.places.split(|place| place.0 == 0);
        let longest = rows.map(<[_]>::len).max();
        assert!(longest <= Some(8), "{longest:?}");
    }
}

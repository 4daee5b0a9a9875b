//! The timer wheel: four levels of 64 slots of one millisecond and up, 4.6 hours in all.
//!
//! Insert and cancel cost the same at ten and at ten thousand entries and allocate nothing once warm; the next expiry
//! comes from four bitmaps. A timer never fires before its tick and at most one millisecond (the slot) after it, plus
//! what the shard was busy with. What lies further ahead than the wheel reaches waits in its last level and is placed
//! again when that comes round.

use super::tick::Tick;

/// Levels of the wheel; each is 64 times coarser than the one below.
const LEVELS: usize = 4;
/// Slots of a level, as a power of two.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const NIL: u32 = u32::MAX;
const MICROS: u64 = 1000;

/// Names one entry for as long as it is in the wheel; afterwards it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimerId {
    index: u32,
    generation: u32,
}

impl TimerId {
    /// Names no entry.
    pub(super) const NONE: TimerId = TimerId { index: NIL, generation: 0 };
}

struct Entry<T> {
    next: u32,
    previous: u32,
    generation: u32,
    /// Millisecond at which it is due.
    when: u64,
    place: u16,
    what: Option<T>,
}

/// Holds things until they are due.
pub(super) struct Wheel<T> {
    now: u64,
    heads: [[u32; SLOTS]; LEVELS],
    full: [u64; LEVELS],
    entries: Vec<Entry<T>>,
    vacant: Vec<u32>,
}

// Indexes are made here and stay in range: levels and slots by masking, entry numbers because `entries` never shrinks
// and a number is only linked while its entry is alive.
#[allow(clippy::indexing_slicing)]
impl<T> Wheel<T> {
    pub(super) fn new(now: Tick) -> Wheel<T> {
        Wheel {
            now: now.as_micros() / MICROS,
            heads: [[NIL; SLOTS]; LEVELS],
            full: [0; LEVELS],
            entries: Vec::new(),
            vacant: Vec::new(),
        }
    }

    /// Keeps `what` until `when`.
    pub(super) fn insert(&mut self, when: Tick, what: T) -> TimerId {
        let when = when.as_micros().div_ceil(MICROS);
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => self.grow(),
        };
        let entry = &mut self.entries[index as usize];
        entry.when = when;
        entry.what = Some(what);
        let id = TimerId { index, generation: entry.generation };
        self.link(index);
        id
    }

    /// Takes an entry out again. Nothing happens if it fired already.
    pub(super) fn cancel(&mut self, id: TimerId) -> Option<T> {
        if !self.is_alive(id) {
            return None;
        }
        self.unlink(id.index);
        self.release(id.index)
    }

    /// What an entry keeps, while it has not fired.
    pub(super) fn peek_mut(&mut self, id: TimerId) -> Option<&mut T> {
        if !self.is_alive(id) {
            return None;
        }
        self.entries[id.index as usize].what.as_mut()
    }

    /// When an entry is due; `NEVER` if it is not in the wheel any more.
    pub(super) fn due(&self, id: TimerId) -> Tick {
        if !self.is_alive(id) {
            return Tick::NEVER;
        }
        Tick::from_micros(self.entries[id.index as usize].when.saturating_mul(MICROS))
    }

    /// The earliest moment at which [`Wheel::advance`] can have anything to do: never later than the next expiry.
    pub(super) fn next(&self) -> Option<Tick> {
        self.next_milli().map(|milli| Tick::from_micros(milli.saturating_mul(MICROS)))
    }

    /// Moves on to `to` and appends everything due by then to `due`.
    pub(super) fn advance(&mut self, to: Tick, due: &mut Vec<T>) {
        let to = to.as_micros() / MICROS;
        while let Some(milli) = self.next_milli().filter(|milli| *milli <= to) {
            self.now = milli;
            for level in (0..LEVELS).rev() {
                if milli & ((1 << (BITS * level as u32)) - 1) == 0 {
                    self.empty_slot(level, milli, due);
                }
            }
        }
        self.now = self.now.max(to);
    }

    fn is_alive(&self, id: TimerId) -> bool {
        self.entries.get(id.index as usize).is_some_and(|e| e.generation == id.generation && e.what.is_some())
    }

    fn grow(&mut self) -> u32 {
        let blank = Entry { next: NIL, previous: NIL, generation: 0, when: 0, place: 0, what: None };
        self.entries.push(blank);
        (self.entries.len() - 1) as u32
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.vacant.push(index);
        entry.what.take()
    }

    fn empty_slot(&mut self, level: usize, milli: u64, due: &mut Vec<T>) {
        let slot = slot_of(level, milli);
        let mut index = std::mem::replace(&mut self.heads[level][slot], NIL);
        self.full[level] &= !(1 << slot);
        while index != NIL {
            let next = self.entries[index as usize].next;
            if self.entries[index as usize].when <= milli {
                due.extend(self.release(index));
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    fn next_milli(&self) -> Option<u64> {
        (0..LEVELS).filter_map(|level| self.next_in(level)).min()
    }

    fn next_in(&self, level: usize) -> Option<u64> {
        let shift = BITS * level as u32;
        let current = (self.now >> shift) as u32 & (SLOTS as u32 - 1);
        // what lies in the current slot is a whole round ahead, because that slot was emptied when it became current
        let ahead = self.full[level].rotate_right(current + 1);
        if ahead == 0 {
            return None;
        }
        let steps = u64::from(ahead.trailing_zeros()) + 1;
        Some(((self.now >> shift) + steps) << shift)
    }

    fn place(&self, when: u64) -> (usize, usize) {
        let when = when.max(self.now + 1);
        let highest = 63 - (when ^ self.now).leading_zeros();
        let level = ((highest / BITS) as usize).min(LEVELS - 1);
        (level, slot_of(level, when))
    }

    fn link(&mut self, index: u32) {
        let (level, slot) = self.place(self.entries[index as usize].when);
        let head = std::mem::replace(&mut self.heads[level][slot], index);
        let entry = &mut self.entries[index as usize];
        entry.next = head;
        entry.previous = NIL;
        entry.place = (level * SLOTS + slot) as u16;
        if head != NIL {
            self.entries[head as usize].previous = index;
        }
        self.full[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { next, previous, place, .. } = self.entries[index as usize];
        let (level, slot) = (usize::from(place) / SLOTS, usize::from(place) % SLOTS);
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
        if previous != NIL {
            self.entries[previous as usize].next = next;
            return;
        }
        self.heads[level][slot] = next;
        if next == NIL {
            self.full[level] &= !(1 << slot);
        }
    }
}

fn slot_of(level: usize, milli: u64) -> usize {
    (milli >> (BITS * level as u32)) as usize & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Lcg(u64);
    impl Lcg {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    fn millis(n: u64) -> Tick {
        Tick::from_micros(n * MICROS)
    }

    #[test]
    fn every_timer_fires_once_at_its_tick_as_a_sorted_map_would() {
        let mut random = Lcg(1);
        let mut wheel = Wheel::new(millis(1000));
        let mut now = 1000;
        let mut model: BTreeMap<u64, (u64, TimerId)> = BTreeMap::new();
        let mut due = Vec::new();
        for key in 0..6_000u64 {
            let reach = [50, 5000, 300_000, 10_000_000, 200_000_000][random.below(5) as usize];
            let when = now + 1 + random.below(reach);
            model.insert(key, (when, wheel.insert(millis(when), key)));
            if random.below(3) == 0 {
                let victim = random.below(key + 1);
                if let Some((_, id)) = model.remove(&victim) {
                    assert_eq!(wheel.cancel(id), Some(victim));
                    assert_eq!(wheel.cancel(id), None);
                }
            }
            if random.below(4) == 0 {
                let first = model.values().map(|(when, _)| *when).min();
                assert!(wheel.next().map(|t| t.as_micros() / MICROS) <= first, "next is a lower bound");
                now += random.below(400);
                wheel.advance(millis(now), &mut due);
                for key in due.drain(..) {
                    let (when, _) = model.remove(&key).expect("fires once, and not after a cancel");
                    assert!(when <= now);
                }
                assert!(model.values().all(|(when, _)| *when > now));
            }
        }
        wheel.advance(millis(now + 300_000_000), &mut due);
        assert_eq!(due.len(), model.len());
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_timer_does_not_fire_before_its_microsecond() {
        let mut wheel = Wheel::new(Tick::from_micros(0));
        let mut due = Vec::new();
        wheel.insert(Tick::from_micros(1500), ());
        wheel.advance(Tick::from_micros(1999), &mut due);
        assert!(due.is_empty());
        wheel.advance(Tick::from_micros(2000), &mut due);
        assert_eq!(due.len(), 1);
    }
}

//! What a connection remembers of streams that are gone: those it reset itself, and ids the peer left out.

/// Ids this end reset lately: frames for them may still be on their way and are ignored (RFC 9113 §5.4.2).
#[derive(Debug)]
pub(super) struct Resets {
    ids: [u32; Resets::REMEMBERED],
    next: usize,
    /// The highest id that fell out: below it nothing is held against the peer.
    forgotten: u32,
}

impl Default for Resets {
    fn default() -> Resets {
        Resets { ids: [0; Resets::REMEMBERED], next: 0, forgotten: 0 }
    }
}

impl Resets {
    const REMEMBERED: usize = 64;

    pub(super) fn push(&mut self, id: u32) {
        if let Some(place) = self.ids.get_mut(self.next) {
            self.forgotten = self.forgotten.max(*place);
            *place = id;
        }
        self.next = (self.next + 1) % Resets::REMEMBERED;
    }

    /// Whether this end may have reset the stream.
    pub(super) fn may_contain(&self, id: u32) -> bool {
        id <= self.forgotten || self.ids.contains(&id)
    }
}

/// Ranges of ids that a client skipped: closed without ever having been used (§5.1.1).
#[derive(Debug, Default)]
pub(super) struct Gaps {
    ranges: [(u32, u32); 8],
    next: usize,
}

impl Gaps {
    pub(super) fn push(&mut self, first: u32, last: u32) {
        if let Some(place) = self.ranges.get_mut(self.next % 8) {
            *place = (first, last);
        }
        self.next = self.next.wrapping_add(1);
    }

    pub(super) fn contain(&self, id: u32) -> bool {
        self.ranges.iter().any(|&(first, last)| first <= id && id <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_resets_are_known_exactly_and_older_ones_by_their_range() {
        let mut resets = Resets::default();
        assert!(!resets.may_contain(1));
        (0..70).for_each(|i| resets.push(2 * (2 * i) + 1));
        assert!(resets.may_contain(1) && resets.may_contain(3), "old: the benefit of the doubt");
        assert!(resets.may_contain(4 * 69 + 1));
        assert!(!resets.may_contain(4 * 69 - 1), "never reset");
    }

    #[test]
    fn skipped_ids_are_known() {
        let mut gaps = Gaps::default();
        gaps.push(3, 7);
        assert!(gaps.contain(3) && gaps.contain(5) && gaps.contain(7));
        assert!(!gaps.contain(1) && !gaps.contain(9));
    }
}

//! Flow control (RFC 9113 §5.2, §6.9): one window a direction, on the connection and on every stream.

/// The largest window the protocol allows (§6.9.1).
pub(super) const MAX_WINDOW: u32 = 0x7fff_ffff;

/// The most bytes that were taken and are not given back, however large the window is.
pub(super) const MOST_OWED: u32 = 8 << 20;

/// What the peer lets this end send. Negative after the peer shrank its initial window (§6.9.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SendWindow(i64);

impl SendWindow {
    pub(super) fn new(size: u32) -> SendWindow {
        SendWindow(i64::from(size))
    }

    pub(super) fn available(self) -> usize {
        self.0.max(0) as usize
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.available());
        self.0 -= bytes as i64;
    }

    /// Adds an increment or a change of the initial size; `false` when the window would pass 2^31-1.
    #[must_use]
    pub(super) fn change(&mut self, by: i64) -> bool {
        self.0 += by;
        self.0 <= i64::from(MAX_WINDOW)
    }
}

/// What this end lets the peer send, and what it has not yet given back.
///
/// `window + owed + buffered == target`, where `buffered` are bytes that arrived and were not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    window: i64,
    target: u32,
    owed: u32,
}

impl ReceiveWindow {
    pub(super) fn new(target: u32) -> ReceiveWindow {
        ReceiveWindow { window: i64::from(target), target, owed: 0 }
    }

    pub(super) fn target(self) -> u32 {
        self.target
    }

    /// Books `bytes` that arrived; `false` when the peer sent more than it was allowed to (§6.9.1).
    #[must_use]
    pub(super) fn receive(&mut self, bytes: u32) -> bool {
        self.window -= i64::from(bytes);
        self.window >= 0
    }

    /// Books `bytes` that were taken.
    pub(super) fn take(&mut self, bytes: u32) {
        self.owed += bytes;
    }

    /// The increment that is due: once half of the window is owed, or [`MOST_OWED`], so that one WINDOW_UPDATE serves many
    /// frames.
    pub(super) fn due(&mut self) -> Option<u32> {
        if self.owed < (self.target / 2).min(MOST_OWED) { None } else { self.settle() }
    }

    /// The increment that gives back everything owed.
    pub(super) fn settle(&mut self) -> Option<u32> {
        let increment = core::mem::take(&mut self.owed);
        self.window += i64::from(increment);
        (increment > 0).then_some(increment)
    }

    /// How many bytes the window lacks for `bytes` more to arrive.
    pub(super) fn missing(self, bytes: usize) -> u32 {
        (bytes as i64 - self.window).clamp(0, i64::from(MAX_WINDOW)) as u32
    }

    /// Makes the window larger; the increment comes with the next [`ReceiveWindow::settle`].
    pub(super) fn grow(&mut self, by: u32) {
        self.target += by;
        self.owed += by;
    }

    /// Makes the window as small as `target` by giving back less from now on; what the peer has stays allowed.
    /// Returns how many bytes of the target could be withheld.
    pub(super) fn shrink(&mut self, target: u32) -> u32 {
        let less = self.target.saturating_sub(target).min(self.owed);
        self.owed -= less;
        self.target -= less;
        less
    }

    /// The initial size changed: it was announced while this stream was open and is now acknowledged (§6.9.2).
    pub(super) fn rebase(&mut self, by: i64) {
        self.window += by;
        self.target = (i64::from(self.target) + by).max(0) as u32;
    }
}

#[cfg(test)]
impl ReceiveWindow {
    pub(super) fn lent(self) -> usize {
        self.window.max(0) as usize
    }

    pub(super) fn assert_whole(self) {
        assert_eq!(self.window + i64::from(self.owed), i64::from(self.target), "nothing is buffered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_can_become_negative_and_recovers() {
        let mut w = SendWindow::new(10);
        w.spend(10);
        assert!(w.change(-5));
        assert_eq!(w.available(), 0);
        assert!(w.change(8));
        assert_eq!(w.available(), 3);
        assert!(!w.change(i64::from(MAX_WINDOW)), "above 2^31-1");
    }

    #[test]
    fn what_is_taken_is_given_back_in_halves() {
        let mut w = ReceiveWindow::new(100);
        assert!(w.receive(100));
        assert!(!w.clone().receive(1), "not a byte more");
        w.take(49);
        assert_eq!(w.due(), None);
        w.take(1);
        assert_eq!(w.due(), Some(50));
        w.take(50);
        assert_eq!(w.due(), Some(50));
        assert_eq!(w.settle(), None);
        assert!(w.receive(100));
    }

    #[test]
    fn of_a_very_large_window_less_than_half_is_owed() {
        let mut w = ReceiveWindow::new(MAX_WINDOW);
        assert!(w.receive(MOST_OWED));
        w.take(MOST_OWED - 1);
        assert_eq!(w.due(), None);
        w.take(1);
        assert_eq!(w.due(), Some(MOST_OWED));
    }

    #[test]
    fn a_grown_window_shrinks_by_withholding() {
        let mut w = ReceiveWindow::new(100);
        assert!(w.receive(100));
        assert_eq!(w.missing(200), 200);
        w.grow(200);
        assert_eq!(w.settle(), Some(200));
        assert!(w.receive(200));
        w.take(100);
        assert_eq!(w.shrink(100), 100);
        assert_eq!(w.target(), 200);
        w.take(150);
        assert_eq!(w.due(), Some(150));
        w.take(50);
        assert_eq!(w.shrink(100), 50);
        assert_eq!(w.target(), 150);
    }
}

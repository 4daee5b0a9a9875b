//! When new calls are refused because the process uses too much memory.
//!
//! ```
//! use proto::policy::memory::Watermark;
//!
//! let mut mark = Watermark::new(800);
//! assert!(!mark.looked(800, 5) && !mark.is_short());
//! assert!(mark.looked(801, 5) && mark.is_short());
//! assert!(!mark.looked(701, 5), "short until it is well below");
//! assert!(mark.looked(700, 5) && !mark.is_short());
//! ```

/// A high mark, above which memory is short, and a low one an eighth below it, down to which it stays short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    high: u64,
    short: bool,
}

impl Watermark {
    /// `high` in bytes; 0 is none.
    pub fn new(high: u64) -> Watermark {
        Watermark { high, short: false }
    }

    /// The low mark in bytes.
    pub fn low(self) -> u64 {
        self.high - self.high / 8
    }

    /// Whether new calls are refused.
    pub fn is_short(self) -> bool {
        self.short
    }

    /// So many bytes are used and so many calls are in progress; whether that changed anything. Without calls nothing is
    /// short: what is used then would not become less by refusing the next one.
    pub fn looked(&mut self, used: u64, calls: usize) -> bool {
        let before = self.short;
        let mark = if before { self.low() } else { self.high };
        self.short = self.high > 0 && calls > 0 && used > mark;
        before != self.short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_mark_or_without_calls_nothing_is_short() {
        let mut none = Watermark::new(0);
        assert!(!none.looked(u64::MAX, 9));
        let mut mark = Watermark::new(800);
        assert!(!mark.looked(900, 0));
        assert!(mark.looked(900, 1) && mark.looked(900, 0) && !mark.is_short());
    }
}

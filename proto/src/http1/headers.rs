//! The header lines of a head: in order, with the known names found in one pass.

use super::head::ON_STACK;
use super::names::Known;

/// The header lines of a head, in order, with the known ones found.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'s, 'b> {
    pub(super) lines: &'s [httparse::Header<'b>],
    known: &'s [Known],
    present: u64,
    repeats: bool,
    first: [u16; Known::COUNT],
}

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'b> {
    /// Which known name it has.
    pub known: Known,
    /// As received.
    pub name: &'b str,
    /// Without surrounding white space; any bytes but control characters.
    pub value: &'b [u8],
}

impl<'s, 'b> Headers<'s, 'b> {
    pub(super) fn index(lines: &'s [httparse::Header<'b>], kinds: &'s mut [Known]) -> Headers<'s, 'b> {
        let (mut present, mut repeats, mut seen) = (0, false, 0u64);
        let mut first = [0; Known::COUNT];
        for (at, (line, kind)) in lines.iter().zip(kinds.iter_mut()).enumerate() {
            let known = Known::of(line.name.as_bytes());
            *kind = known;
            let bit = spread(line.name.as_bytes());
            repeats |= seen & bit != 0 && occurs(lines.get(..at).unwrap_or_default(), line.name);
            seen |= bit;
            if known.is_in(present | Known::Other.bit()) {
                continue;
            }
            present |= known.bit();
            if let Some(slot) = first.get_mut(known as usize) {
                *slot = u16::try_from(at).unwrap_or(u16::MAX); // at < MAX_LINES
            }
        }
        Headers { lines, known: kinds, present, repeats, first }
    }

    /// The lines in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Line<'b>> + use<'s, 'b> {
        self.lines.iter().zip(self.known).map(|(line, known)| Line {
            known: *known,
            name: line.name,
            value: line.value,
        })
    }

    /// Number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether a line of that name is there. Meaningless for [`Known::Other`].
    #[inline]
    pub fn has(&self, known: Known) -> bool {
        known.is_in(self.present)
    }

    /// The set of known names that are there ([`Known::bit`]).
    #[inline]
    pub fn present(&self) -> u64 {
        self.present
    }

    /// `false`: no name occurs twice. `true`: one does, or in a head of very many lines may.
    #[inline]
    pub fn may_repeat(&self) -> bool {
        self.repeats
    }

    /// The first value of a known name.
    #[inline]
    pub fn first(&self, known: Known) -> Option<&'b [u8]> {
        if !self.has(known) {
            return None;
        }
        let at = *self.first.get(known as usize)?;
        self.lines.get(usize::from(at)).map(|line| line.value)
    }

    /// All values of a known name, in order.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &'b [u8]> + use<'s, 'b> {
        self.iter().filter(move |line| line.known == known).map(|line| line.value)
    }

    /// All values of any name, in order.
    pub fn named<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'s, 'b, 'n> {
        self.iter().filter(move |line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
    }

    /// Whether a `Connection` line lists `token`, in any case.
    pub fn connection_lists(&self, token: &[u8]) -> bool {
        self.has(Known::Connection)
            && self
                .all(Known::Connection)
                .any(|value| list(value).any(|item| item.eq_ignore_ascii_case(token)))
    }
}

/// The elements of a comma separated list, without white space around them; empty ones are left out.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// Whether a name occurs in lines; of very many lines it is not worth knowing.
fn occurs(lines: &[httparse::Header<'_>], name: &str) -> bool {
    lines.len() > ON_STACK || lines.iter().any(|line| line.name.eq_ignore_ascii_case(name))
}

/// One of 64 bits by length, first and last letter: equal names have equal bits.
#[inline]
fn spread(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |byte| byte | 0x20);
    let last = name.last().map_or(0, |byte| byte | 0x20);
    1 << ((name.len() as u64 * 7 + u64::from(first) * 3 + u64::from(last)) & 63)
}

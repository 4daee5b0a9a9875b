//! Bytes of any length whose place in the stream can be told: what is lost, doubled or swapped shows.

use std::io::{self, Write};
use std::sync::OnceLock;

/// A prime, so that no power of two falls on the same bytes.
const PERIOD: usize = 65_521;

/// Two periods, so that a whole one can be sliced at each offset.
fn bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let period: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
        period.repeat(2)
    })
}

/// Sends the first `length` bytes.
///
/// # Errors
/// The writer's.
pub fn send(to: &mut impl Write, length: u64) -> io::Result<()> {
    let mut sent = 0;
    while sent < length {
        let part = usize::try_from(length - sent).map_or(PERIOD, |left| left.min(PERIOD));
        to.write_all(&bytes()[..part])?;
        sent += part as u64;
    }
    Ok(())
}

/// Compares a stream with the pattern.
#[derive(Clone, Copy, Debug, Default)]
pub struct Check {
    length: u64,
    wrong_at: Option<u64>,
}

impl Check {
    /// The next bytes of the stream.
    pub fn take(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            let start = (self.length % PERIOD as u64) as usize;
            let (now, rest) = part.split_at(part.len().min(PERIOD));
            if now != &bytes()[start..start + now.len()] && self.wrong_at.is_none() {
                self.wrong_at = Some(self.length);
            }
            self.length += now.len() as u64;
            part = rest;
        }
    }

    /// How many bytes came.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// `N bytes`, or where they are wrong.
    pub fn verdict(&self) -> String {
        match self.wrong_at {
            None => format!("{} bytes", self.length),
            Some(at) => format!("{} bytes, wrong near {at}", self.length),
        }
    }
}

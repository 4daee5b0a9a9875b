//! Accepting connections and placing each on a shard before a byte of it is read.

use crate::log;
use crate::rt::{self, Accepted, Listener, Sender};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Live connections that a shard gets before the next one is opened: few shards with many connections batch better
/// than many with few.
pub(crate) const FILL: usize = 32;

/// Most connections of one listener kind; further ones are turned away.
pub(crate) const MOST_CONNECTIONS: usize = 16_384;

/// Pause after an accept that failed, for want of descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection on its way to its shard. Dropping it, there or on the way, makes its place free.
#[derive(Debug)]
pub(crate) struct Placed<R> {
    /// The untouched connection.
    pub(crate) accepted: Accepted,
    /// What is spoken on it.
    pub(crate) role: R,
    /// There is no room: it is to be turned away.
    pub(crate) surplus: bool,
    /// Its place.
    pub(crate) place: Place,
}

/// One live connection of a shard.
#[derive(Debug)]
pub(crate) struct Place {
    live: Arc<[AtomicUsize]>,
    shard: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(count) = self.live.get(self.shard) {
            count.fetch_sub(1, Relaxed);
        }
    }
}

/// Where connections go.
#[derive(Clone, Debug)]
pub(crate) struct Placement<R: Send> {
    shards: Vec<Sender<Placed<R>>>,
    live: Arc<[AtomicUsize]>,
}

impl<R: Send + Copy> Placement<R> {
    /// Onto these shards.
    pub(crate) fn new(shards: Vec<Sender<Placed<R>>>) -> Placement<R> {
        let live = shards.iter().map(|_| AtomicUsize::new(0)).collect();
        Placement { shards, live }
    }

    fn place(&self, accepted: Accepted, role: R) {
        let live: Vec<usize> = self.live.iter().map(|count| count.load(Relaxed)).collect();
        let shard = choose(&live);
        let surplus = live.iter().sum::<usize>() >= MOST_CONNECTIONS;
        if let (Some(count), Some(to)) = (self.live.get(shard), self.shards.get(shard)) {
            count.fetch_add(1, Relaxed);
            let place = Place { live: self.live.clone(), shard };
            let _ = to.send(Placed { accepted, role, surplus, place }); // a shard that has ended: it is closed
        }
    }
}

/// Fills one shard to [`FILL`] before the next; then the least loaded.
fn choose(live: &[usize]) -> usize {
    let open = live.iter().position(|count| *count < FILL);
    let least = || live.iter().enumerate().min_by_key(|(_, count)| **count).map(|(shard, _)| shard);
    open.or_else(least).unwrap_or(0)
}

/// Accepts for ever.
pub(crate) async fn accept<R: Send + Copy>(listener: Listener, placement: Placement<R>, role: R) {
    loop {
        match listener.accept().await {
            Ok(accepted) => placement.place(accepted, role),
            Err(error) => {
                log::warn(log::RUNTIME, format_args!("cannot accept a connection: {}", reason(&error)));
                rt::sleep_until(rt::now() + PAUSE).await;
            }
        }
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::OutOfMemory => "out of memory".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_filled_before_the_next_is_opened() {
        assert_eq!(choose(&[0, 0]), 0);
        assert_eq!(choose(&[FILL - 1, 0]), 0);
        assert_eq!(choose(&[FILL, 0]), 1);
    }

    #[test]
    fn full_shards_share_the_rest() {
        assert_eq!(choose(&[FILL + 5, FILL + 2, FILL + 9]), 1);
        assert_eq!(choose(&[]), 0);
    }
}

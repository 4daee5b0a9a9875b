//! How often something may happen: a bucket of tokens for each client and path.

use crate::time::Tick;
use std::collections::HashMap;

/// Most buckets kept. Beyond it those that are full again are forgotten, which changes nothing, else the fullest one.
pub const MOST_BUCKETS: usize = 4096;

/// How often one client may call one path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    per_second: f64,
}

impl Rate {
    /// So many calls a second; as many, at least one, at once.
    ///
    /// # Errors
    /// Not a number above 0.
    pub fn new(per_second: f64) -> Result<Rate, String> {
        if per_second.is_finite() && per_second > 0.0 {
            return Ok(Rate { per_second });
        }
        Err("metadata property maxRequestsPerSecond must be a positive value".into())
    }

    fn burst(self) -> f64 {
        self.per_second.floor().max(1.0)
    }
}

/// What an answer tells about a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// The limit.
    pub rate: Rate,
    /// Calls that may follow at once.
    pub left: u32,
}

impl Said {
    /// The header lines, in daprd's words.
    pub fn lines(&self) -> [(&'static str, String); 5] {
        let per_second = self.rate.per_second;
        [
            ("X-Rate-Limit-Limit", format!("{per_second:.2}")),
            ("X-Rate-Limit-Duration", "1".into()),
            ("Ratelimit-Limit", format!("{:.0}", per_second.round())),
            ("Ratelimit-Reset", "1".into()),
            ("Ratelimit-Remaining", self.left.to_string()),
        ]
    }
}

/// The buckets of all clients and paths, each under a number made of both.
#[derive(Debug, Default)]
pub struct Buckets(HashMap<u64, Bucket>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    rate: Rate,
    at: Tick,
}

impl Bucket {
    /// Its tokens now.
    fn tokens(&self, now: Tick) -> f64 {
        (self.tokens + now.since(self.at).as_secs_f64() * self.rate.per_second).min(self.rate.burst())
    }
}

impl Buckets {
    /// Takes one token; says how many are left, or that there was none.
    pub fn take(&mut self, key: u64, rate: Rate, now: Tick) -> Option<u32> {
        let known = self.0.get(&key).filter(|bucket| bucket.rate == rate);
        let tokens = known.map_or(rate.burst(), |bucket| bucket.tokens(now));
        if known.is_none() && self.0.len() >= MOST_BUCKETS {
            self.make_room(now);
        }
        let left = tokens - 1.0;
        let kept = if left < 0.0 { tokens } else { left };
        self.0.insert(key, Bucket { tokens: kept, rate, at: now });
        (left >= 0.0).then_some(left as u32)
    }

    #[cold]
    fn make_room(&mut self, now: Tick) {
        self.0.retain(|_, bucket| bucket.tokens(now) < bucket.rate.burst());
        if self.0.len() >= MOST_BUCKETS {
            let share = |bucket: &Bucket| bucket.tokens(now) / bucket.rate.burst();
            let fullest = self.0.iter().max_by(|a, b| share(a.1).total_cmp(&share(b.1)));
            if let Some(key) = fullest.map(|(key, _)| *key) {
                self.0.remove(&key);
            }
        }
    }
}

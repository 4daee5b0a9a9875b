//! What has been seen of each app: addresses in a stable order, forgotten 60 s after they were last seen or at a goodbye.
//! Pure: time is an argument.

use super::sighting::Sighting;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an address counts after it was last seen (spec/resolution 1.2.6).
pub(super) const ADDRESS_LIFE: Duration = Duration::from_secs(60);
/// Most apps watched at once; a further one takes the place of the one unused for longest.
pub(super) const MOST_APPS: usize = 4096;
/// Most instances kept of one app.
pub(super) const MOST_INSTANCES: usize = 1024;

#[derive(Debug)]
struct Seen {
    instance: String,
    address: SocketAddr,
    at: Instant,
}

#[derive(Debug)]
struct App {
    seen: Vec<Seen>,
    wanted: Instant,
}

/// Addresses by app id.
#[derive(Debug, Default)]
pub(super) struct Cache {
    apps: HashMap<String, App>,
}

impl Cache {
    /// Says that somebody wants `app_id`: its sightings are kept from now on.
    pub(super) fn watch(&mut self, app_id: &str, now: Instant) {
        if let Some(app) = self.apps.get_mut(app_id) {
            app.wanted = now;
            return;
        }
        if self.apps.len() >= MOST_APPS {
            let oldest = self.apps.iter().min_by_key(|(_, app)| app.wanted).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.apps.remove(&id));
        }
        self.apps.insert(app_id.to_owned(), App { seen: Vec::new(), wanted: now });
    }

    /// The apps somebody wanted within `life`; the others are forgotten.
    pub(super) fn watched(&mut self, life: Duration, now: Instant) -> Vec<String> {
        self.apps.retain(|_, app| now.saturating_duration_since(app.wanted) < life);
        self.apps.keys().cloned().collect()
    }

    /// Takes what a packet told about `app_id`; true if the app's addresses changed.
    pub(super) fn learn(&mut self, app_id: &str, sightings: Vec<Sighting>, now: Instant) -> bool {
        let Some(app) = self.apps.get_mut(app_id) else { return false };
        let before = addresses_of(app);
        for it in sightings {
            app.seen.retain(|s| !(it.gone && s.instance == it.instance && s.address == it.address));
            let full = app.seen.len() >= MOST_INSTANCES;
            let place = app.seen.iter_mut().find(|s| s.instance == it.instance && s.address == it.address);
            match place {
                Some(seen) => seen.at = now,
                None if it.gone || full => {}
                None => app.seen.push(Seen { instance: it.instance, address: it.address, at: now }),
            }
        }
        before != addresses_of(app)
    }

    /// Forgets addresses not seen for `ADDRESS_LIFE`; true if there were any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for app in self.apps.values_mut() {
            let before = app.seen.len();
            app.seen.retain(|s| now.saturating_duration_since(s.at) < ADDRESS_LIFE);
            changed |= before != app.seen.len();
        }
        changed
    }

    /// The addresses of `app_id`, each once, in a stable order.
    pub(super) fn addresses(&self, app_id: &str) -> Vec<SocketAddr> {
        self.apps.get(app_id).map(addresses_of).unwrap_or_default()
    }
}

fn addresses_of(app: &App) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = app.seen.iter().map(|s| s.address).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(instance: &str, port: u16, gone: bool) -> Vec<Sighting> {
        vec![Sighting { instance: instance.into(), address: ([127, 0, 0, 1], port).into(), gone }]
    }

    #[test]
    fn a_goodbye_counts_at_once() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.watch("a", now);
        assert!(cache.learn("a", seen("h:1.a.local", 1, false), now));
        assert!(cache.learn("a", seen("h:2.a.local", 2, false), now));
        assert!(!cache.learn("a", seen("h:2.a.local", 2, false), now), "nothing new");
        assert!(cache.learn("a", seen("h:1.a.local", 1, true), now));
        assert_eq!(cache.addresses("a"), [([127, 0, 0, 1], 2).into()]);
    }

    #[test]
    fn an_address_is_forgotten_a_minute_after_it_was_last_seen() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.watch("a", now);
        cache.learn("a", seen("h:1.a.local", 1, false), now);
        assert!(!cache.expire(now + ADDRESS_LIFE / 2));
        assert!(cache.expire(now + ADDRESS_LIFE));
        assert!(cache.addresses("a").is_empty());
    }

    #[test]
    fn apps_nobody_asked_for_are_not_kept() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        assert!(!cache.learn("b", seen("h:1.b.local", 1, false), now));
        for n in 0..=MOST_APPS {
            cache.watch(&n.to_string(), now + Duration::from_millis(n as u64));
        }
        assert_eq!(cache.watched(Duration::from_secs(3600), now).len(), MOST_APPS);
    }
}

//! The contents of a cache: values by key, the flights under way, and the counts of hits and misses.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::Settings;
use crate::effect::{Flight, Shared, Use};
use crate::sync::Mutex;
use crate::time::Instant;

pub struct Cache {
    settings: Settings,
    state: Mutex<State>,
}

struct State {
    /// The least recently used value is evicted first.
    entries: LruCache<u32, Entry>,
    flights: HashMap<u32, Arc<Flight>>,
    /// Changes when everything is forgotten: a flight begun before then is not kept.
    cleared: u64,
    counts: Counts,
}

struct Entry {
    value: Shared,
    /// Until then it is fresh,
    fresh: Instant,
    /// and until then good enough while another is fetched.
    good: Instant,
    /// Keeps the key's number while the value is here.
    _key: Use,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub hits: u64,
    pub misses: u64,
    pub stale_hits: u64,
    pub evicted: u64,
}

/// The state of a key for a caller.
pub(super) enum Found {
    Fresh(Shared),
    /// Out of date and still given out; with a flight that the caller is to begin, if there is none.
    Stale(Shared, Option<Arc<Flight>>),
    /// A flight is under way: the caller waits for it.
    Flying(Arc<Flight>),
    /// The caller begins this flight.
    Missing(Arc<Flight>),
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}

impl Cache {
    pub fn new(settings: Settings) -> Arc<Self> {
        let most = NonZeroUsize::new(settings.max_size).unwrap_or(NonZeroUsize::MIN);
        let entries = LruCache::unbounded();
        let state = State { entries, flights: HashMap::new(), cleared: 0, counts: Counts::default() };
        Arc::new(Cache { settings: Settings { max_size: most.get(), ..settings }, state: Mutex::new(state) })
    }

    /// The value of a key if it is fresh; begins and counts nothing otherwise.
    pub fn fresh(&self, key: u32, now: Instant) -> Option<Shared> {
        let mut state = self.state.lock();
        let value = state.entries.get(&key).filter(|entry| now < entry.fresh)?.value.clone();
        state.counts.hits += 1;
        Some(value)
    }

    pub(super) fn find(&self, key: u32, now: Instant) -> Found {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let found = state.entries.get(&key).map(|entry| (entry.value.clone(), entry.fresh, entry.good));
        let flight = state.flights.get(&key).filter(|flight| !flight.is_over()).cloned();
        match (found, flight) {
            (Some((value, fresh, _)), _) if now < fresh => {
                state.counts.hits += 1;
                Found::Fresh(value)
            }
            (Some((value, _, good)), flight) if now < good => {
                state.counts.stale_hits += 1;
                let begins = flight.is_none().then(|| {
                    let flight = Flight::refreshing();
                    state.flights.insert(key, flight.clone());
                    flight
                });
                Found::Stale(value, begins)
            }
            (_, Some(flight)) => {
                state.counts.misses += 1;
                Found::Flying(flight)
            }
            (old, None) => {
                state.counts.misses += 1;
                let gone = old.and_then(|_| state.entries.pop(&key));
                let flight = Arc::new(Flight::default());
                state.flights.insert(key, flight.clone());
                drop(guard);
                // Dropped without the lock: the value's destructor may come back here.
                drop(gone);
                Found::Missing(flight)
            }
        }
    }

    /// How often the cache had been cleared when a flight that begins now begins.
    pub(super) fn cleared(&self) -> u64 {
        self.state.lock().cleared
    }

    /// Ends a flight, with a value or without.
    pub(super) fn landed(&self, flight: &Arc<Flight>, key: &Use, value: Option<Shared>, cleared: u64, now: Instant) {
        let number = key.number();
        let mut state = self.state.lock();
        if state.flights.get(&number).is_some_and(|known| Arc::ptr_eq(known, flight)) {
            state.flights.remove(&number);
        } else if state.cleared == cleared {
            // Invalidated meanwhile: the value is of before.
            return;
        }
        let Some(value) = value.filter(|_| state.cleared == cleared) else { return };
        let fresh = now.after(self.settings.ttl);
        let entry = Entry { value, fresh, good: fresh.after(self.settings.stale), _key: key.clone() };
        let mut gone = vec![state.entries.push(number, entry)];
        while state.entries.len() > self.settings.max_size {
            gone.push(state.entries.pop_lru());
            state.counts.evicted += 1;
        }
        drop(state);
        drop(gone);
    }

    /// Drops the value of a key, and does not keep that of a flight under way. The waiters of that flight get its value
    /// all the same.
    pub fn invalidate(&self, key: u32) {
        let mut state = self.state.lock();
        let gone = (state.entries.pop(&key), state.flights.remove(&key));
        drop(state);
        drop(gone);
    }

    pub fn clear(&self) {
        let mut state = self.state.lock();
        let gone = (std::mem::replace(&mut state.entries, LruCache::unbounded()), std::mem::take(&mut state.flights));
        state.cleared += 1;
        drop(state);
        drop(gone);
    }

    pub fn counts(&self) -> (Counts, usize) {
        let state = self.state.lock();
        (state.counts, state.entries.len())
    }

    pub fn max_size(&self) -> usize {
        self.settings.max_size
    }

    /// Visits the value of each key, for a host that collects garbage. Visits none if the store is locked.
    pub fn visit<E>(&self, mut visit: impl FnMut(&Shared) -> Result<(), E>) -> Result<(), E> {
        let Some(state) = self.state.try_lock() else { return Ok(()) };
        state.entries.iter().try_for_each(|(_, entry)| visit(&entry.value))
    }
}

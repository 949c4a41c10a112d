//! What is under way, as a page shows it: a table that is kept only while somebody looks, and holds so many at most.
//!
//! An entry is its call's, which holds it, and goes with it: the table can have no ghosts. What its call does is one word in it, written by
//! whoever polls the call, and read by whoever looks.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use slab::Slab;

use super::record::Labels;
use crate::observe::{Event, Observer};
use crate::sync::Mutex;
use crate::time::Instant;

/// Calls that are listed at a time; more are only counted.
const MOST: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// In the queue of the policy at that layer.
    Waiting(usize),
    /// Another attempt, of the retry at that layer, is to come.
    BackingOff(usize),
}

pub struct Entry {
    pub id: u64,
    /// The call inside which it was made, 0 for none that is known.
    pub parent: u64,
    pub labels: Arc<Labels>,
    pub since: Instant,
    pub deadline: Instant,
    /// The state in the lowest two bits, the layer in the next thirty, the attempt above.
    now: AtomicU64,
    place: usize,
    table: Weak<Table>,
}

impl Entry {
    pub fn state(&self) -> State {
        let now = self.now.load(Ordering::Relaxed);
        let layer = (now >> 2) as usize & 0x3fff_ffff;
        match now & 3 {
            0 => State::Running,
            1 => State::Waiting(layer),
            _ => State::BackingOff(layer),
        }
    }

    pub fn attempt(&self) -> u32 {
        (self.now.load(Ordering::Relaxed) >> 32) as u32
    }

    fn set(&self, state: u64, layer: usize, attempt: u32) {
        self.now.store(state | (layer as u64 & 0x3fff_ffff) << 2 | u64::from(attempt) << 32, Ordering::Relaxed);
    }
}

impl Observer for Entry {
    fn told(&self, event: Event, _now: Instant) {
        match event {
            Event::Waits(layer) => self.set(1, layer, self.attempt()),
            Event::BacksOff(layer, _) => self.set(2, layer, self.attempt()),
            Event::Waited(_) => self.set(0, 0, self.attempt()),
            Event::Attempt(n) => self.set(0, 0, n),
            Event::Refused(_) | Event::Cache(..) | Event::Degraded(_) => {}
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.entries.lock().try_remove(self.place);
        }
    }
}

#[derive(Default)]
struct Table {
    entries: Mutex<Slab<Weak<Entry>>>,
}

/// A call's place in the table, or among those that are only counted.
pub enum Listed {
    In(Arc<Entry>),
    Beyond(Counted),
}

pub struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub struct Live {
    on: AtomicBool,
    table: Arc<Table>,
    ids: AtomicU64,
    beyond: Arc<AtomicUsize>,
}

impl Live {
    /// Calls that begin from now on are listed, or no longer.
    pub fn show(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub fn begin(&self, labels: Arc<Labels>, parent: u64, since: Instant, deadline: Instant) -> Listed {
        let id = self.ids.fetch_add(1, Ordering::Relaxed) + 1;
        let mut entries = self.table.entries.lock();
        if entries.len() >= MOST {
            drop(entries);
            self.beyond.fetch_add(1, Ordering::Relaxed);
            return Listed::Beyond(Counted(self.beyond.clone()));
        }
        let place = entries.vacant_key();
        let (now, table) = (AtomicU64::new(0), Arc::downgrade(&self.table));
        let entry = Arc::new(Entry { id, parent, labels, since, deadline, now, place, table });
        entries.insert(Arc::downgrade(&entry));
        Listed::In(entry)
    }

    /// The oldest `most`, and how many more there are.
    pub fn oldest(&self, most: usize) -> (Vec<Arc<Entry>>, usize) {
        let mut found: Vec<Arc<Entry>> = self.table.entries.lock().iter().filter_map(|(_, entry)| entry.upgrade()).collect();
        found.sort_unstable_by_key(|entry| entry.id);
        let more = found.len().saturating_sub(most) + self.beyond.load(Ordering::Relaxed);
        // An entry whose call has ended meanwhile takes the lock to go: it is let go of out of the lock, as here.
        found.truncate(most);
        (found, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(live: &Live, name: &str) -> Listed {
        let labels = Labels { effect: name.into(), layers: vec!["Limit".into()] };
        live.begin(Arc::new(labels), 0, Instant::from_nanos(0), Instant::NEVER)
    }

    #[test]
    fn a_million_calls_leave_no_ghosts() {
        let live = Live::default();
        let kept = begin(&live, "kept");
        for _ in 0..1_000_000 {
            drop(begin(&live, "gone"));
        }
        let (found, more) = live.oldest(10);
        assert_eq!((found.len(), more, found[0].labels.effect.as_str()), (1, 0, "kept"));
        drop((kept, found));
        assert_eq!(live.oldest(10).0.len(), 0);
        assert!(live.table.entries.lock().capacity() <= 16, "the table is as large as it was full");
    }

    #[test]
    fn it_lists_so_many_at_most_and_counts_the_rest() {
        let live = Live::default();
        let all: Vec<Listed> = (0..MOST + 100).map(|_| begin(&live, "one")).collect();
        assert_eq!((live.oldest(500).0.len(), live.oldest(500).1), (500, MOST - 500 + 100));
        drop(all);
        assert_eq!(live.oldest(500).1, 0);
    }

    #[test]
    fn its_state_follows_what_it_is_told() {
        let live = Live::default();
        let Listed::In(entry) = begin(&live, "one") else { panic!("there is room") };
        let now = Instant::from_nanos(1);
        let told = |event| {
            entry.told(event, now);
            (entry.state(), entry.attempt())
        };
        assert_eq!(told(Event::Waits(3)), (State::Waiting(3), 0));
        assert_eq!(told(Event::Waited(3)), (State::Running, 0));
        assert_eq!(told(Event::Attempt(1)), (State::Running, 1));
        assert_eq!(told(Event::BacksOff(2, now)), (State::BackingOff(2), 1));
        assert_eq!(told(Event::Attempt(u32::MAX)), (State::Running, u32::MAX));
    }
}

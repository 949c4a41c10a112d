//! The calls under way, for the page: a bounded table that is kept only while a page is open.
//!
//! A call holds its entry, which ends with it: the table holds no entry of a call that has ended. What the call does is
//! one word, written by the thread that polls the call and read by the page.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use slab::Slab;

use super::record::Labels;
use crate::observe::{Event, Now, Observer};
use crate::sync::Mutex;
use crate::time::Instant;

/// Calls that are listed at a time; more are only counted.
const MOST: usize = 4096;

pub struct Entry {
    pub id: u64,
    /// The call inside which it was made; 0 if none is known.
    pub parent: u64,
    pub labels: Arc<Labels>,
    pub since: Instant,
    pub deadline: Instant,
    pub now: Now,
    place: usize,
    table: Weak<Table>,
}

impl Observer for Entry {
    fn told(&self, event: Event, _now: Instant) {
        self.now.told(event);
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
    /// Lists the calls that begin from now on, or stops doing so.
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
        let (now, table) = (Now::default(), Arc::downgrade(&self.table));
        let entry = Arc::new(Entry { id, parent, labels, since, deadline, now, place, table });
        entries.insert(Arc::downgrade(&entry));
        Listed::In(entry)
    }

    /// The `most` oldest entries, and how many more there are.
    pub fn oldest(&self, most: usize) -> (Vec<Arc<Entry>>, usize) {
        let mut found: Vec<Arc<Entry>> = self.table.entries.lock().iter().filter_map(|(_, entry)| entry.upgrade()).collect();
        found.sort_unstable_by_key(|entry| entry.id);
        let more = found.len().saturating_sub(most) + self.beyond.load(Ordering::Relaxed);
        // An entry whose call has ended meanwhile takes the lock as it is dropped, so entries are dropped without the
        // lock, as here.
        found.truncate(most);
        (found, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(live: &Live, name: &str) -> Listed {
        let labels = Labels { effect: name.into(), layers: vec!["Limit".into()], stand_ins: Vec::new() };
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
}

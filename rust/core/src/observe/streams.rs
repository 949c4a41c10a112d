//! Counts the streams of one name: those that are open, their items, and the time to the first of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::tally::Tally;
use super::times::{Summary, Times};

#[derive(Default)]
pub(super) struct Streams {
    open: AtomicU64,
    items: AtomicU64,
    first: Times,
}

/// The streams of one name at one moment.
pub struct Streamed {
    /// They have begun, and not ended.
    pub open: u64,
    /// All items that came out; of streams that are open, to within [`Open::MOST`] each.
    pub items: u64,
    /// The times from the first pull to the first item.
    pub first: Summary,
}

impl Streams {
    pub(super) fn read(&self) -> Streamed {
        Streamed {
            open: self.open.load(Ordering::Relaxed),
            items: self.items.load(Ordering::Relaxed),
            first: self.first.summary(),
        }
    }

    pub(super) fn forget_open(&self) {
        self.open.store(0, Ordering::Relaxed);
    }
}

/// A stream that is open. Its items are counted here, and added up when a pull waits, after some, and at the end, which
/// is the drop of this: an item costs no atomic operation.
pub struct Open {
    tally: Option<Arc<Tally>>,
    /// All items that came out.
    items: u64,
    /// Those that are not added up yet.
    unsaid: u64,
}

impl Open {
    /// At most so many are not added up.
    pub const MOST: u64 = 64;

    /// A stream begins; `None` while counting is off.
    pub fn new(tally: Option<Arc<Tally>>) -> Self {
        if let Some(tally) = &tally {
            tally.of_streams().open.fetch_add(1, Ordering::Relaxed);
        }
        Open { tally, items: 0, unsaid: 0 }
    }

    /// An item comes out.
    #[inline]
    pub fn item(&mut self) {
        self.items += 1;
        self.unsaid += 1;
        if self.unsaid == Self::MOST {
            self.say();
        }
    }

    /// Adds up what is not yet.
    pub fn say(&mut self) {
        let unsaid = std::mem::take(&mut self.unsaid);
        if unsaid > 0
            && let Some(tally) = &self.tally
        {
            tally.of_streams().items.fetch_add(unsaid, Ordering::Relaxed);
        }
    }

    /// The first item came out after that long.
    pub fn first(&self, nanos: u64) {
        if let Some(tally) = &self.tally {
            tally.of_streams().first.record(nanos);
        }
    }

    /// All items that came out.
    pub fn items(&self) -> u64 {
        self.items
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.say();
        if let Some(tally) = &self.tally {
            // In the child of a fork the parent's streams are not counted.
            let _ = tally.of_streams().open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| open.checked_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_added_up_after_some_and_at_the_end() {
        let tally = Arc::new(Tally::default());
        assert!(tally.streams().is_none());
        let mut open = Open::new(Some(tally.clone()));
        let read = || tally.streams().map(|s| (s.open, s.items, s.first.count())).unwrap();
        (1..Open::MOST).for_each(|_| open.item());
        assert_eq!((read(), open.items()), ((1, 0, 0), Open::MOST - 1));
        open.item();
        assert_eq!(read(), (1, Open::MOST, 0));
        open.item();
        open.first(5);
        open.say();
        assert_eq!(read(), (1, Open::MOST + 1, 1));
        open.item();
        drop(open);
        assert_eq!(read(), (0, Open::MOST + 2, 1));
    }

    #[test]
    fn without_counting_only_its_own_items_are_known() {
        let mut open = Open::new(None);
        (0..200).for_each(|_| open.item());
        open.first(1);
        assert_eq!(open.items(), 200);
    }

    #[test]
    fn the_parents_open_streams_are_not_the_childs() {
        let tally = Arc::new(Tally::default());
        let parents = Open::new(Some(tally.clone()));
        tally.forget_open();
        drop(parents);
        assert_eq!(tally.streams().map(|s| s.open), Some(0));
    }
}

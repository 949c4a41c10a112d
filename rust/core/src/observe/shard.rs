//! Which part of a counter a thread adds to. The first threads that count own a part each, and write it without a
//! locked instruction; all later ones share the last part, and add to it atomically.
//!
//!  1. A thread that counts for the first time takes a free part, keeps it to its end, and gives it back.
//!  2. The next owner of that part goes on from its value: it is handed over by a release and an acquire.
//!
//! A reader races with both, and may miss what is written at this moment, as with any counter.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A loop's thread, the workers, and a few more.
const PARTS: usize = 8;
const SHARED: usize = PARTS - 1;
const UNKNOWN: usize = usize::MAX;

/// One bit for each part that is taken.
static TAKEN: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static MINE: Cell<usize> = const { Cell::new(UNKNOWN) };
    static GIVES_BACK: GivesBack = const { GivesBack };
}

struct GivesBack;

impl Drop for GivesBack {
    fn drop(&mut self) {
        // Destructors that run later may still count.
        let mine = MINE.replace(SHARED);
        if mine < SHARED {
            TAKEN.fetch_and(!(1 << mine), Ordering::Release);
        }
    }
}

fn mine() -> usize {
    let mine = MINE.get();
    if mine == UNKNOWN { take() } else { mine }
}

#[cold]
fn take() -> usize {
    let taken = TAKEN.fetch_update(Ordering::Acquire, Ordering::Relaxed, |taken| {
        let free = taken.trailing_ones();
        (free < SHARED as u32).then_some(taken | 1 << free)
    });
    let mine = taken.map_or(SHARED, |taken| taken.trailing_ones() as usize);
    MINE.set(mine);
    if mine < SHARED {
        GIVES_BACK.with(|_| ());
    }
    mine
}

/// Adds to a counter of one part. `alone`: only this thread writes it.
pub(super) fn add(counter: &AtomicU64, n: u64, alone: bool) {
    if alone {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    } else {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// The parts of some counters, each made when its thread first counts.
pub struct Sharded<T> {
    parts: [OnceLock<Box<T>>; PARTS],
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Sharded { parts: [const { OnceLock::new() }; PARTS] }
    }
}

impl<T: Default> Sharded<T> {
    /// This thread's part, and whether only this thread writes it.
    pub(super) fn mine(&self) -> (&T, bool) {
        let mine = mine();
        (self.parts[mine].get_or_init(Box::default), mine != SHARED)
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().filter_map(OnceLock::get).map(|part| &**part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_however_many_threads_come_and_go() {
        let counters = Sharded::<AtomicU64>::default();
        for _ in 0..20 {
            std::thread::scope(|scope| {
                for _ in 0..12 {
                    scope.spawn(|| {
                        for _ in 0..1000 {
                            let (part, alone) = counters.mine();
                            add(part, 1, alone);
                        }
                    });
                }
            });
        }
        let all: u64 = counters.parts().map(|part| part.load(Ordering::Relaxed)).sum();
        assert_eq!(all, 20 * 12 * 1000);
    }
}

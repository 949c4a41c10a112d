//! Counts the batches of one name: their sizes, and how long they waited for their items.

use std::sync::atomic::{AtomicU64, Ordering};

use super::times::{Summary, Times};

/// Sizes up to 1, 3, 7 and so on to 1,023, and all above.
const SIZES: usize = 11;

#[derive(Default)]
pub(super) struct Batches {
    sizes: [AtomicU64; SIZES],
    items: AtomicU64,
    waits: Times,
}

/// The batches of one name at one moment.
pub struct Batched {
    sizes: [u64; SIZES],
    /// All items that batches began with.
    pub items: u64,
    /// The times from a batch's first item to its beginning.
    pub waits: Summary,
}

impl Batches {
    pub(super) fn began(&self, items: u64, waited: u64) {
        let size = items.max(1).ilog2() as usize;
        self.sizes[size.min(SIZES - 1)].fetch_add(1, Ordering::Relaxed);
        self.items.fetch_add(items, Ordering::Relaxed);
        self.waits.record(waited);
    }

    pub(super) fn read(&self) -> Batched {
        Batched {
            sizes: std::array::from_fn(|size| self.sizes[size].load(Ordering::Relaxed)),
            items: self.items.load(Ordering::Relaxed),
            waits: self.waits.summary(),
        }
    }
}

impl Batched {
    /// How many have begun.
    pub fn count(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// How many had at most so many items, without those of the bound before. The last bound is infinity.
    pub fn bounded(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = (1..SIZES).map(|octave| ((1u64 << octave) - 1) as f64).chain(std::iter::once(f64::INFINITY));
        bounds.zip(self.sizes.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_is_at_most_its_bound_and_above_the_one_before() {
        for items in [1, 2, 3, 4, 7, 8, 1023, 1024, 1_000_000, u64::MAX] {
            let batches = Batches::default();
            batches.began(items, 5);
            let read = batches.read();
            assert_eq!((read.count(), read.items, read.waits.count(), read.waits.nanos), (1, items, 1, 5));
            let mut below = 0.0;
            for (bound, n) in read.bounded() {
                assert_eq!(n == 1, below < items as f64 && items as f64 <= bound, "{items} in {bound}");
                below = bound;
            }
            assert!(below.is_infinite());
        }
    }
}

//! The progress of work that grows: how many items were added, and of how many the results were taken.

use std::sync::atomic::{AtomicU64, Ordering};

/// Read by any thread, while the work's own loop writes it.
#[derive(Debug, Default)]
pub struct Progress {
    added: AtomicU64,
    done: AtomicU64,
}

impl Progress {
    pub fn add(&self) {
        self.added.fetch_add(1, Ordering::Relaxed);
    }

    pub fn take(&self) {
        self.done.fetch_add(1, Ordering::Release);
    }

    /// Those that are done, and those that are left: what is done was added before.
    pub fn read(&self) -> (u64, u64) {
        let done = self.done.load(Ordering::Acquire);
        (done, self.added.load(Ordering::Relaxed).saturating_sub(done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_left_until_it_is_done() {
        let progress = Progress::default();
        assert_eq!(progress.read(), (0, 0));
        (0..3).for_each(|_| progress.add());
        progress.take();
        assert_eq!(progress.read(), (1, 2));
    }
}

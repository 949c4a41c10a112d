//! The progress of a download, for another thread to look at.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes. A new attempt begins anew, or where the one before was cut off.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    /// As the server says; 0: it does not.
    total: AtomicU64,
}

impl Progress {
    pub fn begin(&self, done: u64, total: Option<u64>) {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: usize) {
        self.done.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub fn total(&self) -> Option<u64> {
        Some(self.total.load(Ordering::Relaxed)).filter(|total| *total > 0)
    }
}

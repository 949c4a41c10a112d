//! How far a thread's job is: queued -> running -> ended. A cancel ends it from queued (the thread skips it), or leaves it from running: its
//! caller is let go, the thread goes on, and counts as abandoned until it comes back.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::process::ABANDONED;

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const ENDED: u8 = 2;
const LEFT: u8 = 3;

#[derive(Default)]
pub(crate) struct Stage(AtomicU8);

impl Stage {
    fn go(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// False: it was cancelled.
    pub(crate) fn begin(&self) -> bool {
        self.go(QUEUED, RUNNING)
    }

    /// False: nobody waits any more.
    pub(crate) fn end(&self) -> bool {
        let left = self.0.swap(ENDED, Ordering::AcqRel) == LEFT;
        if left {
            ABANDONED.fetch_sub(1, Ordering::Relaxed);
        }
        !left
    }

    /// Its caller goes.
    pub(crate) fn abandon(&self) {
        if !self.go(QUEUED, ENDED) && self.go(RUNNING, LEFT) {
            ABANDONED.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_left(&self) -> bool {
        self.0.load(Ordering::Acquire) == LEFT
    }
}

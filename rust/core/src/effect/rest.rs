//! Whether native work is at rest, so that nothing happens until time moves: virtual time advances only then.
//!
//! Native work is in one of these places, and moves between them by itself:
//!  1. on a thread of its own, in a system call or in Python: its starter holds an [`AtWork`] until the outcome is
//!     handed on;
//!  2. in a task that is running, or on its way to a worker: in a worker's queue or in the shared one;
//!  3. armed on the clock, or answered: there it stays.
//!
//! [`at_rest`] proves the absence of 1 and 2 at one instant by looks at several:
//!  a. every worker is parked, which it is only when its own queue is empty; remember how often each has been;
//!  b. no [`AtWork`] is held;
//!  c. the shared queue is empty;
//!  d. every worker is still parked, and has not been up meanwhile.
//!
//! Between a and d no worker ran, so at b only the caller could queue a task, and it is here: at c all work was at
//! rest, and it still is. A worker that has been called and is not up yet was called for a task of the shared queue,
//! which c finds, or for one that is gone.

use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::runtime::Handle;

static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Work that only real time ends. Virtual time stands still while it lives.
#[derive(Debug)]
pub struct AtWork(());

impl AtWork {
    #[must_use]
    pub fn begin() -> Self {
        AT_WORK.fetch_add(1, Ordering::Relaxed);
        AtWork(())
    }

    /// The number of [`AtWork`]s in this process.
    #[must_use]
    pub fn count() -> usize {
        AT_WORK.load(Ordering::Acquire)
    }

    /// Resets the number in the child of a fork, which has none of the parent's threads.
    pub fn forget_all() {
        AT_WORK.store(0, Ordering::Relaxed);
    }
}

impl Drop for AtWork {
    /// Release: a reader that sees the work gone also sees its effects.
    fn drop(&mut self) {
        // Saturating: the work may have begun before a fork.
        let _ = AT_WORK.fetch_update(Ordering::Release, Ordering::Relaxed, |n| n.checked_sub(1));
    }
}

/// Whether all work on these runtimes is at rest, apart from `AtWork`s of the given number. Only the thread that begins
/// work may ask.
#[must_use]
pub fn at_rest(runtimes: &[Handle], but: usize) -> bool {
    let Some(parked) = parked(runtimes) else { return false };
    fence(Ordering::SeqCst);
    if AtWork::count() > but || runtimes.iter().any(|r| r.metrics().global_queue_depth() > 0) {
        return false;
    }
    fence(Ordering::SeqCst);
    self::parked(runtimes) == Some(parked)
}

/// How often all workers together have parked and come back, if all are parked now. It only grows.
fn parked(runtimes: &[Handle]) -> Option<u64> {
    let mut sum = 0;
    for runtime in runtimes {
        let metrics = runtime.metrics();
        for worker in 0..metrics.num_workers() {
            let count = metrics.worker_park_unpark_count(worker);
            // Odd: it has parked once more than it has come back.
            if count.is_multiple_of(2) {
                return None;
            }
            sum += count;
        }
    }
    Some(sum)
}

//! Whether native work is at rest, so that nothing happens until time moves: what a test that jumps must know before it does.
//!
//! Native work is in one of these places, and moves between them by itself:
//!  1. on a thread of its own, in a system call or in Python: whoever puts it there holds an [`AtWork`] until the outcome is handed on;
//!  2. a task that is running, or on its way to a worker: in a worker's queue or in the one they share;
//!  3. armed on the clock, or answered: there it stays.
//!
//! [`at_rest`] looks for the absence of 1 and 2 at one instant, by looks that are not one:
//!  a. every worker is parked, which it is only when its own queue is empty; remember how often each has been;
//!  b. nobody is at work on a thread of 1;
//!  c. the shared queue is empty;
//!  d. every worker is parked still, and has not been up meanwhile.
//!
//! Between a and d no worker ran, so at b nobody was left who could queue a task but the caller, who is here: at c all were at rest, and are.
//! A worker that has been called but is not up yet was called for a task of the shared queue, which c finds, or for one that is gone.

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

    /// How much of it there is in this process.
    #[must_use]
    pub fn count() -> usize {
        AT_WORK.load(Ordering::Acquire)
    }

    /// In the child of a fork: the parent's threads are not here.
    pub fn forget_all() {
        AT_WORK.store(0, Ordering::Relaxed);
    }
}

impl Drop for AtWork {
    /// Release: who sees it gone sees what it led to.
    fn drop(&mut self) {
        // Saturating, for what was begun before a fork.
        let _ = AT_WORK.fetch_update(Ordering::Release, Ordering::Relaxed, |n| n.checked_sub(1));
    }
}

/// Whether all work on these runtimes is at rest, apart from so many that are `AtWork`. To be asked by the one thread that begins work.
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

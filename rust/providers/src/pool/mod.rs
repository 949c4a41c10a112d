//! The threads that block so that no loop and no worker must: as many as the machine has cores, the most urgent first,
//! and then as they came.
//!
//! A job sits on one of the pool's seats. A job that may block for ever gives its seat up (`Job::stall`), and one that
//! is aborted in the middle of a system call loses it; another thread takes the seat over, so the pool stays usable
//! however many threads are stuck. A thread that comes back takes a free seat or ends.

mod job;
mod seats;

pub use job::{Grip, Job, Step, Work};

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use mountain_core::effect::{Abort, Done};

use seats::Pool;

static POOL: AtomicPtr<Pool<Job>> = AtomicPtr::new(std::ptr::null_mut());

/// The process's pool, made on first use. A pool is never freed: its threads and their jobs point to it.
fn current() -> &'static Pool<Job> {
    let mut pool = POOL.load(Ordering::Acquire);
    if pool.is_null() {
        let fresh = Box::into_raw(Box::new(Pool::new(std::thread::available_parallelism().map_or(1, usize::from))));
        match POOL.compare_exchange(std::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => pool = fresh,
            Err(theirs) => {
                // SAFETY: no other thread has seen `fresh`.
                drop(unsafe { Box::from_raw(fresh) });
                pool = theirs;
            }
        }
    }
    // SAFETY: it came from `Box::into_raw`, and a pool that was in `POOL` is never freed.
    unsafe { &*pool }
}

/// Queue `work`; its outcome goes to `done`.
pub fn run(grip: Grip, done: Done, work: impl FnOnce(&Job) -> Step + Send + 'static) -> Abort {
    run_on(current(), grip, done, work)
}

fn run_on(pool: &'static Pool<Job>, grip: Grip, done: Done, work: impl FnOnce(&Job) -> Step + Send + 'static) -> Abort {
    let job = Arc::new(Job::new(grip, pool, done, Box::new(work)));
    pool.push(job.clone());
    Abort::Shared(job)
}

/// How many jobs run at the same time.
pub fn size() -> usize {
    current().size()
}

/// Gauge: threads whose caller was released while a system call still holds them.
pub fn abandoned() -> usize {
    current().abandoned()
}

/// Gauge: jobs that wait for a seat.
pub fn queued() -> usize {
    current().queued()
}

/// Gauge: threads that sit on a seat, at work or idle.
pub fn threads() -> usize {
    current().seated()
}

/// In the child of a fork: start afresh. The old pool's threads do not exist here and its locks may be held for ever,
/// so it is left as it is.
pub fn forget_after_fork() {
    POOL.store(std::ptr::null_mut(), Ordering::Release);
}

#[cfg(test)]
mod tests;

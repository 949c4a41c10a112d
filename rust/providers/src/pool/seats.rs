//! Seats and the threads on them: one queue, and a wake-up only where a thread sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use mountain_core::error::Error;
use mountain_core::schedule::{Lanes, Priority};
use mountain_core::sync::{Condvar, Mutex, MutexGuard};

/// A piece of work that a thread of the pool runs.
pub(super) trait Task: Send + Sync + 'static {
    fn priority(&self) -> Priority;
    /// True: the thread still has its seat.
    fn run(self: &Arc<Self>) -> bool;
    /// It never gets a thread.
    fn refuse(&self, error: Error);
}

pub(super) struct Pool<T> {
    size: usize,
    process: u32,
    state: Mutex<State<T>>,
    more: Condvar,
    /// Signed: a thread may come back before its abort has counted it.
    abandoned: AtomicIsize,
}

struct State<T> {
    jobs: Lanes<Arc<T>>,
    /// Threads that have a seat.
    seated: usize,
    /// Seated threads that sleep and have not been woken yet.
    idle: usize,
    /// Threads that were woken and still seem to sleep.
    woken: usize,
    /// A thread was woken or started and has not looked at the queue yet. It will wake the next one, so a caller that
    /// pushes a thousand jobs pays for one wake-up.
    coming: bool,
    started: usize,
}

impl<T: Task> Pool<T> {
    pub(super) fn new(size: usize) -> Self {
        let state = Mutex::new(State { jobs: Lanes::default(), seated: 0, idle: 0, woken: 0, coming: false, started: 0 });
        Pool { size, process: std::process::id(), state, more: Condvar::new(), abandoned: AtomicIsize::new(0) }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// False in a forked child: the pool's threads do not exist there, and its lock may be held for ever.
    pub(super) fn alive(&self) -> bool {
        std::process::id() == self.process
    }

    pub(super) fn abandoned(&self) -> usize {
        usize::try_from(self.abandoned.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(super) fn queued(&self) -> usize {
        self.state.lock().jobs.len()
    }

    pub(super) fn seated(&self) -> usize {
        self.state.lock().seated
    }

    pub(super) fn leave_behind(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn came_back(&self) {
        self.abandoned.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn push(&'static self, job: Arc<T>) {
        let mut state = self.state.lock();
        state.jobs.push(job.priority(), job);
        self.staff(state);
    }

    /// A thread loses its seat: to a job that waits for something, or to one that was abandoned.
    pub(super) fn vacate(&'static self) {
        let mut state = self.state.lock();
        state.seated -= 1;
        self.staff(state);
    }

    /// If jobs wait and no thread is on the way to them, wakes or starts one.
    fn staff(&'static self, mut state: MutexGuard<'_, State<T>>) {
        if state.jobs.is_empty() || state.coming {
            return;
        }
        if state.idle > 0 {
            state.idle -= 1;
            state.woken += 1;
            state.coming = true;
            drop(state);
            self.more.notify_one();
        } else if state.seated < self.size {
            state.seated += 1;
            state.started += 1;
            state.coming = true;
            let number = state.started;
            drop(state);
            self.start(number);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of the threads for blocking work")]
    fn start(&'static self, number: usize) {
        let thread = std::thread::Builder::new().name(format!("mountain-io-{number}"));
        let Err(e) = thread.spawn(move || self.work()) else { return };
        let mut state = self.state.lock();
        state.seated -= 1;
        state.coming = false;
        if state.seated > 0 {
            return;
        }
        // No thread at all: an error is better than a queue without a thread.
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        for job in jobs.into_items() {
            job.refuse(Error::io(&e, None));
        }
    }

    /// A thread's life.
    fn work(&'static self) {
        let mut state = self.state.lock();
        state.coming = false;
        loop {
            let Some(job) = state.jobs.take_next() else {
                state.idle += 1;
                state = self.more.wait_while(state, |s| s.woken == 0);
                state.woken -= 1;
                state.coming = false;
                continue;
            };
            self.staff(state);
            let seated = job.run();
            drop(job);
            state = self.state.lock();
            if !seated {
                if state.seated >= self.size {
                    return;
                }
                state.seated += 1;
            }
        }
    }
}

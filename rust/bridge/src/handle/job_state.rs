//! The stages of a thread's job: queued -> running -> ended. A cancel ends a queued job (the thread skips it) and
//! leaves a running one: the caller goes on at once, and the thread counts as abandoned until its call returns.

use std::any::Any;
use std::sync::atomic::{AtomicU8, Ordering};

use mountain_core::effect::AtWork;
use mountain_core::sync::Mutex;

use crate::globals::{ABANDONED, BUSY};

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const ENDED: u8 = 2;
const LEFT: u8 = 3;

pub(crate) struct JobState {
    at: AtomicU8,
    /// Holds virtual time still until the job has ended or is abandoned.
    at_work: Mutex<Option<AtWork>>,
    /// Objects kept until the call has really ended, abandoned or not.
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl JobState {
    pub(crate) fn queued() -> Self {
        JobState { at: AtomicU8::new(QUEUED), at_work: Mutex::new(Some(AtWork::begin())), kept: Mutex::default() }
    }

    /// False: the job was not at `from`.
    fn go(&self, from: u8, to: u8) -> bool {
        self.at.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Begins the call. False: the job was cancelled.
    pub(crate) fn begin(&self) -> bool {
        let begins = self.go(QUEUED, RUNNING);
        if begins {
            BUSY.fetch_add(1, Ordering::Relaxed);
        }
        begins
    }

    /// Ends the call, and posts its result unless the caller has gone on. Work that runs on no thread never begins.
    pub(crate) fn end(&self, post: impl FnOnce()) {
        let was = self.at.swap(ENDED, Ordering::AcqRel);
        if was == RUNNING || was == LEFT {
            // Saturating: a fork may have reset the gauge.
            let _ = BUSY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        }
        self.let_go();
        if was == LEFT {
            ABANDONED.fetch_sub(1, Ordering::Relaxed);
        }
        if was == LEFT || was == ENDED {
            return;
        }
        post();
        self.release();
    }

    fn release(&self) {
        let at_work = self.at_work.lock().take();
        drop(at_work);
    }

    fn let_go(&self) {
        let kept = std::mem::take(&mut *self.kept.lock());
        drop(kept);
    }

    /// Lets the caller go: a queued job ends, a running one is left.
    pub(crate) fn abandon(&self) {
        if !self.go(QUEUED, ENDED) && self.go(RUNNING, LEFT) {
            ABANDONED.fetch_add(1, Ordering::Relaxed);
        }
        self.release();
    }

    pub(crate) fn is_left(&self) -> bool {
        self.at.load(Ordering::Acquire) == LEFT
    }

    /// Keeps `what` until the thread has ended the call.
    pub(crate) fn keep(&self, what: Box<dyn Any + Send>) {
        self.kept.lock().push(what);
        // The call may have ended before the push, and has not seen it then.
        if self.at.load(Ordering::Acquire) == ENDED {
            self.let_go();
        }
    }
}

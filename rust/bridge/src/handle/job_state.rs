//! How far a thread's job is: queued -> running -> ended. A cancel ends it from queued (the thread skips it), or leaves it from running: its
//! caller is let go, the thread goes on, and counts as abandoned until it comes back.

use std::any::Any;
use std::sync::atomic::{AtomicU8, Ordering};

use mountain_core::effect::AtWork;
use mountain_core::sync::Mutex;

use crate::globals::{ABANDONED, BUSY};

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const ENDED: u8 = 2;
const LEFT: u8 = 3;

pub(crate) struct Stage {
    at: AtomicU8,
    /// Until somebody waits no more, or need not, virtual time does.
    at_work: Mutex<Option<AtWork>>,
    /// What its call holds to its real end.
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Stage {
    pub(crate) fn queued() -> Self {
        Stage { at: AtomicU8::new(QUEUED), at_work: Mutex::new(Some(AtWork::begin())), kept: Mutex::default() }
    }

    fn go(&self, from: u8, to: u8) -> bool {
        self.at.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// False: it was cancelled.
    pub(crate) fn begin(&self) -> bool {
        let begins = self.go(QUEUED, RUNNING);
        if begins {
            BUSY.fetch_add(1, Ordering::Relaxed);
        }
        begins
    }

    /// The call has ended. What it came to is posted, if anybody waits for it.
    pub(crate) fn end(&self, post: impl FnOnce()) {
        let left = self.at.swap(ENDED, Ordering::AcqRel) == LEFT;
        // Saturating: a fork set the gauge back.
        let _ = BUSY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        self.let_go();
        if left {
            ABANDONED.fetch_sub(1, Ordering::Relaxed);
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

    /// Its caller goes.
    pub(crate) fn abandon(&self) {
        if !self.go(QUEUED, ENDED) && self.go(RUNNING, LEFT) {
            ABANDONED.fetch_add(1, Ordering::Relaxed);
        }
        self.release();
    }

    pub(crate) fn is_left(&self) -> bool {
        self.at.load(Ordering::Acquire) == LEFT
    }

    /// Let go of it when the thread has ended the call.
    pub(crate) fn keep(&self, what: Box<dyn Any + Send>) {
        self.kept.lock().push(what);
        // It may have ended meanwhile, before it could see this.
        if self.at.load(Ordering::Acquire) == ENDED {
            self.let_go();
        }
    }
}

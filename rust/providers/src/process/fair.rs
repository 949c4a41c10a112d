//! A lock that the thread of the processes shares fairly: it takes the lock again and again while there is output to
//! draw, and others would find it free by chance only.

use std::sync::atomic::{AtomicUsize, Ordering};

use mountain_core::sync::{Mutex, MutexGuard};

pub(super) struct Fair<T> {
    inner: Mutex<T>,
    /// How many wait for it, by `lock`.
    waiting: AtomicUsize,
    /// How many have had it after a wait.
    served: AtomicUsize,
}

impl<T> Fair<T> {
    pub(super) fn new(value: T) -> Self {
        Fair { inner: Mutex::new(value), waiting: AtomicUsize::new(0), served: AtomicUsize::new(0) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        if let Some(guard) = self.inner.try_lock() {
            return guard;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let guard = self.inner.lock();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.served.fetch_add(1, Ordering::SeqCst);
        guard
    }

    /// For the thread that takes it again and again: after one of those that wait now, if any does.
    pub(super) fn lock_in_turn(&self) -> MutexGuard<'_, T> {
        let served = self.served.load(Ordering::SeqCst);
        while self.waiting.load(Ordering::SeqCst) > 0 && self.served.load(Ordering::SeqCst) == served {
            std::thread::yield_now();
        }
        self.inner.lock()
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.inner.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn the_thread_that_takes_it_again_lets_one_that_waits_have_it_first() {
        for _ in 0..200 {
            let lock = Fair::new(());
            let served = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let held = lock.lock_in_turn();
                scope.spawn(|| {
                    let _guard = lock.lock();
                    served.store(true, Ordering::SeqCst);
                });
                while lock.waiting.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                drop(held);
                let _again = lock.lock_in_turn();
                assert!(served.load(Ordering::SeqCst));
            });
        }
    }
}

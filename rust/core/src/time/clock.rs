//! The clock: real, or virtual for tests that jump. Its deadlines stand in one heap; a thread of its own wakes them when time is real.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use crate::sync::{Condvar, Mutex};

use super::Instant;
use super::heap::{Heap, Key};

enum Source {
    Real(std::time::Instant),
    Virtual(AtomicU64),
}

/// Tells the time and wakes whoever waits for it.
pub struct Clock {
    source: Source,
    timers: Mutex<Timers>,
    sooner: Condvar,
    /// For the thread, which starts with the first deadline: a program that only imports us has no thread more.
    me: Weak<Clock>,
}

#[derive(Default)]
struct Timers {
    heap: Heap,
    /// When the thread means to wake next. Only an earlier deadline needs to disturb it: a deadline that was taken back
    /// leaves this in place, so that back-to-back timeouts cost no system call.
    planned: u64,
    running: bool,
    closed: bool,
}

/// How many wakers are called between two looks at the lock.
const BATCH: usize = 256;

impl Clock {
    /// Real, monotonic time, with a thread of its own that ends at [`Clock::close`].
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one home of the clock")]
    pub fn real() -> Arc<Self> {
        Self::new(Source::Real(std::time::Instant::now()))
    }

    /// Time that moves by [`Clock::advance`] only.
    #[must_use]
    pub fn manual() -> Arc<Self> {
        Self::new(Source::Virtual(AtomicU64::new(0)))
    }

    fn new(source: Source) -> Arc<Self> {
        let timers = Mutex::new(Timers { planned: u64::MAX, ..Timers::default() });
        Arc::new_cyclic(|me| Clock { source, timers, sooner: Condvar::new(), me: me.clone() })
    }

    #[cold]
    #[expect(clippy::disallowed_methods, reason = "the one home of the clock's thread")]
    fn start(&self, timers: &mut Timers) {
        timers.running = true;
        if let (Source::Real(_), Some(me)) = (&self.source, self.me.upgrade()) {
            std::thread::Builder::new().name("mountain-clock".into()).spawn(move || me.run()).expect("a thread for the clock");
        }
    }

    #[must_use]
    pub fn now(&self) -> Instant {
        match &self.source {
            Source::Real(epoch) => Instant::from_nanos(epoch.elapsed().as_nanos() as u64),
            Source::Virtual(now) => Instant::from_nanos(now.load(Ordering::SeqCst)),
        }
    }

    /// Wake `waker` at `at`, once. [`Instant::NEVER`] is accepted and never fires.
    pub fn arm(&self, at: Instant, waker: Waker) -> Key {
        let mut timers = self.timers.lock();
        let key = timers.heap.push(at.nanos(), waker);
        if !timers.running {
            self.start(&mut timers);
        }
        if at.nanos() < timers.planned {
            timers.planned = at.nanos();
            drop(timers);
            self.sooner.notify_one();
        }
        key
    }

    /// Change the waker of an armed deadline. False: it has fired.
    pub fn rearm(&self, key: Key, waker: &Waker) -> bool {
        let mut timers = self.timers.lock();
        let Some(slot) = timers.heap.waker(key) else { return false };
        if slot.will_wake(waker) {
            return true;
        }
        let old = std::mem::replace(slot, waker.clone());
        drop(timers);
        drop(old);
        true
    }

    /// Take a deadline back; one that has fired is nothing.
    pub fn disarm(&self, key: Key) {
        let waker = self.timers.lock().heap.remove(key);
        drop(waker);
    }

    /// How many deadlines are armed.
    pub fn armed(&self) -> usize {
        self.timers.lock().heap.len()
    }

    /// The earliest deadline.
    pub fn first(&self) -> Option<Instant> {
        self.timers.lock().heap.first().map(Instant::from_nanos)
    }

    /// Move virtual time on, waking what comes due in its order.
    ///
    /// # Panics
    /// On a real clock, which cannot be moved.
    pub fn advance(&self, by: Duration) {
        let Source::Virtual(now) = &self.source else { panic!("only a virtual clock can be moved") };
        now.store(self.now().after(by).nanos(), Ordering::SeqCst);
        self.wake_due();
    }

    fn wake_due(&self) {
        let mut due = Vec::with_capacity(BATCH);
        loop {
            let now = self.now().nanos();
            let mut timers = self.timers.lock();
            due.extend(std::iter::from_fn(|| timers.heap.pop(now)).take(BATCH));
            drop(timers);
            if due.is_empty() {
                return;
            }
            due.drain(..).for_each(Waker::wake);
        }
    }

    /// End the clock's thread. Deadlines still armed never fire.
    pub fn close(&self) {
        self.timers.lock().closed = true;
        self.sooner.notify_one();
    }

    fn run(&self) {
        loop {
            self.wake_due();
            let mut timers = self.timers.lock();
            if timers.closed {
                return;
            }
            let now = self.now();
            let next = timers.heap.first().unwrap_or(u64::MAX);
            timers.planned = next;
            if next <= now.nanos() {
                continue;
            }
            drop(if next == u64::MAX {
                self.sooner.wait(timers)
            } else {
                self.sooner.wait_for(timers, Instant::from_nanos(next).since(now))
            });
        }
    }
}

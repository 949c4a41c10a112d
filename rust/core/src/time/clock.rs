//! The clock: real, or virtual for tests that jump. Its deadlines are in one heap; a thread of its own wakes them when
//! time is real.
//!
//! A real clock can be taken over at any moment, and handed back:
//!  1. `take_over`, under the lock of the timers, makes the present reading the virtual one. It waits until the thread
//!     has called the wakers that it holds, so that from then on only `advance` calls wakers.
//!  2. `advance` moves the reading, then calls the wakers that are due, on the caller's thread.
//!  3. `hand_back`, under the lock, lets real time go on from the virtual reading. Armed deadlines keep their distance
//!     from it.
//!
//! Races
//!  - The thread, on its way to the wakers that are due: it reads the time under the lock, and checks there that the
//!    clock is real. It takes them before 1, which then waits for it, or finds nothing to do.
//!  - `arm`: it takes the lock too. While the clock is taken over, `planned` is 0, which no deadline precedes: the
//!    thread is not disturbed. Step 3 computes `planned` anew, from all that was armed meanwhile, and calls the thread.
//!  - A reader, which takes no lock: `state` is one word, so it sees either clock, whole. A reader that is held up
//!    between its look at `state` and its look at the system's clock while 1 happens reads a time that is too late by
//!    the delay, once, as if the take-over had come after it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard};

use super::Instant;
use super::heap::{Heap, Key};
use super::ticks::Counter;

/// In `state`: the clock is virtual.
const VIRTUAL: u64 = 1 << 63;

/// Tells the time and calls the wakers of deadlines.
pub struct Clock {
    epoch: std::time::Instant,
    pub(super) counter: Counter,
    /// Virtual: the reading, with `VIRTUAL`. Real: by how much the reading is ahead of the time since `epoch`, modulo
    /// 2^63.
    state: AtomicU64,
    timers: Mutex<Timers>,
    sooner: Condvar,
    /// For the thread, which starts with the first deadline: importing the package starts no thread.
    me: Weak<Clock>,
}

#[derive(Default)]
struct Timers {
    heap: Heap,
    /// The deadlines of chores, for which no call waits. Virtual time does not move to them, but calls them as it
    /// passes.
    aside: Heap,
    /// When the thread means to wake next. Only an earlier deadline needs to disturb it: a deadline that was taken back
    /// leaves this in place, so that back-to-back timeouts cost no system call.
    planned: u64,
    running: bool,
    /// The thread holds wakers that it has not called yet.
    firing: bool,
    closed: bool,
}

impl Timers {
    fn next(&self) -> u64 {
        let first = |heap: &Heap| heap.first().unwrap_or(u64::MAX);
        first(&self.heap).min(first(&self.aside))
    }
}

/// Wakers that are called between two looks at the lock.
const BATCH: usize = 256;

impl Clock {
    /// Real, monotonic time, with a thread of its own that ends at [`Clock::close`].
    #[must_use]
    pub fn real() -> Arc<Self> {
        Self::new(0, u64::MAX)
    }

    /// Time that moves by [`Clock::advance`] only.
    #[must_use]
    pub fn manual() -> Arc<Self> {
        Self::new(VIRTUAL, 0)
    }

    #[expect(clippy::disallowed_methods, reason = "the one home of the clock")]
    fn new(state: u64, planned: u64) -> Arc<Self> {
        let timers = Mutex::new(Timers { planned, ..Timers::default() });
        let epoch = std::time::Instant::now();
        let counter = Counter::new();
        Arc::new_cyclic(|me| Clock {
            epoch,
            counter,
            state: AtomicU64::new(state),
            timers,
            sooner: Condvar::new(),
            me: me.clone(),
        })
    }

    #[cold]
    #[expect(clippy::disallowed_methods, reason = "the one home of the clock's thread")]
    fn start(&self, timers: &mut Timers) {
        timers.running = true;
        if let Some(me) = self.me.upgrade() {
            std::thread::Builder::new().name("mountain-clock".into()).spawn(move || me.run()).expect("a thread for the clock");
        }
    }

    #[must_use]
    pub fn now(&self) -> Instant {
        self.reading(|| self.elapsed())
    }

    /// The reading; `elapsed` is the time since `epoch`, asked for where time is real.
    pub(super) fn reading(&self, elapsed: impl FnOnce() -> u64) -> Instant {
        // A thread that was woken by a change of the clock sees the change; no other can tell before from after.
        let state = self.state.load(Ordering::Relaxed);
        let reading = if state & VIRTUAL == 0 { elapsed().wrapping_add(state) } else { state };
        Instant::from_nanos(reading & !VIRTUAL)
    }

    pub(super) fn elapsed(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    pub(super) fn is_virtual(&self) -> bool {
        self.state.load(Ordering::Relaxed) & VIRTUAL != 0
    }

    /// Makes a real clock virtual (step 1). False: it is already.
    pub fn take_over(&self) -> bool {
        loop {
            let mut timers = self.timers.lock();
            if self.is_virtual() {
                return false;
            }
            if !timers.firing {
                self.state.store(self.now().nanos() | VIRTUAL, Ordering::Relaxed);
                timers.planned = 0;
                return true;
            }
            drop(timers);
            std::thread::yield_now();
        }
    }

    /// Makes a virtual clock real (step 3).
    pub fn hand_back(&self) {
        let timers = self.timers.lock();
        if !self.is_virtual() {
            return;
        }
        self.state.store(self.now().nanos().wrapping_sub(self.elapsed()) & !VIRTUAL, Ordering::Relaxed);
        let next = timers.next();
        self.plan(timers, next);
    }

    /// Wakes `waker` at `at`, once. [`Instant::NEVER`] is accepted and never fires.
    pub fn arm(&self, at: Instant, waker: Waker) -> Key {
        let mut timers = self.timers.lock();
        let key = timers.heap.push(at.nanos(), waker);
        if at.nanos() < timers.planned {
            self.plan(timers, at.nanos());
        }
        key
    }

    /// The same for a chore, which counts neither in `armed` nor in `first`.
    pub fn arm_aside(&self, at: Instant, waker: Waker) -> Key {
        let mut timers = self.timers.lock();
        let key = timers.aside.push(at.nanos(), waker);
        if at.nanos() < timers.planned {
            self.plan(timers, at.nanos());
        }
        key
    }

    /// Takes a chore back, if it has not been called.
    pub fn disarm_aside(&self, key: Key) {
        let waker = self.timers.lock().aside.remove(key);
        drop(waker);
    }

    /// Has the thread wake at `next` at the latest.
    fn plan(&self, mut timers: MutexGuard<'_, Timers>, next: u64) {
        timers.planned = next;
        if !timers.running && next < u64::MAX {
            self.start(&mut timers);
        }
        drop(timers);
        self.sooner.notify_one();
    }

    /// Changes the waker of an armed deadline. False: it has fired.
    pub fn rearm(&self, key: Key, waker: &Waker) -> bool {
        let mut timers = self.timers.lock();
        let Some(armed) = timers.heap.waker(key) else { return false };
        if armed.will_wake(waker) {
            return true;
        }
        let old = std::mem::replace(armed, waker.clone());
        drop(timers);
        drop(old);
        true
    }

    /// Takes a deadline back, if it has not fired.
    pub fn disarm(&self, key: Key) {
        let waker = self.timers.lock().heap.remove(key);
        drop(waker);
    }

    /// The number of armed deadlines, without chores.
    pub fn armed(&self) -> usize {
        self.timers.lock().heap.len()
    }

    /// The earliest deadline, without chores.
    pub fn first(&self) -> Option<Instant> {
        self.timers.lock().heap.first().map(Instant::from_nanos)
    }

    /// Moves virtual time on (step 2), and calls what comes due in its order. One caller at a time.
    ///
    /// # Panics
    /// On a real clock, which cannot be moved.
    pub fn advance(&self, by: Duration) {
        assert!(self.is_virtual(), "only a virtual clock can be moved");
        let reading = self.now().after(by).nanos().min(!VIRTUAL);
        self.state.store(reading | VIRTUAL, Ordering::Relaxed);
        self.wake_due(false);
    }

    fn wake_due(&self, on_thread: bool) {
        let mut due = Vec::with_capacity(BATCH);
        loop {
            let mut timers = self.timers.lock();
            if on_thread {
                timers.firing = false;
                if self.is_virtual() {
                    return;
                }
            }
            let now = self.now().nanos();
            let Timers { heap, aside, .. } = &mut *timers;
            due.extend(std::iter::from_fn(|| heap.pop(now).or_else(|| aside.pop(now))).take(BATCH));
            timers.firing |= on_thread && !due.is_empty();
            drop(timers);
            if due.is_empty() {
                return;
            }
            due.drain(..).for_each(Waker::wake);
        }
    }

    /// Ends the clock's thread. Deadlines still armed never fire.
    pub fn close(&self) {
        self.timers.lock().closed = true;
        self.sooner.notify_one();
    }

    fn run(&self) {
        loop {
            self.wake_due(true);
            let mut timers = self.timers.lock();
            if timers.closed {
                return;
            }
            if self.is_virtual() {
                drop(self.sooner.wait(timers));
                continue;
            }
            let now = self.now();
            let next = timers.next();
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

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;

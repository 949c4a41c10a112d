//! A flight: one run of a call, shared by all callers that wait for its value.
//!
//!  1. A caller that finds no flight makes one. Its host begins the work as a task, with a [`Landing`] that reports the
//!     end.
//!  2. Later callers join: each is counted and leaves a waker. A caller that leaves is counted no more; when the last
//!     one leaves, the work is asked to end, unless it is a refresh, which has no callers. From then on a new caller
//!     begins another flight; the last one may wait for the end.
//!  3. The work ends: its outcome is kept for all who wait, and the flight is over.
//!  4. Or the work is lost, because its loop was closed or something else ended it: all waiters are woken, and the
//!     first of them begins at 1.
//!
//! Step 2 races with 3 and 4 on several threads. Each step takes the flight's lock, and wakers are called without it. A
//! caller that joins a flight that has landed gets its outcome at once.

use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use slab::Slab;

use super::{Abort, PermitContext, Submitted};
use crate::sync::Mutex;

/// A value or a failure that is shared by many callers.
pub type Shared = Arc<dyn Any + Send + Sync>;

/// How a flight ended.
#[derive(Clone)]
pub enum Landed {
    Value(Shared),
    Failed(Shared),
    /// The outcome is unknown.
    Lost,
}

#[derive(Default)]
pub struct Flight {
    state: Mutex<State>,
    /// Its work, as a part of whatever its callers hold: made when the first may hold something.
    work: OnceLock<Arc<Submitted>>,
}

#[derive(Default)]
struct State {
    landed: Option<Landed>,
    /// The items that the work gives before its end.
    given: Option<Shared>,
    waiting: Slab<Option<Waker>>,
    /// Goes on without waiters.
    refreshes: bool,
    /// The last waiter has left, or waits only for the end.
    asked: bool,
    abort: Option<Abort>,
    /// The flights for which the work in this flight waits.
    waits_for: Vec<Arc<Flight>>,
}

/// The place of a waiter that is not counted.
const NOWHERE: u32 = u32::MAX;

impl State {
    /// Takes the handle that asks the work to end; `None` if it was asked already, has ended, or goes on without
    /// callers.
    fn ask(&mut self) -> Option<Abort> {
        if self.landed.is_some() || self.refreshes || std::mem::replace(&mut self.asked, true) {
            return None;
        }
        self.abort.take()
    }

    fn wakers(&mut self) -> Vec<Waker> {
        self.waiting.iter_mut().filter_map(|(_, waiter)| waiter.take()).collect()
    }
}

impl Flight {
    /// A flight that refreshes a stored value and has no waiters of its own.
    pub fn refreshing() -> Arc<Self> {
        Arc::new(Flight { state: Mutex::new(State { refreshes: true, ..State::default() }), work: OnceLock::new() })
    }

    pub(super) fn work(&self) -> &Arc<Submitted> {
        self.work.get_or_init(|| Submitted::new(false))
    }

    /// The permits under which the work begins: whatever its callers hold, as long as they wait.
    pub fn permits(&self) -> Arc<PermitContext> {
        PermitContext::of_work(self.work().clone())
    }

    /// Counts one more waiter and returns its place. A waiter that comes too late to be counted finds the flight lost.
    pub fn join(&self) -> u32 {
        let mut state = self.state.lock();
        if state.asked { NOWHERE } else { state.waiting.insert(None) as u32 }
    }

    /// The outcome, if the flight has ended; otherwise `waker` is called at its end.
    pub fn look(&self, place: u32, waker: &Waker) -> Option<Landed> {
        if let Some(landed) = &self.state.lock().landed {
            return Some(landed.clone());
        }
        // Cloned before the lock is taken: cloning may run the host's code, which may wait for a thread that waits for
        // the lock.
        let waker = waker.clone();
        let mut state = self.state.lock();
        if let Some(landed) = &state.landed {
            return Some(landed.clone());
        }
        let Some(waiter) = state.waiting.get_mut(place as usize) else { return Some(Landed::Lost) };
        let old = waiter.replace(waker);
        drop(state);
        drop(old);
        None
    }

    /// Counts one waiter less. The last one asks the work to end, and does not wait for that.
    pub fn leave(&self, place: u32) {
        let mut state = self.state.lock();
        let gone = state.waiting.try_remove(place as usize);
        let last = state.waiting.is_empty();
        let abort = if last { state.ask() } else { None };
        // A failure is dropped with the last waiter: its traceback would keep many objects alive.
        let failed = matches!(state.landed, Some(Landed::Failed(_))) && last;
        let over = if failed { state.landed.replace(Landed::Lost) } else { None };
        drop(state);
        drop((gone, over));
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    /// Counts one waiter less, unless it is the last: then the work is asked to end, once, and the waiter stays for its
    /// end.
    pub fn ask(&self, place: u32) -> bool {
        let mut state = self.state.lock();
        if state.landed.is_some() || state.asked {
            return true;
        }
        if state.refreshes || state.waiting.len() > 1 {
            let gone = state.waiting.try_remove(place as usize);
            drop(state);
            drop(gone);
            return false;
        }
        let abort = state.ask();
        drop(state);
        if let Some(abort) = abort {
            abort.abort();
        }
        true
    }

    fn land(&self, landed: Landed) {
        let mut state = self.state.lock();
        if state.landed.is_none() {
            state.landed = Some(landed);
        }
        let gone = (state.abort.take(), state.given.take());
        let woken = state.wakers();
        state.waits_for.clear();
        drop(state);
        drop(gone);
        // Before they are woken: a caller that goes on does not wait any more.
        if let Some(work) = self.work.get() {
            work.over();
        }
        woken.into_iter().for_each(Waker::wake);
    }

    fn gives(&self, given: Shared) {
        let mut state = self.state.lock();
        let replaced = state.given.replace(given);
        let woken = state.wakers();
        drop(state);
        drop(replaced);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Takes what the work has given before its end. A waiter is woken when there is something.
    pub(super) fn given(&self) -> Option<Shared> {
        self.state.lock().given.take()
    }

    /// Lets the work go on without waiters, to its own end.
    pub(super) fn release(&self) {
        self.state.lock().refreshes = true;
    }

    pub(super) fn has_landed(&self) -> bool {
        self.state.lock().landed.is_some()
    }

    /// Whether the flight takes no more waiters: the next caller begins another.
    pub fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.landed.is_some() || state.asked
    }

    /// Ends the flight in the child of a fork: the work in it belongs to the parent, and never wakes a waiter here.
    pub fn forget(&self) {
        self.state.lock().landed = Some(Landed::Lost);
    }

    /// Records that the work in this flight waits for `other`. False: `other` waits for this flight, directly or
    /// through others.
    pub fn waits_for(self: &Arc<Self>, other: &Arc<Flight>) -> bool {
        // Recorded before the check: of two flights on two threads that would wait for each other, at least one sees
        // it.
        self.state.lock().waits_for.push(other.clone());
        let mut seen = vec![other.clone()];
        let mut next = 0;
        while let Some(flight) = seen.get(next).cloned() {
            if Arc::ptr_eq(&flight, self) {
                self.waits_no_more(other);
                return false;
            }
            for further in &flight.state.lock().waits_for {
                if !seen.iter().any(|known| Arc::ptr_eq(known, further)) {
                    seen.push(further.clone());
                }
            }
            next += 1;
        }
        true
    }

    pub fn waits_no_more(&self, other: &Arc<Flight>) {
        let mut state = self.state.lock();
        let at = state.waits_for.iter().position(|known| Arc::ptr_eq(known, other));
        let gone = at.map(|at| state.waits_for.swap_remove(at));
        drop(state);
        drop(gone);
    }
}

type Keep = Box<dyn FnOnce(&Landed) + Send>;

/// The right to report how a flight ended. Dropped unused, it reports the flight lost.
pub struct Landing {
    flight: Arc<Flight>,
    /// Called with the value before the waiters are woken.
    keep: Option<Keep>,
}

impl Landing {
    pub fn new(flight: Arc<Flight>, keep: impl FnOnce(&Landed) + Send + 'static) -> Self {
        Landing { flight, keep: Some(Box::new(keep)) }
    }

    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// Gives something to the layer that waits, before the work has ended: the items of a stream, which go on.
    pub fn gives(&self, given: Shared) {
        self.flight.gives(given);
    }

    /// Sets how to ask the work to end. If it was asked already, this asks at once.
    pub fn begun(&self, abort: Abort) {
        let mut state = self.flight.state.lock();
        if state.landed.is_some() || state.asked {
            drop(state);
            abort.abort();
        } else {
            state.abort = Some(abort);
        }
    }

    pub fn land(mut self, landed: Landed) {
        self.end(landed);
    }

    fn end(&mut self, landed: Landed) {
        if let Some(keep) = self.keep.take() {
            keep(&landed);
            self.flight.land(landed);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.end(Landed::Lost);
    }
}

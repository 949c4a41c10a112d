//! A flight: one run of a call for everybody who waits for its value.
//!
//!  1. Who finds no flight makes one, and has his host begin the work as a task of its own, with a [`Landing`] to say how it ended.
//!  2. Whoever comes meanwhile joins: he counts, and leaves a waker. He goes, and counts no more; with the last one the work is asked to end,
//!     unless it was begun for nobody, to refresh what is there.
//!  3. The work ends: its outcome is left for all who wait, and the flight is over.
//!  4. Or it is lost, because its loop was closed or somebody else ended it: then all who wait are woken, and the first of them begins at 1.
//!
//! What races: 2 against 3 and 4, on several threads; all are under the flight's lock, and wakers are called out of it. Who joins a flight that
//! has landed has its outcome at once.

use std::any::Any;
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use super::Abort;
use crate::sync::Mutex;

/// A value, or a failure, that many may have.
pub type Shared = Arc<dyn Any + Send + Sync>;

/// How a flight ended.
#[derive(Clone)]
pub enum Landed {
    Value(Shared),
    Failed(Shared),
    /// Nobody knows.
    Lost,
}

#[derive(Default)]
pub struct Flight {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    landed: Option<Landed>,
    waiting: Slab<Option<Waker>>,
    /// It goes on when nobody waits.
    refreshes: bool,
    abort: Option<Abort>,
    /// The flights that it waits for, in what it runs.
    waits_for: Vec<Arc<Flight>>,
}

impl Flight {
    /// For nobody.
    pub fn refreshing() -> Arc<Self> {
        Arc::new(Flight { state: Mutex::new(State { refreshes: true, ..State::default() }) })
    }

    pub fn join(&self) -> u32 {
        self.state.lock().waiting.insert(None) as u32
    }

    /// How it ended; until it has, `waker` is called when it does.
    pub fn look(&self, place: u32, waker: &Waker) -> Option<Landed> {
        if let Some(landed) = &self.state.lock().landed {
            return Some(landed.clone());
        }
        // To clone it may run the host's code, which may wait for whoever waits for the lock.
        let waker = waker.clone();
        let mut state = self.state.lock();
        if let Some(landed) = &state.landed {
            return Some(landed.clone());
        }
        let old = state.waiting.get_mut(place as usize).and_then(|slot| slot.replace(waker));
        drop(state);
        drop(old);
        None
    }

    /// One fewer waits. The last one has it end.
    pub fn leave(&self, place: u32) {
        let mut state = self.state.lock();
        let gone = state.waiting.try_remove(place as usize);
        let last = state.waiting.is_empty() && state.landed.is_none() && !state.refreshes;
        let abort = if last { state.abort.take() } else { None };
        if last {
            // Whoever comes now makes another.
            state.landed = Some(Landed::Lost);
        }
        drop(state);
        drop(gone);
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    fn land(&self, landed: Landed) {
        let mut state = self.state.lock();
        if state.landed.is_none() {
            state.landed = Some(landed);
        }
        let abort = state.abort.take();
        let woken: Vec<Waker> = state.waiting.iter_mut().filter_map(|(_, slot)| slot.take()).collect();
        state.waits_for.clear();
        drop(state);
        drop(abort);
        woken.into_iter().for_each(Waker::wake);
    }

    pub fn is_over(&self) -> bool {
        self.state.lock().landed.is_some()
    }

    /// Whatever ran in it is another process's, since a fork: nobody who waits here will ever be woken by that.
    pub fn forget(&self) {
        self.state.lock().landed = Some(Landed::Lost);
    }

    /// What runs in it waits for `other` now. False: that one waits for this, itself or by others.
    pub fn waits_for(self: &Arc<Self>, other: &Arc<Flight>) -> bool {
        // Said before it is asked: of two on two threads that would wait for each other, one at least sees it.
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

/// The right to say how a flight ended. Dropped unused, it is lost.
pub struct Landing {
    flight: Arc<Flight>,
    /// Called with the value before those who wait hear of it.
    keep: Option<Keep>,
}

impl Landing {
    pub fn new(flight: Arc<Flight>, keep: impl FnOnce(&Landed) + Send + 'static) -> Self {
        Landing { flight, keep: Some(Box::new(keep)) }
    }

    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// How to ask the work to end. Asked already, it is at once.
    pub fn begun(&self, abort: Abort) {
        let mut state = self.flight.state.lock();
        if state.landed.is_some() {
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

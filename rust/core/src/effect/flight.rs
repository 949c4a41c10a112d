//! A flight: one run of a call for everybody who waits for its value.
//!
//!  1. Who finds no flight makes one, and has his host begin the work as a task of its own, with a [`Landing`] to say how it ended.
//!  2. Who comes meanwhile joins: he counts, and leaves a waker. He goes, and counts no more; with the last one the work is asked to end,
//!     unless it was begun for nobody, to refresh what is there. From then on a newcomer begins another; the last one may wait for the end.
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
    /// The last one has left, or waits only for its end.
    asked: bool,
    abort: Option<Abort>,
    /// The flights that it waits for, in what it runs.
    waits_for: Vec<Arc<Flight>>,
}

/// The place of one who does not count.
const NOWHERE: u32 = u32::MAX;

impl State {
    /// How to ask the work to end; `None` if it was asked already, has ended, or goes on without callers.
    fn ask(&mut self) -> Option<Abort> {
        if self.landed.is_some() || self.refreshes || std::mem::replace(&mut self.asked, true) {
            return None;
        }
        self.abort.take()
    }
}

impl Flight {
    /// For nobody.
    pub fn refreshing() -> Arc<Self> {
        Arc::new(Flight { state: Mutex::new(State { refreshes: true, ..State::default() }) })
    }

    /// The place of one more who waits. Too late to count, he finds the flight lost.
    pub fn join(&self) -> u32 {
        let mut state = self.state.lock();
        if state.asked { NOWHERE } else { state.waiting.insert(None) as u32 }
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
        let Some(slot) = state.waiting.get_mut(place as usize) else { return Some(Landed::Lost) };
        let old = slot.replace(waker);
        drop(state);
        drop(old);
        None
    }

    /// One fewer waits. The last one has it end, and does not wait for that.
    pub fn leave(&self, place: u32) {
        let mut state = self.state.lock();
        let gone = state.waiting.try_remove(place as usize);
        let last = state.waiting.is_empty();
        let abort = if last { state.ask() } else { None };
        // A failure is for those who waited: it would keep all that its traceback holds.
        let failed = matches!(state.landed, Some(Landed::Failed(_))) && last;
        let over = if failed { state.landed.replace(Landed::Lost) } else { None };
        drop(state);
        drop((gone, over));
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    /// One leaves, unless he is the last: then the work is asked to end, once, and he stays to see its end.
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
        let abort = state.abort.take();
        let woken: Vec<Waker> = state.waiting.iter_mut().filter_map(|(_, slot)| slot.take()).collect();
        state.waits_for.clear();
        drop(state);
        drop(abort);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Who comes now makes another.
    pub fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.landed.is_some() || state.asked
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

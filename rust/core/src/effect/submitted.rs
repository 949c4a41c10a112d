//! Work of its own task, seen as a part of whatever awaits it: if a holder of permits awaits submitted work, a batch or
//! a shared flight, the work waits for the holder too.
//!
//!  1. A call in the work that waits for a permit is noted here with its limit: [`Submitted::waits`].
//!  2. A holder begins to await the work: [`Submitted::awaited_by`]. Each limit for which the work waits looks at that
//!     wait again.
//!  3. The holder leaves the work, or the work is over: it is a part of nothing any more. The limits look again.
//!
//! Steps 1 and 2 race on several threads. Each is noted under the lock under which the other is looked up, so that at
//! least one sees the other; a limit that looks again checks everything anew. A limit takes this lock under its own; no
//! lock is taken under this one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use slab::Slab;

use super::{Flight, PermitContext};
#[cfg(loom)]
use crate::sync::Modelled as Mutex;
#[cfg(not(loom))]
use crate::sync::Mutex;

/// Something that can be waited for.
pub trait Awaited: Send + Sync {
    /// Checks again whether `number` can progress: the holders that await the work in which it waits have changed, by
    /// `changed` only if that is given.
    fn look_again(self: Arc<Self>, number: u32, work: &Arc<Submitted>, changed: Option<&[Arc<PermitContext>]>);
}

pub struct Submitted {
    state: Mutex<State>,
    /// The flight that submitted the work; `None` if none did.
    flight: Option<Arc<Flight>>,
    /// A block of code took a permit of a holder, and may be abandoned.
    by_block: AtomicBool,
}

#[derive(Default)]
struct State {
    over: bool,
    /// The permits of those who await the work.
    holders: Vec<Arc<PermitContext>>,
    /// The flights that await the work.
    flights: Vec<Arc<Flight>>,
    waits: Slab<(Arc<dyn Awaited>, u32)>,
    /// Other submitted work that is awaited within this work.
    parts: Vec<Weak<Submitted>>,
}

impl Submitted {
    pub fn new(in_flight: bool) -> Arc<Self> {
        let (state, flight) = (Mutex::new(State::default()), in_flight.then(Arc::default));
        Arc::new(Submitted { state, flight, by_block: AtomicBool::new(false) })
    }

    pub fn flight(&self) -> Option<&Arc<Flight>> {
        self.flight.as_ref()
    }

    /// Whether a block took a permit of any who awaits the work.
    pub fn by_block(&self) -> bool {
        self.by_block.load(Ordering::Relaxed)
    }

    /// Notes that a call in the work waits as `number` of `limit`. Returns the place of the note, and whether a holder
    /// awaits the work.
    pub fn waits(&self, limit: Arc<dyn Awaited>, number: u32) -> (u32, bool) {
        let mut state = self.state.lock();
        (state.waits.insert((limit, number)) as u32, !state.holders.is_empty())
    }

    pub fn waits_no_more(&self, place: u32) {
        let gone = self.state.lock().waits.try_remove(place as usize);
        drop(gone);
    }

    /// Notes that code awaits the work which holds `held`, or is a part of `flight`. False: the work waits for that
    /// flight.
    pub fn awaited_by(self: &Arc<Self>, held: Option<&Arc<PermitContext>>, flight: Option<&Arc<Flight>>) -> bool {
        if let (Some(own), Some(flight)) = (&self.flight, flight) {
            if !flight.waits_for(own) {
                return false;
            }
            self.state.lock().flights.push(flight.clone());
        }
        let Some(held) = held else { return true };
        if held.by_block() {
            self.by_block.store(true, Ordering::Relaxed);
        }
        if let Some(whole) = &held.work {
            let mut state = whole.state.lock();
            if state.parts.len() == state.parts.capacity() {
                state.parts.retain(|part| part.strong_count() > 0);
            }
            state.parts.push(Arc::downgrade(self));
        }
        {
            let mut state = self.state.lock();
            if state.over {
                return true;
            }
            state.holders.push(held.clone());
        }
        self.look_again(std::slice::from_ref(held));
        true
    }

    /// Notes that code which awaited the work, with that permit and in that flight, awaits it no more.
    pub fn left_by(self: &Arc<Self>, held: Option<&Arc<PermitContext>>, flight: Option<&Arc<Flight>>) {
        fn take<T>(all: &mut Vec<Arc<T>>, one: Option<&Arc<T>>) -> Option<Arc<T>> {
            let at = all.iter().position(|each| one.is_some_and(|one| Arc::ptr_eq(each, one)))?;
            Some(all.swap_remove(at))
        }
        let (holder, flight) = {
            let mut state = self.state.lock();
            (take(&mut state.holders, held), take(&mut state.flights, flight))
        };
        if let (Some(own), Some(flight)) = (&self.flight, &flight) {
            flight.waits_no_more(own);
        }
        if let Some(holder) = holder {
            self.look_again(&[holder]);
        }
    }

    /// Notes that the work has ended.
    pub fn over(self: &Arc<Self>) {
        let (holders, flights) = {
            let mut state = self.state.lock();
            state.over = true;
            (std::mem::take(&mut state.holders), std::mem::take(&mut state.flights))
        };
        if let Some(own) = &self.flight {
            for flight in &flights {
                flight.waits_no_more(own);
            }
        }
        if !holders.is_empty() {
            self.look_again(&holders);
        }
    }

    /// Has every limit look again for which the work or a part of it waits.
    fn look_again(self: &Arc<Self>, changed: &[Arc<PermitContext>]) {
        let mut seen = Seen::default();
        seen.insert(self);
        let mut left = vec![self.clone()];
        while let Some(work) = left.pop() {
            let (waits, parts) = {
                let state = work.state.lock();
                let waits: Vec<_> = state.waits.iter().map(|(_, wait)| wait.clone()).collect();
                (waits, state.parts.clone())
            };
            for (limit, number) in waits {
                limit.look_again(number, &work, Some(changed));
            }
            left.extend(parts.iter().filter_map(Weak::upgrade).filter(|part| seen.insert(part)));
        }
    }

    /// Visits the permits of all who wait for the work, through other work too. A permit may come more than once.
    pub fn each_holder(self: &Arc<Self>, each: impl FnMut(&Arc<PermitContext>)) {
        let holders = self.state.lock().holders.clone();
        each_permit(holders, each);
    }
}

/// The works that were visited, kept alive so that no other has the address of one.
#[derive(Default)]
struct Seen(HashMap<*const Submitted, Arc<Submitted>>);

impl Seen {
    /// False: it was visited before.
    fn insert(&mut self, work: &Arc<Submitted>) -> bool {
        self.0.insert(Arc::as_ptr(work), work.clone()).is_none()
    }
}

/// Visits the permits of `holders`, and those of all who wait for the work in which these hold them.
pub fn each_permit(mut holders: Vec<Arc<PermitContext>>, mut each: impl FnMut(&Arc<PermitContext>)) {
    let mut seen = Seen::default();
    while let Some(held) = holders.pop() {
        std::iter::successors(Some(&held), |held| held.up.as_ref()).for_each(&mut each);
        if let Some(work) = &held.work
            && seen.insert(work)
        {
            holders.extend(work.state.lock().holders.iter().cloned());
        }
    }
}

//! The permits of a limit: which are held, which callers wait, and which is next. No lock, no waker, no clock.
//!
//!  1. A caller asks. If a permit is free and no caller waits, it gets the permit. Else it waits, or is refused if too
//!     many do.
//!  2. A permit comes back: it is handed to the waiter whose turn it is, and counts as held from then on, though the
//!     waiter has not looked yet.
//!  3. A waiter looks, and takes the permit; or it leaves, and gives the permit back, which is 2 for the next.
//!
//! A deadlock: every holder of the permits waits, in the code that it runs, for another permit of the same limit. The
//! caller that would complete it is refused. A holder is a [`PermitContext`], which the code inside its call inherits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use slab::Slab;

use super::{Overflow, Settings};
use crate::effect::{Holder, PermitContext, Submitted, each_permit};
use crate::error::Reason;
use crate::schedule::{Link, Nodes, Order, Place, Priority};
use crate::time::Instant;

pub(super) struct Machine<W> {
    pub(super) settings: Settings,
    /// By key.
    seats: Vec<Seats>,
    waiters: Waiters<W>,
    /// By the number of a waiter: permits of the same key whose holders await the work in which it waits.
    /// Most wait in none.
    above: HashMap<u32, Vec<Arc<PermitContext>>>,
    pub(super) in_flight: u32,
    pub(super) waiting: [u32; 3],
}

#[derive(Default)]
struct Seats {
    taken: u32,
    /// Holders that wait, in the code that they run, for another permit of this key.
    blocked: u32,
    lanes: Option<Box<Order>>,
}

type Waiters<W> = Slab<Waiter<W>>;

/// A million of them may wait: 48 bytes, if `W` is a waker.
struct Waiter<W> {
    key: u32,
    state: State,
    until: Instant,
    wake: Option<W>,
    held: Option<Arc<PermitContext>>,
}

#[derive(Clone, Copy)]
enum State {
    /// In the lane of that priority, between those neighbours.
    Waiting(Priority, Link),
    Granted,
    Sent(Why),
    /// Passed over because its deadline had passed, which is about to end it.
    Late,
}

impl<W> Nodes for Waiters<W> {
    fn link(&mut self, place: Place) -> &mut Link {
        match &mut self[place as usize].state {
            State::Waiting(_, link) => link,
            _ => unreachable!("who is in a lane waits"),
        }
    }
}

/// Why a waiter was refused. Small, since a million of them wait in a slab.
#[derive(Clone, Copy)]
enum Why {
    Full(u32),
    Reentered,
    Stopping,
}

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        match why {
            Why::Full(waiting) => Reason::Full(waiting),
            Why::Reentered => Reason::Reentered,
            Why::Stopping => Reason::Stopping,
        }
    }
}

/// A caller that asks for a permit.
pub(super) struct Caller<'a> {
    pub(super) key: u32,
    pub(super) priority: Priority,
    pub(super) until: Instant,
    /// The permits under which it runs.
    pub(super) held: Option<&'a Holder<'a>>,
}

pub(super) enum Asked<W> {
    Go,
    /// It waits under that number; and the waker of the waiter that was refused for it.
    Wait(u32, Option<W>),
    Refused(Reason),
}

impl<W> Machine<W> {
    pub(super) fn new(settings: Settings) -> Self {
        Machine {
            settings,
            seats: vec![Seats::default()],
            waiters: Slab::new(),
            above: HashMap::new(),
            in_flight: 0,
            waiting: [0; 3],
        }
    }

    fn seats(&mut self, key: u32) -> &mut Seats {
        let at = key as usize;
        if at >= self.seats.len() {
            self.seats.resize_with(at + 1, Seats::default);
        }
        &mut self.seats[at]
    }

    /// Takes a permit, if one is free and no caller waits.
    pub(super) fn take(&mut self, key: u32) -> bool {
        let n = self.settings.n;
        let seats = self.seats(key);
        let free = seats.taken < n && seats.lanes.is_none();
        seats.taken += u32::from(free);
        self.in_flight += u32::from(free);
        free
    }

    /// Step 1. `wake` makes the waker of a caller that has to wait.
    pub(super) fn ask(&mut self, limit: usize, caller: &Caller<'_>, wake: impl FnOnce() -> W) -> Asked<W> {
        if self.take(caller.key) {
            return Asked::Go;
        }
        let Settings { most_waiting, overflow, .. } = self.settings;
        let held = caller.held.map(Holder::held);
        let above = above_of(held.as_ref().and_then(|held| held.work.as_ref()), limit, caller.key);
        let seats = self.seats(caller.key);
        let waiting = seats.lanes.as_ref().map_or(0, |lanes| lanes.len() as u32);
        if mark(seats, held.as_ref(), &above, limit, caller.key) && seats.blocked == seats.taken {
            unmark(seats, held.as_ref(), &above, limit, caller.key);
            return Asked::Refused(Reason::Reentered);
        }
        let mut sent = None;
        if most_waiting.is_some_and(|most| waiting >= most) {
            let victim = match overflow {
                Overflow::Reject => None,
                Overflow::Shed => lower(seats, caller.priority),
            };
            let Some(victim) = victim else {
                unmark(seats, held.as_ref(), &above, limit, caller.key);
                return Asked::Refused(Reason::Full(waiting));
            };
            sent = self.send_away(limit, victim, Why::Full(waiting));
        }
        let (key, priority, until) = (caller.key, caller.priority, caller.until);
        let state = State::Waiting(priority, Link::default());
        let number = self.waiters.insert(Waiter { key, state, until, wake: Some(wake()), held }) as u32;
        if !above.is_empty() {
            self.above.insert(number, above);
        }
        self.seats[key as usize].lanes.get_or_insert_default().push(&mut self.waiters, priority, number);
        self.waiting[priority as usize] += 1;
        Asked::Wait(number, sent)
    }

    /// Whether `ask` would refuse the caller as Reentered.
    pub(super) fn reenters(&mut self, limit: usize, key: u32, held: &Arc<PermitContext>) -> bool {
        let n = self.settings.n;
        let seats = self.seats(key);
        if seats.taken < n && seats.lanes.is_none() {
            return false;
        }
        let above = above_of(held.work.as_ref(), limit, key);
        let all_wait = mark(seats, Some(held), &above, limit, key) && seats.blocked == seats.taken;
        unmark(seats, Some(held), &above, limit, key);
        all_wait
    }

    /// Detaches a permit from the calls that wait under it: they no longer count as its holder's. It is still out.
    pub(super) fn disown(&mut self, key: u32, held: &PermitContext) {
        if is_blocked_for_the_last_time(held) {
            self.seats(key).blocked -= 1;
        }
    }

    /// Refuses a waiter, which learns the reason when it looks.
    fn send_away(&mut self, limit: usize, number: u32, why: Why) -> Option<W> {
        self.out(limit, number);
        let waiter = &mut self.waiters[number as usize];
        waiter.state = State::Sent(why);
        waiter.wake.take()
    }

    /// Checks a wait again when the holders that await the work in which it waits have changed. Returns the waker if
    /// all holders now wait for it: then it is refused.
    pub(super) fn look_again(
        &mut self,
        limit: usize,
        number: u32,
        work: &Arc<Submitted>,
        changed: Option<&[Arc<PermitContext>]>,
    ) -> Option<W> {
        let waiter = self.waiters.get_mut(number as usize)?;
        let in_work = waiter.held.as_ref().and_then(|held| held.work.as_ref()).is_some_and(|its| Arc::ptr_eq(its, work));
        if !in_work || !matches!(waiter.state, State::Waiting(..)) {
            return None;
        }
        let key = waiter.key;
        // Thousands may join a flight: most hold nothing of this limit.
        if let Some(changed) = changed {
            let mut any = false;
            each_permit(changed.to_vec(), |held| any |= held.limit == limit && held.key == key);
            if !any {
                return None;
            }
        }
        let above = above_of(Some(work), limit, key);
        let before = self.above.remove(&number).unwrap_or_default();
        let seats = self.seats(key);
        let any = mark(seats, None, &above, limit, key);
        unmark(seats, None, &before, limit, key);
        let all_wait = any && seats.blocked == seats.taken;
        if !above.is_empty() {
            self.above.insert(number, above);
        }
        if all_wait { self.send_away(limit, number, Why::Reentered) } else { None }
    }

    /// Removes a waiter from its lane.
    fn out(&mut self, limit: usize, number: u32) {
        let Waiter { key, state: State::Waiting(priority, _), .. } = self.waiters[number as usize] else { return };
        if let Some(lanes) = &mut self.seats[key as usize].lanes {
            lanes.remove(&mut self.waiters, priority, number);
        }
        self.unlisted(limit, number, priority);
    }

    fn unlisted(&mut self, limit: usize, number: u32, priority: Priority) {
        let waiter = &mut self.waiters[number as usize];
        let (key, held) = (waiter.key, waiter.held.take());
        let above = if self.above.is_empty() { None } else { self.above.remove(&number) };
        let seats = self.seats(key);
        if seats.lanes.as_ref().is_some_and(|lanes| lanes.is_empty()) {
            seats.lanes = None;
        }
        unmark(seats, held.as_ref(), above.as_deref().unwrap_or_default(), limit, key);
        self.waiting[priority as usize] -= 1;
    }

    /// Step 2, for one permit. Returns the waker of the waiter that got it.
    pub(super) fn give_back(
        &mut self,
        limit: usize,
        key: u32,
        held: Option<&PermitContext>,
        now: impl Fn() -> Instant,
    ) -> Option<W> {
        let seats = self.seats(key);
        seats.taken -= 1;
        if held.is_some_and(is_blocked_for_the_last_time) {
            seats.blocked -= 1;
        }
        self.in_flight -= 1;
        self.grant(limit, key, now)
    }

    /// Hands a free permit to the waiter whose turn it is. A waiter past its limit is left where it was: its limit ends
    /// it.
    pub(super) fn grant(&mut self, limit: usize, key: u32, now: impl Fn() -> Instant) -> Option<W> {
        let n = self.settings.n;
        let seats = self.seats(key);
        seats.lanes.as_ref()?;
        if seats.taken >= n {
            return self.stuck(limit, key);
        }
        let now = now();
        loop {
            let number = self.seats[key as usize].lanes.as_mut()?.take_next(&mut self.waiters)?;
            let waiter = &mut self.waiters[number as usize];
            let late = waiter.until <= now;
            let was = std::mem::replace(&mut waiter.state, State::Late);
            if let State::Waiting(priority, _) = was {
                self.unlisted(limit, number, priority);
            }
            if late {
                continue;
            }
            self.seats(key).taken += 1;
            self.in_flight += 1;
            let waiter = &mut self.waiters[number as usize];
            waiter.state = State::Granted;
            return waiter.wake.take();
        }
    }

    /// With fewer permits than before, all that are left may be held by calls that wait: then the newest waiter inside
    /// them is refused.
    fn stuck(&mut self, limit: usize, key: u32) -> Option<W> {
        let seats = self.seats(key);
        if seats.taken == 0 || seats.blocked < seats.taken {
            return None;
        }
        let waits = |w: &Waiter<W>| w.key == key && matches!(w.state, State::Waiting(..));
        let inside = |&(number, w): &(usize, &Waiter<W>)| waits(w) && holds(w, self.above.get(&(number as u32)), limit);
        let newest = self.waiters.iter().filter(inside).map(|(number, _)| number as u32).next_back()?;
        self.send_away(limit, newest, Why::Reentered)
    }

    /// Step 3. `None`: it waits on, to be woken by `wake`.
    pub(super) fn look(&mut self, number: u32, wake: impl FnOnce() -> W) -> Option<Result<(), Reason>> {
        let waiter = &mut self.waiters[number as usize];
        let found = match waiter.state {
            State::Waiting(..) | State::Late => {
                waiter.wake = Some(wake());
                return None;
            }
            State::Granted => Ok(()),
            State::Sent(why) => Err(why.into()),
        };
        self.forget(number);
        Some(found)
    }

    /// Removes a waiter that has not looked. Returns the waker of the next one, if it had a permit.
    pub(super) fn leave(&mut self, limit: usize, number: u32, now: impl Fn() -> Instant) -> Option<W> {
        let (key, state) = (self.waiters[number as usize].key, self.waiters[number as usize].state);
        self.out(limit, number);
        self.forget(number);
        match state {
            State::Granted => self.give_back(limit, key, None, now),
            _ => None,
        }
    }

    /// Drops all holders and waiters. The wakers are leaked: they may not run here.
    pub(super) fn forget_all(&mut self) {
        self.seats.iter_mut().for_each(|seats| *seats = Seats::default());
        std::mem::forget((std::mem::take(&mut self.waiters), std::mem::take(&mut self.above)));
        (self.in_flight, self.waiting) = (0, [0; 3]);
    }

    fn forget(&mut self, number: u32) {
        self.waiters.remove(number as usize);
        if self.waiters.is_empty() && self.waiters.capacity() > 1024 {
            self.waiters = Slab::new();
        }
    }

    pub(super) fn refuse_all(&mut self, limit: usize) -> Vec<W> {
        let waits = |(number, w): (usize, &Waiter<W>)| matches!(w.state, State::Waiting(..)).then_some(number as u32);
        let numbers: Vec<u32> = self.waiters.iter().filter_map(waits).collect();
        numbers.into_iter().filter_map(|number| self.send_away(limit, number, Why::Stopping)).collect()
    }

    /// Keys that were ever in use, and may have waiters.
    pub(super) fn keys(&self) -> std::ops::Range<u32> {
        0..self.seats.len() as u32
    }

    /// The keys that are not at rest: a number, the permits that are out, and how many callers wait.
    pub(super) fn by_key(&self) -> impl Iterator<Item = (u32, u32, u32)> {
        let counts = |seats: &Seats| (seats.taken, seats.lanes.as_ref().map_or(0, |lanes| lanes.len() as u32));
        let all = (0u32..).zip(self.seats.iter().map(counts));
        all.filter(|(_, (taken, waiting))| taken + waiting > 0).map(|(key, (taken, waiting))| (key, taken, waiting))
    }

    /// Whether the key is at rest, with no holder and no waiter; if so, drops its state.
    pub(super) fn rest(&mut self, key: u32) -> bool {
        let idle = |seats: &Seats| seats.taken == 0 && seats.lanes.is_none();
        if !self.seats.get(key as usize).is_none_or(idle) {
            return false;
        }
        while self.seats.len() > 1 && self.seats.last().is_some_and(idle) {
            self.seats.pop();
        }
        if self.seats.len() * 4 < self.seats.capacity() {
            self.seats.shrink_to_fit();
        }
        true
    }
}

/// The waiter to refuse for a newcomer; `None` if all are at least as urgent.
fn lower(seats: &Seats, than: Priority) -> Option<u32> {
    let below = match than {
        Priority::Low => return None,
        Priority::Normal => Priority::Low,
        Priority::High => Priority::Normal,
    };
    seats.lanes.as_ref()?.newest_of_lowest(below)
}

fn chain(held: Option<&Arc<PermitContext>>) -> impl Iterator<Item = &PermitContext> {
    std::iter::successors(held.map(|held| &**held), |held| held.up.as_deref())
}

fn holds<W>(waiter: &Waiter<W>, above: Option<&Vec<Arc<PermitContext>>>, limit: usize) -> bool {
    let own = chain(waiter.held.as_ref()).filter(|held| held.limit == limit && held.key == waiter.key);
    let above = above.into_iter().flatten().map(|held| &**held);
    own.chain(above).any(|held| !held.gone.load(Ordering::Relaxed))
}

/// Detaches a permit from its holder. True: it counted as a blocked one until now.
fn is_blocked_for_the_last_time(held: &PermitContext) -> bool {
    !held.gone.swap(true, Ordering::Relaxed) && held.waits.load(Ordering::Relaxed) > 0
}

/// The permits of that limit and key whose holders await `work`, each once.
fn above_of(work: Option<&Arc<Submitted>>, limit: usize, key: u32) -> Vec<Arc<PermitContext>> {
    let mut above = Vec::new();
    let Some(work) = work else { return above };
    work.each_holder(|held| above.extend((held.limit == limit && held.key == key).then(|| held.clone())));
    above.sort_unstable_by_key(Arc::as_ptr);
    above.dedup_by(|one, other| Arc::ptr_eq(one, other));
    above
}

/// Counts the permits under which a waiter runs, and those `above` its work, as blocked. False: none is of this limit
/// and key.
fn mark(seats: &mut Seats, held: Option<&Arc<PermitContext>>, above: &[Arc<PermitContext>], limit: usize, key: u32) -> bool {
    let mut any = false;
    let own = chain(held).filter(|held| held.limit == limit && held.key == key);
    own.chain(above.iter().map(|held| &**held)).for_each(|held| any |= mark_one(seats, held));
    any
}

/// False: the permit has no holder any more.
fn mark_one(seats: &mut Seats, held: &PermitContext) -> bool {
    let first = held.waits.fetch_add(1, Ordering::Relaxed) == 0;
    let counts = !held.gone.load(Ordering::Relaxed);
    seats.blocked += u32::from(first && counts);
    counts
}

fn unmark(seats: &mut Seats, held: Option<&Arc<PermitContext>>, above: &[Arc<PermitContext>], limit: usize, key: u32) {
    let own = chain(held).filter(|held| held.limit == limit && held.key == key);
    own.chain(above.iter().map(|held| &**held)).for_each(|held| unmark_one(seats, held));
}

fn unmark_one(seats: &mut Seats, held: &PermitContext) {
    if held.waits.fetch_sub(1, Ordering::Relaxed) == 1 && !held.gone.load(Ordering::Relaxed) {
        seats.blocked -= 1;
    }
}

#[cfg(all(test, not(loom), target_pointer_width = "64"))]
mod tests {
    use std::task::Waker;

    use super::Waiter;

    #[test]
    fn one_that_waits_is_small() {
        assert_eq!((size_of::<Waiter<Waker>>(), size_of::<Option<Waiter<Waker>>>()), (48, 48));
    }
}

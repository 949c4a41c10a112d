//! Rate limit: no more than `n` cost of starts in any `per`, or a token bucket, with a state and a queue for each key.
//! Nothing here waits: [`Limiter::next`] says when the driver has to call [`Limiter::due`].

mod keys;
mod layer;
mod log;
mod machine;
mod queue;
mod shared;
#[cfg(test)]
mod tests;

pub use layer::enter;
pub use queue::Ticket;
pub use shared::{Acquire, Rate};

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::schedule::Priority;
use crate::time::Instant;
use keys::Keys;
use machine::{Limits, State};
use queue::Waiters;

/// Infinity as `n` or `burst`, or no time as `per`, is no limit; with an `n` of 0 no call goes.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The cost of the starts in `per`.
    pub n: f64,
    pub per: Duration,
    /// The capacity of a token bucket, which starts full. `None` is the strict window: each half-open (t - per, t]
    /// holds at most `n`.
    pub burst: Option<f64>,
    /// The longest wait.
    pub max_wait: Option<Duration>,
}

/// The right to start at once: it holds its cost until it is given to [`Limiter::started`] or [`Limiter::withdraw`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "its cost is held until it is started or withdrawn"]
pub struct Offer {
    key: u32,
    cost: u64,
}

#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    Go(Offer),
    Wait(Ticket),
    /// There is no room in time. `Duration::MAX`: there never will be.
    Refused {
        retry_after: Duration,
    },
}

/// The end of a wait: an offer, or after how long to try again.
pub type Turn = (Ticket, Result<Offer, Duration>);

/// One limit and all its keys, which are small dense numbers; 0 is the one of calls without a key.
///
/// A `now` that is earlier than one before it counts as that one. After each call, [`Limiter::next`] may have changed.
#[derive(Debug)]
pub struct Limiter {
    limits: Limits,
    max_wait: Option<Duration>,
    now: Instant,
    keys: Keys,
    waiters: Waiters,
    /// When the next wait of each key ends: its turn comes, or it gives up. Without keys whose offers must come back
    /// first.
    times: BTreeSet<(Instant, u32)>,
}

impl Limiter {
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Limiter {
            limits: Limits::new(settings),
            max_wait: settings.max_wait,
            now: Instant::from_nanos(0),
            keys: Keys::default(),
            waiters: Waiters::default(),
            times: BTreeSet::new(),
        }
    }

    /// Whether a cost may start on `key`: by priority, aged as [`Turns`](crate::schedule::Turns) says, and within one
    /// first come, first served; but what costs nothing goes past those who wait unless the key is paused. A call whose
    /// turn cannot come by `until` or within `max_wait`, if no other comes, is refused at once. The key is remembered
    /// until it is forgotten, even so. The time is found by bisection, however many wait.
    pub fn ask(&mut self, key: u32, priority: Priority, cost: f64, now: Instant, until: Instant) -> Answer {
        let now = self.seen(now);
        let cost = self.limits.units(cost);
        if self.limits.never(cost) {
            return Answer::Refused { retry_after: Duration::MAX };
        }
        let state = self.keys.entry(key);
        if cost == 0 && !state.is_paused(now) {
            return Answer::Go(Offer { key, cost });
        }
        let ahead = state.line().and_then(|line| line.ahead(priority));
        if ahead.is_none() && state.ready(&self.limits, cost, now) <= now {
            let offer = Offer { key, cost: state.reserve(cost) };
            if let Some(line) = state.line_mut() {
                line.started(priority);
                self.look_at(key);
            }
            return Answer::Go(offer);
        }
        let turn = state.turn(&self.limits, ahead.unwrap_or(0), cost, now);
        let give_up = self.max_wait.map_or(Instant::NEVER, |d| now.after(d));
        if turn == Instant::NEVER || turn > until.min(give_up) {
            return Answer::Refused { retry_after: wait(turn, now) };
        }
        let line = state.busy_or_new().line.get_or_insert_default();
        let ticket = self.waiters.join(line, key, priority, cost, give_up);
        if self.waiters.firsts(line).any(|(first, _)| first == ticket) {
            self.look_at(key);
        }
        Answer::Wait(ticket)
    }

    /// Ends a wait; nothing if it has ended.
    pub fn leave(&mut self, ticket: Ticket) {
        let Some(key) = self.waiters.get(ticket).map(|w| w.key) else { return };
        let Some(line) = self.keys.get_mut(key).and_then(State::line_mut) else { return };
        let first = self.waiters.firsts(line).any(|(first, _)| first == ticket);
        self.waiters.leave(line, ticket);
        if first {
            self.look_at(key);
        }
    }

    /// Ends all waits whose turn has come: of each key in order, and of the keys in turns. Afterwards `next()` is after
    /// `now`.
    pub fn due(&mut self, now: Instant, turns: &mut Vec<Turn>) {
        let now = self.seen(now);
        let mut ring = VecDeque::new();
        while let Some(&(at, key)) = self.times.first()
            && at <= now
        {
            self.times.pop_first();
            if let Some(busy) = self.keys.get_mut(key).and_then(|s| s.busy()) {
                busy.timed = Instant::NEVER;
                ring.push_back(key);
            }
        }
        while let Some(key) = ring.pop_front() {
            if let Some(turn) = self.serve(key) {
                turns.push(turn);
                ring.push_back(key);
            } else {
                self.look_at(key);
            }
        }
    }

    /// The earliest time at which a wait may end: when to call [`Limiter::due`].
    #[must_use]
    pub fn next(&self) -> Instant {
        self.times.first().map_or(Instant::NEVER, |&(at, _)| at)
    }

    /// Starts an offer now.
    pub fn started(&mut self, offer: Offer, now: Instant) {
        let now = self.seen(now);
        if offer.cost != 0 {
            let state = self.keys.entry(offer.key);
            state.withdraw(offer.cost);
            state.count(&self.limits, offer.cost, now);
            self.look_at(offer.key);
        }
    }

    /// Withdraws an offer, as if it had never been made.
    pub fn withdraw(&mut self, offer: Offer, now: Instant) {
        self.seen(now);
        if offer.cost != 0 {
            self.keys.entry(offer.key).withdraw(offer.cost);
            self.look_at(offer.key);
        }
    }

    /// Corrects the cost of a call that has started: it counts as a start now, to below nothing in a bucket; a negative
    /// one is given back.
    pub fn charge(&mut self, key: u32, cost: f64, now: Instant) {
        let now = self.seen(now);
        if cost > 0.0 {
            self.keys.entry(key).count(&self.limits, self.limits.units(cost), now);
        } else if let Some(state) = self.keys.get_mut(key) {
            state.refund(&self.limits, self.limits.units(-cost), now);
        }
        self.look_at(key);
    }

    /// Offers nothing more on `key` before `until`, nor before the end of an earlier pause.
    pub fn pause(&mut self, key: u32, until: Instant) {
        if until > self.now {
            self.keys.entry(key).pause(until);
            self.look_at(key);
        }
    }

    /// Changes the limits from now on and for all keys, in O(keys + waiters). Starts that are in the window now still
    /// count; a bucket goes on lacking what it lacks. Waiters whose cost can never fit any more are refused here; the
    /// others get new times.
    pub fn change(&mut self, n: f64, per: Duration, now: Instant, turns: &mut Vec<Turn>) {
        let now = self.seen(now);
        self.keys.iter_mut().for_each(|(_, state)| state.expire(&self.limits, now));
        let tick = self.limits.set(n, per);
        let mut waited_on = Vec::new();
        for (key, state) in self.keys.iter_mut() {
            if let Some(tick) = tick {
                state.recount(tick, &self.limits, now);
            }
            if let Some(line) = state.line_mut() {
                let refused = turns.len();
                let hopeless = self.waiters.iter(line).filter(|(_, w)| self.limits.never(w.cost));
                turns.extend(hopeless.map(|(ticket, _)| (ticket, Err(Duration::MAX))));
                turns[refused..].iter().for_each(|&(ticket, _)| self.waiters.leave(line, ticket));
                waited_on.push(key);
            }
        }
        for key in waited_on {
            self.look_at(key);
        }
    }

    /// Whether forgetting `key` changes nothing.
    #[must_use]
    pub fn is_idle(&self, key: u32, now: Instant) -> bool {
        self.keys.get(key).is_none_or(|s| s.is_idle(&self.limits, now.max(self.now)))
    }

    /// Gives the memory of an idle key back: its number may become another's. Does nothing while calls wait there or
    /// hold offers.
    pub fn forget(&mut self, key: u32) {
        if self.keys.get(key).is_some_and(|s| !s.is_held()) {
            self.keys.forget(key);
        }
    }

    /// Drops all waits and offers; starts still count.
    pub fn forget_waiters(&mut self) {
        self.keys.iter_mut().for_each(|(_, state)| state.forget_waiters());
        self.waiters.clear();
        self.times.clear();
    }

    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// The keys that are not forgotten: a number, and how many wait.
    pub fn by_key(&self) -> impl Iterator<Item = (u32, usize)> {
        self.keys.iter().map(|(key, state)| (key, state.waiting()))
    }

    #[must_use]
    pub fn waiting_on(&self, key: u32) -> usize {
        self.keys.get(key).map_or(0, State::waiting)
    }

    fn seen(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// The end of a wait, if one has come: that of the call whose turn it is, or of the first of a lane that may wait
    /// no longer.
    fn serve(&mut self, key: u32) -> Option<Turn> {
        let (state, now) = (self.keys.get_mut(key)?, self.now);
        let line = state.line()?;
        let (ticket, waiter) = self.waiters.first(line)?;
        let (priority, cost) = (waiter.priority, waiter.cost);
        if state.ready(&self.limits, cost, now) <= now {
            let offer = Offer { key, cost: state.reserve(cost) };
            let line = state.line_mut()?;
            line.started(priority);
            self.waiters.leave(line, ticket);
            return Some((ticket, Ok(offer)));
        }
        let (ticket, waiter) = self.waiters.firsts(state.line()?).find(|(_, w)| w.give_up <= now)?;
        let (ahead, cost) = (state.line()?.ahead_of_first(waiter.priority).unwrap_or(0), waiter.cost);
        let turn = state.turn(&self.limits, ahead, cost, now);
        self.waiters.leave(state.line_mut()?, ticket);
        Some((ticket, Err(wait(turn, now))))
    }

    /// Notes when the next wait on a key ends: a time that has passed, if that is at once.
    fn look_at(&mut self, key: u32) {
        let now = self.now;
        let Some(state) = self.keys.get_mut(key) else { return };
        let Some(busy) = state.busy() else { return };
        let before = busy.timed;
        let next = busy.line.as_deref().and_then(|line| {
            let (_, first) = self.waiters.first(line)?;
            let give_up = self.waiters.firsts(line).map(|(_, w)| w.give_up).min()?;
            Some((first.cost, give_up))
        });
        let at = next.map_or(Instant::NEVER, |(cost, give_up)| state.ready(&self.limits, cost, now).min(give_up));
        if at != before {
            self.times.remove(&(before, key));
            if at != Instant::NEVER {
                self.times.insert((at, key));
            }
            if let Some(busy) = state.busy() {
                busy.timed = at;
            }
        }
        state.tidy(now);
    }
}

/// The wait for a turn: for ever, if the turn never comes.
fn wait(turn: Instant, now: Instant) -> Duration {
    if turn == Instant::NEVER { Duration::MAX } else { turn.since(now) }
}
